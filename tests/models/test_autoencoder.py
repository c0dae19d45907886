import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels.models.autoencoder import AE, PIXEL_LOSSES


@pytest.fixture
def ae():
    keras.utils.set_random_seed(3)
    model = AE(hidden_units=(32,))
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def test_loss_is_the_squared_error_of_its_own_reconstructions(ae, digits):
    result = ae.evaluate(digits.images, batch_size=50, verbose=0, return_dict=True)  # 128 images: a short last batch
    expected = np.square(digits.images - ae.decode(ae.encode(digits.images)))
    np.testing.assert_allclose(result["loss"], expected.sum(axis=(1, 2, 3)).mean(), rtol=1e-4)
    np.testing.assert_allclose(result["mse"], expected.mean(), rtol=1e-4)


def test_fit_lowers_the_loss(ae, digits, graphs):
    losses = ae.fit(digits.images, batch_size=32, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_gradients_reach_encoder_and_decoder(ae, digits):
    with tf.GradientTape() as tape:
        loss = ae.compute_loss(x=digits.images, y_pred=ae(digits.images, training=True))
    gradients = tape.gradient(loss, ae.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_saved_model_gives_the_same_codes_and_images(ae, digits, tmp_path):
    ae.fit(digits.images, verbose=0)
    ae.save(tmp_path / "ae.keras")
    loaded = keras.models.load_model(tmp_path / "ae.keras")
    assert np.array_equal(loaded.encode(digits.images), ae.encode(digits.images))
    assert np.array_equal(loaded(digits.images), ae(digits.images))


def test_decoded_images_are_probabilities(ae):
    images = ae.decode(np.array([[-50.0, 50.0], [0, 0]], "float32"))
    assert images.shape == (2, 28, 28, 1) and (images >= 0).all() and (images <= 1).all()


def test_binary_cross_entropy_is_that_of_the_reconstructions(digits):
    ae = AE(hidden_units=(32,), pixel_loss="binary_cross_entropy")
    ae.compile(keras.optimizers.Adam(1e-3))
    result = ae.evaluate(digits.images, verbose=0, return_dict=True)
    x, p = digits.images.astype("float64"), ae.decode(ae.encode(digits.images)).astype("float64")
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3)).mean()
    assert result["loss"] == pytest.approx(expected, rel=1e-4)
    assert result["mse"] == pytest.approx(np.square(x - p).mean(), rel=1e-4)


@pytest.mark.parametrize("pixel_loss", PIXEL_LOSSES)
def test_either_loss_has_its_minimum_at_the_image(pixel_loss, digits):
    ae = AE(hidden_units=(4,), pixel_loss=pixel_loss)
    grey = np.full((1, 28, 28, 1), 0.3, "float32")
    losses = {p: float(ae.compute_loss(x=grey, y_pred=np.full_like(grey, p))) for p in np.arange(0.1, 1, 0.1).round(1)}
    assert min(losses, key=losses.get) == 0.3


def test_only_normalised_codes_have_a_standard_deviation_of_one(digits):
    for normalised in (True, False):
        ae = AE(hidden_units=(8,), normalise_codes=normalised)
        codes = np.asarray(ae.encoder(100 * digits.images, training=True))
        assert np.allclose(codes.std(axis=0), 1, atol=0.02) == normalised


def test_a_saved_model_keeps_its_loss_and_its_codes(tmp_path):
    ae = AE(hidden_units=(4,), pixel_loss="binary_cross_entropy", normalise_codes=False)
    ae.save(tmp_path / "ae.keras")
    loaded = keras.models.load_model(tmp_path / "ae.keras")
    assert (loaded.pixel_loss, loaded.normalise_codes) == ("binary_cross_entropy", False)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"pixel_loss must be .*binary_cross_entropy.*, got 'mse'"):
        AE(pixel_loss="mse")
