"""Numbers, figures and claims of the report: from pandoc's tree of the author's Markdown to the tree for `layout`.

    {{zadanie_1.mse.mean:.4f}}   a number from metrics.json, in the document's language (% gives per cent)
    {{study.test.ae.mse}}        a mean from study.json with its spread, in as many digits as the spread allows
    @fig-x, [-@fig-x]            "Rysunek 3", "3"
    ![Caption](file){#fig-x alt="..."}   a numbered figure that keeps its alternative text
    ![Caption](file){#fig-x .dodatkowy alt="..."}   the same, numbered apart: A1, A2, ...
    ![Caption](file){#fig-x width=80% alt="..."}   a width other than the figure's own
    ::: obok                     the figures inside stand side by side
    ::: zrodla                   the origin of each figure and number, from provenance.json
    \\newpage                     a new page
    [0,5]{.ustalone}             a number that is no result; typed without this it stops the build
    [$q(z)$]{alt="q od z"}       a formula and how it is read; once is enough for each formula
    [VAE jest lepszy.]{claim="study.test.vae_kl.mse.mean < 0.7"}   a sentence that stops the build once it is false

A typed number, a missing alt or an unknown class stops the report. A draft only warns of them.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from genmodels.pipeline import checks, claims, language, results
from genmodels.pipeline.checks import closest
from genmodels.pipeline.numbers import OLD, SINGLE, Numbers
from genmodels.pipeline.records import Record, ReportError
from genmodels.pipeline.tree import NBSP, Places, attributes, inline_lists, inlines, node, nodes, plain, rebuild, string

SOURCE = "report/generative_models.md"
BENCHMARK = "benchmark"  # the entry of `make bench` in provenance.json, beside those of notebooks
_PICTURES = "../data/report/"  # the folder of pictures, as named in the Markdown
_REFERENCE = re.compile(r"\{\{([\w.]+):?([^}]*)\}\}")
_COMMENTS = re.compile(r"\s*(?:<!--(?:(?!-->).)*-->\s*)+", re.S)
SIGNS = ("±", "×")
ROOM, GAP = 6.378, 0.146  # inches: the text width of template.typ, and the gap between figures side by side
LEGIBLE = 7  # points in print; smaller text of a figure causes a warning


@dataclass(frozen=True)
class Sources:
    """Everything that a report may quote, show and cite.

    Attributes:
        numbers: Numbers with a maker on record.
        unmade: Sections of metrics.json without a maker on record.
        records: {maker: Record} of the present notebooks and of the benchmark.
        folders: Folder of the notebooks' results, and folder of the benchmark's results.
        papers: Names in references.bib.
        study: Path of study.json.
        entries: Records of the study.
    """

    numbers: Numbers
    unmade: set[str]
    records: dict[str, Record]
    folders: tuple[Path, Path]
    papers: list[str]
    study: Path
    entries: list[Record]

    def maker(self, result: str) -> str | None:
        """Return the maker of a result.

        Args:
            result: File name of a figure, or section of metrics.json.

        Returns:
            Name of the notebook, or BENCHMARK; None if no maker is on record.
        """
        return next((maker for maker, record in self.records.items() if result in record.results), None)

    def picture(self, name: str) -> Path:
        """Return the path of a picture. A draft has pictures of its own, except those of the benchmark.

        Args:
            name: File name of the picture.
        """
        return self.folders[self.maker(name) == BENCHMARK] / name


@dataclass
class Figure:
    """A numbered figure.

    Attributes:
        name: Its name, such as "fig-x".
        file: Its picture.
        alt: What is to be seen.
        inches: Its width in print.
        share: `inches` as a share of the room: the text width, or a part of it for figures side by side.
        points: Size of its smallest text in print; None if the picture does not say it.
        extra: Whether it is one of the further figures, A1, A2, ...
        number: Its number in the report.
    """

    name: str
    file: Path
    alt: str
    inches: float
    share: float
    points: float | None
    extra: bool
    number: str


class Text:
    """The report, checked and with every number filled in.

    Args:
        parsed: pandoc's tree of the Markdown.
        source: The Markdown itself, for the lines in messages.
        sources: Everything that the report may quote, show and cite.
        draft: Only warn of some faults, and accept false claims, because a draft's models are worth nothing.

    Attributes:
        meta: pandoc's metadata.
        blocks: pandoc's tree of the body.
        words: Words of the document's language, see `language.words`.
        figures: {name: Figure} in their order.
        claims: [{"sentence", "claim", "values", "checked"}].
        alternatives: {formula: how it is read}.

    Raises:
        ReportError: The Markdown has a fault, or a claim is false. The message gives file and line.
    """

    def __init__(self, parsed: dict, source: str, sources: Sources, *, draft: bool):
        self.meta, self.blocks, self.version = parsed["meta"], parsed["blocks"], parsed["pandoc-api-version"]
        self.sources, self.draft = sources, draft
        self.figures: dict[str, Figure] = {}
        self.claims: list[dict] = []
        self.alternatives: dict[str, str] = {}
        self._false, self._marked = [], {}  # claims that do not hold; {mark: notes on its numbers}
        self._places = Places(self.blocks, source)
        try:
            self.words = language.words(plain(self.meta.get("lang")))
        except ValueError as error:
            self.stop(str(error))
        rebuild(self.blocks, _without_comments)
        rows = [found["c"][1] for found in nodes(self.blocks) if found["t"] == "Div"]
        beside = {id(of): len(row) for row in rows for of in row if of["t"] == "Figure"}
        for found in [found for found in nodes(self.blocks) if found["t"] == "Figure"]:
            self._add_figure(found, beside.get(id(found), 1))
        if not plain(self.meta.get("cover-alt")):
            self.complain("expected cover-alt: what the cover shows, got none")
            self.meta["cover-alt"] = node("MetaInlines", [string(self.words["cover"])])
        checks.check(self)
        rebuild([self.meta, self.blocks], self._filled)
        if self._false:
            raise ReportError("\n".join(self._false))
        self._read_formulas()
        for texts in [*inline_lists(self.meta), *inline_lists(self.blocks)]:
            self._tie(texts)
        self._add_note()

    def located(self, message: str, of: dict | None = None) -> str:
        """Add the place to a message.

        Args:
            message: The message.
            of: A node of the text; None for the file as a whole.

        Returns:
            The message with the file, and with the line of the node if known.
        """
        line = self._places.line(of) if of else None
        return f"{SOURCE}: {f'line {line}: ' if line else ''}{message}".replace(NBSP, " ")

    def stop(self, message: str, of: dict | None = None) -> NoReturn:
        """Stop the build.

        Args:
            message: Expected and received markup.
            of: The node at fault.

        Raises:
            ReportError: Always, with the line of the node.
        """
        raise ReportError(self.located(message, of))

    def complain(self, message: str, of: dict | None = None) -> None:
        """Stop the build, or warn in a draft.

        Args:
            message: See `stop`.
            of: See `stop`.

        Raises:
            ReportError: The text is not a draft.
        """
        if not self.draft:
            self.stop(message, of)
        print(f"warning: {self.located(message, of)}", file=sys.stderr)

    def is_escaped(self, dollar: dict) -> bool:
        """Return whether the source writes the dollars of a Str as \\$."""
        return self._places.escaped(dollar)

    def _add_figure(self, of, beside):
        """Add a figure, one of `beside` that stand side by side."""
        pictures = [found for found in nodes(of) if found["t"] == "Image"]
        if not pictures:
            return
        (_, alt, (source, _)), name = pictures[-1]["c"], attributes(of)[0]
        _, classes, settings = attributes(pictures[-1])
        alt, caption, width = plain(alt), of["c"][1][1], settings.get("width")
        wrong = f'figure "{name or source}": expected '
        if not name.startswith("fig-"):
            self.stop(f'{wrong}a name, {{#fig-name alt="what is to be seen"}}, got none', of)
        if name in self.figures:
            self.stop(f"{wrong}a name of its own, got one that stands twice", of)
        if alt in ("", plain(caption)):
            self.complain(f'{wrong}alt="what is to be seen", got none or the caption again', of)
        if width is not None and not re.fullmatch(r"\d+%", width):
            self.stop(f"{wrong}a width such as 80%, got {width}", of)
        file, extra = self._picture(source, of), "dodatkowy" in classes
        if (
            caption
            and self.sources.maker(file.name) == BENCHMARK
            and (mark := self._mark(file.name))
            and not plain(caption).endswith(mark)
        ):
            caption[-1]["c"].append(string(mark))
        number = 1 + sum(figure.extra == extra for figure in self.figures.values())
        alt = self.fill_all(alt or plain(caption) or name, of)
        size = self._printed(of, file, width, (ROOM - (beside - 1) * GAP) / beside)
        self.figures[name] = Figure(name, file, alt, *size, extra, f"{'A' if extra else ''}{number}")

    def _printed(self, of, file, width, room):
        """Return `inches`, `share` and `points` of a Figure that has `room` inches of the page.

        Without a `width` it has its own, so that its texts have their own size, but at most the room.
        """
        own, points = results.size_of(file)
        inches = room * int(width[:-1]) / 100 if width else min(own or room, room)
        if 0.98 * room < inches < room:
            inches = room  # to the edge, where other figures end
        if points is not None:
            points *= inches / own
            if points < LEGIBLE:
                wanted = f"draw it with figsize=({room:.1f}, ...) or with larger letters"
                message = f'figure "{attributes(of)[0]}": its smallest text has {points:.1f} points in print; {wanted}'
                print(f"warning: {self.located(message, of)}", file=sys.stderr)
        return inches, inches / room, points

    def _picture(self, source, of):
        """Return the file of a picture that the Markdown names."""
        name = source.removeprefix(_PICTURES)
        file = self.sources.picture(name)
        if not file.is_file():
            hint = closest(name, [path.name for path in self.sources.folders[0].glob("*.png")])
            self.stop(f'figure "{attributes(of)[0]}": there is no {source}{hint}', of)
        if not source.startswith(_PICTURES) or not self.sources.maker(name):
            message = f"no notebook is on record as having made {source}"
            self.stop(f'figure "{attributes(of)[0]}": {message}', of)
        return file

    def _find(self, key, of):
        numbers, section = self.sources.numbers, key.partition(".")[0]
        try:
            return numbers.find(key)
        except KeyError:
            if section in self.sources.unmade:
                self.stop(f"no notebook is on record as having made {section}", of)
            self.stop(f'no number "{key}" in metrics.json or study.json{closest(key, numbers.keys())}', of)

    def _mark(self, key):
        """Return the mark of a key's numbers, and note that the document shows the mark."""
        mark = self.sources.numbers.mark(key)
        return self._noted(mark, key) if mark else ""

    def _noted(self, mark, key):
        notes = self._marked.setdefault(mark, [])
        note = self.sources.numbers.note(key)
        if note and note not in notes:
            notes.append(note)
        return mark

    def fill(self, text: str, of: dict) -> str:
        """Replace the {{references}} of a text by numbers with their marks.

        Args:
            text: The text.
            of: The node of the text, for messages.

        Returns:
            The text, filled in.

        Raises:
            ReportError: A key is unknown, or a format does not fit its number.
        """

        def written(found):
            key, form = found.groups()
            value = self._find(key, of)
            try:
                number = self.sources.numbers.written(key, form, self.words)
            except ValueError:
                wanted = "expected a format such as .2f, .1%, d for a whole number, or none"
                self.stop(f"{{{{{key}:{form}}}}}: {wanted}", of)
            mark = "" if isinstance(value, str) else self._mark(key)
            return number if of["t"] == "Math" else number + mark

        return _REFERENCE.sub(written, text)

    def fill_all(self, text: str, of: dict) -> str:
        """Fill a text as `fill` does, and stop if braces of a reference remain.

        Args:
            text: See `fill`.
            of: See `fill`.

        Raises:
            ReportError: A reference is wrong, or braces remain.
        """
        filled = self.fill(text, of)
        if "{{" in filled or "}}" in filled:
            self.stop(f'"{text}": expected {{{{key}}}} or {{{{key:format}}}}, without spaces', of)
        return filled

    def _filled(self, of):
        """Fill a node in; return the nodes that replace a span or quotes, otherwise None."""
        kind = of["t"]
        if kind == "Str" and re.search("[{}]", of["c"]):
            of["c"] = self.fill_all(of["c"], of)
        elif kind == "Math":
            keys = [key for key, _ in _REFERENCE.findall(of["c"][1])]
            of["c"][1] = re.sub(r"\s+", " ", self.fill(of["c"][1], of))
            marks = dict.fromkeys(self.sources.numbers.mark(key) for key in keys)
            return [of, *(string(mark) for mark in marks if mark)]  # beside the formula: inside, TeX may not take them
        elif kind == "Quoted":
            opening, closing = self.words["quotes"][of["c"][0]["t"]]
            return [string(opening), *of["c"][1], string(closing)]
        elif kind == "Span":
            return self._unwrapped(of)
        return None

    def _unwrapped(self, span):
        """Return the contents of a span; check its claim, and note its alternative text."""
        (_, classes, settings), content = attributes(span), span["c"][1]
        if "alt" in settings:
            alt = settings["alt"]
            others = [of for of in content if of.get("c") not in (OLD, SINGLE)]  # a mark stands beside its formula
            formula = others[0]["c"][1] if len(others) == 1 and others[0]["t"] == "Math" else None
            alike = formula and self.alternatives.setdefault(formula, self.fill(alt, span)) == self.fill(alt, span)
            if not alike:
                self.stop(f'[...]{{alt="{alt}"}}: expected one formula, said in one way everywhere', span)
        if "claim" in settings and self._rests_on_old(span, settings["claim"]):
            return [*content, string(OLD)]
        return content if settings or "ustalone" in classes else None

    def _read_formulas(self):
        """Complain of a formula that is never said in words."""
        for formula in nodes([self.meta, self.blocks]):
            if formula["t"] == "Math" and (tex := formula["c"][1]) not in self.alternatives:
                self.complain(f'formula ${tex}$: expected [$...$]{{alt="how it is read"}} once', formula)
                self.alternatives[tex] = tex

    def unreadable(self, tex: str) -> str:
        """Return the message for a formula that pandoc cannot read.

        Args:
            tex: The formula without its dollars.

        Returns:
            A message with the line and the likely fault.
        """
        shown = " ".join(tex.split())
        formulas = (of for of in nodes(self.blocks) if of["t"] == "Math" and " ".join(of["c"][1].split()) == shown)
        message = f"formula ${shown[:80]}$: expected TeX that can be read; {checks.fault_of(tex)}"
        return self.located(message, next(formulas, None))

    def _rests_on_old(self, span, claim):
        """Add a claim; return whether it quotes stale numbers and is therefore not checked."""
        try:
            holds, quoted = claims.judge(claim, lambda key: self._find(key, span))
        except claims.ClaimError as error:
            self.stop(f'claim "{claim}": expected comparisons of numbers joined by and, or, not; got {error}', span)
        old = [self._noted(OLD, key) for key, _ in quoted if self.sources.numbers.mark(key)]
        sentence, values = plain(span["c"][1]), ", ".join(f"{key} = {_exactly(value)}" for key, value in quoted)
        self.claims.append({"sentence": sentence, "claim": claim, "values": values, "checked": not old})
        if not (holds or old or self.draft):  # a draft's models are worth nothing
            self._false.append(self.located(f"„{sentence}” is no longer true: {claim} ({values})", span))
        return bool(old)

    def _tie(self, texts):
        """Put non-breaking spaces after words of one letter, before units, and beside ± and ×."""
        for place in range(1, len(texts) - 1):
            if texts[place]["t"] in ("Space", "SoftBreak") and self._tied(texts[place - 1], texts[place + 1]):
                texts[place] = string(NBSP)

    def _tied(self, before, after):
        left, right = (of["c"] if of["t"] == "Str" else "" for of in (before, after))
        orphan = re.fullmatch(r"[(„]*(\w)", left)
        unit = right.rstrip(",.") in self.words["units"] or re.match(r"%|\d{3}", right)
        cited = after["t"] == "Cite" and after["c"][0][0]["citationId"].startswith("fig-")
        return (
            (orphan and orphan[1] in self.words["orphans"])
            or (re.search(rf"\d[{OLD}{SINGLE}]?$", left) and unit)
            or (cited and left.lstrip("(").lower().startswith(self.words["figure_begins"]))
            or left in SIGNS
            or right in SIGNS
        )

    def _add_note(self):
        """Explain the marks † and ‡ at the beginning of the document, if they occur."""
        notes = []
        if OLD in self._marked:
            of = "; ".join(self._marked[OLD]) or self.words["no_commit"]
            notes.append(self.words["old"].format(notes=of))
            if not all(claim["checked"] for claim in self.claims):
                notes[-1] += " " + self.words["unchecked"]
        if SINGLE in self._marked:
            notes.append(self.words["single"])
        if notes:
            paragraphs = [node("Para", inlines(note)) for note in notes]
            self.blocks.insert(0, node("Div", [["", ["nieaktualne"], []], paragraphs]))


def _without_comments(of):
    is_comment = of["t"] in ("RawBlock", "RawInline") and of["c"][0] == "html" and _COMMENTS.fullmatch(of["c"][1])
    return [] if is_comment else None


def _exactly(value):
    """Return a number with all its digits; a float with a decimal point: 2.0."""
    text = f"{value:.14g}"
    return f"{text}.0" if isinstance(value, float) and re.fullmatch(r"-?\d+", text) else text
