"""Images and labels from .npz archives, .npy files and IDX files. NumPy only."""

import gzip
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genmodels.readers import DatasetError, Part

_PARTS = {
    "train": "train", "training": "train", "tr": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test", "te": "test", "t10k": "test",
}  # fmt: skip
_IMAGES = {"x", "image", "images", "img", "imgs", "data", "pixels", "pictures", "features"}
_LABELS = {"y", "label", "labels", "target", "targets"}
_CLASS_NAMES = {"class_names", "label_names", "target_names", "classes", "names"}
_CHOOSE = 'choose them with images="..." and labels="...", and for a test set test_images and test_labels'


def npz_parts(
    path: str | Path,
    *,
    images: str | None = None,
    labels: str | None = None,
    test_images: str | None = None,
    test_labels: str | None = None,
) -> tuple[dict[str, Part], tuple[str, ...] | None]:
    """Return the parts of an archive, see `Dataset.from_npz`.

    Args:
        path: An .npz file, an .npy file, or a folder of .npy files.
        images: Name of the array of images; None to recognise it.
        labels: Name of the array of labels.
        test_images: Name of the array of test images.
        test_labels: Name of the array of their labels.

    Returns:
        {"train": Part, ...}, and the names of the classes if the archive holds them.

    Raises:
        DatasetError: The archive is unreadable, or does not hold the arrays.
    """
    path = Path(path)
    arrays = _open(path)
    chosen = {("train", "images"): images, ("train", "labels"): labels}
    chosen |= {("test", "images"): test_images, ("test", "labels"): test_labels}
    chosen = {role: name for role, name in chosen.items() if name is not None}
    if unknown := [name for name in chosen.values() if name not in arrays]:
        raise DatasetError(f"{path}: expected an array {unknown[0]!r}, got {_described(arrays)}; {_CHOOSE}")
    roles = chosen if images is not None else {**_recognised(arrays, path), **chosen}
    if ("train", "images") not in roles:
        raise DatasetError(
            f"{path}: expected arrays such as x_train and y_train, or images and labels, got {_described(arrays)}; "
            f"{_CHOOSE}"
        )
    parts = {}
    for part in ("train", "validation", "test"):
        if name := roles.get((part, "images")):
            label = roles.get((part, "labels"))
            found = None if label is None else arrays[label]
            parts[part] = Part(arrays[name], found, f"{path}: {name}", f"{path}: {label}")
        elif label := roles.get((part, "labels")):
            raise DatasetError(f"{path}: expected images for {label}, got {_described(arrays)}; {_CHOOSE}")
    _tell_unused(path, arrays, roles, parts)
    return parts, _class_names(arrays, set(roles.values())) if ("train", "labels") in roles else None


def _described(arrays):
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"


def _tell_unused(path, arrays, roles, parts):
    """Warn of an array that may hold the labels of images that have none."""
    count = len(parts["train"].images)
    if ("train", "labels") not in roles and (
        other := [name for name, array in arrays.items() if name not in roles.values() and len(array) == count]
    ):
        warnings.warn(
            f"{path}: {roles['train', 'images']} is read without labels; if {other[0]} holds them, give "
            f'labels="{other[0]}"',
            stacklevel=2,
        )


def _class_names(arrays, used):
    for name, array in arrays.items():
        if name.lower() in _CLASS_NAMES and name not in used and array.ndim == 1 and array.dtype.kind == "U":
            return tuple(array.tolist())
    return None


def _recognised(arrays, path):
    """Return {(part, "images" or "labels"): name} of arrays with usual names, such as x_train, testLabels, arr_0."""
    found = {}
    for name, array in arrays.items():
        if (role := _role(name)) and array.ndim:
            found.setdefault(role, []).append(name)
    plain = {kind: found.pop(("", kind)) for kind in ("images", "labels") if ("", kind) in found}
    if not any(part == "train" for part, _ in found):
        found |= {("train", kind): names for kind, names in plain.items()}
    for names in found.values():
        if len(names) > 1:
            raise DatasetError(f"{path}: expected one array of a kind, got {' and '.join(names)}; {_CHOOSE}")
    return {role: names[0] for role, names in found.items()}


def _role(name):
    """Return the part and the kind that the name of an array tells; None if it does not."""
    if name in ("arr_0", "arr_1"):  # np.savez(path, images, labels)
        return "", "images" if name == "arr_0" else "labels"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", " ", name).lower()
    words = re.sub(r"\b([xy])(train|tr|val|valid|test|te)\b", r"\1 \2", words).split()
    part = [_PARTS[word] for word in words if word in _PARTS]
    kind = ["images" if word in _IMAGES else "labels" for word in words if word in _IMAGES | _LABELS]
    known = len(words) == len(part) + len(kind) and len(part) <= 1 and len(kind) == 1
    return ("".join(part), kind[0]) if known else None


