"""The maths of the variational autoencoder: pure functions on Keras tensors, one value per example.

Each function sums over the pixels or the latent axes of an example and returns shape (B,) in nats. The caller averages
over the batch, so that the mean is one visible step.
"""

import math

from keras import KerasTensor, ops, random
from keras.random import SeedGenerator


def _sum_per_example(values):
    """Sum over every axis except the first: (B, ...) -> (B,)."""
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def _refuse_other_shapes(**tensors):
    """Raise ValueError unless the tensors (B, ...) have the same shape. Only B may be broadcast."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len({shape[1:] for shape in shapes.values()}) > 1 or min(map(len, shapes.values())) < 2:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected {' and '.join(shapes)} of the same shape (B, ...), got {found}")


def bernoulli_log_likelihood(images: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Return the log-probability of images under independent Bernoulli pixels.

    Takes logits, so that the result stays finite beyond the point at which a sigmoid saturates.

    Args:
        images: Shape (B, ...), values in [0, 1], usually 0 or 1.
        logits: Same shape, any real numbers.

    Returns:
        Shape (B,), nats.

    Raises:
        ValueError: The shapes differ in more than B.

    Source:
        Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix C.1.
    """
    _refuse_other_shapes(images=images, logits=logits)
    return _sum_per_example(images * logits - _softplus(logits))


@ops.custom_gradient
def _softplus(logits):
    """Compute log(1 + exp(l)) as max(l, 0) - log max(p, 1 - p), with p the sigmoid of l.

    p is also the derivative, so that a training step computes one exponential per pixel and not three.
    """
    p = ops.sigmoid(logits)
    return ops.relu(logits) - ops.log(ops.maximum(p, 1.0 - p)), lambda upstream: upstream * p


