"""The files of MNIST: found, read and verified. NumPy only."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from genmodels.config import checkout
from genmodels.readers import DatasetError
from genmodels.readers.keras_cache import load_keras

SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
# SHA-256 of data/mnist/mnist.npz. Its arrays need not be unpacked to be known.
ARCHIVE = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


def find() -> Path | None:
    """Return the path of data/mnist/mnist.npz in a checkout.

    Returns:
        The path, or None outside a checkout. MNIST then comes from Keras's cache, see `from_keras`.
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
        return SHA256  # `from_keras` accepts nothing else
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
        raise DatasetError(f"{path}: expected the MNIST file, got nothing there; {_remedy(path)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in SHA256}
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise DatasetError(
            f"{path}: expected an .npz archive with {', '.join(SHA256)}, got an unreadable one ({error}); "
            f"{_remedy(path)}"
        ) from error


def from_keras(*, download: bool = False) -> dict[str, np.ndarray]:
    """Load MNIST from Keras's cache, and verify it.

    Args:
        download: Whether Keras may fetch a missing file.

    Returns:
        The four uint8 arrays of MNIST by name.

    Raises:
        DatasetError: Keras cannot load MNIST, or the arrays are not those of MNIST.
    """
    (x_train, y_train), (x_test, y_test) = load_keras("mnist", download=download)
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
            raise DatasetError(f"{source}: {name} expected SHA-256 {expected}, got {got}; {_remedy(source)}")
    return arrays


def _remedy(source):
    """Return what helps where the file of MNIST is missing or another one."""
    other = "for other images, load_mnist(path, verify=False)"
    if source == find():
        return f"restore it with `git checkout -- data/mnist/mnist.npz`; {other}"
    if source == "keras.datasets.mnist":
        return 'delete mnist.npz from Keras\'s cache and fetch it with load_dataset("mnist", download=True)'
    return f"give the path of the real mnist.npz; {other}"
