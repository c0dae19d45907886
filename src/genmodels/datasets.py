"""Data sets in three splits: MNIST, verified, or your own arrays, archive or folder of pictures. NumPy only."""

import difflib
import hashlib
import inspect
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import ArrayLike

from genmodels import mnist
from genmodels.config import quick_mode
from genmodels.images import (
    LABELS,
    SHAPE,
    SIDE,
    Split,
    StoredSplit,
    augment,
    binarize,
    translate,
    validate_images,
    validate_labels,
)
from genmodels.mnist import SHA256, found
from genmodels.readers import DatasetError, Part

__all__ = [
    "LABELS",
    "QUICK_SIZES",
    "SHA256",
    "SHAPE",
    "SIDE",
    "VALIDATION",
    "Dataset",
    "DatasetError",
    "Split",
    "augment",
    "binarize",
    "found",
    "load_dataset",
    "load_mnist",
    "open_dataset",
    "translate",
    "validate_images",
    "validate_labels",
]

VALIDATION = 5_000  # images, the last ones of MNIST's training set
# Images of each split in the quick mode: enough to run every line of code, far too few to learn from.
QUICK_SIZES = {"train": 1_024, "validation": 256, "test": 1_000}


def _reader(name: str) -> ModuleType:
    """Return a module of genmodels.readers.

    By its name, so that results from MNIST do not depend on the code of readers that they never run.
    `pipeline.fingerprint.used_by` follows notebooks that do use them.
    """
    return import_module(f"genmodels.readers.{name}")


