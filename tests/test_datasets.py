import hashlib
import sys
import types

import numpy as np
import pytest

from genmodels import datasets


def test_splits_have_the_documented_sizes_ranges_and_types():
    mnist = datasets.load_mnist()
    assert [len(split) for split in (mnist.train, mnist.validation, mnist.test)] == [55_000, 5_000, 10_000]
    for split in (mnist.train, mnist.validation, mnist.test):
        assert split.images.shape == (len(split), 28, 28, 1) and split.images.dtype == np.float32
        assert split.images.min() == 0 and split.images.max() == 1
        assert set(split.labels) == set(range(10))


def test_validation_is_the_end_of_the_training_set():
    mnist, raw = datasets.load_mnist(), datasets.read(datasets.find())
    joined = np.concatenate([mnist.train.labels, mnist.validation.labels])
    assert np.array_equal(joined, raw["y_train"])


def test_quick_mode_gives_the_first_images_of_each_split(smoke):
    quick = datasets.load_mnist()
    assert np.array_equal(quick.train.labels, datasets.read(datasets.find())["y_train"][: len(quick.train)])
    assert len(quick.test) == datasets.QUICK_SIZES["test"]


def test_unknown_budget_is_refused(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "tiny")
    with pytest.raises(ValueError, match=r"must be 'full' or 'smoke', got 'tiny'"):
        datasets.load_mnist()


def test_missing_file_is_named_with_a_remedy(tmp_path):
    with pytest.raises(datasets.DatasetError, match=r"gone\.npz: expected the MNIST file.*git checkout"):
        datasets.read(tmp_path / "gone.npz")


@pytest.mark.parametrize("keep", [0, 10, 1000, 5_000_000, 11_000_000])
def test_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "mnist.npz"
    path.write_bytes(datasets.find().read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"mnist\.npz: expected an \.npz archive"):
        datasets.read(path)


def test_altered_pixel_is_found(tmp_path):
    arrays = datasets.read(datasets.find())
    arrays["x_test"] = arrays["x_test"].copy()
    arrays["x_test"][5, 5, 5] ^= 1
    np.savez(tmp_path / "altered.npz", **arrays)
    with pytest.raises(ValueError, match=r"altered\.npz: x_test expected SHA-256 6d87418d.*got"):
        datasets.read(tmp_path / "altered.npz")


@pytest.mark.parametrize(
    ("place", "value"),
    [(6, 0xFF), (8, 0x01), (10, 99), (10, 14)],
    ids=["unknown version", "encrypted", "unknown compression", "another compression"],
)
def test_an_archive_of_another_kind_is_refused(tmp_path, place, value):
    """Set one byte in the first entry of the archive's directory. A fuzzer found these cases."""
    content = bytearray(datasets.find().read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(
        datasets.DatasetError, match=r"mnist\.npz: expected an \.npz archive with .*, got an unreadable one"
    ):
        datasets.read(path)


def replaced(tmp_path, monkeypatch, **arrays):
    """Put an archive with these arrays in the place of data/mnist/mnist.npz."""
    path = tmp_path / "mnist.npz"
    np.savez(path, **{**datasets.read(datasets.find()), **arrays})
    monkeypatch.setattr(datasets, "find", lambda: path)
    return path


def test_the_checksums_are_those_of_the_arrays_found_however_they_are_packed(tmp_path, monkeypatch):
    assert datasets.found() == datasets.SHA256
    replaced(tmp_path, monkeypatch)
    assert datasets.found() == datasets.SHA256


def test_another_archive_in_the_place_of_mnist_is_noticed_and_refused(tmp_path, monkeypatch):
    path = replaced(tmp_path, monkeypatch, y_test=np.zeros(10_000, "uint8"))
    found = datasets.found()
    assert found["y_test"] != datasets.SHA256["y_test"] and found["x_test"] == datasets.SHA256["x_test"]
    with pytest.raises(datasets.DatasetError, match=r"mnist\.npz: y_test expected SHA-256 .*got.*verify=False"):
        datasets.load_mnist()
    path.write_bytes(b"PK")
    assert list(datasets.found()) == ["mnist.npz"]
    path.unlink()
    assert datasets.found() == {}


def test_other_images_are_used_where_that_is_asked_for(tmp_path, monkeypatch):
    path = replaced(tmp_path, monkeypatch, y_test=np.full(10_000, 3, "uint8"))
    assert set(datasets.load_mnist(path, verify=False).test.labels) == {3}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_test": np.zeros((3, 32, 32), "uint8"), "y_test": np.zeros(3, "uint8")}, "x_test must be uint8 of shape"),
        ({"x_test": np.zeros((3, 28, 28)), "y_test": np.zeros(3, "uint8")}, "x_test must be uint8 of shape .*float64"),
        ({"y_test": np.full(10_000, 10, "uint8")}, "y_test must be whole numbers 0-9"),
        ({"y_test": np.zeros(9, "uint8")}, r"y_test must be .* of shape \(10000,\), got uint8 of shape \(9,\)"),
        ({"x_train": np.zeros((5000, 28, 28), "uint8")}, "x_train must be .*N >= 5001"),
    ],
    ids=["size", "dtype", "label", "number of labels", "too few"],
)
def test_other_images_of_another_form_are_refused(tmp_path, monkeypatch, arrays, message):
    path = replaced(tmp_path, monkeypatch, **arrays)
    with pytest.raises(datasets.DatasetError, match=message):
        datasets.load_mnist(path, verify=False)


