"""Readers of images and labels: from arrays, archives, IDX files, folders of pictures and Keras's cache."""

from typing import NamedTuple

from numpy.typing import ArrayLike


class DatasetError(ValueError):
    """A data set is missing, unreadable or of a kind that cannot be used.

    The message names the file or argument, what was expected, what came, and the remedy.
    """


class Part(NamedTuple):
    """Images and labels as they were found.

    Attributes:
        images: Images in any of the forms that `assemble` accepts.
        labels: Their labels, or None.
        name: Name of the images in messages, such as "letters.npz: x_train".
        labels_name: Name of the labels in messages.
    """

    images: ArrayLike
    labels: ArrayLike | None = None
    name: str = "images"
    labels_name: str = "labels"
