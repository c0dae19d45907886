"""Input at the door: what is not as a docstring says raises a ValueError with what was expected and what came."""

import numpy as np


def array(name, values, shape, low=None, high=None, *, whole=False):
    """`values` as a NumPy array, once they are finite real numbers of that shape, from `low` to `high`, both included.

    shape: for each axis its length, or a letter for any length but 0; None for any shape. whole: of an integer dtype.
    """
    expected = f"{name} must be {_numbers(low, high, whole, plural=True)}"
    if shape:
        lengths = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        expected += f" of shape ({lengths})"
    try:
        values = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{expected}, got rows of different lengths") from None
    fits = not shape or (
        values.ndim == len(shape)
        and all(length if isinstance(axis, str) else length == axis for axis, length in zip(shape, values.shape))
    )
    if values.dtype.kind not in ("iu" if whole else "fiub"):
        raise ValueError(f"{expected}, got dtype {values.dtype}: {values.tolist()!r:.80}")
    if not fits:
        raise ValueError(f"{expected}, got shape {values.shape}")
    if (found := _outside(values, low, high)) is not None:
        raise ValueError(f"{expected}, got {found}")
    return values


def number(name, value, low=None, high=None, *, whole=False):
    """`value`, once it is one finite real number from `low` to `high`, both included. whole: an integer."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if not isinstance(value, kinds) or isinstance(value, bool) or _outside(np.asarray(value), low, high) is not None:
        raise ValueError(f"{name} must be {_numbers(low, high, whole)}, got {value!r:.80}")
    return value


def seed(value):
    """`value`, once it is None or a whole number >= 0."""
    return value if value is None else number("seed", value, 0, whole=True)


def choice(name, value, allowed):
    """`value`, once it is among the strings that are allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r:.80}")
    return value


def same_length(**values):
    """Raises ValueError unless all the named arrays have as many rows."""
    if len({len(each) for each in values.values()}) > 1:
        found = ", ".join(f"{len(each)} {name}" for name, each in values.items())
        raise ValueError(f"expected as many {' as '.join(values)}, got {found}")


def _outside(values, low, high):
    """The first extreme value that is not finite or lies outside; None where there is none."""
    if not values.size:
        return None
    for extreme in (values.min(), values.max()):  # either is NaN where any value is
        if not np.isfinite(extreme) or (low is not None and extreme < low) or (high is not None and extreme > high):
            return extreme.item()
    return None


def _numbers(low, high, whole, plural=False):
    kind = ("whole " if whole else "") + ("numbers" if plural else "number")
    kind = kind if plural else f"a {kind}"
    if low is None:
        return kind if whole else f"{kind}, finite"
    return f"{kind} {f'>= {low}' if high is None else f'from {low} to {high}'}"
