import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from genmodels.distributions import gaussian_log_density
from genmodels.models.flow import LARGEST_LOG_SCALE, RealNVP


def randomised(latent_dim, *, scale=0.3, seed=1, **options):
    """Return a flow with three contexts and random weights. Only zeros would leave it the identity."""
    flow = RealNVP(latent_dim, 3, **{"width": 8, **options})
    rng = np.random.default_rng(seed)
    flow.set_weights([scale * rng.standard_normal(weight.shape) for weight in flow.get_weights()])
    return flow


def inputs(latent_dim, count=20):
    rng = np.random.default_rng(2)
    return rng.standard_normal((count, latent_dim)).astype("float32"), np.eye(3, dtype="float32")[np.arange(count) % 3]


def log_density(flow, z, context):
    noise, log_det = flow(z, context)
    return np.asarray(gaussian_log_density(noise, np.zeros_like(noise), np.zeros_like(noise)) + log_det)


@pytest.mark.parametrize("couplings", [1, 2, 5, 6])
@pytest.mark.parametrize("latent_dim", [2, 5, 25, 100])
def test_inverse_undoes_the_flow_in_both_directions(latent_dim, couplings):
    flow = randomised(latent_dim, couplings=couplings, scale=0.2)
    z, context = inputs(latent_dim)
    noise, _ = flow(z, context)
    assert np.abs(noise - z).max() > 0.1
    np.testing.assert_allclose(flow.inverse(noise, context), z, atol=1e-5)
    np.testing.assert_allclose(flow(flow.inverse(z, context), context)[0], z, atol=1e-5)


@pytest.mark.parametrize("couplings", [1, 2, 5, 6])
@pytest.mark.parametrize("latent_dim", [2, 5, 25])
def test_log_determinant_is_that_of_the_jacobian(latent_dim, couplings):
    flow = randomised(latent_dim, couplings=couplings)
    z, context = (tf.constant(values) for values in inputs(latent_dim, 6))
    with tf.GradientTape() as tape:
        tape.watch(z)
        noise, log_det = flow(z, context)
    sign, expected = np.linalg.slogdet(np.asarray(tape.batch_jacobian(noise, z), "float64"))
    assert (sign == 1).all() and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(log_det, expected, atol=1e-4)


def grid(reach=12.0, count=601):
    line = np.linspace(-reach, reach, count, dtype="float32")
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2), (line[1] - line[0]) ** 2


@pytest.mark.parametrize("label", range(3))
def test_density_integrates_to_one(label):
    points, area = grid()
    context = np.repeat(np.eye(3, dtype="float32")[[label]], len(points), axis=0)
    density = np.exp(log_density(randomised(2), points, context).astype("float64"))
    assert density.sum() * area == pytest.approx(1, abs=1e-3)
    assert np.abs(density - np.exp(stats.norm.logpdf(points).sum(axis=1))).max() > 0.01


def test_samples_follow_the_density():
    """Compare the shares of samples in the boxes of a grid with the integral of the density over each box."""
    flow, (points, area), count = randomised(2), grid(reach=12, count=480), 200_000
    noise = np.random.default_rng(3).standard_normal((count, 2)).astype("float32")
    context = np.eye(3, dtype="float32")[[1]]
    samples = np.asarray(flow.inverse(noise, np.repeat(context, count, axis=0)))
    edges = np.linspace(-12, 12, 49) * 480 / 479  # ten points of the grid along each side of a box
    drawn = np.histogram2d(*samples.T, bins=[edges, edges])[0]
    density = np.exp(log_density(flow, points, np.repeat(context, len(points), axis=0)).astype("float64")) * area
    expected = count * np.histogram2d(*points.T, bins=[edges, edges], weights=density)[0]
    often = expected > 50
    assert often.sum() > 50 and expected[often].sum() > 0.9 * count
    z_scores = (drawn - expected)[often] / np.sqrt(expected[often])
    assert np.square(z_scores).mean() == pytest.approx(1, abs=0.6) and np.abs(z_scores).max() < 6


@pytest.mark.parametrize("latent_dim", [2, 25])
def test_an_untrained_flow_changes_nothing(latent_dim):
    flow = RealNVP(latent_dim, 3)
    z, context = inputs(latent_dim)
    noise, log_det = flow(z, context)
    assert np.array_equal(noise, z) and np.array_equal(flow.inverse(z, context), z) and not np.any(log_det)


def test_the_context_changes_the_flow():
    flow, (z, _) = randomised(4), inputs(4)
    found = [np.asarray(flow(z, np.repeat(row[None], len(z), axis=0))[0]) for row in np.eye(3, dtype="float32")]
    assert all(np.abs(one - other).max() > 0.05 for one, other in itertools.combinations(found, 2))


def test_huge_weights_give_finite_values_in_both_directions():
    flow, (z, context) = randomised(6, scale=1e3, couplings=2), inputs(6)
    noise, log_det = flow(z, context)
    assert np.isfinite(noise).all() and np.isfinite(flow.inverse(z, context)).all()
    assert np.abs(log_det).max() <= 6 * LARGEST_LOG_SCALE + 1e-3  # each axis is stretched once


def test_a_flow_learns_a_density_that_is_known(graphs):
    """Fit a ring: the mean log-density comes near minus the entropy, which a normal distribution cannot."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 4_000), rng.normal(3, 0.3, 4_000)
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype("float32")
    context = np.ones((len(z), 1), "float32")
    flow, optimizer = RealNVP(2, 1, couplings=12, width=32), keras.optimizers.Adam(3e-3)
    optimizer.build(flow.trainable_variables)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            noise, log_det = flow(batch, tf.ones((len(batch), 1)))
            zeros = tf.zeros_like(noise)
            loss = -tf.reduce_mean(gaussian_log_density(noise, zeros, zeros) + log_det)
        optimizer.apply(tape.gradient(loss, flow.trainable_variables), flow.trainable_variables)

    for _ in range(20):
        for rows in np.split(rng.permutation(len(z)), 20):
            step(tf.constant(z[rows]))
    entropy = np.log(2 * np.pi) + np.log(3) + stats.norm(scale=0.3).entropy()
    normal = stats.multivariate_normal(z.mean(axis=0), np.cov(z.T)).logpdf(z).mean()
    found = log_density(flow, z, context).mean()
    assert normal < -entropy - 0.5 and found == pytest.approx(-entropy, abs=0.25)


def test_a_saved_flow_is_the_same(tmp_path):
    flow = randomised(5, couplings=3)
    again = RealNVP.from_config(flow.get_config())
    assert again.get_config() == flow.get_config()
    again.set_weights(flow.get_weights())
    z, context = inputs(5)
    assert np.array_equal(again(z, context)[0], flow(z, context)[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"latent_dim": 1}, "latent_dim must be .*, got 1"),
        ({"context": 0}, "context must be .*, got 0"),
        ({"couplings": 0}, "couplings must be .*, got 0"),
        ({"width": 0}, "width must be .*, got 0"),
    ],
)
def test_numbers_that_make_no_flow_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        RealNVP(**{"latent_dim": 2, "context": 3, **bad})
