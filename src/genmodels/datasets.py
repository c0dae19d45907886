"""MNIST: find it, verify it, load it and split it. NumPy only.

Images are float32 of shape (N, 28, 28, 1) in [0, 1]; labels are int32 of shape (N,), 0 to 9.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from genmodels import validation
from genmodels.config import checkout, quick_mode

SIDE = 28  # pixels along the side of a digit
SHAPE = (SIDE, SIDE, 1)
LABELS = 10
VALIDATION = 5_000  # images, the last ones of MNIST's training set
SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


# SHA-256 of data/mnist/mnist.npz. Its arrays need not be unpacked to be known.
ARCHIVE = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


class DatasetError(ValueError):
    """The MNIST file is missing, unreadable or altered. The message names the file and the remedy."""


_REMEDY = (
    "restore it with `git checkout -- data/mnist/mnist.npz`, or delete it from Keras's cache, and try again; for other "
    "images, load_mnist(path, verify=False)"
)
# Images of each split in the quick mode: enough to run every line of code, far too few to learn from.
QUICK_SIZES = {"train": 1_024, "validation": 256, "test": 1_000}


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: Shape (N, 28, 28, 1), values in [0, 1].
        labels: Shape (N,).
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def binarized(self, dtype: DTypeLike = "float32") -> "Split":
        """Return this split with binarized images of the given dtype, see `binarize`."""
        return Split(binarize(self.images, dtype), self.labels)

    def typical(self, digit: int) -> np.ndarray:
        """Return the most typical image of a digit: the one nearest to the mean of its images, by squared error.

        Args:
            digit: Label, 0-9.

        Returns:
            One image of shape (28, 28, 1).

        Raises:
            ValueError: The digit is not a label, or the split holds no image of it.
        """
        images = self.images[self.labels == validation.number("digit", digit, 0, LABELS - 1, whole=True)]
        if not len(images):
            raise ValueError(f"expected a digit that occurs in this split, got {digit!r}")
        return images[np.square(images - images.mean(axis=0)).sum(axis=(1, 2, 3)).argmin()]


class Dataset:
    """MNIST in the project's splits: 55 000 training, 5 000 validation and 10 000 test images.

    A split takes memory only after its first use: four times the memory of its arrays.

    Args:
        arrays: The four uint8 arrays of MNIST by name, see `SHA256`.
        sizes: Number of images to take from the start of each split; None for all.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int | None]) -> None:
        self._arrays, self._sizes = dict(arrays), sizes

    def _scaled(self, name, images, labels):
        chosen = slice(self._sizes[name])
        scaled = images[chosen, ..., None].astype("float32")
        scaled /= 255.0
        return Split(scaled, labels[chosen].astype("int32"))

    @cached_property
    def _train_and_validation(self):
        x, y = self._arrays.pop("x_train"), self._arrays.pop("y_train")
        validation = self._scaled("validation", x[-VALIDATION:], y[-VALIDATION:])
        return self._scaled("train", x[:-VALIDATION], y[:-VALIDATION]), validation

    @property
    def train(self) -> Split:
        """Images to train on."""
        return self._train_and_validation[0]

    @property
    def validation(self) -> Split:
        """Images to choose settings with."""
        return self._train_and_validation[1]

    @cached_property
    def test(self) -> Split:
        """Images for the reported scores; nothing is chosen on them."""
        return self._scaled("test", self._arrays.pop("x_test"), self._arrays.pop("y_test"))


def find() -> Path | None:
    """Return the path of data/mnist/mnist.npz in a checkout.

    Returns:
        The path, or None outside a checkout. `load_mnist` then asks keras.datasets.mnist.
    """
    root = checkout()
    return root / "data" / "mnist" / "mnist.npz" if root else None


