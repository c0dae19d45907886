"""Compare the maths with scipy, numerical integration and sampling."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from genmodels import distributions

reals = st.floats(-4, 4, width=32)
log_variances = st.floats(-5, 3, width=32)


def array(values):
    return np.array(values, "float32")


def test_bernoulli_log_likelihood_is_scipys(rng):
    logits = rng.normal(0, 3, (6, 4, 4, 1)).astype("float32")
    images = rng.integers(0, 2, logits.shape).astype("float32")
    expected = stats.bernoulli.logpmf(images, 1 / (1 + np.exp(-logits))).sum(axis=(1, 2, 3))
    found = distributions.bernoulli_log_likelihood(images, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_bernoulli_log_likelihood_stays_finite_at_extreme_logits():
    images, logits = array([[1, 0]]), array([[-500, 500]])
    assert distributions.bernoulli_log_likelihood(images, logits).numpy().tolist() == [-1000]


@pytest.mark.parametrize("rows", [1, 6])  # one image against all logits too
def test_bernoulli_log_likelihood_has_the_gradient_of_the_formula(rng, rows):
    logits = tf.constant(np.concatenate([rng.normal(0, 3, (5, 8)), [[-500, 500, -90, 90, -20, 20, 0, 1]]]), "float32")
    images = tf.constant(rng.integers(0, 2, (rows, 8)), "float32")
    with tf.GradientTape() as tape:
        tape.watch([images, logits])
        found = distributions.bernoulli_log_likelihood(images, logits)
    by_image, by_logit = tape.gradient(found, [images, logits])
    np.testing.assert_allclose(by_logit, images - special.expit(logits), atol=1e-6)
    np.testing.assert_allclose(by_image, logits if rows > 1 else np.sum(logits, 0, keepdims=True), rtol=1e-6)


def test_gaussian_log_density_is_scipys(rng):
    z, mean, log_var = (rng.normal(size=(5, 3)).astype("float32") for _ in range(3))
    expected = stats.norm.logpdf(z, mean, np.exp(0.5 * log_var)).sum(axis=1)
    np.testing.assert_allclose(distributions.gaussian_log_density(z, mean, log_var), expected, rtol=1e-4)


@settings(deadline=None)
@given(reals, log_variances, reals, log_variances)
def test_kl_of_two_gaussians_is_the_integral(mean_q, log_var_q, mean_p, log_var_p):
    q = stats.norm(mean_q, np.exp(0.5 * log_var_q))
    p = stats.norm(mean_p, np.exp(0.5 * log_var_p))
    x = mean_q + q.std() * np.linspace(-12, 12, 2_001)
    expected = integrate.trapezoid(q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), x)
    found = distributions.kl_gaussians(*(array([[value]]) for value in (mean_q, log_var_q, mean_p, log_var_p)))
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-3)


def test_kl_to_the_standard_normal_is_the_formula_of_the_course(rng):
    mean, log_var = rng.normal(size=(2, 7, 3)).astype("float32")
    expected = 0.5 * (mean**2 + np.exp(log_var) - log_var - 1).sum(axis=1)
    np.testing.assert_allclose(distributions.kl_closed_form(mean, log_var), expected, rtol=1e-4)


def test_kl_is_zero_for_equal_distributions_and_never_negative(rng):
    mean, log_var = rng.normal(size=(2, 100, 2)).astype("float32")
    np.testing.assert_allclose(distributions.kl_gaussians(mean, log_var, mean, log_var), 0, atol=1e-5)
    assert (distributions.kl_closed_form(mean, log_var).numpy() > -1e-5).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(reals, log_variances), min_size=1, max_size=5), st.integers(0, 2**31 - 1))
def test_both_kl_forms_agree_within_sampling_error(axes, seed):
    count = 4_000
    mean, log_var = (np.tile(array(column), (count, 1)) for column in zip(*axes))
    z = distributions.sample_gaussian(mean, log_var, seed)
    sampled = distributions.kl_monte_carlo(mean, log_var, z).numpy().astype("float64")
    exact = distributions.kl_closed_form(mean[:1], log_var[:1], None).numpy()[0]
    error = sampled.std() / count**0.5
    assert abs(sampled.mean() - exact) < 6 * error + 1e-3  # one in five hundred million by chance


def test_monte_carlo_kl_may_be_negative_for_one_example():
    mean, log_var = array([[0.0]]), array([[0.0]])
    assert distributions.kl_monte_carlo(mean, log_var + 1, mean + 2).numpy()[0] != 0
    assert distributions.kl_monte_carlo(array([[1.0]]), log_var, array([[-1.0]])).numpy()[0] < 0


def test_samples_have_the_requested_mean_and_variance():
    count = 20_000
    z = distributions.sample_gaussian(
        np.full((count, 1), 2, "float32"), np.full((count, 1), np.log(0.25), "float32"), 1
    )
    assert stats.kstest(z.numpy().ravel(), stats.norm(2, 0.5).cdf).pvalue > 1e-4


@pytest.mark.parametrize("function", [distributions.kl_closed_form, distributions.kl_monte_carlo])
def test_the_value_of_an_example_does_not_depend_on_its_batch(function, rng):
    mean, log_var, z = rng.normal(size=(3, 9, 4)).astype("float32")
    whole = function(mean, log_var, z)
    parts = np.concatenate([function(mean[cut], log_var[cut], z[cut]) for cut in (slice(0, 5), slice(5, 9))])
    np.testing.assert_allclose(whole, parts, rtol=1e-5)


LOGITS = [-30.0, -4.0, -0.11, -0.09, -1e-3, 0.0, 1e-3, 0.09, 0.11, 4.0, 30.0]
PLACES, SHARES = np.polynomial.legendre.leggauss(100)  # of a quadrature over [-1, 1]


def integral(function, logit):
    """Integrate function(x) times the continuous Bernoulli density of x over [0, 1]."""
    x = (PLACES + 1) / 2
    images, logits = array(x[:, None]), np.full((100, 1), logit, "float32")
    density = np.exp(distributions.continuous_bernoulli_log_likelihood(images, logits).numpy().astype("float64"))
    return (SHARES / 2 * function(x) * density).sum()


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one(logit):
    assert integral(np.ones_like, logit) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("logit", LOGITS)
def test_mean_of_a_continuous_bernoulli_is_that_of_its_density(logit):
    found = float(distributions.continuous_bernoulli_mean(tf.constant(logit)))
    assert found == pytest.approx(integral(lambda x: x, logit), abs=1e-5)


def test_continuous_bernoulli_has_smooth_finite_gradients():
    """In an exponential family the derivative of log p by the natural parameter is x minus its mean."""
    logits = tf.constant([[-200.0, -0.1, -1e-9, 0.0, 0.1, 200.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = distributions.continuous_bernoulli_log_likelihood(tf.fill((1, 6), 0.3), logits)
    means = distributions.continuous_bernoulli_mean(logits)
    np.testing.assert_allclose(tape.gradient(value, logits), 0.3 - means, atol=1e-5)
