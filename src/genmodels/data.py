"""MNIST: find, verify and load it; splits; digits placed on the 3x3 grid; conditions. NumPy only.

Images are float32 of shape (N, 28, 28, 1) in [0, 1]; labels are int32 of shape (N,), 0 to 9.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from genmodels import checks

SIDE = 28  # pixels of a digit's side
GRID = 3  # cells along each side of the canvas
STRIDE = 14  # pixels between neighbouring cells: half a digit, so that cells overlap
CANVAS = SIDE + (GRID - 1) * STRIDE  # 56 pixels
LABELS = 10
VALIDATION = 5_000  # the last ones of the training set

SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


class DataError(ValueError):
    """The MNIST file is not what it should be; the message names it and says what to do."""


_REMEDY = "restore it with `git checkout -- data/mnist/mnist.npz`, or delete it from Keras's cache, and try again"
# A slice of the data for the quick mode: enough to run every line of code, far too little to learn from.
SMOKE_SIZES = {"train": 1_024, "validation": 256, "test": 1_000}


@dataclass(frozen=True)
class Split:
    """Images (N, 28, 28, 1) in [0, 1] with their labels (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def quantised(self, dtype="float32"):
        """The same split with its images quantised."""
        return Split(quantise(self.images, dtype), self.labels)

    def typical(self, digit):
        """The image of `digit` (0-9) nearest to the mean of all its images, by squared error: shape (28, 28, 1).

        Raises ValueError where there is none.
        """
        images = self.images[self.labels == checks.number("digit", digit, 0, LABELS - 1, whole=True)]
        if not len(images):
            raise ValueError(f"expected a digit that occurs in this split, got {digit!r}")
        return images[np.square(images - images.mean(axis=0)).sum(axis=(1, 2, 3)).argmin()]


class Dataset:
    """MNIST in the project's splits, as the attributes train (55 000 images), validation (5 000) and test (10 000).

    arrays: the four uint8 arrays of MNIST. sizes: how many of the first images of each split; None for all. Splits take
    their memory, four times that of the arrays, once they are asked for.
    """

    def __init__(self, arrays, sizes):
        self._arrays, self._sizes = dict(arrays), sizes

    def _scaled(self, name, images, labels):
        chosen = slice(self._sizes[name])
        scaled = images[chosen, ..., None].astype("float32")
        scaled /= 255.0
        return Split(scaled, labels[chosen].astype("int32"))

    @cached_property
    def _learning(self):
        x, y = self._arrays.pop("x_train"), self._arrays.pop("y_train")
        validation = self._scaled("validation", x[-VALIDATION:], y[-VALIDATION:])
        return self._scaled("train", x[:-VALIDATION], y[:-VALIDATION]), validation

    @property
    def train(self):
        return self._learning[0]

    @property
    def validation(self):
        return self._learning[1]

    @cached_property
    def test(self):
        return self._scaled("test", self._arrays.pop("x_test"), self._arrays.pop("y_test"))


def smoke_budget():
    """Whether GENMODELS_BUDGET asks for the quick mode. Raises ValueError for a value it does not know."""
    budget = os.environ.get("GENMODELS_BUDGET", "full")
    if budget not in ("full", "smoke"):
        raise ValueError(f"GENMODELS_BUDGET must be 'full' or 'smoke', got {budget!r}")
    return budget == "smoke"


def checkout():
    """The root of the checkout that this package runs from, or None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def find():
    """Path of data/mnist/mnist.npz in a checkout; None outside one, where `load` asks keras.datasets.mnist."""
    root = checkout()
    return root / "data" / "mnist" / "mnist.npz" if root else None


def read(path):
    """The four uint8 arrays of the .npz file at `path`, verified.

    Raises DataError where there is no file, or it cannot be read, or it holds something else.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: expected the MNIST file, found nothing; {_REMEDY}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in SHA256}
    except Exception as error:  # what a damaged archive raises is of many kinds
        raise DataError(
            f"{path}: expected an .npz archive with {', '.join(SHA256)}, got an unreadable one ({error}); {_REMEDY}"
        ) from error
    return verify(arrays, path)


def download():
    """The same four arrays from keras.datasets.mnist (kept in Keras's own cache), verified. Raises DataError."""
    from keras.datasets import mnist

    try:
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where there is no network
        raise DataError(f"keras.datasets.mnist: expected to load MNIST, got: {error}; {_REMEDY}") from error
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return verify(arrays, "keras.datasets.mnist")


def verify(arrays, source):
    """Returns `arrays` if each has the SHA-256 of the real MNIST; raises DataError, naming `source`, otherwise."""
    for name, expected in SHA256.items():
        found = hashlib.sha256(np.ascontiguousarray(arrays[name]).tobytes()).hexdigest()
        if found != expected:
            raise DataError(f"{source}: {name} expected SHA-256 {expected}, got {found}; {_REMEDY}")
    return arrays


