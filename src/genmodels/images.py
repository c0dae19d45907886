"""Images and labels: validated, binarized, moved; `Split` holds them together. NumPy only.

Images are float32 of shape (N, height, width, channels) in [0, 1]; labels are int32 of shape (N,), from 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from genmodels import validation

SIDE = 28  # pixels along the side of a digit of MNIST
SHAPE = (SIDE, SIDE, 1)
LABELS = 10


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images with their labels.

    Attributes:
        images: Shape (N, height, width, channels), values in [0, 1].
        labels: Shape (N,), whole numbers from 0; None for images without labels.
    """

    images: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        labels = "without labels" if self.labels is None else "with labels"
        return f"Split({len(self)} images of {'x'.join(map(str, self.image_shape))}, {labels})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return self.images.shape[1:]

    def batch(self, indices: ArrayLike) -> np.ndarray:
        """Return chosen images; the others stay as they are stored, in memory or on disk.

        Args:
            indices: Shape (B,), whole numbers below the length of the split; also a slice or a mask.

        Returns:
            float32 images of shape (B, height, width, channels).
        """
        return np.asarray(self.images[indices], "float32")

    def select(self, indices: ArrayLike) -> "Split":
        """Return the split that holds only chosen images, with their labels.

        Args:
            indices: Shape (B,), whole numbers below the length of the split; also a slice or a mask.
        """
        return Split(self.images[indices], None if self.labels is None else self.labels[indices])

    def binarized(self, dtype: DTypeLike = "float32") -> "Split":
        """Return this split with binarized images of the given dtype, see `binarize`."""
        return Split(binarize(self.images, dtype), self.labels)

    def typical(self, digit: int) -> np.ndarray:
        """Return the most typical image of a class: the one nearest to the mean of its images, by squared error.

        Args:
            digit: Label, such as 0-9 for MNIST.

        Returns:
            One image of shape (height, width, channels).

        Raises:
            ValueError: The digit is not a label, or the split holds no image of it.
        """
        validation.number("digit", digit, 0, whole=True)
        if self.labels is None:
            raise ValueError(f"expected a split with labels, to find the typical {digit!r}, got none")
        images = self.batch(np.flatnonzero(self.labels == digit))
        if not len(images):
            raise ValueError(f"expected a digit that occurs in this split, got {digit!r}")
        return images[np.square(images - images.mean(axis=0)).sum(axis=(1, 2, 3)).argmin()]


class StoredSplit(Split):
    """A split whose images stay in their stored form until they are used, perhaps on disk.

    Args:
        stored: Shape (N, height, width, channels), any dtype of numbers.
        divisor: Stored value of white. Images are divided by it.
        labels: Shape (M,), or None.
        rows: Shape (M,), the rows of `stored` in this split; None for all.
    """

    def __init__(
        self, stored: np.ndarray, divisor: float, labels: np.ndarray | None, rows: np.ndarray | None = None
    ) -> None:
        vars(self).update(stored=stored, divisor=divisor, labels=labels, rows=rows, image_shape=stored.shape[1:])
        vars(self)["count"] = len(stored) if rows is None else len(rows)

    image_shape = None  # set above, without a look at the images

    def __len__(self) -> int:
        return self.count

    @cached_property
    def images(self) -> np.ndarray:
        """All images as float32, converted on first use and kept: four times the memory of bytes. See `batch`."""
        images = np.empty((len(self), *self.image_shape), "float32")
        for start in range(0, len(self), 1024):
            images[start : start + 1024] = self.batch(slice(start, start + 1024))
        vars(self)["stored"] = None  # not kept twice
        return images

    def batch(self, indices: ArrayLike) -> np.ndarray:
        """Return chosen images, see `Split.batch`."""
        if self.stored is None:
            return super().batch(indices)
        chosen = self.stored[indices if self.rows is None else self.rows[indices]]
        images = np.array(chosen, "float32", order="C", subok=False)
        if self.divisor != 1:
            images /= self.divisor
        return images

    def select(self, indices: ArrayLike) -> Split:
        """Return the split that holds only chosen images, see `Split.select`."""
        if self.stored is None:
            return super().select(indices)
        rows = np.arange(len(self))[indices] if self.rows is None else self.rows[indices]
        return StoredSplit(self.stored, self.divisor, None if self.labels is None else self.labels[indices], rows)


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


def translate(
    images: ArrayLike, right: ArrayLike, down: ArrayLike, *, reach: int = 2, border: str = "zero"
) -> np.ndarray:
    """Move images by whole pixels and fill the uncovered border.

    Args:
        images: Shape (N, height, width, channels), values in [0, 1].
        right: Shape (N,), whole pixels from -reach to reach.
        down: Shape (N,), whole pixels from -reach to reach.
        reach: Largest shift in pixels.
        border: "zero" fills with 0, as for ink on black; "edge" repeats the pixels at the edge, as for photographs.

    Returns:
        The moved images, shape (N, height, width, channels).

    Raises:
        ValueError: A shift is out of range, or an argument has another shape or dtype.
    """
    images = validate_images(images)
    mode = {"zero": "constant", "edge": "edge"}[validation.choice("border", border, ("zero", "edge"))]
    right, down = (
        validation.array(name, values, ("N",), -reach, reach, whole=True)
        for name, values in (("right", right), ("down", down))
    )
    validation.same_length(images=images, right=right, down=down)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    return np.moveaxis(windows[np.arange(len(images)), reach - down, reach - right], 1, -1)


def augment(
    images: ArrayLike, rng: np.random.Generator, *, reach: int = 2, binarized_share: float = 0.5, border: str = "zero"
) -> np.ndarray:
    """Move each image by a few pixels on both axes and binarize about half of the images.

    A classifier trained on the result accepts grey and binarized images alike, also slightly off-centre ones.

    Args:
        images: Shape (N, height, width, channels), values in [0, 1].
        rng: Source of the shifts and of the choice of images.
        reach: Largest shift in pixels; less than 2 for images as small as 8x8.
        binarized_share: Share of binarized images. 0 for data that are never binarized: grey levels and colours.
        border: See `translate`; "edge" suits images that fill the frame.

    Returns:
        New images, shape (N, height, width, channels).

    Raises:
        ValueError: The images have another shape, dtype or range.
    """
    images = validate_images(images)
    validation.number("reach", reach, 0, whole=True)
    validation.number("binarized_share", binarized_share, 0, 1)
    shifts = rng.integers(-reach, reach + 1, (2, len(images)))
    moved = translate(images, *shifts, reach=max(reach, 1), border=border)
    if not binarized_share:
        return moved
    return np.where(rng.random((len(images), 1, 1, 1)) < binarized_share, binarize(moved), moved)