def found() -> dict[str, str]:
    """Return the SHA-256 of each array that `load_mnist()` would load: `SHA256`, unless somebody replaced the file.

    Returns:
        {name: checksum}; empty without a file, and one checksum of the whole file where it is not readable.
    """
    path = find()
    if not path:
        return SHA256  # `download` accepts nothing else
    if not path.is_file():
        return {}
    about = path.stat()
    return _checksums(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _checksums(path, *_):
    archive = hashlib.sha256(path.read_bytes()).hexdigest()
    if archive == ARCHIVE:
        return SHA256
    try:
        return {name: _checksum(array) for name, array in _read(path).items()}
    except DatasetError:
        return {path.name: archive}


def _checksum(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Read MNIST from an .npz file and verify it.

    Args:
        path: The .npz file.

    Returns:
        The four uint8 arrays of MNIST by name.

    Raises:
        DatasetError: The file is missing, cannot be read, or holds other arrays.
    """
    return verify(_read(path), path)


def _read(path):
    if not Path(path).is_file():
        raise DatasetError(f"{path}: expected the MNIST file, found nothing; {_REMEDY}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in SHA256}
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise DatasetError(
            f"{path}: expected an .npz archive with {', '.join(SHA256)}, got an unreadable one ({error}); {_REMEDY}"
        ) from error


def _read_other(path):
    """Return the arrays of an archive that is laid out like MNIST, with any images."""
    arrays = _read(path)
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        least = VALIDATION + 1 if part == "train" else 1
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE) or len(images) < least:
            wanted = f"uint8 of shape (N, {SIDE}, {SIDE}), N >= {least}"
            raise DatasetError(f"{path}: x_{part} must be {wanted}, got {images.dtype} of shape {images.shape}")
        known = labels.dtype.kind in "iu" and np.isin(labels, range(LABELS)).all()
        if not known or labels.shape != images.shape[:1]:
            wanted = f"whole numbers 0-{LABELS - 1} of shape ({len(images)},)"
            raise DatasetError(f"{path}: y_{part} must be {wanted}, got {labels.dtype} of shape {labels.shape}")
    return arrays


def download() -> dict[str, np.ndarray]:
    """Load MNIST from keras.datasets.mnist, which keeps it in Keras's own cache, and verify it.

    Returns:
        The four uint8 arrays of MNIST by name.

    Raises:
        DatasetError: Keras cannot load MNIST, or the arrays are not those of MNIST.
    """
    from keras.datasets import mnist

    try:
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception without a network
        raise DatasetError(f"keras.datasets.mnist: expected to load MNIST, got: {error}; {_REMEDY}") from error
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return verify(arrays, "keras.datasets.mnist")


def verify(arrays: dict[str, np.ndarray], source: str | Path) -> dict[str, np.ndarray]:
    """Return `arrays` if each has the SHA-256 of the real MNIST.

    Args:
        arrays: The four uint8 arrays of MNIST by name.
        source: File or module that the arrays come from, for the error message.

    Returns:
        `arrays`, unchanged.

    Raises:
        DatasetError: A checksum differs.
    """
    for name, expected in SHA256.items():
        if (got := _checksum(arrays[name])) != expected:
            raise DatasetError(f"{source}: {name} expected SHA-256 {expected}, got {got}; {_REMEDY}")
    return arrays


@lru_cache(maxsize=2)
def _load(path, quick, verified):
    sizes = QUICK_SIZES if quick else {"train": None, "validation": None, "test": None}
    if not path:
        return Dataset(download(), sizes)
    return Dataset(read(path) if verified else _read_other(path), sizes)


def load_mnist(path: str | Path | None = None, *, verify: bool = True) -> Dataset:
    """Load MNIST, verified. With GENMODELS_BUDGET=smoke take only the first images of each split.

    Args:
        path: The .npz file; by default the one that `find` returns. Outside a checkout MNIST comes from `download`.
        verify: Whether the arrays must be those of the real MNIST. False takes any archive of the same layout: x_train,
            y_train, x_test, y_test, images uint8 of shape (N, 28, 28). The report takes MNIST alone.

    Returns:
        The splits `train`, `validation` and `test`. Repeated calls return the same object.

    Raises:
        DatasetError: MNIST is missing, unreadable or altered, see `read` and `download`.
    """
    return _load(path or find(), quick_mode(), verify)


def validate_images(
    images: ArrayLike, shape: tuple[int, int, int] | None = None, *, name: str = "images"
) -> np.ndarray:
    """Return images as an array.

    Args:
        images: Shape (N, height, width, channels), values in [0, 1].
        shape: Expected height, width and channels; None accepts any.
        name: Name of the argument, for the error message.

    Returns:
        `images` as an array.

    Raises:
        ValueError: The images have another shape, dtype or range.
    """
    return validation.array(name, images, ("N", *(shape or ("height", "width", "channels"))), 0, 1)


def validate_labels(labels: ArrayLike, num_classes: int = LABELS) -> np.ndarray:
    """Return labels as an array.

    Args:
        labels: Shape (N,), whole numbers from 0 to num_classes - 1.
        num_classes: Number of classes.

    Returns:
        `labels` as an array.

    Raises:
        ValueError: The labels have another shape, dtype or range.
    """
    return validation.array("labels", labels, ("N",), 0, num_classes - 1, whole=True)


def binarize(images: ArrayLike, dtype: DTypeLike = "float32") -> np.ndarray:
    """Set each value of the images to 0 (below 0.5) or 1 (from 0.5 on).

    Args:
        images: Any shape, values in [0, 1].
        dtype: Dtype of the result.

    Returns:
        Array of the same shape with values 0 and 1.

    Raises:
        ValueError: A value lies outside [0, 1] or is not a number.
    """
    return (validation.array("images", images, None, 0, 1) >= 0.5).astype(dtype)


def translate(images: ArrayLike, right: ArrayLike, down: ArrayLike, *, reach: int = 2) -> np.ndarray:
    """Move images by whole pixels and fill the uncovered border with 0.

    Args:
        images: Shape (N, 28, 28, 1), values in [0, 1].
        right: Shape (N,), whole pixels from -reach to reach.
        down: Shape (N,), whole pixels from -reach to reach.
        reach: Largest shift in pixels.

    Returns:
        The moved images, shape (N, 28, 28, 1).

    Raises:
        ValueError: A shift is out of range, or an argument has another shape or dtype.
    """
    images = validate_images(images, SHAPE)
    right, down = (
        validation.array(name, values, ("N",), -reach, reach, whole=True)
        for name, values in (("right", right), ("down", down))
    )
    validation.same_length(images=images, right=right, down=down)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    return windows[np.arange(len(images)), reach - down, reach - right, 0][..., None]


def augment(images: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """Move each image by up to 2 pixels on both axes and binarize about half of the images.

    A classifier trained on the result accepts grey and binarized images alike, also slightly off-centre ones.

    Args:
        images: Shape (N, 28, 28, 1), values in [0, 1].
        rng: Source of the shifts and of the choice of images.

    Returns:
        New images, shape (N, 28, 28, 1).

    Raises:
        ValueError: The images have another shape, dtype or range.
    """
    images = validate_images(images, SHAPE)
    moved = translate(images, *rng.integers(-2, 3, (2, len(images))))
    return np.where(rng.random((len(images), 1, 1, 1)) < 0.5, binarize(moved), moved)