@lru_cache(maxsize=2)
def _load(path, smoke):
    sizes = SMOKE_SIZES if smoke else {"train": None, "validation": None, "test": None}
    return Dataset(read(path) if path else download(), sizes)


def load(path=None):
    """MNIST as a Dataset, verified; under GENMODELS_BUDGET=smoke the first images of each split only.

    path: the .npz file; by default the one that `find` gives. Errors: those of `read`.
    """
    return _load(path or find(), smoke_budget())


def checked_images(images, side=SIDE, *, name="images"):
    """Images (N, side, side, 1) in [0, 1] as an array; ValueError for anything else."""
    return checks.array(name, images, ("N", side, side, 1), 0, 1)


def checked_labels(labels):
    """Labels (N,), whole numbers 0-9, as an array; ValueError for anything else."""
    return checks.array("labels", labels, ("N",), 0, LABELS - 1, whole=True)


def checked_conditions(values):
    """Conditions (N, 3) as an array; ValueError for what is not [label 0-9, pos_x 0-2, pos_y 0-2]."""
    expected = "conditions [label 0-9, pos_x 0-2, pos_y 0-2]"
    values = checks.array(expected, values, ("N", 3), 0, LABELS - 1, whole=True)
    checks.array(f"{expected}: the positions", values[:, 1:], ("N", 2), 0, GRID - 1, whole=True)
    return values


def quantise(images, dtype="float32"):
    """Images with each value set to 0 (below 0.5) or 1 (from 0.5 on); same shape."""
    return (checks.array("images", images, None, 0, 1) >= 0.5).astype(dtype)


def shift(images, right, down, *, reach=2):
    """Images (N, 28, 28, 1) moved by whole pixels, with 0 where nothing was.

    right, down: whole numbers (N,) from -reach to reach. Raises ValueError for others.
    """
    images = checked_images(images)
    right, down = (
        checks.array(name, values, ("N",), -reach, reach, whole=True)
        for name, values in (("right", right), ("down", down))
    )
    checks.same_length(images=images, right=right, down=down)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    return windows[np.arange(len(images)), reach - down, reach - right, 0][..., None]


def varied(images, rng):
    """What a judge is trained on: images (N, 28, 28, 1), each moved by up to 2 pixels, half of them quantised.

    Quantised, because it judges grey and black-and-white drawings alike; moved, because a drawing may sit a little off.
    """
    images = checked_images(images)
    moved = shift(images, *rng.integers(-2, 3, (2, len(images))))
    return np.where(rng.random((len(images), 1, 1, 1)) < 0.5, quantise(moved), moved)


def conditions(labels, pos_x, pos_y):
    """Conditions [label, pos_x, pos_y] as int32 of shape (N, 3).

    labels: 0-9. pos_x (column, from the left), pos_y (row, from the top): 0-2. Integers or arrays of them, broadcast
    against each other. Raises ValueError for anything else.
    """
    columns = [
        checks.array(name, np.atleast_1d(values), ("N",), 0, limit - 1, whole=True)
        for name, values, limit in (("label", labels, LABELS), ("pos_x", pos_x, GRID), ("pos_y", pos_y, GRID))
    ]
    if len(lengths := {len(column) for column in columns} - {1}) > 1:
        raise ValueError(f"label, pos_x and pos_y must be as many as each other, or one, got {sorted(lengths)}")
    return np.stack(np.broadcast_arrays(*columns), axis=-1).astype("int32")


def all_positions():
    """The nine cells of the grid, row by row: int32 of shape (9, 2), columns pos_x and pos_y."""
    rows, columns = np.divmod(np.arange(GRID * GRID), GRID)
    return np.stack([columns, rows], axis=-1).astype("int32")


def place(images, positions):
    """Puts each digit on an empty 56x56 canvas, 14 * position pixels from the left and from the top.

    images: (N, 28, 28, 1). positions: (N, 2) whole numbers 0-2, pos_x and pos_y. Returns (N, 56, 56, 1), in the
    dtype of images. Raises ValueError for other shapes or a position off the grid.
    """
    images = checked_images(images)
    positions = checks.array("positions", positions, ("N", 2), 0, GRID - 1, whole=True)
    checks.same_length(images=images, positions=positions)
    canvas = np.zeros((len(images), CANVAS, CANVAS, 1), images.dtype)
    for pos_x, pos_y in all_positions():
        here = np.flatnonzero((positions == (pos_x, pos_y)).all(axis=1))
        top, left = STRIDE * pos_y, STRIDE * pos_x
        canvas[here, top : top + SIDE, left : left + SIDE] = images[here]
    return canvas


def on_canvas(split, chosen, rng):
    """Canvases (B, 56, 56, 1) and conditions (B, 3) of the images `chosen` (B,), each in a cell drawn with `rng`."""
    positions = rng.integers(0, GRID, (len(chosen), 2))
    placed = place(split.images[chosen], positions)
    return placed, conditions(split.labels[chosen], positions[:, 0], positions[:, 1])
