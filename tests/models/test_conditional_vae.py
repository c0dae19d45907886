import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from genmodels import canvas, metrics
from genmodels.models.conditional_vae import ConditionalVAE, PriorTuner, one_hot_condition


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


KINDS = [{}, {"prior": "flow"}, {"window": False}, {"prior": "flow", "window": False}]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_gradients_reach_everything(options, pair):
    model = conditional(**options)
    disturb(model)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=pair, y_pred=model(pair))
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, model.trainable_variables))


SAVED = [("beta", 2.0), ("prior", "flow"), ("windowed", False)]


@pytest.mark.parametrize(("option", "value"), SAVED)
def test_saved_conditional_vae_is_the_same_model_and_goes_on(option, value, pair, tmp_path):
    model = conditional(**{"window" if option == "windowed" else option: value})
    model.fit(tf.data.Dataset.from_tensors((pair,)), verbose=0)
    model.save(tmp_path / "cvae.keras")
    loaded = keras.models.load_model(tmp_path / "cvae.keras")
    assert getattr(loaded, option) == value
    assert np.array_equal(loaded.sample(pair[1], seed=0), model.sample(pair[1], seed=0))
    loaded.fit(tf.data.Dataset.from_tensors((pair,)), verbose=0)


def test_one_hot_condition_keeps_label_column_and_row_apart():
    vector = np.asarray(one_hot_condition([[4, 2, 1]]))[0]
    assert np.flatnonzero(vector).tolist() == [4, 10 + 2, 13 + 1]


def test_draw_samples_under_one_condition():
    model = conditional()
    expected = model.sample([[4, 2, 1]] * 3, seed=1)
    assert np.array_equal(model.draw(3, seed=1, label=4, position=(2, 1)), expected)


def disturb(model, scale=0.1):
    """Give the flow of a model random weights: an untrained one is the identity."""
    if model.flow:
        rng = np.random.default_rng(6)
        model.flow.set_weights([scale * rng.standard_normal(weight.shape) for weight in model.flow.get_weights()])


@pytest.fixture
def with_flow():
    model = conditional(prior="flow", latent_dim=4)
    disturb(model)
    return model