def _open(path: Path) -> Mapping[str, Any]:
    """Return {name: array} of an .npz file, an .npy file or a folder of .npy files. The latter stay on disk."""
    if path.is_dir():
        files = [each for each in listing(path) if each.suffix.lower() == ".npy"]
        if not files:
            raise DatasetError(f"{path}: expected .npy files, such as images.npy and labels.npy, got none; add them")
        return {each.stem: _mapped(each) for each in files}
    if not path.is_file():
        raise DatasetError(f"{path}: expected an .npz or .npy file, got nothing there; check the path")
    begin = _begin(path)
    if begin.startswith(b"\x93NUMPY"):
        return {"images": _mapped(path)}
    if not begin.startswith(b"PK"):
        kind = "a pickle, which may run code when it is opened" if begin[:1] == b"\x80" else _shown(begin)
        raise DatasetError(f"{path}: expected an .npz or .npy file, got {kind}; write one with np.savez")
    found = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                with _without_pickled(name):
                    found[name] = file[name]
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise _unreadable(path, error) from error
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


@contextmanager
def _without_pickled(name):
    """Leave out pickled objects that lie beside the images, such as notes."""
    try:
        yield
    except ValueError as error:
        if "pickle" not in str(error) or _role(name):
            raise


def _begin(path):
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise DatasetError(f"{path}: expected a readable file, got {error.strerror}; change its rights") from error


def _shown(begin):
    return f"a file that begins with {begin!r}" if begin else "an empty file"


def _mapped(path):
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array if array.ndim > 1 else np.array(array)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path, error):
    if "pickle" in str(error) or "Python objects" in str(error):
        return DatasetError(
            f"{path}: expected arrays of numbers, got pickled objects, which may run code when they are opened; save "
            "images of one size with np.savez(path, images=np.stack(images))"
        )
    damaged = isinstance(error, (zipfile.BadZipFile, zlib.error, EOFError))
    what = "a damaged archive" if damaged else "an unreadable one"
    return DatasetError(f"{path}: expected an .npz or .npy file, got {what} ({error}); write or download it again")


_IDX = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<part>train|t10k|test)[-_.](?P<kind>images|labels)[-_.]idx\d[-_.]ubyte(\.gz)?", re.IGNORECASE
)
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def is_idx(name: str) -> bool:
    """Return whether a file's name is one of an IDX set, such as train-images-idx3-ubyte.gz."""
    return bool(_IDX.fullmatch(name))


def idx_parts(folder: str | Path, *, prefix: str | None = None) -> dict[str, Part]:
    """Return the parts of a folder of IDX files, see `Dataset.from_idx`.

    Args:
        folder: The folder.
        prefix: Beginning of the names, for a folder with several sets.

    Returns:
        {"train": Part, "test": Part}; no "test" where the folder has no test images.

    Raises:
        DatasetError: Files are missing, damaged, or do not fit each other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: expected a folder of IDX files, got {'a file' if folder.exists() else 'nothing'} "
            "there; give the folder that holds train-images-idx3-ubyte"
        )
    found, sets = {}, set()
    for path in reversed(listing(folder)):  # the uncompressed file of a pair comes last and stays
        if (match := _IDX.fullmatch(path.name)) and (prefix is None or match["set"] == prefix):
            part = "train" if match["part"].lower() == "train" else "test"
            found[part, match["kind"].lower()] = path
            sets.add(match["set"])
    if len(sets) > 1:
        raise DatasetError(f"{folder}: expected one IDX set, got {', '.join(sorted(sets))}; choose one with prefix=")
    if ("train", "images") not in found:
        raise DatasetError(
            f"{folder}: expected train-images-idx3-ubyte or the same with .gz, got {_names(folder)}; "
            "give the folder that holds it"
        )
    parts = {}
    for part in ("train", "test"):
        images, labels = found.get((part, "images")), found.get((part, "labels"))
        if labels and not images:
            raise DatasetError(
                f"{labels}: expected images beside it, got none; add {labels.name.replace('labels', 'images')}"
            )
        if images:
            parts[part] = Part(
                read_idx(images), read_idx(labels) if labels else None, str(images), str(labels or images)
            )
    return parts


def _names(folder):
    return ", ".join(path.name for path in listing(folder)[:5]) or "an empty folder"


def listing(folder: str | Path) -> list[Path]:
    """Return what a folder holds, sorted.

    Args:
        folder: The folder.

    Raises:
        DatasetError: The folder cannot be read.
    """
    try:
        return sorted(Path(folder).iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: expected a readable folder, got {error.strerror}; change its rights") from error


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file. An uncompressed one stays on disk, as a memory map.

    Args:
        path: The file, compressed by gzip or not, whatever its suffix says.

    Returns:
        The array.

    Raises:
        DatasetError: The file is empty, truncated, or no IDX file.
    """
    path = Path(path)
    packed = _begin(path)[:2] == b"\x1f\x8b"
    try:
        with (gzip.open if packed else open)(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not head[3]:
                raise DatasetError(f"{path}: expected an IDX file, got {_shown(head)}; download it again")
            lengths = file.read(4 * head[3])
            if len(lengths) < 4 * head[3]:
                raise EOFError("its head is cut off")
            shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
            dtype, offset = np.dtype(_TYPES[head[2]]), 4 + 4 * head[3]
            expected = dtype.itemsize * int(np.prod(shape, dtype=object))
            content = file.read() if packed else b""
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: expected an IDX file, got a damaged one ({error}); download it again") from error
    size = len(content) if packed else path.stat().st_size - offset
    if size != expected:
        raise DatasetError(
            f"{path}: expected {expected} bytes of data for shape {shape}, got {size}; download it again"
        )
    if packed:
        return np.frombuffer(content, dtype).reshape(shape)
    return np.memmap(path, dtype, "r", offset, shape) if expected else np.zeros(shape, dtype)
