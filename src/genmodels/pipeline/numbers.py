"""Numbers that a text may quote: found by key, written in the document's language, and marked if stale."""

import math
import re
from typing import Any

from genmodels.pipeline.tree import NBSP

OLD, SINGLE = "†", "‡"


def formatted(value: float | str, form: str, words: dict) -> str:
    """Return a number as the language writes it: 1234.5 and ".1f" give "1234,5" in Polish.

    Args:
        value: A number; a text is returned unchanged.
        form: "d", or decimals such as ".2f" and ".1%". "" and "%" give three significant digits.
        words: Words of the language, see `language.words`.
    """
    if isinstance(value, str):
        return value
    percent, form = form.endswith("%"), form.removesuffix("%")
    shown = 100 * value if percent else value
    if form == "d" or (not form and float(shown).is_integer()):
        text = str(int(shown))
    else:
        digits = int(form.strip(".f")) if form else _decimals(abs(shown), 3)
        text = f"{shown:.{digits}f}"
    sign, whole, rest = re.fullmatch(r"(-?)(\d+)(.*)", text).groups()
    rest = rest.replace(".", words["decimal"])
    return f"{'−' if sign else ''}{grouped(int(whole), words)}{rest}{words['percent'] if percent else ''}"


def grouped(number: int, words: dict) -> str:
    """Return a whole number >= 0 in digits; from 10 000 in groups of three."""
    return f"{number:,}".replace(",", words["thousands"]) if number > 9999 else str(number)


def _decimals(value, digits):
    """Return the number of decimals that shows `digits` significant digits."""
    return max(0, digits - 1 - (math.floor(math.log10(value)) if value > 0 else 0))


def _spread_aware(value, percent):
    """Return the format that a mean's spread justifies: one digit of the spread, or two if the first is a 1."""
    spread = _spread(value)
    digits = 2 if f"{spread:e}".startswith("1") else 1
    shown, digits = (spread, digits) if spread else (abs(value["mean"]), 3)
    return f".{_decimals(shown * (100 if percent else 1), digits)}f{percent}"


def _spread(value):
    found = [value.get(name) for name in ("deviation", "error")] if isinstance(value, dict) else []
    return next((spread for spread in found if _is_number(spread)), None)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class Numbers:
    """Everything that a text may quote, by key: numbers, names, and means with their spread.

    Args:
        values: {section: numbers} of metrics.json, with the contents of study.json as "study".
        old: {beginning of keys: "commit, command"} of numbers of other code, marked †. The command renews them.
        single: {key: value} of this build's one training, in place of stale means of the study, marked ‡.
    """

    def __init__(self, values: dict, old: dict[str, str] | None = None, single: dict[str, float] | None = None):
        self._quotable = dict(_quotable(values))
        self._old, self._single = old or {}, single or {}

    def keys(self) -> list[str]:
        """Return every key that a text may quote, sorted."""
        own = [f"{key}{part}" for key in self._single for part in ("", ".mean", ".values.0")]
        return sorted({*self._quotable, *own})

    def find(self, key: str) -> Any:
        """Return the value of a key: a number, a name, or a mean as {"mean": ..., "deviation" or "error": ...}.

        Raises:
            KeyError: The key is unknown.
        """
        for base in self._single:
            if key in (base, f"{base}.mean", f"{base}.values.0"):
                return self._single[base]
        return self._quotable[key]

    def mark(self, key: str) -> str:
        """Return the mark of a key's numbers: † for other code, ‡ for one training, otherwise empty."""
        for base in self._single:
            if key == base or key.startswith(f"{base}."):
                return {base: SINGLE, f"{base}.mean": SINGLE, f"{base}.values.0": ""}.get(key, OLD)
        return OLD if self._of_old(key) else ""

    def note(self, key: str) -> str:
        """Return the commit of a stale number and the command that renews it; empty for any other number."""
        return self._old.get(self._of_old(key), "")

    def _of_old(self, key):
        fitting = [base for base in self._old if key == base or key.startswith(f"{base}.")]
        return max(fitting, key=len, default=None)

    def written(self, key: str, form: str, words: dict) -> str:
        """Return the number of a key without its mark; a mean with its spread: 0,0329 ± 0,0004 or (84,1 ± 1,9) %.

        Args:
            key: Key of the number.
            form: Format, see `formatted`. "" and "%" show as many digits of a mean as its spread justifies.
            words: Words of the language, see `language.words`.

        Raises:
            KeyError: The key is unknown.
            ValueError: The format does not fit the number.
        """
        value, stale = self.find(key), self._quotable.get(key)
        percent = "%" if form.endswith("%") else ""
        whole = form == "d" and _is_number(value) and float(value).is_integer()
        if not (form == percent or whole or re.fullmatch(r"\.\d{1,2}[f%]", form)):
            raise ValueError(form)
        spread = _spread(value)
        if form == percent and _spread(stale) is not None:
            form = _spread_aware(stale, percent)
        if not isinstance(value, dict):
            return formatted(value, form, words)
        mean = formatted(value["mean"], form, words)
        if spread is None:
            return mean
        unit = words["percent"] if percent else ""
        both = f"{mean.removesuffix(unit)}{NBSP}±{NBSP}{formatted(spread, form, words).removesuffix(unit)}"
        return f"({both}){unit}" if unit else both

    def reference(self, typed: str, words: dict) -> str | None:
        """Find the result that a typed number may stand for.

        Args:
            typed: The number as the author typed it.
            words: Words of the language, see `language.words`.

        Returns:
            The reference to write, such as "{{key:.1f}}"; None if no result is written so.
        """
        digits = re.search(rf"{re.escape(words['decimal'])}(\d+)", typed)
        percent = "%" if "%" in typed else ""
        form = f".{len(digits[1]) if digits else 0}{percent or 'f'}" if digits or percent else "d"
        for key in self.keys():
            value = self.find(key)
            fits = form != "d" or (_is_number(value) and float(value).is_integer() and "study.settings" not in key)
            if _is_number(value) and fits and formatted(value, form, words) == typed:
                return f"{{{{{key}:{form}}}}}"
        return None


def _quotable(value, key=""):
    """Yield (key, value) of everything quotable: "zadanie_1.mse.mean", "study.seeds.0"."""
    if _is_number(value) or isinstance(value, str) or (isinstance(value, dict) and _is_number(value.get("mean"))):
        yield key, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, part in parts:
        yield from _quotable(part, f"{key}.{name}" if key else str(name))