class Dataset:
    """Images in three splits, with what is known of them. Make one with a class method that begins with `from_`.

    Attributes:
        name: A word for figures and file names.
        train: Split to train on.
        validation: Split to choose settings with.
        test: Split for the reported scores; nothing is chosen on it.
        image_shape: Height, width and channels.
        class_names: One name for each class, in the order of the labels; empty without labels.
        num_classes: Number of classes, 0 without labels.
        digest: SHA-256 of the images, labels and class names that were read, before they are split.
        values: Description of the values found in the source, and of their scale.

    Args:
        name: See the attributes, also for the other arguments.
        train: Split to train on.
        validation: Split to choose settings with.
        test: Split for the reported scores.
        class_names: One name for each class.
        digest: SHA-256 of the source.
        values: Description of the values.
    """

    def __init__(
        self,
        name: str,
        train: Split,
        validation: Split,
        test: Split,
        *,
        class_names: Sequence[str] = (),
        digest: str = "",
        values: str = "",
    ) -> None:
        self.name, self.train, self.validation, self.test = name, train, validation, test
        self.image_shape, self.class_names = tuple(train.image_shape), tuple(class_names)
        self.digest, self.values = digest, values

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without labels."""
        return len(self.class_names)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        names = ", ".join(self.class_names[:10]) + (", ..." if self.num_classes > 10 else "")
        classes = f"{self.num_classes} classes: {names}" if self.class_names else "no labels"
        counts = f"{len(self.train)} training, {len(self.validation)} validation and {len(self.test)} test images"
        return f"Dataset({self.name!r}: {counts} of {shape}; {classes}; values {self.values})"

    @classmethod
    def _from_parts(cls, parts, name, class_names=None, **options):
        """Return the data set of parts, see `readers.arrays.assemble` for the options."""
        found = _reader("arrays").assemble(parts, class_names=class_names, **options)
        splits = {
            part: StoredSplit(rows.stored, rows.divisor, rows.labels, rows.rows) for part, rows in found.splits.items()
        }
        return cls(name, **splits, class_names=found.class_names, digest=found.digest, values=found.found)

    @classmethod
    def from_arrays(
        cls,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        validation: tuple[ArrayLike, ArrayLike] | ArrayLike | None = None,
        test: tuple[ArrayLike, ArrayLike] | ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        seed: int = 0,
        name: str = "arrays",
        transpose: bool = False,
        scale: float | None = None,
    ) -> "Dataset":
        """Make a data set of arrays. They are not copied, and may be mapped from a file that is larger than memory.

        Axes: (N, height, width) are grey images. (N, channels, height, width) is recognised where the second axis has
        at most 4 values and the last one more; all other images need (N, height, width, channels). Transposed images,
        such as EMNIST's, cannot be recognised: look at a few, and give `transpose=True` if they lie on their side.

        Range: integers are divided by 255, uint16 by 65535; floats must lie in [0, 1]. Integers 0 and 1, and booleans,
        are black and white. Every other range is refused, unless `scale` names its value of white.

        Labels: 0 to K - 1 stay. Others, such as 1 to 26, with gaps, or texts, are numbered in their order, and
        `class_names` keeps them. Shape (N, 1), whole floats and one-hot rows are read too.

        Splits: those that are not given are cut from `images`: at random, with `seed`, the same share of each class,
        and at least one image of each class that has enough.

        Args:
            images: Images, see above.
            labels: One label for each image; None for images without labels.
            validation: Validation images and labels, or only images; None to cut them from `images`.
            test: Test images and labels, or only images; None to cut them from `images`.
            class_names: Names of the classes in the order of the labels. Then a class without images is allowed.
            validation_share: Share of `images` for validation, 0 to 0.5.
            test_share: Share of `images` for the test, 0 to 0.5.
            seed: Seed of the cut.
            name: Name of the data set.
            transpose: Whether rows and columns of each image change places.
            scale: Value of white in the source, such as 255 for floats from 0 to 255.

        Returns:
            The data set.

        Raises:
            DatasetError: Images or labels cannot be used.
            ValueError: A share, the seed or the scale is out of range.

        Example:
            >>> Dataset.from_arrays(np.zeros((50, 8, 8)), np.arange(50) % 5, scale=16, name="digits")
            Dataset('digits': 40 training, 5 validation and 5 test images of 8x8x1; 5 classes: 0, 1, 2, 3, 4; ...)
        """
        parts = {"train": Part(images, labels)}
        for which, given in (("validation", validation), ("test", test)):
            if given is not None:
                pair = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
                parts[which] = Part(*pair, f"{which} images", f"{which} labels")
        cutting = {"validation_share": validation_share, "test_share": test_share, "seed": seed}
        return cls._from_parts(parts, name, class_names, transpose=transpose, scale=scale, **cutting)

    @classmethod
    def from_npz(
        cls,
        path: str | Path,
        *,
        images: str | None = None,
        labels: str | None = None,
        test_images: str | None = None,
        test_labels: str | None = None,
        **options: Any,
    ) -> "Dataset":
        """Read an .npz archive, an .npy file, or a folder of .npy files.

        Usual names are recognised, in any case: x_train, train_images, images, X, data, arr_0 and their labels y_train,
        train_labels, labels, Y, target, arr_1; the same for val and test; class_names. An archive is read into memory,
        not converted. Files that end in .npy stay on disk, so that they may be larger than memory: `unzip data.npz -d
        folder` makes such a folder.

        Args:
            path: The .npz file, the .npy file or the folder.
            images: Name of the array of images; None to recognise it.
            labels: Name of the array of labels.
            test_images: Name of the array of test images.
            test_labels: Name of the array of their labels.
            **options: Options of `from_arrays`: class_names, validation_share, test_share, seed, name, transpose and
                scale.

        Returns:
            The data set.

        Raises:
            DatasetError: The file is missing, damaged, holds pickled objects, or not the arrays.
        """
        chosen = {"images": images, "labels": labels, "test_images": test_images, "test_labels": test_labels}
        parts, names = _reader("archives").npz_parts(path, **chosen)
        return cls._from_parts(parts, **{"name": _stem(path), "class_names": names, **options})

    @classmethod
    def from_idx(cls, folder: str | Path, *, prefix: str | None = None, **options: Any) -> "Dataset":
        """Read the IDX files of a set such as MNIST: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...

        Each file may be compressed by gzip. An uncompressed one stays on disk, and may be larger than memory. Without
        the files of t10k, a test split is cut. EMNIST's images are transposed: give `transpose=True`.

        Args:
            folder: The folder with the files.
            prefix: Beginning of the names in a folder with several sets, such as "emnist-letters".
            **options: Options of `from_arrays`: class_names, validation_share, test_share, seed, name, transpose and
                scale.

        Returns:
            The data set.

        Raises:
            DatasetError: Files are missing, damaged, or do not fit each other.
        """
        parts = _reader("archives").idx_parts(folder, prefix=prefix)
        return cls._from_parts(parts, **{"name": _stem(folder), **options})

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
        background: str = "white",
        **options: Any,
    ) -> "Dataset":
        """Read a folder of pictures: one folder for each class, or pictures without labels.

        The classes may lie in folders named train, val and test. All pictures become 8-bit images, grey if none of them
        shows a colour. Rotation marks of cameras are obeyed. Of an animation only the first picture is read. Hidden
        files, files of other kinds and empty class folders are left out, with a warning. The decoded images lie in one
        file in the cache folder, so they may be larger than memory. Another call with the same pictures uses it again.

        Args:
            folder: The folder.
            size: Height and width to resize to; None if all pictures have one size. Proportions are not kept.
            channels: 1 for grey, 3 for colour; None for 3 if any picture shows a colour.
            background: Colour behind transparent pictures, such as "black" or "#80ff00".
            **options: Options of `from_arrays`: class_names, validation_share, test_share, seed, name, transpose.

        Returns:
            The data set.

        Raises:
            DatasetError: There are no pictures, or one is damaged or of another size. The message names the first.
        """
        parts = _reader("pictures").folder_parts(folder, size=size, channels=channels, background=background)
        return cls._from_parts(parts, **{"name": _stem(folder), "scale": 255, **options})


def _stem(path):
    """Return the name of a file without its suffix, or of a folder."""
    path = Path(path).expanduser()
    return path.resolve().name if path.is_dir() else path.stem


_COMMON = ["class_names", "validation_share", "test_share", "seed", "name", "transpose", "scale"]  # options of readers


def load_dataset(name: str, *, download: bool = False, **options: Any) -> Dataset:
    """Load a data set by its name: mnist, fashion_mnist, cifar10 or cifar100.

    MNIST comes with the checkout. Keras loads the others, from its own cache (~/.keras/datasets, or in KERAS_HOME).

    Args:
        name: Name of the data set; case does not matter.
        download: Whether Keras may fetch what its cache lacks. Otherwise nothing is fetched.
        **options: Options of `Dataset.from_arrays`; MNIST takes none.

    Returns:
        The data set.

    Raises:
        DatasetError: No data set has that name, or it is not in the cache.
    """
    reader = _reader("keras_cache")
    known = name.lower().replace("-", "_") if isinstance(name, str) else name
    if known not in reader.NAMES:
        raise DatasetError(f"name: expected one of {', '.join(reader.NAMES)}, got {name!r}; choose one of them")
    if known == "mnist":
        if options:
            raise DatasetError(
                f"mnist: expected no options, as its splits are fixed, got {', '.join(options)}; omit them"
            )
        return load_mnist(download=download)
    _require_known(known, options, _COMMON)
    pairs = zip(("train", "test"), reader.load_keras(known, download=download))
    parts = {which: Part(*pair, f"{known}: {which} images", f"{known}: {which} labels") for which, pair in pairs}
    return Dataset._from_parts(parts, **{"name": known, "class_names": reader.NAMES[known], **options})


def open_dataset(spec: str | Path, *, download: bool = False, **options: Any) -> Dataset:
    """Return the data set that a user names: by a known name, a folder or a file.

    Args:
        spec: A name that `load_dataset` knows; a folder of pictures, of IDX files or of .npy files; an .npz file or an
            .npy file. A known name wins: write ./mnist for a folder with such a name.
        download: See `load_dataset`.
        **options: Options of the reader: of `Dataset.from_folder`, `from_idx`, `from_npz` or `load_dataset`.

    Returns:
        The data set.

    Raises:
        DatasetError: Nothing has that name, or its reader refuses it.
    """
    names = _reader("keras_cache").NAMES
    if isinstance(spec, str) and (known := spec.lower().replace("-", "_")) in names:
        return load_dataset(known, download=download, **options)
    if (path := _existing(spec)) is None:
        near = difflib.get_close_matches(str(spec).lower().replace("-", "_"), names, 1)
        remedy = f"did you mean {near[0]}?" if near else "check the name or the path"
        raise DatasetError(
            f"data: expected {', '.join(names)}, a folder of pictures or IDX files, or an .npz file, got "
            f"{str(spec)!r:.200}, which is none of them; {remedy}"
        )
    read = _reader_of(path)
    _require_known(path, options, [*inspect.signature(read).parameters][1:-1] + _COMMON)
    return read(path, **options)


def _existing(spec):
    """Return the path of a file or folder; None if there is none, or if the text cannot be a path."""
    try:
        path = Path(spec).expanduser()
        return path if str(spec) and path.exists() else None
    except (OSError, RuntimeError, TypeError, ValueError):  # too long, no such user, no text
        return None


def _require_known(source, options, takes):
    if unknown := [option for option in options if option not in takes]:
        raise DatasetError(f"{source}: expected options among {', '.join(takes)}, got {unknown[0]}; omit it")


def _reader_of(path):
    """Return the class method that reads a file or folder."""
    if path.is_dir():
        names = [each.name for each in _reader("archives").listing(path)]
        if any(map(_reader("archives").is_idx, names)):
            return Dataset.from_idx
        return Dataset.from_npz if any(name.lower().endswith(".npy") for name in names) else Dataset.from_folder
    if path.suffix.lower() in (".npz", ".npy"):
        return Dataset.from_npz
    if _reader("archives").is_idx(path.name) or path.suffix.lower() in _reader("pictures").SUFFIXES:
        raise DatasetError(f"{path}: expected a folder or an .npz file, got one file of a folder; give {path.parent}")
    packed = path.suffix.lower() in (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar", ".xz")
    remedy = "unpack it and give the folder" if packed else "write one with np.savez(path, images=..., labels=...)"
    raise DatasetError(
        f"{path}: expected a folder, an .npz or an .npy file, got {path.suffix or 'another file'}; {remedy}"
    )


@lru_cache(maxsize=2)
def _load(path, quick, verified, download):
    sizes = QUICK_SIZES if quick else dict.fromkeys(QUICK_SIZES)
    if verified:
        return _in_splits(mnist.read(path) if path else mnist.from_keras(download=download), sizes)
    parts, class_names = _reader("archives").npz_parts(path)
    other = Dataset._from_parts(parts, _stem(path), class_names)
    splits = [getattr(other, name).select(slice(size)) for name, size in sizes.items()]
    return Dataset(other.name, *splits, class_names=other.class_names, digest=other.digest, values=other.values)


def _in_splits(arrays, sizes):
    """Return MNIST in the project's splits. A split takes memory for floats only after its first use."""
    x, y = arrays["x_train"], arrays["y_train"]
    parts = {
        "train": (x[:-VALIDATION], y[:-VALIDATION]),
        "validation": (x[-VALIDATION:].copy(), y[-VALIDATION:]),  # a view would keep all of x in memory
        "test": (arrays["x_test"], arrays["y_test"]),
    }
    splits = [
        StoredSplit(images[: sizes[name], ..., None], 255.0, labels[: sizes[name]].astype("int32"))
        for name, (images, labels) in parts.items()
    ]
    digest = hashlib.sha256("".join(SHA256.values()).encode()).hexdigest()
    names = tuple(map(str, range(LABELS)))
    return Dataset("mnist", *splits, class_names=names, digest=digest, values="uint8 from 0 to 255, divided by 255")


def load_mnist(path: str | Path | None = None, *, verify: bool = True, download: bool = False) -> Dataset:
    """Load MNIST, verified: 55 000 training, 5 000 validation and 10 000 test images.

    With GENMODELS_BUDGET=smoke take only the first images of each split.

    Args:
        path: The .npz file; by default the one of the checkout. Outside a checkout MNIST comes from Keras's cache.
        verify: Whether the arrays must be those of the real MNIST. False takes any archive that `Dataset.from_npz`
            takes. The report takes MNIST alone.
        download: Whether Keras may fetch MNIST where neither a checkout nor its cache holds it.

    Returns:
        The data set. Repeated calls return the same object.

    Raises:
        DatasetError: MNIST is missing, unreadable or altered, see `mnist.read` and `mnist.from_keras`.
    """
    path = path or mnist.find()
    if not (path or verify):
        raise DatasetError("path: expected an .npz file for verify=False outside a checkout, got None; give one")
    return _load(path, quick_mode(), verify, download and not path)
