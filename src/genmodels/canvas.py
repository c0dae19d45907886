"""Digits on the 3x3 grid of a canvas, and conditions [label, pos_x, pos_y]. NumPy only."""

import numpy as np
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import LABELS, SHAPE, SIDE, Split, validate_images

GRID = 3  # cells along each side of the canvas
STRIDE = 14  # pixels between neighbouring cells: half a digit, so that cells overlap
CANVAS = SIDE + (GRID - 1) * STRIDE  # 56 pixels
CANVAS_SHAPE = (CANVAS, CANVAS, 1)


def validate_conditions(values: ArrayLike) -> np.ndarray:
    """Return conditions as an array.

    Args:
        values: Shape (N, 3), whole numbers: label 0-9, pos_x 0-2, pos_y 0-2.

    Returns:
        `values` as an array.

    Raises:
        ValueError: The conditions have another shape, dtype or range.
    """
    expected = "conditions [label 0-9, pos_x 0-2, pos_y 0-2]"
    values = validation.array(expected, values, ("N", 3), 0, LABELS - 1, whole=True)
    validation.array(f"{expected}: the positions", values[:, 1:], ("N", 2), 0, GRID - 1, whole=True)
    return values


def conditions(labels: ArrayLike, pos_x: ArrayLike, pos_y: ArrayLike) -> np.ndarray:
    """Build conditions [label, pos_x, pos_y] from integers or arrays, broadcast against each other.

    Args:
        labels: Labels 0-9.
        pos_x: Columns of the grid 0-2, from the left.
        pos_y: Rows of the grid 0-2, from the top.

    Returns:
        int32 array of shape (N, 3).

    Raises:
        ValueError: A value is out of range or not whole, or the lengths don't broadcast.

    Example:
        >>> conditions([3, 7], 0, 2)
        array([[3, 0, 2],
               [7, 0, 2]], dtype=int32)
    """
    columns = [
        validation.array(name, np.atleast_1d(values), ("N",), 0, limit - 1, whole=True)
        for name, values, limit in (("label", labels, LABELS), ("pos_x", pos_x, GRID), ("pos_y", pos_y, GRID))
    ]
    if len(lengths := {len(column) for column in columns} - {1}) > 1:
        raise ValueError(f"label, pos_x and pos_y must be as many as each other, or one, got {sorted(lengths)}")
    return np.stack(np.broadcast_arrays(*columns), axis=-1).astype("int32")


def all_positions() -> np.ndarray:
    """Return the nine cells of the grid, row by row: int32 of shape (9, 2), columns pos_x and pos_y."""
    rows, columns = np.divmod(np.arange(GRID * GRID), GRID)
    return np.stack([columns, rows], axis=-1).astype("int32")


def place_on_canvas(images: ArrayLike, positions: ArrayLike) -> np.ndarray:
    """Put each digit on an empty 56x56 canvas, 14 * position pixels from the left and from the top.

    Args:
        images: Shape (N, 28, 28, 1), values in [0, 1].
        positions: Shape (N, 2), whole numbers 0-2: pos_x and pos_y.

    Returns:
        Canvases of shape (N, 56, 56, 1), in the dtype of `images`.

    Raises:
        ValueError: A shape or dtype differs, or a position lies off the grid.
    """
    images = validate_images(images, SHAPE)
    positions = validation.array("positions", positions, ("N", 2), 0, GRID - 1, whole=True)
    validation.same_length(images=images, positions=positions)
    canvas = np.zeros((len(images), CANVAS, CANVAS, 1), images.dtype)
    for pos_x, pos_y in all_positions():
        here = np.flatnonzero((positions == (pos_x, pos_y)).all(axis=1))
        top, left = STRIDE * pos_y, STRIDE * pos_x
        canvas[here, top : top + SIDE, left : left + SIDE] = images[here]
    return canvas


def place_randomly(split: Split, chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put chosen images of a split on canvases, each in a random cell.

    Args:
        split: Images with labels.
        chosen: Shape (B,), indices of the images.
        rng: Source of the cells.

    Returns:
        Canvases (B, 56, 56, 1) and their conditions (B, 3).
    """
    positions = rng.integers(0, GRID, (len(chosen), 2))
    placed = place_on_canvas(split.images[chosen], positions)
    return placed, conditions(split.labels[chosen], positions[:, 0], positions[:, 1])


def all_conditions(each: int) -> np.ndarray:
    """Return every label in every cell, `each` times.

    Args:
        each: Number of repetitions of each of the 90 conditions.

    Returns:
        Conditions of shape (90 * each, 3), one label after another.
    """
    cells = np.tile(all_positions(), (each, 1))
    return np.concatenate([conditions(label, cells[:, 0], cells[:, 1]) for label in range(LABELS)])


def all_positions_for(labels: ArrayLike) -> np.ndarray:
    """Return each of the labels in every cell.

    Args:
        labels: Shape (N,), whole numbers 0-9.

    Returns:
        Conditions of shape (9 * N, 3), one label after another.
    """
    cells = np.tile(all_positions(), (len(labels), 1))
    return conditions(np.repeat(labels, 9), cells[:, 0], cells[:, 1])


def canvases_of(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Put the binarized images of a split on canvases, each in a random cell. Every call gives the same cells.

    Args:
        split: Images with labels.

    Returns:
        Canvases (N, 56, 56, 1) and their conditions (N, 3).
    """
    return place_randomly(split.binarized(), np.arange(len(split)), np.random.default_rng(0))
