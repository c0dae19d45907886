"""Models of images of any height, width and number of channels, with any number of classes."""

import keras
import numpy as np
import pytest
from scipy import stats

from genmodels.models.autoencoder import AE
from genmodels.models.classifier import ARCHITECTURES, Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.gan import ConditionalGAN
from genmodels.models.vae import LIKELIHOODS, VAE

SHAPES = [(28, 28, 1), (8, 8, 1), (32, 32, 3), (13, 21, 2), (64, 4, 4)]


def images_of(shape, count=6):
    return np.random.default_rng(0).random((count, *shape), "float32")


@pytest.mark.parametrize("shape", SHAPES)
def test_an_autoencoder_gives_images_of_its_shape(shape):
    model = AE(image_shape=shape, latent_dim=3, hidden_units=(8,))
    model.compile("adam")
    model.fit(images_of(shape), verbose=0)
    codes = model.encode(images_of(shape))
    assert codes.shape == (6, 3) and model.decode(codes).shape == (6, *shape)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_vae_draws_images_of_its_shape(shape, likelihood):
    model = VAE(image_shape=shape, likelihood=likelihood, hidden_units=(8,))
    model.compile("adam")
    history = model.fit(np.rint(images_of(shape)), verbose=0).history
    drawn = model.sample(4, seed=0)
    assert drawn.shape == (4, *shape) and (drawn >= 0).all() and (drawn <= 1).all()
    assert np.isfinite(history["negative_elbo"]).all()


@pytest.mark.parametrize("classes", [1, 3, 26])
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (12, 20, 2)])
def test_a_gan_draws_each_class(shape, classes):
    model = ConditionalGAN(image_shape=shape, num_classes=classes, channels=4)
    model.compile("adam", "adam")
    model.fit(images_of(shape), np.arange(6) % classes, verbose=0)
    assert model.generate(np.arange(classes), seed=0).shape == (classes, *shape)
    with pytest.raises(ValueError, match=f"from 0 to {classes - 1}"):
        model.generate([classes], seed=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_classifier_takes_its_shape(shape, architecture):
    model = Classifier(image_shape=shape, num_classes=5, architecture=architecture)
    assert model.predict(images_of(shape), verbose=0).shape == (6, 5)
    assert model.features(images_of(shape)).shape == (6, 128)


@pytest.mark.parametrize("shape", [(30, 28, 1), (3, 3, 1), (28, 27, 3)])
def test_a_gan_names_the_sides_that_would_do(shape):
    with pytest.raises(ValueError, match=r"multiples of 4, got .*; resize the images to \d+ x \d+ or \d+ x \d+"):
        ConditionalGAN(image_shape=shape)


@pytest.mark.parametrize("bad", [(28, 28), 28, (28, 28, 0), (28.0, 28, 1), "28x28x1", None])
@pytest.mark.parametrize("kind", [AE, VAE, ConditionalGAN, Classifier])
def test_a_shape_is_three_whole_numbers(kind, bad):
    with pytest.raises(ValueError, match=r"image_shape \(height, width, channels\) must be"):
        kind(image_shape=bad)


def test_the_canvas_stays_that_of_mnist():
    with pytest.raises(ValueError, match="that of the canvas"):
        ConditionalVAE(image_shape=(32, 32, 1))


@pytest.mark.parametrize(
    "model",
    [
        lambda: AE(image_shape=[8, 8, 3], hidden_units=(4,)),
        lambda: VAE(image_shape=np.array([8, 8, 3]), likelihood="gaussian", hidden_units=(4,)),
        lambda: ConditionalGAN(image_shape=(8, 8, 3), num_classes=4, channels=2),
        lambda: Classifier(image_shape=(8, 8, 3), num_classes=4),
    ],
)
def test_shape_and_classes_are_saved(model, tmp_path):
    first = model()
    first.save(tmp_path / "model.keras")
    second = keras.models.load_model(tmp_path / "model.keras")
    assert second.image_shape == (8, 8, 3) and second.get_config() == first.get_config()
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))


def test_gaussian_likelihood_is_the_density_of_a_normal_distribution():
    model = VAE(image_shape=(4, 4, 2), likelihood="gaussian", hidden_units=(4,))
    model.log_scale.assign(np.log(0.3))
    images, logits = images_of((4, 4, 2)), np.random.default_rng(1).standard_normal((6, 4, 4, 2)).astype("float32")
    expected = stats.norm(1 / (1 + np.exp(-logits)), 0.3).logpdf(images).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(model.log_likelihood(images, logits), expected, rtol=1e-5)


def test_gaussian_pixels_learn_their_deviation(graphs):
    """Images without structure: the best mean is 0.5, and the best deviation that of the pixels."""
    keras.utils.set_random_seed(0)
    images = np.clip(0.5 + 0.2 * np.random.default_rng(0).standard_normal((400, 8, 8, 1)), 0, 1).astype("float32")
    model = VAE(image_shape=(8, 8, 1), likelihood="gaussian", hidden_units=(8,))
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(images, epochs=25, verbose=0)
    assert np.exp(float(model.log_scale)) == pytest.approx(images.std(), rel=0.1)


def test_a_constant_pixel_does_not_make_the_density_infinite():
    model = VAE(image_shape=(4, 4, 1), likelihood="gaussian", hidden_units=(4,))
    model.log_scale.assign(-50.0)
    found = model.log_likelihood(np.full((1, 4, 4, 1), 0.5, "float32"), np.zeros((1, 4, 4, 1), "float32"))
    assert float(found[0]) == pytest.approx(16 * stats.norm(0.5, 1 / 256).logpdf(0.5), rel=1e-4)