def test_an_untrained_flow_leaves_the_model_as_it_is_without_one(pair):
    plain, model = conditional(kl="monte_carlo"), conditional(prior="flow")
    assert np.array_equal(plain.sample(pair[1], seed=0), model.sample(pair[1], seed=0))
    losses = [each.evaluate(pair, verbose=0, return_dict=True)["loss"] for each in (plain, model)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_noise_becomes_a_code_and_the_code_the_same_noise(with_flow, pair, rng):
    noise = rng.standard_normal((64, 4), "float32")
    z = with_flow.from_noise(noise, pair[1])
    assert np.abs(z - noise).max() > 0.1
    np.testing.assert_allclose(with_flow.to_noise(z, pair[1]), noise, atol=1e-5)


def test_samples_are_decoded_codes_of_normal_noise(with_flow, pair):
    noise = np.random.default_rng(9).standard_normal((64, 4), "float32")
    expected = with_flow.decode(with_flow.from_noise(noise, pair[1]), pair[1])
    assert np.array_equal(with_flow.sample(pair[1], seed=9), expected)


def test_without_a_flow_the_noise_is_the_code_and_the_prior_normal(pair, rng):
    model, z = conditional(latent_dim=3), rng.standard_normal((64, 3), "float32")
    assert np.array_equal(model.from_noise(z, pair[1]), z) and np.array_equal(model.to_noise(z, pair[1]), z)
    np.testing.assert_allclose(model.log_prior(z, pair[1]), stats.norm.logpdf(z).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("window", "densities"), [(True, 10), (False, 90)])
def test_the_flow_sees_the_cell_only_without_a_window(window, densities):
    model, asked = conditional(prior="flow", window=window), canvas.all_conditions(1)
    disturb(model)
    found = model.log_prior(np.ones((90, 2), "float32"), asked)
    assert len(np.unique(found.round(5))) == densities


def test_the_loss_has_the_density_of_the_flow_as_its_prior(with_flow, pair):
    outputs = with_flow(pair)
    loss = float(with_flow.compute_loss(x=pair, y_pred=outputs))
    assert np.allclose(outputs["logpz"], with_flow.log_prior(outputs["z"], pair[1]), rtol=1e-5)
    z, z_mean, z_log_var = (np.asarray(outputs[name]) for name in ("z", "z_mean", "z_log_var"))
    logqz_x = stats.norm(z_mean, np.exp(z_log_var / 2)).logpdf(z).sum(axis=1)
    probability = special.expit(np.asarray(outputs["logits"], "float64"))
    logpx_z = stats.bernoulli.logpmf(pair[0], probability).sum(axis=(1, 2, 3))
    expected = -(logpx_z + with_flow.log_prior(z, pair[1]) - logqz_x).mean()
    assert loss == pytest.approx(expected, rel=1e-4)
    assert float(with_flow.kl_divergence.result()) == pytest.approx(expected + logpx_z.mean(), abs=1e-2)


def test_the_terms_of_the_bound_use_the_learned_prior(with_flow, pair):
    terms = metrics.elbo_terms(with_flow, pair[0], 7, pair[1])
    assert "kl_closed_form" not in terms and np.array_equal(terms["kl"], terms["kl_monte_carlo"])
    z_mean, z_log_var = with_flow.encode(*pair)
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(7).standard_normal(z_mean.shape, "float32")
    logqz_x = stats.norm(z_mean, np.exp(z_log_var / 2)).logpdf(z).sum(axis=1)
    np.testing.assert_allclose(terms["kl"], logqz_x - with_flow.log_prior(z, pair[1]), atol=1e-3)
    found = metrics.negative_elbo(terms)
    assert found["mean"] == pytest.approx(found["reconstruction"] + found["kl"])


def test_the_importance_weighted_bound_is_integration_over_noise(pair):
    """Integrate over a fine grid of noise, each point of which the flow turns into a code."""
    model = conditional(prior="flow", latent_dim=2)
    disturb(model)
    line = np.linspace(-6, 6, 121)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype("float32")
    prior = stats.norm.logpdf(grid).sum(axis=1) + 2 * np.log(line[1] - line[0])
    expected = []
    for image, condition in zip(pair[0][:2], pair[1][:2]):
        asked = np.repeat(condition[None], len(grid), axis=0)
        logits = model.decode_logits(model.from_noise(grid, asked), asked)
        likelihood = -np.logaddexp(0, np.where(image, -logits, logits).astype("float64")).sum(axis=(1, 2, 3))
        expected.append(special.logsumexp(likelihood + prior))
    found = metrics.importance_weighted_bound(model, pair[0][:2], 0, pair[1][:2], samples=5_000)
    np.testing.assert_allclose(found, expected, atol=0.2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_flow_computes_in_float32_under_a_mixed_policy(policy, pair):
    model = conditional(prior="flow", dtype=policy)
    history = model.fit(pair, verbose=0).history
    assert np.isfinite([value[-1] for value in history.values()]).all()
    assert {each.compute_dtype for each in model.flow._flatten_layers()} == {"float32"}
    assert model(pair)["logpz"].dtype == "float32"


@pytest.mark.parametrize(("window", "cells_share"), [(True, True), (False, False)])
def test_only_a_window_draws_the_same_digit_in_all_cells(window, cells_share):
    model, asked = conditional(window=window), canvas.all_positions_for([4])
    if window:
        for weights in (model.window.columns, model.window.rows):
            weights.assign(np.eye(3))
    digits = metrics.crop(model.decode(np.ones((9, 2), "float32"), asked), asked)
    assert np.allclose(digits, digits[:1], atol=1e-6) == cells_share


def test_a_plain_model_gives_canvas_and_condition_side_by_side_to_dense_layers():
    model = conditional(window=False)
    shapes = [
        [layer.kernel.shape for layer in network.layers if isinstance(layer, keras.layers.Dense)]
        for network in (model.encoder, model.decoder)
    ]
    assert shapes == [[(56 * 56 + 16, 32), (32, 2 * 2)], [(2 + 16, 32), (32, 56 * 56)]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": "flow", "kl": "closed_form"}, 'kl must be "monte_carlo" with prior="flow", .* got \'closed_form\''),
        ({"prior": "flow", "latent_dim": 1}, "latent_dim must be .*, got 1"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConditionalVAE(hidden_units=(4,), **options)


@pytest.mark.parametrize("window", [True, False])
def test_the_tuner_of_the_prior_minimises_the_part_of_the_bound_that_the_prior_has(window, pair):
    model = conditional(prior="flow", latent_dim=4, window=window)
    disturb(model)
    z_mean, z_log_var = model.encode(*pair)
    z_log_var -= 30  # so that z is the mean
    loss = float(PriorTuner(model).compute_loss(y_pred=PriorTuner(model)((z_mean, z_log_var, pair[1]))))
    assert loss == pytest.approx(-model.log_prior(z_mean, pair[1]).mean(), rel=1e-4)


def test_a_tuned_prior_is_closer_to_the_codes(with_flow, pair):
    codes = (*with_flow.encode(*pair), pair[1])
    tuner = PriorTuner(with_flow)
    tuner.compile(keras.optimizers.Adam(1e-2))
    losses = tuner.fit(codes, epochs=20, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.5


def test_a_model_without_a_flow_has_no_prior_to_tune():
    with pytest.raises(ValueError, match=r'vae must have prior="flow", got prior=\'normal\''):
        PriorTuner(conditional())
