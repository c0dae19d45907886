"""Data sets that Keras keeps in its cache. Nothing is fetched unless the caller asks for it."""

import contextlib
import io
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from unittest import mock

import numpy as np

from genmodels.config import quiet_start
from genmodels.readers import DatasetError

# Data sets of images in keras.datasets, with the names of their classes where Keras documents them.
NAMES = {
    "mnist": None,
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": None,
}  # fmt: skip


class _NotAskedForError(OSError):
    """Keras wants to fetch a file that nobody asked for."""


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """Refuse what Keras would fetch, and hide its line "Downloading data from ..."."""

    def refuse(*_, **__):
        raise _NotAskedForError("it is not in Keras's cache")

    with mock.patch.object(urllib.request, "urlopen", refuse), contextlib.redirect_stdout(io.StringIO()):
        yield


def load_keras(name: str, *, download: bool = False) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Load a data set with keras.datasets.

    Args:
        name: A key of NAMES.
        download: Whether Keras may fetch a missing file.

    Returns:
        (training images, labels), (test images, labels).

    Raises:
        DatasetError: The data set is not in Keras's cache, or cannot be fetched or read.
    """
    with quiet_start():
        datasets = import_module("keras.datasets")
    try:
        with contextlib.nullcontext() if download else _without_network():
            return getattr(datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception without a network
        why = " ".join(str(error).split())[:200]
        remedy = "connect to the network and try again" if download else _how_to_fetch(name)
        raise DatasetError(f"keras.datasets.{name}: expected to load it, got: {why}; {remedy}") from error


def _how_to_fetch(name):
    return f'fetch it once with load_dataset("{name}", download=True), or --download on the command line'
