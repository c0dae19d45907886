"""Arrays of many kinds as images: axes, range, and a complete data set of them. NumPy only."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from genmodels import validation
from genmodels.readers import DatasetError, Part
from genmodels.readers.labels import as_classes, cut

CHANNELS = 4  # an axis of at most this length holds channels
CHUNK = 2**24  # values that are looked at together


class Rows(NamedTuple):
    """The images and labels of one split.

    Attributes:
        stored: Shape (N, height, width, channels), in the dtype of the source.
        divisor: Stored value of white. Images are divided by it.
        labels: int32 of shape (M,), or None.
        rows: Shape (M,), the rows of `stored` in this split; None for all.
    """

    stored: np.ndarray
    divisor: float
    labels: np.ndarray | None
    rows: np.ndarray | None


class Assembled(NamedTuple):
    """A complete data set.

    Attributes:
        splits: {"train": Rows, "validation": Rows, "test": Rows}.
        class_names: One name for each class; empty without labels.
        digest: SHA-256 of images, labels and class names, before they are split.
        found: Description of the values found, and of their scale.
    """

    splits: dict[str, Rows]
    class_names: tuple[str, ...]
    digest: str
    found: str


def assemble(
    parts: Mapping[str, Part],
    *,
    class_names: Sequence[str] | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 0,
    transpose: bool = False,
    scale: float | None = None,
) -> Assembled:
    """Bring images and labels to one form, and cut the splits that are missing. `Dataset.from_arrays` has the rules.

    Args:
        parts: {"train": Part}, and the parts "validation" and "test" where the source has them.
        class_names: See `Dataset.from_arrays`, also for the other arguments.
        validation_share: Share of the training images.
        test_share: Share of the training images.
        seed: Seed of the cut.
        transpose: Whether rows and columns change places.
        scale: Value of white in the source.

    Returns:
        Images, still in the dtype of the source, and labels from 0.

    Raises:
        DatasetError: The images or labels cannot be used.
    """
    arrays = {name: with_axes(_as_array(part.images, part.name), part.name) for name, part in parts.items()}
    if transpose:
        arrays = {name: array.swapaxes(1, 2) for name, array in arrays.items()}
    _require_one_shape(parts, arrays)
    labels, class_names = as_classes(parts, {name: len(array) for name, array in arrays.items()}, class_names)
    ranges, digest = _look_at_all(parts, arrays, labels, class_names)
    divisors = _divisors(parts, arrays, ranges, scale)
    shares = {"test": test_share, "validation": validation_share}
    for part, share in shares.items():
        validation.number(f"{part}_share", share, 0, 0.5)
    shares = {part: share for part, share in shares.items() if part not in parts}
    validation.number("seed", seed, 0, whole=True)
    train = None if labels is None else labels["train"]
    rows = cut(len(arrays["train"]), train, shares, seed, class_names, parts["train"].name) if shares else {}

    def split(name):
        source, chosen = name if name in parts else "train", rows.get(name)
        kept = None if labels is None else labels[source]
        kept = kept if kept is None or chosen is None else kept[chosen]
        return Rows(arrays[source], divisors[source], kept, chosen)

    splits = {name: split(name) for name in ("train", "validation", "test")}
    return Assembled(splits, class_names, digest, _found(arrays, ranges, divisors))


def _look_at_all(parts, arrays, labels, class_names):
    """Return {part: (smallest value, largest value)}, and the SHA-256 of everything."""
    hashed, ranges = hashlib.sha256("\0".join(class_names).encode("utf-8", "surrogateescape")), {}
    for name in sorted(arrays):
        hashed.update(name.encode())
        ranges[name] = _look_at(arrays[name], parts[name].name, hashed)
        hashed.update(b"" if labels is None else labels[name].astype("<i4").tobytes())
    return ranges, hashed.hexdigest()


def _divisors(parts, arrays, ranges, scale):
    """Return {part: stored value of white}. Parts of one dtype have one scale, also if one of them is dark."""
    found = {}
    for name, array in arrays.items():
        lows, highs = zip(*(ranges[other] for other in arrays if arrays[other].dtype == array.dtype))
        found[name] = divisor(array.dtype, min(lows), max(highs), parts[name].name, scale)
    return found


def _found(arrays, ranges, divisors):
    """Describe the values of the training images."""
    (low, high), white = ranges["train"], divisors["train"]
    scaled = f", divided by {white:g}" if white != 1 else ""
    return f"{arrays['train'].dtype.name} from {low:g} to {high:g}{scaled}"


def _require_one_shape(parts, arrays):
    expected = arrays["train"].shape[1:]
    for name, array in arrays.items():
        if array.shape[1:] != expected:
            raise DatasetError(
                f"{parts[name].name}: expected images of {shown(expected)} like the training images, got "
                f"{shown(array.shape[1:])}; bring all to one size and number of channels"
            )


def shown(shape: Sequence[int]) -> str:
    """Return a shape such as "28x28x1"."""
    return "x".join(map(str, shape))


def _as_array(images, name):
    """Return images as an array of numbers that holds at least one."""
    if not isinstance(images, np.ndarray):
        try:
            images = np.asarray(images)
        except ValueError:
            raise DatasetError(f"{name}: expected images of one size, got {_odd(images)}; resize them first") from None
    if images.dtype.kind not in "biuf":
        stack = "; stack images of one size with np.stack" if images.dtype.kind == "O" else ""
        raise DatasetError(f"{name}: expected an array of numbers, got dtype {images.dtype}{stack or '; convert it'}")
    if not images.size:
        raise DatasetError(f"{name}: expected at least one image, got shape {images.shape}; check the selection")
    return images


def _odd(images):
    """Describe the first image whose shape is not the first one's."""
    try:
        shapes = [np.shape(image) for image in images]
    except ValueError:
        return "rows of different lengths"
    index = next((index for index, shape in enumerate(shapes) if shape != shapes[0]), 0)
    return f"shape {shapes[index]} for image {index} after shape {shapes[0]}"


