import hashlib
import sys
import types

import numpy as np
import pytest

from genmodels import datasets, mnist
from genmodels.datasets import DatasetError


def test_missing_file_is_named_with_the_remedy_that_fits(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match=r"gone\.npz: expected the MNIST file.*give the path of the real") as refused:
        mnist.read(tmp_path / "gone.npz")
    assert "git" not in str(refused.value)
    monkeypatch.setattr(mnist, "find", lambda: tmp_path / "gone.npz")
    with pytest.raises(
        DatasetError, match=r"gone\.npz: expected the MNIST file.*git checkout -- data/mnist/mnist\.npz"
    ):
        mnist.read(tmp_path / "gone.npz")


@pytest.mark.parametrize("keep", [0, 10, 1000, 5_000_000, 11_000_000])
def test_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "mnist.npz"
    path.write_bytes(mnist.find().read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"mnist\.npz: expected an \.npz archive"):
        mnist.read(path)


def test_altered_pixel_is_found(tmp_path):
    arrays = mnist.read(mnist.find())
    arrays["x_test"] = arrays["x_test"].copy()
    arrays["x_test"][5, 5, 5] ^= 1
    np.savez(tmp_path / "altered.npz", **arrays)
    with pytest.raises(ValueError, match=r"altered\.npz: x_test expected SHA-256 6d87418d.*got"):
        mnist.read(tmp_path / "altered.npz")


@pytest.mark.parametrize(
    ("place", "value"),
    [(6, 0xFF), (8, 0x01), (10, 99), (10, 14)],
    ids=["unknown version", "encrypted", "unknown compression", "another compression"],
)
def test_an_archive_of_another_kind_is_refused(tmp_path, place, value):
    """Set one byte in the first entry of the archive's directory. A fuzzer found these cases."""
    content = bytearray(mnist.find().read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"mnist\.npz: expected an \.npz archive with .*, got an unreadable one"):
        mnist.read(path)


def replaced(tmp_path, monkeypatch, **arrays):
    """Put an archive with these arrays in the place of data/mnist/mnist.npz."""
    path = tmp_path / "mnist.npz"
    np.savez(path, **{**mnist.read(mnist.find()), **arrays})
    monkeypatch.setattr(mnist, "find", lambda: path)
    return path


def test_the_checksums_are_those_of_the_arrays_found_however_they_are_packed(tmp_path, monkeypatch):
    assert mnist.found() == mnist.SHA256
    replaced(tmp_path, monkeypatch)
    assert mnist.found() == mnist.SHA256


def test_another_archive_in_the_place_of_mnist_is_noticed_and_refused(tmp_path, monkeypatch):
    path = replaced(tmp_path, monkeypatch, y_test=np.zeros(10_000, "uint8"))
    found = mnist.found()
    assert found["y_test"] != mnist.SHA256["y_test"] and found["x_test"] == mnist.SHA256["x_test"]
    with pytest.raises(DatasetError, match=r"mnist\.npz: y_test expected SHA-256 .*got.*verify=False"):
        datasets.load_mnist()
    path.write_bytes(b"PK")
    assert list(mnist.found()) == ["mnist.npz"]
    path.unlink()
    assert mnist.found() == {}


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", **{name: np.array([{}], dtype=object) for name in mnist.SHA256})
    with pytest.raises(ValueError, match=r"expected an \.npz archive"):
        mnist.read(tmp_path / "objects.npz")


def test_outside_a_checkout_keras_supplies_the_data_and_it_is_verified(monkeypatch):
    arrays = mnist.read(mnist.find())
    pairs = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    source = types.SimpleNamespace(load_data=lambda: pairs)
    monkeypatch.setitem(sys.modules, "keras.datasets", types.SimpleNamespace(mnist=source))
    assert hashlib.sha256(mnist.from_keras()["y_test"].tobytes()).hexdigest() == mnist.SHA256["y_test"]
    pairs[1][1][0] += 1
    with pytest.raises(ValueError, match=r"keras\.datasets\.mnist: y_test .*download=True") as refused:
        mnist.from_keras()
    assert "git" not in str(refused.value)


def test_no_network_outside_a_checkout_is_one_clear_error(monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setitem(
        sys.modules, "keras.datasets", types.SimpleNamespace(mnist=types.SimpleNamespace(load_data=fail))
    )
    with pytest.raises(DatasetError, match=r"keras\.datasets\.mnist: expected to load it, got: URL fetch failure"):
        mnist.from_keras(download=True)