def test_a_split_takes_memory_only_after_its_first_use():
    arrays = datasets.read(datasets.find())
    mnist = datasets.Dataset(arrays, {"train": None, "validation": None, "test": 10})
    assert len(mnist.test) == 10 and sorted(vars(mnist)) == ["_arrays", "_sizes", "test"]
    assert np.array_equal(mnist.test.images[..., 0], arrays["x_test"][:10].astype("float32") / 255)
    assert mnist.train is mnist.train and not mnist._arrays  # scaled once, and not kept twice


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", **{name: np.array([{}], dtype=object) for name in datasets.SHA256})
    with pytest.raises(ValueError, match=r"expected an \.npz archive"):
        datasets.read(tmp_path / "objects.npz")


def test_outside_a_checkout_keras_supplies_the_data_and_it_is_verified(monkeypatch):
    arrays = datasets.read(datasets.find())
    pairs = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    source = types.SimpleNamespace(load_data=lambda: pairs)
    monkeypatch.setitem(sys.modules, "keras.datasets", types.SimpleNamespace(mnist=source))
    assert hashlib.sha256(datasets.download()["y_test"].tobytes()).hexdigest() == datasets.SHA256["y_test"]
    pairs[1][1][0] += 1
    with pytest.raises(ValueError, match=r"keras\.datasets\.mnist: y_test"):
        datasets.download()


def test_no_network_outside_a_checkout_is_one_clear_error(monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setitem(
        sys.modules, "keras.datasets", types.SimpleNamespace(mnist=types.SimpleNamespace(load_data=fail))
    )
    with pytest.raises(
        datasets.DatasetError, match=r"keras\.datasets\.mnist: expected to load MNIST, got: URL fetch failure"
    ):
        datasets.download()


def test_binarize_splits_at_a_half():
    assert datasets.binarize([0.0, 0.49, 0.5, 1.0]).tolist() == [0, 0, 1, 1]


def test_typical_is_the_image_nearest_to_its_digits_mean():
    images = np.full((5, 28, 28, 1), 0.5, "float32") * np.array([0, 1, 2, 0.9, 1]).reshape(5, 1, 1, 1)
    split = datasets.Split(images, np.array([3, 3, 3, 3, 4]))
    assert np.array_equal(split.typical(3), images[1])  # the mean of 0, 0.5, 1 and 0.45 is 0.4875
    with pytest.raises(ValueError, match="expected a digit that occurs"):
        split.typical(5)


def test_binarized_split_keeps_its_labels(digits):
    binary = digits.binarized()
    assert set(np.unique(binary.images)) == {0, 1} and np.array_equal(binary.labels, digits.labels)


def test_translate_moves_by_whole_pixels_and_fills_with_nothing(digits):
    images, right, down = digits.images[:3], [2, -1, 0], [0, 2, -2]
    moved = datasets.translate(images, right, down)
    for image, was, x, y in zip(moved, images, right, down):
        expected = np.roll(was, (y, x), axis=(0, 1))  # the digits leave at least two empty pixels on each side
        assert np.array_equal(image, expected)
    full = np.ones((1, 28, 28, 1), "float32")
    assert datasets.translate(full, [2], [-1]).sum() == 27 * 26


def test_augmented_images_are_half_binarized_and_keep_their_ink_in_the_frame(digits, rng):
    seen = datasets.augment(np.repeat(digits.images, 4, axis=0), rng)
    binary = np.isin(seen, (0, 1)).all(axis=(1, 2, 3))
    assert seen.shape == (512, 28, 28, 1) and 0.4 < binary.mean() < 0.6
