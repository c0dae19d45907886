import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels import datasets
from genmodels.models.vae import VAE


def vae(**options):
    keras.utils.set_random_seed(3)
    model = VAE(hidden_units=(32,), seed=5, **options)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


@pytest.fixture
def binary(digits):
    return datasets.binarize(digits.images)


@pytest.mark.parametrize("kl", ["monte_carlo", "closed_form"])
def test_loss_is_the_sum_of_its_parts(kl, binary):
    result = vae(kl=kl).evaluate(binary, batch_size=50, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(result["reconstruction"] + result["kl"], rel=1e-5)
    assert result["negative_elbo"] == pytest.approx(result["loss"], rel=1e-5)


def test_both_losses_agree_within_sampling_error(binary):
    """Use the same weights and noise, so that only the noise of the KL estimate remains."""
    many = np.concatenate([binary] * 20)
    losses = {}
    for kl in ("monte_carlo", "closed_form"):
        model = vae(kl=kl)
        outputs = model(many)
        losses[kl] = float(model.compute_loss(x=many, y_pred=outputs))
    spread = 3 * np.sqrt(model.latent_dim / len(many))
    assert losses["monte_carlo"] == pytest.approx(losses["closed_form"], abs=4 * spread)
    assert losses["monte_carlo"] != losses["closed_form"]


def test_beta_counts_in_the_loss_but_not_in_the_elbo(binary):
    result = vae(beta=3.0).evaluate(binary, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(result["reconstruction"] + 3 * result["kl"], rel=1e-5)
    assert result["negative_elbo"] == pytest.approx(result["reconstruction"] + result["kl"], rel=1e-5)


@pytest.mark.parametrize("kl", ["monte_carlo", "closed_form"])
def test_gradients_reach_encoder_and_decoder(kl, binary):
    model = vae(kl=kl)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=binary, y_pred=model(binary))
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, model.trainable_variables))


def test_encoding_is_deterministic_and_sampling_is_not(binary):
    model = vae()
    assert np.array_equal(model.encode(binary)[0], model.encode(binary)[0])
    assert not np.array_equal(model(binary)["z"], model(binary)["z"])
    assert np.array_equal(model.sample(4, seed=1), model.sample(4, seed=1))
    assert not np.array_equal(model.sample(4, seed=1), model.sample(4, seed=2))


def test_saved_vae_is_the_same_model(binary, tmp_path):
    model = vae(kl="monte_carlo", latent_dim=3)
    model.fit(binary, verbose=0)
    model.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    assert loaded.kl == "monte_carlo"
    assert np.array_equal(loaded.sample(5, seed=0), model.sample(5, seed=0))


def test_draw_samples_from_the_prior():
    model = vae()
    assert np.array_equal(model.draw(3, seed=1), model.sample(3, seed=1))
