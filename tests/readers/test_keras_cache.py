"""Data sets from Keras's cache: read from there, and fetched only when that is asked for."""

import gzip
import shutil
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from genmodels import datasets
from genmodels.datasets import DatasetError, load_dataset, open_dataset

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return an empty folder as Keras's home."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Return the list of what is fetched from the network, which nothing reaches."""
    found = []

    def fetch(url, *_, **__):
        found.append(url)
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", fetch)
    return found


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_nothing_is_fetched_unasked(home, asked, name, capfd):
    with pytest.raises(
        DatasetError, match=rf"{name}: expected to load it, got: it is not in .*; fetch it .*download=True"
    ):
        load_dataset(name)
    assert asked == [] and "Downloading" not in capfd.readouterr().out


def test_mnist_is_not_fetched_unasked_either(home, asked, monkeypatch):
    monkeypatch.setattr(datasets.mnist, "find", lambda: None)
    with pytest.raises(DatasetError, match=r"keras\.datasets\.mnist: .*not in Keras's cache.*download=True") as refused:
        datasets.load_mnist()
    assert asked == [] and "git" not in str(refused.value)


def test_it_is_fetched_when_asked_for_and_a_missing_network_is_one_line(home, asked):
    with pytest.raises(DatasetError, match=r"fashion_mnist: expected to load it, .*no network; connect to the network"):
        open_dataset("Fashion-MNIST", download=True)
    assert len(asked) == 1 and asked[0].startswith("https://")


def test_what_the_cache_holds_is_read_with_the_names_of_the_classes(home, asked):
    folder = home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for path in (CASES / "idx").iterdir():
        if path.suffix == ".gz":
            shutil.copy(path, folder)
        else:  # the labels, from 0 to 25
            content = path.read_bytes()
            labels = np.frombuffer(content[8:], "uint8") % 10
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(content[:8] + labels.tobytes()))
    found = open_dataset("fashion_mnist")
    assert found.class_names[9] == "Ankle boot" and found.image_shape == (28, 28, 1) and found.name == "fashion_mnist"
    assert (len(found.train), len(found.validation), len(found.test)) == (90, 10, 30) and asked == []


def test_colour_images_are_read_in_whatever_layout_keras_is_set_to(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), "uint8")
    labels = (np.arange(50) % 10).astype("uint8")[:, None]
    found = []
    for seen in (images, np.moveaxis(images, -1, 1)):
        pairs = (seen, labels), (seen, labels)
        monkeypatch.setattr("keras.datasets.cifar10.load_data", lambda pairs=pairs: pairs)
        found.append(load_dataset("cifar10"))
    first, second = found
    assert first.class_names[0] == "airplane" and first.image_shape == (32, 32, 3)
    assert np.array_equal(first.test.images, second.test.images) and first.digest == second.digest


@pytest.mark.parametrize("name", ["imdb", "", None, 3])
def test_another_name_is_refused(name):
    with pytest.raises(DatasetError, match=r"^name: expected one of mnist, fashion_mnist, cifar10, cifar100, got"):
        load_dataset(name)
