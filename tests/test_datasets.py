import inspect
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from genmodels import datasets, mnist
from genmodels.datasets import Dataset, DatasetError, load_dataset, open_dataset
from genmodels.pipeline import fingerprint, store

CASES = Path(__file__).parent / "cases"


def test_splits_have_the_documented_sizes_ranges_and_types():
    mnist = datasets.load_mnist()
    assert [len(split) for split in (mnist.train, mnist.validation, mnist.test)] == [55_000, 5_000, 10_000]
    for split in (mnist.train, mnist.validation, mnist.test):
        assert split.images.shape == (len(split), 28, 28, 1) and split.images.dtype == np.float32
        assert split.images.min() == 0 and split.images.max() == 1
        assert set(split.labels) == set(range(10))
    assert mnist.image_shape == (28, 28, 1) and mnist.class_names == tuple("0123456789") and mnist.num_classes == 10


def test_validation_is_the_end_of_the_training_set():
    found, raw = datasets.load_mnist(), mnist.read(mnist.find())
    joined = np.concatenate([found.train.labels, found.validation.labels])
    assert np.array_equal(joined, raw["y_train"])
    images = np.concatenate([found.train.images[-2:], found.validation.images[:2]])[..., 0]
    assert images.tobytes() == (raw["x_train"][54_998:55_002].astype("float32") / np.float32(255)).tobytes()


def test_quick_mode_gives_the_first_images_of_each_split(smoke):
    quick = datasets.load_mnist()
    assert np.array_equal(quick.train.labels, mnist.read(mnist.find())["y_train"][: len(quick.train)])
    assert len(quick.test) == datasets.QUICK_SIZES["test"]


def test_unknown_budget_is_refused(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "tiny")
    with pytest.raises(ValueError, match=r"must be 'full' or 'smoke', got 'tiny'"):
        datasets.load_mnist()


def test_a_split_takes_memory_only_after_its_first_use():
    found = datasets._in_splits(mnist.read(mnist.find()), {"train": None, "validation": None, "test": 10})
    assert len(found.test) == 10 and not any("images" in vars(split) for split in (found.train, found.test))
    assert found.test.images is found.test.images and found.test.stored is None  # scaled once, and not kept twice


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def pictures(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), "uint8")


def test_other_images_take_the_place_of_mnist_where_that_is_asked_for(tmp_path, monkeypatch):
    names = {"x_train": pictures(2000, 8, 8), "y_train": np.arange(2000) % 4, "x_test": pictures(1200, 8, 8)}
    path = archive(tmp_path / "other.npz", **names, y_test=np.arange(1200) % 4)
    found = datasets.load_mnist(path, verify=False)
    assert (len(found.train), len(found.validation), len(found.test)) == (1800, 200, 1200)
    assert found.image_shape == (8, 8, 1) and found.num_classes == 4
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    quick = datasets.load_mnist(path, verify=False)
    assert (len(quick.train), len(quick.validation), len(quick.test)) == (1024, 200, 1000)
    assert np.array_equal(quick.train.images, found.train.images[:1024])


def test_mnist_with_options_or_without_any_file_is_refused(monkeypatch):
    with pytest.raises(DatasetError, match="mnist: expected no options, as its splits are fixed, got seed; omit them"):
        load_dataset("mnist", seed=1)
    monkeypatch.setattr(mnist, "find", lambda: None)
    with pytest.raises(DatasetError, match=r"path: expected an \.npz file for verify=False .*got None"):
        datasets.load_mnist(verify=False)


def test_a_data_set_says_what_it_holds():
    found = Dataset.from_arrays(pictures(50, 8, 9), np.repeat(list("abcde"), 10), name="mine")
    text = (
        "Dataset('mine': 40 training, 5 validation and 5 test images of 8x9x1; 5 classes: a, b, c, d, e; values uint8 "
    )
    assert repr(found) == text + "from 0 to 255, divided by 255)"
    assert re.fullmatch("[0-9a-f]{64}", found.digest)


def test_the_digest_is_that_of_images_labels_and_class_names():
    images, labels = pictures(50, 8, 9), np.arange(50) % 5
    first = Dataset.from_arrays(images, labels).digest
    assert first == Dataset.from_arrays(images.copy(), labels.astype("uint8"), seed=3, validation_share=0.2).digest
    others = [(images[::-1], labels), (images, labels[::-1]), (images.swapaxes(1, 2), labels), (images, None)]
    assert len({first, *(Dataset.from_arrays(*other).digest for other in others)}) == 5
    assert first != Dataset.from_arrays(images, labels, class_names=list("abcde")).digest


