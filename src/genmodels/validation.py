"""Argument validation. Errors state the expected and the received value."""

from collections.abc import Collection, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def array(
    name: str,
    values: ArrayLike,
    shape: Sequence[int | str] | None,
    low: float | None = None,
    high: float | None = None,
    *,
    whole: bool = False,
) -> np.ndarray:
    """Return `values` as a NumPy array of finite real numbers with the expected shape and range.

    Args:
        name: Name of the argument, for the error message.
        values: Array, or anything that np.asarray accepts.
        shape: Expected length of each axis; a letter stands for any length except 0. None accepts any shape.
        low: Smallest allowed value; None for no bound.
        high: Largest allowed value; None for no bound.
        whole: Require an integer dtype.

    Returns:
        `values` as an array.

    Raises:
        ValueError: The values have another dtype, another shape, or a value outside the range.
    """
    expected = f"{name} must be {_numbers(low, high, whole, plural=True)}"
    if shape:
        lengths = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        expected += f" of shape ({lengths})"
    try:
        values = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{expected}, got rows of different lengths") from None
    if values.dtype.kind not in ("iu" if whole else "fiub"):
        raise ValueError(f"{expected}, got dtype {values.dtype}: {values.tolist()!r:.80}")
    if shape and not _fits(values.shape, shape):
        raise ValueError(f"{expected}, got shape {values.shape}")
    if (found := _outside(values, low, high)) is not None:
        raise ValueError(f"{expected}, got {found}")
    return values


def _fits(found, expected):
    """Return whether a shape is the expected one, in which a letter stands for any length except 0."""
    pairs = zip(expected, found)
    return len(found) == len(expected) and all(
        length if isinstance(axis, str) else length == axis for axis, length in pairs
    )


def number(
    name: str, value: float, low: float | None = None, high: float | None = None, *, whole: bool = False
) -> float:
    """Return `value` if it is one finite real number in the expected range.

    Args:
        name: Name of the argument, for the error message.
        value: Number to validate. Booleans are refused.
        low: Smallest allowed value; None for no bound.
        high: Largest allowed value; None for no bound.
        whole: Require an integer.

    Returns:
        `value` as a number of Python, which JSON can hold.

    Raises:
        ValueError: The value is not a number, not finite, not an integer where one is required, or out of range.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if not isinstance(value, kinds) or isinstance(value, bool) or _outside(np.asarray(value), low, high) is not None:
        raise ValueError(f"{name} must be {_numbers(low, high, whole)}, got {value!r:.80}")
    return value.item() if isinstance(value, np.generic) else value


def seed(value: int | None) -> int | None:
    """Return `value` if it is None or a whole number >= 0.

    Args:
        value: Seed to validate.

    Returns:
        `value`, unchanged.

    Raises:
        ValueError: The value is anything else.
    """
    return value if value is None else number("seed", value, 0, whole=True)


def image_shape(value: Sequence[int]) -> tuple[int, int, int]:
    """Return height, width and channels as a tuple of Python integers.

    Args:
        value: Three whole numbers >= 1.

    Returns:
        `value` as a tuple.

    Raises:
        ValueError: The value is anything else.
    """
    return tuple(array("image_shape (height, width, channels)", value, (3,), 1, whole=True).tolist())


def flag(name: str, value: bool) -> bool:
    """Return `value` if it is True or False.

    Args:
        name: Name of the argument, for the error message.
        value: Value to validate.

    Returns:
        `value` as a bool of Python.

    Raises:
        ValueError: The value is anything else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r:.80}")
    return bool(value)


def choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return `value` if it is one of the allowed strings.

    Args:
        name: Name of the argument, for the error message.
        value: Value to validate.
        allowed: Allowed strings, also as the keys of a dict.

    Returns:
        `value`, unchanged.

    Raises:
        ValueError: The value is not a string or not allowed.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r:.80}")
    return value


def same_length(**values: Sized) -> None:
    """Check that all arrays have the same number of rows.

    Args:
        **values: Arrays by the name of their argument.

    Raises:
        ValueError: Two of them differ in length.
    """
    if len({len(each) for each in values.values()}) > 1:
        found = ", ".join(f"{len(each)} {name}" for name, each in values.items())
        raise ValueError(f"expected as many {' as '.join(values)}, got {found}")


def _outside(values, low, high):
    """Return the smallest or largest value if it is not finite or out of range, otherwise None."""
    if not values.size:
        return None
    for extreme in (values.min(), values.max()):  # both are NaN if any value is
        if not np.isfinite(extreme) or (low is not None and extreme < low) or (high is not None and extreme > high):
            return extreme.item()
    return None


def _numbers(low, high, whole, plural=False):
    """Describe the expected numbers in words."""
    kind = ("whole " if whole else "") + ("numbers" if plural else "number")
    kind = kind if plural else f"a {kind}"
    if low is None:
        return kind if whole else f"{kind}, finite"
    return f"{kind} {f'>= {low}' if high is None else f'from {low} to {high}'}"
