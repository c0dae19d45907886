"""The maths of the variational autoencoder: pure functions on Keras tensors, one value per example.

Each function sums over the pixels or the latent axes of an example and returns shape ``(B,)`` in nats. Averaging over
the batch is left to the caller, so that the mean is one visible step.
"""

import math

from keras import ops, random


def _sum_per_example(values):
    """Sums every axis but the first: (B, ...) -> (B,)."""
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def _refuse_other_shapes(**tensors):
    """ValueError unless the named tensors (B, ...) have the same shape but for B, which may be broadcast."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len({shape[1:] for shape in shapes.values()}) > 1 or min(map(len, shapes.values())) < 2:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected {' and '.join(shapes)} of the same shape (B, ...), got {found}")


def bernoulli_log_likelihood(images, logits):
    """Log-probability of `images` under independent Bernoulli pixels.

    images: (B, ...) in [0, 1], usually 0 or 1. logits: the same shape, any real number. Returns (B,), nats.
    Computed from logits, so that it stays finite where a sigmoid would saturate.
    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix C.1.
    """
    _refuse_other_shapes(images=images, logits=logits)
    return _sum_per_example(images * logits - _softplus(logits))


@ops.custom_gradient
def _softplus(logits):
    """log(1 + exp(l)) as max(l, 0) - log max(p, 1 - p), where p, the sigmoid of l, is also its derivative.

    A step of training then computes one exponential for a pixel, not three.
    """
    p = ops.sigmoid(logits)
    return ops.relu(logits) - ops.log(ops.maximum(p, 1.0 - p)), lambda upstream: upstream * p


def gaussian_log_density(z, mean, log_var):
    """Log-density of `z` under N(mean, diag(exp(log_var))).

    z, mean, log_var: (B, latent_dim), broadcastable. Returns (B,), nats.
    """
    _refuse_other_shapes(z=z, mean=mean, log_var=log_var)
    squared_distance = ops.square(z - mean) * ops.exp(-log_var)
    return -0.5 * _sum_per_example(squared_distance + log_var + math.log(2 * math.pi))


def kl_gaussians(mean_q, log_var_q, mean_p, log_var_p):
    """KL(Q || P) of two Gaussians with diagonal covariance, in closed form.

    All arguments: (B, latent_dim), broadcastable. Returns (B,), nats, never below zero (but for rounding).
    Per axis: ln(sigma_p / sigma_q) + (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2) - 1/2.
    """
    _refuse_other_shapes(mean_q=mean_q, log_var_q=log_var_q, mean_p=mean_p, log_var_p=log_var_p)
    ratio = ops.exp(log_var_q - log_var_p)
    squared_distance = ops.square(mean_q - mean_p) * ops.exp(-log_var_p)
    return 0.5 * _sum_per_example(log_var_p - log_var_q + ratio + squared_distance - 1.0)


def kl_closed_form(z_mean, z_log_var, z=None):
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)) in closed form; `z` is not used.

    z_mean, z_log_var: (B, latent_dim). Returns (B,), nats, never below zero (but for rounding).
    Source: Kingma & Welling 2014, appendix B.
    """
    del z
    zeros = ops.zeros_like(z_mean)
    return kl_gaussians(z_mean, z_log_var, zeros, zeros)


def kl_monte_carlo(z_mean, z_log_var, z):
    """One-sample estimate of the same KL: log q(z|x) - log p(z) at the given `z`.

    z, z_mean, z_log_var: (B, latent_dim), z drawn from N(z_mean, exp(z_log_var)). Returns (B,), nats. Right on average
    over z; for a single example it may well be negative.
    Source: Kingma & Welling 2014, equation 6 (estimator A).
    """
    logpz = gaussian_log_density(z, ops.zeros_like(z_mean), ops.zeros_like(z_log_var))
    logqz_x = gaussian_log_density(z, z_mean, z_log_var)
    return logqz_x - logpz


def sample_gaussian(mean, log_var, seed):
    """Draws from N(mean, diag(exp(log_var))) by the reparametrisation trick, so that gradients reach both arguments.

    mean, log_var: (B, latent_dim). seed: an int or a keras.random.SeedGenerator. Returns (B, latent_dim).
    Source: Kingma & Welling 2014, section 2.4.
    """
    _refuse_other_shapes(mean=mean, log_var=log_var)
    noise = random.normal(ops.shape(mean), dtype=mean.dtype, seed=seed)
    return mean + ops.exp(0.5 * log_var) * noise
