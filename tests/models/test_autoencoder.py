import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels.models.autoencoder import AE


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
