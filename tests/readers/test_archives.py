"""Archives and IDX files that people bring: read, or refused in one line that names the file."""

import errno
import gzip
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from genmodels.datasets import Dataset, DatasetError, open_dataset
from genmodels.readers.archives import read_idx

CASES = Path(__file__).parents[1] / "cases"
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 5, 6), "uint8")
LABELS = np.arange(40) % 4
MORE = IMAGES[:8], LABELS[:8]


@pytest.fixture
def saved(tmp_path):
    """Call it with arrays by name to save them as an archive."""

    def save(**arrays):
        np.savez(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    return save


def whole(found):
    return found.train.images[..., 0], found.train.labels


PAIRS = [
    ("images", "labels"),
    ("x", "y"),
    ("X", "Y"),
    ("data", "target"),
    ("image", "label"),
    ("arr_0", "arr_1"),
    ("x_train", "y_train"),
    ("X_train", "Y_train"),
    ("train_images", "train_labels"),
    ("trainImages", "trainLabels"),
    ("images_train", "labels_train"),
    ("train_x", "train_y"),
    ("xtrain", "ytrain"),
    ("training.images", "training.labels"),
]


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_pairs_with_usual_names_are_recognised(saved, names):
    path = saved(**dict(zip(names, (IMAGES, LABELS))))
    images, labels = whole(Dataset.from_npz(path, validation_share=0, test_share=0))
    assert np.array_equal(images, IMAGES.astype("float32") / np.float32(255)) and np.array_equal(labels, LABELS)


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_valid", "y_valid", "x_test", "y_test"),
        ("images", "labels", "dev_images", "dev_labels", "test_images", "test_labels"),
    ],
    ids=["medmnist", "keras", "mixed"],
)
def test_splits_of_the_archive_are_kept(saved, names):
    found = Dataset.from_npz(saved(**dict(zip(names, (IMAGES, LABELS, *MORE, *MORE)))))
    assert (len(found.train), len(found.validation), len(found.test)) == (40, 8, 8)


def test_arrays_with_other_names_are_chosen(saved):
    path = saved(obrazy=IMAGES, klasy=LABELS, inne=MORE[0], inne_klasy=MORE[1])
    options = {"images": "obrazy", "labels": "klasy", "test_images": "inne", "test_labels": "inne_klasy"}
    found = Dataset.from_npz(path, **options)
    assert len(found.test) == 8 and found.num_classes == 4
    assert len(Dataset.from_npz(path, images="obrazy", labels="klasy").test) == 4


def test_names_of_classes_are_read(saved):
    found = Dataset.from_npz(saved(images=IMAGES, labels=LABELS, class_names=["kot", "lis", "pies", "żaba"]))
    assert found.class_names == ("kot", "lis", "pies", "żaba")
    assert Dataset.from_npz(saved(images=IMAGES, labels=LABELS), class_names=[*"abcd"]).class_names == tuple("abcd")


def test_names_of_classes_without_labels_do_no_harm(saved):
    assert Dataset.from_npz(saved(images=IMAGES, class_names=["kot", "lis"])).class_names == ()


def test_an_array_that_may_hold_the_labels_is_named(saved):
    with pytest.warns(UserWarning, match='images is read without labels; if klasy holds them, give labels="klasy"'):
        assert Dataset.from_npz(saved(images=IMAGES, klasy=LABELS)).num_classes == 0


