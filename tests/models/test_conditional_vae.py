import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels import canvas
from genmodels.models.conditional_vae import ConditionalVAE, one_hot_condition


def conditional(**options):
    keras.utils.set_random_seed(3)
    model = ConditionalVAE(hidden_units=(32,), seed=5, **options)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


@pytest.fixture
def pair(digits, rng):
    return canvas.place_randomly(digits.binarized(), np.arange(64), rng)


@pytest.mark.parametrize("latent_dim", [2, 25, 100])
def test_codes_and_canvases_have_the_documented_shapes(latent_dim, pair):
    model = conditional(latent_dim=latent_dim)
    z_mean, z_log_var = model.encode(*pair)
    assert z_mean.shape == z_log_var.shape == (64, latent_dim)
    images = model.decode(z_mean, pair[1])
    assert images.shape == (64, 56, 56, 1) and (images >= 0).all() and (images <= 1).all()
    assert model.sample(pair[1][:3], seed=0).shape == (3, 56, 56, 1)


def test_gradients_reach_everything_that_learns_position(pair):
    model = conditional()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=pair, y_pred=model(pair))
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, model.trainable_variables))


@pytest.mark.parametrize(("option", "value"), [("beta", 2.0), ("classifier_weight", 5.0)])
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
    model.window.background.assign(0.0)  # at its initial value nothing is drawn yet
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(pair)
        label = one_hot_condition(pair[1])[: len(pair[1]) // 2, :10]
        fake, real = (
            keras.ops.mean(keras.ops.categorical_crossentropy(label, outputs[name], from_logits=True))
            for name in ("fake_label_logits", "real_label_logits")
        )
        loss = model.compute_loss(x=pair, y_pred=outputs)
    return model, tape, loss, fake, real


def test_samples_teach_the_decoder_and_not_the_classifier(pair):
    model, tape, _, fake, real = with_classifier(pair)
    decoder, classifier = (
        model.decoder.get_layer("digit_decoder").trainable_variables,
        model.classifier.trainable_variables,
    )
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(fake, decoder))
    assert all(gradient is None for gradient in tape.gradient(fake, classifier))
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(real, classifier))
    assert all(gradient is None for gradient in tape.gradient(real, model.encoder.trainable_variables))


def test_loss_with_a_classifier_adds_both_cross_entropies_to_the_negative_elbo(pair):
    model, _, loss, fake, real = with_classifier(pair)
    expected = float(model.negative_elbo.result()) + float(real) + 5 * float(fake)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_draw_samples_under_one_condition():
    model = conditional()
    expected = model.sample([[4, 2, 1]] * 3, seed=1)
    assert np.array_equal(model.draw(3, seed=1, label=4, position=(2, 1)), expected)