def test_missing_splits_are_cut_from_each_class_alike_and_always_in_the_same_way():
    images, labels = pictures(600, 4, 4), np.repeat([0, 1, 2], [300, 200, 100])
    found = Dataset.from_arrays(images, labels)
    splits = (found.train, found.validation, found.test)
    assert [np.bincount(split.labels).tolist() for split in splits] == [[240, 160, 80], [30, 20, 10], [30, 20, 10]]
    rows = [set(map(bytes, split.images)) for split in splits]
    assert len(set.union(*rows)) == 600  # no image is in two splits
    again, other = Dataset.from_arrays(images, labels), Dataset.from_arrays(images, labels, seed=1)
    assert np.array_equal(again.test.images, found.test.images)
    assert not np.array_equal(other.test.images, found.test.images)


def test_given_splits_stay_whole_and_shares_of_nothing_leave_an_empty_split():
    images, labels = pictures(60, 4, 4), np.arange(60) % 3
    found = Dataset.from_arrays(images, labels, test=(images[:7], labels[:7]), validation=(images[:5], labels[:5]))
    assert np.array_equal(found.train.labels, labels) and np.array_equal(found.test.labels, labels[:7])
    assert np.array_equal(found.validation.images[..., 0], images[:5].astype("float32") / np.float32(255))
    whole = Dataset.from_arrays(images, validation_share=0, test_share=0)
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (60, 0, 0)
    assert Dataset.from_arrays(images, test=images[:9]).test.batch([8]).shape == (1, 4, 4, 1)


def test_nothing_of_the_arrays_is_copied_until_it_is_used():
    images = pictures(20_000, 28, 28)  # 16 MB, 63 MB as float32
    tracemalloc.start()
    try:
        found = Dataset.from_arrays(images, np.arange(20_000) % 10)
        opened = tracemalloc.get_traced_memory()[0]
        for start in range(0, 16_000, 100):
            found.train.batch(np.arange(start, start + 100))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert opened < 2**20 and used < 2**20
    assert found.train.batch([0]).dtype == np.float32


