"""Images from a folder of pictures, decoded by Pillow into one file of the cache."""

import hashlib
import os
import tempfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genmodels import config, validation
from genmodels.readers import DatasetError, Part
from genmodels.readers.labels import natural

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm")
_PARTS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_FORMAT = "1"  # of the cache; another one makes all of it anew


class Picture(NamedTuple):
    """A picture and its place in the data set."""

    path: Path
    part: str
    label: str | None


def folder_parts(
    folder: str | Path, *, size: tuple[int, int] | None = None, channels: int | None = None, background: str = "white"
) -> dict[str, Part]:
    """Return the parts of a folder of pictures, see `Dataset.from_folder`.

    Args:
        folder: The folder.
        size: Height and width to resize to; None if all pictures have one size.
        channels: 1 for grey, 3 for colour; None for 3 if any picture is in colour.
        background: Colour behind transparent pictures, as Pillow names it.

    Returns:
        {"train": Part, ...}: images are uint8, mapped from a file in the cache; labels are the names of folders.

    Raises:
        DatasetError: The folder has no pictures, or one that cannot be used.
    """
    folder = Path(folder)
    size, channels, background = _options(size, channels, background)
    pictures = _listed(folder)
    key = _key(folder, pictures, (_FORMAT, size, channels, background))
    path = config.cache_folder() / "datasets" / f"{key}.npy"
    images = _cached(path)
    if images is None:
        size = size or _common_size(pictures)
        channels = channels or _channels(pictures, background)
        decoded = (_decode(picture.path, size, channels, background) for picture in pictures)
        _write(path, decoded, (len(pictures), *size, channels))
        images = np.load(path, mmap_mode="r")
    parts = {}
    for part in sorted({picture.part for picture in pictures}):
        rows = [row for row, picture in enumerate(pictures) if picture.part == part]
        labels = [pictures[row].label for row in rows]
        labels = None if labels[0] is None else np.array(labels)
        parts[part] = Part(images[rows[0] : rows[-1] + 1], labels, printable(folder), printable(folder))
    return parts


def _options(size, channels, background):
    from PIL import ImageColor

    if size is not None:
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise DatasetError(f"size: expected (height, width), got {size!r}; give two numbers")
        size = tuple(validation.number(f"size[{axis}]", length, 1, whole=True) for axis, length in enumerate(size))
    if channels not in (None, 1, 3):
        raise DatasetError(f"channels: expected 1 for grey or 3 for colour, got {channels!r}; choose one of them")
    try:
        return size, channels, ImageColor.getrgb(background)[:3]
    except (ValueError, TypeError):
        raise DatasetError(
            f'background: expected a colour such as "white" or "#80ff00", got {background!r}; choose another'
        ) from None


def printable(path: str | Path) -> str:
    """Return a path as text that any terminal can show, also if its bytes are no text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _listed(folder):
    """Return the pictures of a folder, sorted by part, class and name. Warn of what is left out."""
    if not folder.is_dir():
        there = "a file" if folder.exists() else "nothing"
        raise DatasetError(f"{printable(folder)}: expected a folder of pictures, got {there} there; check the path")
    folders, files, left = _children(folder)
    parts = {each: _PARTS.get(each.name.lower()) for each in folders}
    if "train" in parts.values() and len(parts) > 1 and None not in parts.values():
        places = sorted(parts.items(), key=lambda each: each[1])
        left += files
    else:
        places, left = [(folder, "train")], []
    pictures = []
    for place, part in places:
        found, other = _of_part(place, part)
        pictures += found
        left += other
    _tell_left_out(folder, left)
    if not pictures:
        raise DatasetError(
            f"{printable(folder)}: expected pictures ({', '.join(SUFFIXES)}) in it or in one folder for each class, "
            "got none; check the path"
        )
    if len({picture.label is None for picture in pictures}) > 1:
        raise DatasetError(f"{printable(folder)}: expected class folders in each part or in none, got both; sort them")
    return pictures


def _of_part(place, part):
    """Return the pictures of one part, and the files that are left out."""
    folders, files, left = _children(place)
    found, empty = [], []
    for each in sorted(folders, key=lambda path: natural(path.name)):
        inside, other = _inside(each, set())
        left += other
        label = unicodedata.normalize("NFC", printable(each.name))
        found += [Picture(path, part, label) for path in sorted(inside, key=lambda path: natural(str(path)))]
        empty += [] if inside else [label]
    if empty and found:
        warnings.warn(f"{printable(place)}: no picture in {', '.join(empty)}, so it is no class", stacklevel=2)
    if found:
        return found, left + files
    return [Picture(path, part, None) for path in sorted(files, key=lambda path: natural(path.name))], left


def _children(folder):
    """Return the folders, pictures and other files of a folder. Hidden folders are none of them."""
    folders, files, other = [], [], []
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(
            f"{printable(folder)}: expected a readable folder, got {error.strerror}; change its rights"
        ) from error
    for path in children:
        hidden = path.name.startswith((".", "__MACOSX"))
        if path.is_dir():
            folders += [] if hidden else [path]
        elif path.is_file() and path.suffix.lower() in SUFFIXES and not hidden:
            files.append(path)
        else:
            other.append(path)
    return folders, files, other


def _inside(folder, seen):
    """Return the pictures and other files in a folder and in its folders. `seen` stops circles of links."""
    if (real := folder.resolve()) in seen:
        return [], []
    seen.add(real)
    folders, files, other = _children(folder)
    for each in folders:
        inside, more = _inside(each, seen)
        files += inside
        other += more
    return files, other


def _tell_left_out(folder, left):
    if left:
        names = ", ".join(printable(path.relative_to(folder)) for path in left[:3]) + (", ..." if left[3:] else "")
        warnings.warn(
            f"{printable(folder)}: {len(left)} files are left out, as no pictures of a class: {names}", stacklevel=2
        )


def _key(folder, pictures, options):
    """Return a checksum of all pictures, their names, and the options of the decoding."""
    total = hashlib.sha256(repr(options).encode())
    for picture in pictures:
        total.update(os.fsencode(picture.path.relative_to(folder)) + b"\0")
        with _Naming(picture.path), picture.path.open("rb") as file:
            content = hashlib.sha256()
            while block := file.read(2**20):
                content.update(block)
        total.update(content.digest())
    return total.hexdigest()


class _Naming:
    """Name the picture in any error of Pillow, which raises many kinds for damaged files."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, DatasetError):
            why = " ".join(str(error).replace(str(self.path), "it").split()) or kind.__name__
            raise DatasetError(
                f"{printable(self.path)}: expected a picture that Pillow can read, got {why:.160}; replace or remove it"
            ) from error