def test_one_array_and_a_folder_of_arrays_stay_on_disk(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    assert isinstance(Dataset.from_npz(tmp_path / "images.npy").train.stored, np.memmap)
    np.save(tmp_path / "labels.npy", LABELS)
    found = Dataset.from_npz(tmp_path)
    assert isinstance(found.train.stored, np.memmap) and found.num_classes == 4


def test_nothing_is_converted_while_an_archive_is_opened(saved):
    assert Dataset.from_npz(saved(images=IMAGES, labels=LABELS)).train.stored.dtype == np.uint8


REFUSED = {
    "other names": ({"a": IMAGES, "b": LABELS}, r"expected arrays such as .*got a \(40, 5, 6\), b \(40,\); .*images="),
    "nothing": ({}, "expected arrays such as x_train and y_train, .*got none"),
    "two of a kind": ({"X": IMAGES, "images": IMAGES}, "expected one array of a kind, got X and images; choose"),
    "labels alone": ({"y_train": LABELS}, r"expected arrays such as .*got y_train \(40,\)"),
    "test labels alone": ({"images": IMAGES, "y_test": LABELS}, "expected images for y_test, got images"),
    "objects": (
        {"images": np.array([IMAGES[0], None], object)},
        "expected arrays .*, got pickled objects, which may run code .*np.savez",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_archive_of_this_kind_is_refused(saved, kind):
    arrays, message = REFUSED[kind]
    with pytest.raises(DatasetError, match=rf"mine\.npz: {message}") as refused:
        Dataset.from_npz(saved(**arrays))
    assert "\n" not in str(refused.value)


def test_pickled_notes_beside_the_images_do_no_harm(saved):
    found = Dataset.from_npz(saved(images=IMAGES, labels=LABELS, about=np.array([{"by": "me"}], object)))
    assert found.num_classes == 4


def test_an_array_that_the_archive_lacks_is_named_with_those_it_has(saved):
    with pytest.raises(
        DatasetError, match=r"expected an array 'klasy', got images \(40, 5, 6\), labels \(40,\); choose"
    ):
        Dataset.from_npz(saved(images=IMAGES, labels=LABELS), labels="klasy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"<!DOCTYPE html>", "got a file that begins with b'<!DOCTYP'"),
        (b"\x80\x04\x95pickle", "got a pickle, which may run code when it is opened"),
        (b"PK\x03\x04 and no more", "got a damaged archive"),
        (b"\x93NUMPY\x01\x00", "got an unreadable one"),
        (None, "got nothing there; check the path"),
    ],
    ids=["empty", "a page of the web", "pickle", "truncated archive", "truncated array", "missing"],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"mine\.npz: expected an \.npz or \.npy file, {message}"):
        Dataset.from_npz(path)


def test_an_array_of_objects_in_its_own_file_is_refused(tmp_path):
    np.save(tmp_path / "images.npy", np.array([IMAGES[0], None], object))
    with pytest.raises(DatasetError, match=r"images\.npy: .*pickled objects"):
        Dataset.from_npz(tmp_path / "images.npy")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    for read in (Dataset.from_npz, Dataset.from_idx, Dataset.from_folder, open_dataset):
        with pytest.raises(DatasetError, match="expected a readable folder, got Permission denied; change its rights"):
            read(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the rights of files do not bind this user")
def test_a_file_that_may_not_be_read_is_named(saved):
    path = saved(images=IMAGES)
    path.chmod(0)
    with pytest.raises(DatasetError, match="expected a readable file, got Permission denied; change its rights"):
        Dataset.from_npz(path)


def idx(array, kind=0x08):
    """Return the bytes of an IDX file, written by the format's description."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(folder, prefix="", packed=False, **files):
    names = {
        "train_images": "train-images-idx3-ubyte",
        "train_labels": "train-labels-idx1-ubyte",
        "test_images": "t10k-images-idx3-ubyte",
        "test_labels": "t10k-labels-idx1-ubyte",
    }
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / f"{prefix}{names[name]}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


SET = {"train_images": idx(IMAGES), "train_labels": idx(LABELS.astype("uint8"))}
TESTS = {"test_images": idx(MORE[0]), "test_labels": idx(MORE[1].astype("uint8"))}


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_compressed_or_not(tmp_path, packed):
    found = Dataset.from_idx(write_idx(tmp_path, packed=packed, **SET, **TESTS), validation_share=0)
    images, labels = whole(found)
    assert np.array_equal(images, IMAGES.astype("float32") / np.float32(255)) and np.array_equal(labels, LABELS)
    assert len(found.test) == 8 and found.class_names == tuple("0123")


def test_uncompressed_idx_files_stay_on_disk(tmp_path):
    assert isinstance(Dataset.from_idx(write_idx(tmp_path, **SET)).train.stored, np.memmap)


def test_idx_files_without_test_images_or_labels_are_read(tmp_path):
    found = Dataset.from_idx(write_idx(tmp_path, train_images=SET["train_images"]))
    assert len(found.test) == 4 and found.num_classes == 0


def test_a_compressed_file_need_not_say_so_and_the_dot_of_another_site_does_no_harm(tmp_path):
    (tmp_path / "train-images.idx3-ubyte").write_bytes(gzip.compress(SET["train_images"]))
    (tmp_path / "TRAIN-LABELS.IDX1-UBYTE.GZ").write_bytes(SET["train_labels"])
    assert Dataset.from_idx(tmp_path).num_classes == 4


def test_one_of_several_sets_is_chosen_by_its_prefix(tmp_path):
    for prefix in ("emnist-digits-", "emnist-letters-"):
        write_idx(tmp_path, prefix, **SET)
    assert Dataset.from_idx(tmp_path, prefix="emnist-letters").num_classes == 4
    with pytest.raises(DatasetError, match="expected one IDX set, got emnist-digits, emnist-letters; choose one with"):
        Dataset.from_idx(tmp_path)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_every_number_of_the_format_is_read(tmp_path, kind, dtype):
    array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    (tmp_path / "x").write_bytes(idx(array, kind))
    assert np.array_equal(read_idx(tmp_path / "x"), array)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX file, got an empty file; download it again"),
        (b"<html>", "expected an IDX file, got a file that begins with b'<htm'"),
        (b"\0\0\x07\x03" + SET["train_images"][4:], "expected an IDX file, got a file that begins with"),
        (SET["train_images"][:10], r"expected an IDX file, got a damaged one \(its head is cut off\)"),
        (SET["train_images"][:-1], r"expected 1200 bytes of data for shape \(40, 5, 6\), got 1199; download it again"),
        (SET["train_images"] + b"x", "expected 1200 bytes .*, got 1201; download it again"),
    ],
    ids=["empty", "a page of the web", "unknown type", "no more than a head", "truncated", "too long"],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, message, packed):
    write_idx(tmp_path, packed=packed, train_images=content)
    with pytest.raises(DatasetError, match=rf"train-images-idx3-ubyte(\.gz)?: {message}"):
        Dataset.from_idx(tmp_path)


def test_a_truncated_compressed_file_is_named(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(SET["train_images"])[:-20])
    with pytest.raises(DatasetError, match=r"ubyte\.gz: expected an IDX file, got a damaged one .*; download it again"):
        Dataset.from_idx(tmp_path)


def damages(content, count):
    """Yield copies of a file with bytes changed, cut off or put in between, always the same ones."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        copy, place = bytearray(content), int(rng.integers(rng.choice([16, len(content)])))
        if (kind := rng.integers(3)) == 0:
            copy[place] = rng.integers(256)
        elif kind == 1:
            del copy[place:]
        else:
            copy[place:place] = rng.bytes(3)
        yield bytes(copy)


@pytest.mark.parametrize("kind", ["npz", "npy", "idx", "idx.gz"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_taken_or_refused(tmp_path, saved, kind):
    path = saved(images=IMAGES)
    if kind == "npy":
        np.save(path := tmp_path / "images.npy", IMAGES)
    elif kind.startswith("idx"):
        folder = write_idx(tmp_path / "idx", packed=kind == "idx.gz", train_images=SET["train_images"])
        (path,) = folder.iterdir()
    refused = 0
    for content in damages(path.read_bytes(), 100):
        path.write_bytes(content)
        try:
            open_dataset(path.parent if kind.startswith("idx") else path)
        except DatasetError as error:
            refused += 1
            assert str(path.parent) in str(error) and "\n" not in str(error)
    assert refused > 10


def test_counts_that_differ_are_named(tmp_path):
    folder = write_idx(tmp_path, train_images=SET["train_images"], train_labels=TESTS["test_labels"])
    with pytest.raises(DatasetError, match="train-labels-idx1-ubyte: expected as many labels as images, 40, got 8"):
        Dataset.from_idx(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected train-images-idx3-ubyte or the same with .gz, got an empty folder"),
        (TESTS, "expected train-images-idx3-ubyte or the same with .gz, got t10k-images-idx3-ubyte, t10k-labels"),
        (
            {"test_labels": TESTS["test_labels"], **SET},
            "t10k-labels-idx1-ubyte: expected images beside it, got none; add",
        ),
        (
            {**SET, "test_images": TESTS["test_images"]},
            "t10k-images-idx3-ubyte: expected labels as for the other images",
        ),
    ],
    ids=["none", "test only", "labels alone", "images without labels"],
)
def test_missing_idx_files_are_named(tmp_path, files, message):
    with pytest.raises(DatasetError, match=message):
        Dataset.from_idx(write_idx(tmp_path, **files))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    shutil.copy(CASES / "idx" / "train-images-idx3-ubyte.gz", tmp_path)
    with pytest.raises(DatasetError, match="expected a folder of IDX files, got a file there; give the folder"):
        Dataset.from_idx(tmp_path / "train-images-idx3-ubyte.gz")
    with pytest.raises(DatasetError, match="expected a folder of IDX files, got nothing there"):
        Dataset.from_idx(tmp_path / "gone")


def test_letters_that_lie_on_their_side_are_turned():
    """EMNIST's way; the same letters stand upright in the other cases."""
    with pytest.warns(UserWarning, match="labels from 1 to 26 became 0 to 25"):
        turned = Dataset.from_npz(CASES / "letters_from_1_transposed.npz", transpose=True)
    upright = Dataset.from_npz(CASES / "other_names.npz")
    assert np.array_equal(turned.train.images, upright.train.images)
    assert np.array_equal(turned.train.labels, upright.train.labels)