@pytest.mark.parametrize(
    ("what", "count", "shape", "classes"),
    [
        ("no_labels.npz", 130, (28, 28, 1), 0),
        ("text_labels.npz", 130, (28, 28, 1), 26),
        ("letters_from_1_transposed.npz", 130, (28, 28, 1), 26),
        ("other_names.npz", 130, (28, 28, 1), 26),
        ("channels_first_rgb.npz", 52, (32, 32, 3), 26),
        ("idx", 130, (28, 28, 1), 26),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_people_bring_is_opened_by_its_path(what, count, shape, classes):
    found = open_dataset(CASES / what)
    assert found.image_shape == shape and found.num_classes == classes and found.name == what.removesuffix(".npz")
    assert sum(map(len, (found.train, found.validation, found.test))) == count
    assert 0.9 < found.train.images.max() <= 1


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("float_0_255.npz", r"float_0_255\.npz: images: expected float32 from 0 to 1, got 0 to 254; .*scale=255"),
        ("more_labels_than_images.npz", r"npz: labels: expected as many labels as images, 100, got 130; check"),
        ("folder", r"truncated\.png: expected a picture that Pillow can read, got image file is truncated; replace"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_used_is_named_with_the_remedy(what, message):
    with pytest.raises(DatasetError, match=message):
        open_dataset(CASES / what)


def test_a_path_may_be_a_text_with_a_home_folder_spaces_and_polish_letters(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    archive(tmp_path / "moje źródła.npz", images=pictures(30, 4, 4))
    assert open_dataset("~/moje źródła.npz").name == "moje źródła"


def test_a_known_name_wins_over_a_folder_of_that_name_and_case_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert open_dataset("MNIST") is datasets.load_mnist() is open_dataset("mnist", download=True)
    with pytest.raises(DatasetError, match=r"^mnist: expected pictures"):
        open_dataset("./mnist")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fashon-mnist", "expected mnist, .*, a folder .* got 'fashon-mnist'.*did you mean fashion_mnist?"),
        ("nowhere/at/all", "expected mnist, fashion_mnist, cifar10, cifar100, a folder .*check the name or the path"),
        ("", "expected mnist, .* got ''"),
        (None, "expected mnist, .* got 'None'"),
        ("~nobody_of_that_name/x", "expected mnist, .* got '~nobody_of_that_name/x'"),
        ("a" * 5000, "expected mnist, .* got 'aaaa"),
        ("a\0b", "expected mnist, .* got "),
        ("data.csv", r"data\.csv: expected a folder, an \.npz or an \.npy file, got \.csv; write one with np\.savez"),
        ("data.tar.gz", r"data\.tar\.gz: expected .* got \.gz; unpack it and give the folder"),
        ("0.png", r"0\.png: expected a folder or an \.npz file, got one file of a folder; give \."),
        ("train-images-idx3-ubyte", r"got one file of a folder; give \."),
    ],
)
def test_another_thing_is_refused_with_a_list_of_what_would_do(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    for name in ("data.csv", "data.tar.gz", "0.png", "train-images-idx3-ubyte"):
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=message) as refused:
        open_dataset(spec)
    assert "\n" not in str(refused.value) and "git" not in str(refused.value)


def test_an_option_of_another_reader_is_refused_by_its_name(tmp_path):
    path = archive(tmp_path / "a.npz", images=pictures(30, 4, 4))
    with pytest.raises(DatasetError, match=r"a\.npz: expected options among images, .*scale, got size; omit it"):
        open_dataset(path, size=(28, 28))


def test_a_data_set_of_keras_takes_no_option_of_a_folder():
    with pytest.raises(DatasetError, match=r"cifar10: expected options among class_names, .*scale, got size; omit it"):
        open_dataset("cifar10", size=(8, 8))


def test_a_folder_of_npy_files_stays_on_disk(tmp_path):
    np.save(tmp_path / "images.npy", pictures(40, 6, 6, 3))
    np.save(tmp_path / "labels.npy", np.arange(40) % 4)
    found = open_dataset(tmp_path)
    assert isinstance(found.train.stored, np.memmap) and found.train.batch([3, 1]).shape == (2, 6, 6, 3)
    assert type(found.train.batch([3])) is np.ndarray


def test_readers_have_annotations_and_say_what_they_take_and_give():
    readers = [Dataset.from_arrays, Dataset.from_npz, Dataset.from_idx, Dataset.from_folder, load_dataset, open_dataset]
    for reader in readers:
        signature = inspect.signature(reader)
        assert signature.return_annotation in ("Dataset", Dataset)
        assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())
        assert all(f"{name}:" in reader.__doc__ for name in signature.parameters)


def test_arrays_are_read_without_pillow_keras_and_tensorflow():
    code = f"from genmodels import Dataset, open_dataset; open_dataset({str(CASES / 'idx')!r}); "
    code += "import numpy as np; Dataset.from_arrays(np.zeros((9, 2, 2))); import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "genmodels.readers.archives" in loaded and not {"PIL", "keras", "tensorflow"} & set(loaded)


def test_an_edit_of_a_reader_retrains_nothing_of_mnist_but_counts_for_data_of_ones_own(package):
    mine = ["from genmodels import Dataset, load_mnist", "images = Dataset.from_folder('letters')"]
    before = {name: store.key(name) for name in ("vae_kl", "gan", "reference")}
    own, ours = (
        fingerprint.code(*fingerprint.used_by(cells)) for cells in (mine, ["from genmodels import load_mnist"])
    )
    for module in ("arrays", "archives", "labels", "pictures"):
        path = package / "readers" / f"{module}.py"
        path.write_text(path.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    assert {name: store.key(name) for name in before} == before
    assert fingerprint.code(*fingerprint.used_by(["from genmodels import load_mnist"])) == ours
    assert fingerprint.code(*fingerprint.used_by(mine)) != own


def test_a_copy_of_the_cases_with_its_faults_mended_is_read(tmp_path):
    """The folder of the cases: a palette, 16 bits, an alpha channel, another size, a text and an empty class."""
    folder = tmp_path / "kopia źródeł"
    shutil.copytree(CASES / "folder", folder)
    (folder / "c" / "truncated.png").unlink()
    with (
        pytest.warns(UserWarning, match="no picture in empty_class"),
        pytest.warns(UserWarning, match="2 files are left out"),
        pytest.warns(UserWarning, match="all get 3 channels"),
    ):
        found = open_dataset(folder, size=(28, 28))
    assert found.class_names == ("a", "b", "c") and found.image_shape == (28, 28, 3)
    assert sum(map(len, (found.train, found.validation, found.test))) == 13