def _common_size(pictures):
    """Return height and width of the pictures; refuse the first of another size."""
    from PIL import Image

    sizes = []
    for picture in pictures:
        with _Naming(picture.path), Image.open(picture.path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5  # a camera that was held upright
            sizes.append((width, height) if turned else (height, width))
    (common, count), *_ = Counter(sizes).most_common(1)
    if (odd := next((index for index, size in enumerate(sizes) if size != common), None)) is not None:
        height, width = sizes[odd]
        raise DatasetError(
            f"{printable(pictures[odd].path)}: expected {common[0]}x{common[1]} pixels as {count} of {len(sizes)} "
            f"pictures have, got {height}x{width}; size=({common[0]}, {common[1]}) resizes all"
        )
    return common


def _channels(pictures, background):
    """Return 3 if a picture is in colour, otherwise 1. Warn if others are grey."""
    grey = 0
    for picture in pictures:
        with _Naming(picture.path):
            image = None if _is_grey(picture.path) else _eight_bits(picture.path, background)
        if image and image.mode != "L":
            red, green, blue = (np.asarray(band) for band in image.split())
            if (red != green).any() or (red != blue).any():
                if grey:
                    warnings.warn(
                        f"{printable(picture.path)}: in colour, but {grey} pictures before it are grey; all get 3 "
                        "channels; channels=1 makes all grey",
                        stacklevel=2,
                    )
                return 3
        grey += 1
    return 1


def _is_grey(path):
    """Return whether the head of a file tells that its picture is grey."""
    from PIL import Image

    with Image.open(path) as image:
        return image.mode in ("1", "L", "I", "I;16", "I;16B", "I;16L") and "transparency" not in image.info


def _eight_bits(path, background):
    """Return a picture of Pillow's mode L or RGB, upright, without transparency."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"values from {values.min()} to {values.max()}, expected 16 bits")
        return Image.fromarray(np.rint(values / 257).astype("uint8"))
    if image.mode == "F":
        raise ValueError("32-bit floats, which have no agreed white; save the arrays as .npz")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("LA") if image.mode == "La" else image
        behind = Image.new("RGBA", image.size, (*background, 255))
        behind.alpha_composite(image.convert("RGBA"))
        return behind.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _decode(path, size, channels, background):
    """Return a picture as uint8 of shape (height, width, channels)."""
    from PIL import Image

    with _Naming(path):
        image = _eight_bits(path, background).convert("L" if channels == 1 else "RGB")
        if image.size != size[::-1]:
            image = image.resize(size[::-1], Image.Resampling.LANCZOS)
        return np.asarray(image).reshape(*size, channels)


def _cached(path):
    """Return the decoded images of an earlier call, mapped from the cache; None without them."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):  # missing or damaged
        return None


def _write(path: Path, images: Iterator[np.ndarray], shape: tuple[int, ...]) -> None:
    """Write images one after another to an .npy file, which appears only when it is complete."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written, not mapped: a full disk is then an error instead of the end of the process.
        with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
            new = Path(folder) / path.name
            with new.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for image in images:
                    file.write(image.tobytes())
            os.replace(new, path)
    except OSError as error:
        raise DatasetError(
            f"{printable(path)}: expected to write decoded pictures, got {error.strerror or error}; make room, or "
            "choose another folder with GENMODELS_CACHE"
        ) from error