def with_axes(array: np.ndarray, name: str) -> np.ndarray:
    """Return a view of images with the axes (N, height, width, channels).

    Args:
        array: Images. Grey ones may lack the axis of channels. Channels may come first where that is unambiguous:
            the second axis has at most 4 values, the last one more.
        name: Name of the images for the error message.

    Returns:
        A view of `array`.

    Raises:
        DatasetError: The axes have another or an ambiguous meaning.
    """
    shape, got = array.shape, f"got shape {array.shape}"
    expected = f"{name}: expected images of shape (N, height, width) or (N, height, width, channels), {got}"
    if array.ndim == 2:
        side = round(shape[1] ** 0.5)
        flat = f"images.reshape(-1, {side}, {side})" if side**2 == shape[1] else "images.reshape(-1, height, width)"
        raise DatasetError(
            f"{expected}; unfold flat images with {flat}, or give one image its first axis: images[None]"
        )
    if array.ndim == 3 and shape[-1] <= CHANNELS < min(shape[:2]):
        raise DatasetError(f"{expected}; that looks like one image with channels: images[None]")
    if array.ndim == 3:
        return array[..., None]
    if array.ndim != 4:
        raise DatasetError(f"{expected}; reshape them")
    _, second, third, last = shape
    if last <= CHANNELS:
        return array
    if second <= CHANNELS:
        return np.moveaxis(array, 1, -1)
    if last < min(second, third):  # such as the bands of a satellite
        return array
    axis = "-1, 0" if third <= CHANNELS else "1, -1"
    raise DatasetError(f"{expected}; move the axes to their places, such as np.moveaxis(images, {axis})")


def _look_at(array, name, hashed):
    """Return the smallest and the largest value, and add the array to a checksum, in pieces that fit in memory."""
    hashed.update(f"{array.dtype.newbyteorder('<').str} {array.shape}".encode())
    step = max(1, CHUNK // max(1, array[0].size))
    lows, highs = [], []
    for start in range(0, len(array), step):
        piece = np.ascontiguousarray(array[start : start + step], array.dtype.newbyteorder("<"))
        hashed.update(piece.reshape(-1).view("uint8"))
        lows.append(piece.min())
        highs.append(piece.max())
        if not (np.isfinite(lows[-1]) and np.isfinite(highs[-1])):
            bad = start + int(np.argmin(np.isfinite(piece).all(axis=(1, 2, 3))))
            value = piece[bad - start][~np.isfinite(piece[bad - start])][0]
            raise DatasetError(f"{name}: expected finite numbers, got {value} in image {bad}; remove or repair it")
    return min(lows).item(), max(highs).item()


def divisor(dtype: np.dtype, low: float, high: float, name: str, scale: float | None = None) -> float:
    """Return the stored value of white, by which images are divided.

    Args:
        dtype: Dtype of the stored images.
        low: Smallest stored value.
        high: Largest stored value.
        name: Name of the images for messages.
        scale: The value of white, if the user named it.

    Returns:
        1 for values that lie in [0, 1] already.

    Raises:
        DatasetError: The values do not fit the scale, or do not tell it.
    """
    if scale is not None:
        validation.number("scale", scale, 0)
        if not (0 <= low and high <= scale):
            raise DatasetError(
                f"{name}: expected values from 0 to scale={scale:g}, got {low:g} to {high:g}; choose a scale that fits"
            )
        return float(scale) or 1.0
    if dtype.kind == "b" or (dtype.kind in "iu" and low >= 0 and high <= 1):  # black and white
        return 1.0
    sixteen = dtype.kind == "u" and dtype.itemsize == 2  # in any order of bytes
    white = 65535.0 if sixteen else 1.0 if dtype.kind == "f" else 255.0
    if low < 0 or high > white or (sixteen and high <= 255):
        kind = f"{dtype.name} from 0 to {white:g}"
        raise DatasetError(f"{name}: expected {kind}, got {low:g} to {high:g}; {_scale_remedy(dtype, low, high)}")
    if 4 * high < white and dtype.kind in "iu":
        warnings.warn(
            f"{name}: the largest value is {high}, but {white:g} is taken for white; if {high} is white, "
            f"give scale={high}",
            stacklevel=2,
        )
    return white


def _scale_remedy(dtype, low, high):
    """Return what to do about values on an unexpected scale."""
    if dtype == np.int8:
        return 'read the bytes as unsigned: images.view("uint8")'
    if low < 0:
        return "map them to [0, 1], such as (images + 1) / 2 for values in [-1, 1]"
    if dtype.kind == "u" and dtype.itemsize == 2:
        return "name the value of white: scale=255 or scale=65535"
    if high <= 1.5:
        return "bring them into it with np.clip(images, 0, 1)"
    white = next((value for value in (16, 255, 65535) if high <= value), high)
    return f"name the value of white, such as scale={white:g}"
