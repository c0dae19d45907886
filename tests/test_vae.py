import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels import data
from genmodels.vae import VAE, ConditionalVAE, one_hot_condition


def vae(**options):
    keras.utils.set_random_seed(3)
    model = VAE(hidden_units=(32,), seed=5, **options)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def conditional(**options):
    keras.utils.set_random_seed(3)
    model = ConditionalVAE(hidden_units=(32,), seed=5, **options)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


@pytest.fixture
def binary(digits):
    return data.quantise(digits.images)


@pytest.fixture
def pair(digits, rng):
    return data.on_canvas(data.Split(data.quantise(digits.images), digits.labels), np.arange(64), rng)


@pytest.mark.parametrize("kl", ["monte_carlo", "closed_form"])
def test_loss_is_the_sum_of_its_parts(kl, binary):
    result = vae(kl=kl).evaluate(binary, batch_size=50, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(result["reconstruction"] + result["kl"], rel=1e-5)
    assert result["negative_elbo"] == pytest.approx(result["loss"], rel=1e-5)


def test_both_losses_agree_within_sampling_error(binary):
    """The same weights and noise: the losses differ by the noise of the KL estimate alone."""
    many = np.concatenate([binary] * 20)
    losses = {}
    for kl in ("monte_carlo", "closed_form"):
        model = vae(kl=kl)
        outputs = model(many)
        losses[kl] = float(model.compute_loss(x=many, y_pred=outputs))
    spread = 3 * np.sqrt(model.latent_dim / len(many))
    assert losses["monte_carlo"] == pytest.approx(losses["closed_form"], abs=4 * spread)
    assert losses["monte_carlo"] != losses["closed_form"]


def test_kl_weight_counts_in_the_loss_but_not_in_the_elbo(binary):
    result = vae(kl_weight=3.0).evaluate(binary, verbose=0, return_dict=True)
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


@pytest.mark.parametrize("latent_dim", [2, 25, 100])
def test_conditional_shapes(latent_dim, pair):
    model = conditional(latent_dim=latent_dim)
    z_mean, z_log_var = model.encode(*pair)
    assert z_mean.shape == z_log_var.shape == (64, latent_dim)
    images = model.decode(z_mean, pair[1])
    assert images.shape == (64, 56, 56, 1) and (images >= 0).all() and (images <= 1).all()
    assert model.sample(pair[1][:3], seed=0).shape == (3, 56, 56, 1)


def test_conditional_gradients_reach_everything_that_learns_position(pair):
    model = conditional()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=pair, y_pred=model(pair))
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, model.trainable_variables))


@pytest.mark.parametrize(("option", "value"), [("kl_weight", 2.0), ("classifier_weight", 5.0)])
def test_saved_conditional_vae_is_the_same_model_and_goes_on(option, value, pair, tmp_path):
    model = conditional(**{option: value})
    model.fit(tf.data.Dataset.from_tensors((pair,)), verbose=0)
    model.save(tmp_path / "cvae.keras")
    loaded = keras.models.load_model(tmp_path / "cvae.keras")
    assert getattr(loaded, option) == value
    assert np.array_equal(loaded.sample(pair[1], seed=0), model.sample(pair[1], seed=0))
    loaded.fit(tf.data.Dataset.from_tensors((pair,)), verbose=0)


def test_one_hot_condition_keeps_label_column_and_row_apart():
    vector = np.asarray(one_hot_condition([[4, 2, 1]]))[0]
    assert np.flatnonzero(vector).tolist() == [4, 10 + 2, 13 + 1]


def with_classifier(pair):
    model = conditional(classifier_weight=5.0)
    model.window.background.assign(0.0)  # where it starts, nothing is drawn yet and nothing to name
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(pair)
        label = one_hot_condition(pair[1])[: len(pair[1]) // 2, :10]
        drawn, real = (
            keras.ops.mean(keras.ops.categorical_crossentropy(label, outputs[name], from_logits=True))
            for name in ("names_of_drawn", "names_of_real")
        )
        loss = model.compute_loss(x=pair, y_pred=outputs)
    return model, tape, loss, drawn, real


def test_names_of_drawn_digits_teach_the_decoder_and_not_the_classifier(pair):
    model, tape, _, drawn, real = with_classifier(pair)
    decoder, classifier = (
        model.decoder.get_layer("digit_decoder").trainable_variables,
        model.classifier.trainable_variables,
    )
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(drawn, decoder))
    assert all(gradient is None for gradient in tape.gradient(drawn, classifier))
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(real, classifier))
    assert all(gradient is None for gradient in tape.gradient(real, model.encoder.trainable_variables))


def test_loss_with_a_classifier_is_the_elbo_and_both_namings(pair):
    model, _, loss, drawn, real = with_classifier(pair)
    expected = float(model.negative_elbo.result()) + float(real) + 5 * float(drawn)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
