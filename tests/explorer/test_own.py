import json
import re

import keras
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from test_export import SMALL, shaken

from genmodels import cli, config
from genmodels.datasets import Dataset
from genmodels.explorer import export, own
from genmodels.models.autoencoder import AE
from genmodels.models.classifier import Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.vae import VAE

SHAPE = (4, 6, 3)


def dataset(rng, shape=SHAPE, labels=("left", "right", "up")):
    images = rng.integers(0, 256, (60, *shape)).astype("uint8")
    return Dataset.from_arrays(images, np.array(labels)[np.arange(60) % len(labels)] if labels else None)


def explore(*arguments):
    return CliRunner().invoke(cli.main, ["explore", *map(str, arguments)])


def parts(page):
    """Return {id: value} of the data in a page."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.DOTALL)
    return {name: json.loads(value) for name, value in found}


@pytest.fixture
def data(rng, tmp_path):
    """A file of coloured images of three classes that have names."""
    names = np.array(["left", "right", "up"])[np.arange(60) % 3]
    np.savez(tmp_path / "mine.npz", images=rng.integers(0, 256, (60, *SHAPE)).astype("uint8"), labels=names)
    return tmp_path / "mine.npz"


@pytest.fixture
def model(rng, tmp_path):
    """A file with a VAE of five axes, and the VAE."""
    vae = shaken(VAE(image_shape=SHAPE, latent_dim=5, likelihood="gaussian", **SMALL), rng)
    vae.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras", vae


def test_the_page_of_ones_own_model_draws_what_keras_draws(model, data, monkeypatch, rng):
    monkeypatch.setattr(config, "checkout", lambda: None)  # an installed package does it too
    path, vae = model
    result = explore(path, "--data", data)
    assert result.exit_code == 0 and "mine.html" in result.output, result.output
    found = parts(path.with_suffix(".html"))
    about, images = found["about"], Dataset.from_npz(data).test
    assert about["names"] == ["left", "right", "up"] and about["shape"] == [*SHAPE] and about["axes"] == 5
    assert [*found["record"]] == ["model mine.keras", "data mine"]
    codes = reference.unpack(found["codes"], "<f2").reshape(-1, 5)
    np.testing.assert_allclose(codes, vae.encode(images.images)[0], atol=2e-3)
    np.testing.assert_array_equal(reference.unpack(found["labels"], "<u2"), images.labels)
    shown = reference.unpack(found["later"]["images"], "uint8").reshape(-1, *SHAPE)
    np.testing.assert_array_equal(shown, np.rint(255 * images.images))
    z = rng.normal(0, 1, (6, 5)).astype("float32")
    drawn = 1 / (1 + np.exp(-reference.run(found["decoder"], z)))
    np.testing.assert_allclose(drawn, vae.decode(z), atol=1 / 255)


def test_more_than_two_axes_lie_in_the_plane_of_pca_in_the_order_of_their_kl(rng):
    from sklearn.decomposition import PCA

    model, data = shaken(VAE(image_shape=SHAPE, latent_dim=5, **SMALL), rng), dataset(rng)
    about = own.collect(model, data, "mine")[0]["about"]
    mean, log_var = model.encode(data.test.binarized().images)
    oracle = PCA(2).fit(mean.astype("float64"))
    np.testing.assert_allclose(about["centre"], oracle.mean_, atol=1e-6)
    cosines = np.abs((np.array(about["directions"]) * oracle.components_).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    kl = -0.5 * (1 + log_var - mean**2 - np.exp(log_var)).mean(axis=0)
    np.testing.assert_allclose(about["carried"], kl, atol=1e-4)
    assert about["order"] == sorted(range(5), key=lambda axis: -kl[axis]) and about["binary"]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_codes_of_an_autoencoder_of_grey_images_without_labels(axes, rng):
    model, data = shaken(AE(image_shape=(6, 5, 1), latent_dim=axes, **SMALL), rng), dataset(rng, (6, 5), None)
    first, _ = own.collect(model, data, "mine", ink=True)
    about, codes = first["about"], model.encode(data.test.images)
    directions = np.array(about["directions"])
    assert directions.shape == (2, axes) and about["ink"] and not about["names"] and len(about["colours"]) == 1
    if axes == 2:
        assert directions.tolist() == [[1, 0], [0, 1]] and about["centre"] == [0, 0]
    kept = (codes - about["centre"]) @ directions.T
    assert np.abs(kept).max() <= about["edge"]
    if axes < 3:  # nothing is lost in the plane
        np.testing.assert_allclose(kept @ directions + about["centre"], codes, atol=1e-5)


def test_of_many_images_the_page_shows_some_at_equal_distances(rng, monkeypatch):
    monkeypatch.setattr(own, "PIXELS", 3 * np.prod(SHAPE))
    model, data = shaken(AE(image_shape=SHAPE, **SMALL), rng), dataset(rng)
    first, later = own.collect(model, data, "mine")
    assert reference.unpack(first["labels"], "<u2").tolist() == data.test.labels[[0, 2, 5]].tolist()
    assert reference.unpack(later["later"]["images"], "uint8").size == 3 * np.prod(SHAPE)


@pytest.mark.parametrize("build", [lambda: Classifier(), lambda: ConditionalVAE(latent_dim=2, **SMALL)])
def test_other_models_are_refused(build, rng):
    model = build()
    with pytest.raises(ValueError, match=f"mine: expected an AE or a VAE to explore, got a {type(model).__name__}"):
        own.collect(model, dataset(rng), "mine")


def refusal(*arguments):
    result = explore(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output
    return " ".join(result.output.split())


def test_what_cannot_be_explored_is_one_line(model, data, tmp_path, rng):
    path, _ = model
    assert "expected MODEL and --data, or neither, got only one of them" in refusal(path)
    assert "expected MODEL and --data, or neither, got only one of them" in refusal("--data", data)
    assert "expected a .keras file, found nothing" in refusal(tmp_path / "none.keras", "--data", data)
    np.savez(tmp_path / "other.npz", images=np.zeros((40, 5, 5), "uint8"))
    assert "of shape (N, 4, 6, 3), got shape (4, 5, 5, 1)" in refusal(path, "--data", tmp_path / "other.npz")
    assert not (tmp_path / "mine.html").exists()


class Odd(VAE):
    """A VAE whose decoder has a layer that the page cannot draw."""

    def _networks(self):
        encoder, decoder = super()._networks()
        code = keras.Input((self.latent_dim,))
        return encoder, keras.Model(code, decoder(keras.layers.LayerNormalization(name="odd")(code)))


def test_an_unknown_layer_is_named(rng):
    with pytest.raises(export.ExportError, match="LayerNormalization 'odd'"):
        own.collect(Odd(image_shape=SHAPE, **SMALL), dataset(rng), "mine")