def continuous_bernoulli_log_likelihood(images: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Return the log-density of images under independent continuous Bernoulli pixels.

    log p(x) = x l - log(1 + exp(l)) + log C, with the logit l and C = l / tanh(l / 2), which makes the density
    integrate to one over [0, 1]. It suits grey levels, for which `bernoulli_log_likelihood` is no density.

    Args:
        images: Shape (B, ...), values in [0, 1].
        logits: Same shape, any real numbers.

    Returns:
        Shape (B,), nats. May be above zero, as densities may.

    Raises:
        ValueError: The shapes differ in more than B.

    Source:
        Loaiza-Ganem & Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational autoencoders",
        2019, section 3.
    """
    _refuse_other_shapes(images=images, logits=logits)
    return _sum_per_example(images * logits - _softplus(logits) + _log_normaliser(logits))


SMALL_LOGIT = 0.1  # below it, Taylor series replace quotients of 0 by 0; their error is below 1e-8 there


def _log_normaliser(logits):
    """Compute log(l / tanh(l / 2)), by its series log 2 + l^2 / 12 - 7 l^4 / 1440 near 0."""
    small = ops.abs(logits) < SMALL_LOGIT
    size = ops.abs(ops.where(small, ops.ones_like(logits), logits))
    squared = ops.square(ops.where(small, logits, ops.zeros_like(logits)))
    series = math.log(2) + squared / 12 - 7 * ops.square(squared) / 1440
    return ops.where(small, series, ops.log(size) - ops.log(ops.tanh(size / 2)))


def continuous_bernoulli_mean(logits: KerasTensor) -> KerasTensor:
    """Return the mean of a continuous Bernoulli pixel: 1 / (1 - exp(-l)) - 1 / l, which is not the sigmoid of l.

    Args:
        logits: Any shape, any real numbers.

    Returns:
        Same shape, values in (0, 1).

    Source:
        Loaiza-Ganem & Cunningham 2019, section 3.
    """
    small = ops.abs(logits) < SMALL_LOGIT
    other = ops.where(small, ops.ones_like(logits), logits)
    size = ops.abs(other)
    # Of |l|, so that exp cannot overflow; the mean of -l is one minus the mean of l.
    mean = 1 / (1 - ops.exp(-size)) - 1 / size
    return ops.where(small, 0.5 + logits / 12 - logits**3 / 720, ops.where(other > 0, mean, 1 - mean))


def gaussian_log_density(z: KerasTensor, mean: KerasTensor, log_var: KerasTensor) -> KerasTensor:
    """Return the log-density of `z` under N(mean, diag(exp(log_var))).

    Args:
        z: Shape (B, latent_dim).
        mean: Shape (B, latent_dim).
        log_var: Shape (B, latent_dim). B may be broadcast in all three.

    Returns:
        Shape (B,), nats.

    Raises:
        ValueError: The shapes differ in more than B.
    """
    _refuse_other_shapes(z=z, mean=mean, log_var=log_var)
    squared_distance = ops.square(z - mean) * ops.exp(-log_var)
    return -0.5 * _sum_per_example(squared_distance + log_var + math.log(2 * math.pi))


def kl_gaussians(
    mean_q: KerasTensor, log_var_q: KerasTensor, mean_p: KerasTensor, log_var_p: KerasTensor
) -> KerasTensor:
    """Return KL(Q || P) of two Gaussians with diagonal covariance, in closed form.

    Per axis: ln(sigma_p / sigma_q) + (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2) - 1/2.

    Args:
        mean_q: Shape (B, latent_dim).
        log_var_q: Shape (B, latent_dim).
        mean_p: Shape (B, latent_dim).
        log_var_p: Shape (B, latent_dim). B may be broadcast in all four.

    Returns:
        Shape (B,), nats. Never below zero, except by rounding.

    Raises:
        ValueError: The shapes differ in more than B.
    """
    _refuse_other_shapes(mean_q=mean_q, log_var_q=log_var_q, mean_p=mean_p, log_var_p=log_var_p)
    ratio = ops.exp(log_var_q - log_var_p)
    squared_distance = ops.square(mean_q - mean_p) * ops.exp(-log_var_p)
    return 0.5 * _sum_per_example(log_var_p - log_var_q + ratio + squared_distance - 1.0)


def kl_closed_form(z_mean: KerasTensor, z_log_var: KerasTensor, z: KerasTensor | None = None) -> KerasTensor:
    """Return KL(N(z_mean, exp(z_log_var)) || N(0, I)) in closed form.

    Args:
        z_mean: Shape (B, latent_dim).
        z_log_var: Shape (B, latent_dim).
        z: Not used; accepted so that both forms of the KL term are called alike.

    Returns:
        Shape (B,), nats. Never below zero, except by rounding.

    Source:
        Kingma & Welling 2014, appendix B.
    """
    del z
    zeros = ops.zeros_like(z_mean)
    return kl_gaussians(z_mean, z_log_var, zeros, zeros)


def kl_monte_carlo(
    z_mean: KerasTensor, z_log_var: KerasTensor, z: KerasTensor, logpz: KerasTensor | None = None
) -> KerasTensor:
    """Estimate the KL of `kl_closed_form` from one sample: log q(z|x) - log p(z) at the given `z`.

    The estimate is unbiased: its mean over z is the KL. For a single example it may be negative. It needs no more of
    the prior than its density, which may be any.

    Args:
        z_mean: Shape (B, latent_dim).
        z_log_var: Shape (B, latent_dim).
        z: Shape (B, latent_dim), drawn from N(z_mean, exp(z_log_var)).
        logpz: Log-density of the prior at `z`, shape (B,); None for that of N(0, I).

    Returns:
        Shape (B,), nats.

    Source:
        Kingma & Welling 2014, equation 6 (estimator A).
    """
    if logpz is None:
        logpz = gaussian_log_density(z, ops.zeros_like(z_mean), ops.zeros_like(z_log_var))
    logqz_x = gaussian_log_density(z, z_mean, z_log_var)
    return logqz_x - logpz


def sample_gaussian(mean: KerasTensor, log_var: KerasTensor, seed: int | SeedGenerator) -> KerasTensor:
    """Sample from N(mean, diag(exp(log_var))) by the reparametrisation trick, so that gradients reach both arguments.

    Args:
        mean: Shape (B, latent_dim).
        log_var: Shape (B, latent_dim).
        seed: An integer, or a generator that gives new noise in each call.

    Returns:
        Shape (B, latent_dim).

    Raises:
        ValueError: The shapes differ in more than B.

    Source:
        Kingma & Welling 2014, section 2.4.
    """
    _refuse_other_shapes(mean=mean, log_var=log_var)
    noise = random.normal(ops.shape(mean), dtype=mean.dtype, seed=seed)
    return mean + ops.exp(0.5 * log_var) * noise
