"""The variational autoencoder, with both forms of its KL term."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import SHAPE, validate_images
from genmodels.distributions import (
    bernoulli_log_likelihood,
    continuous_bernoulli_log_likelihood,
    continuous_bernoulli_mean,
    gaussian_log_density,
    kl_closed_form,
    kl_monte_carlo,
    sample_gaussian,
)
from genmodels.layers import as_floats, dense_decoder, dense_encoder, hidden_widths, precision
from genmodels.models.inputs import ImageModel, check_examples, check_images, mean_over_batch

KL_FORMS = {"monte_carlo": kl_monte_carlo, "closed_form": kl_closed_form}
LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "gaussian")
# The smallest standard deviation of Gaussian pixels: one grey level of 256. A pixel that never changes would have none.
LEAST_LOG_SCALE = -math.log(256)


@keras.saving.register_keras_serializable("genmodels")
class VAE(ImageModel):
    """A variational autoencoder with Gaussian q(z|x) and standard normal p(z).

    It trains on images (B, height, width, channels), 0 or 1, of any dtype; with another likelihood than "bernoulli"
    also on grey levels and colours in [0, 1]. They are their own targets, unless `fit` gets others, as in
    `fit(noisy, clean)`.

    Args:
        image_shape: Height, width and channels.
        likelihood: Distribution p(x|z) of a pixel, for which the decoder gives a logit l: "bernoulli" with the
            probability sigmoid(l); "continuous_bernoulli", see `distributions.continuous_bernoulli_log_likelihood`;
            "gaussian" with the mean sigmoid(l) and one learned standard deviation for all pixels.
        latent_dim: Axes of z, >= 1.
        hidden_units: Widths of the encoder's hidden layers. The decoder has them in reverse order.
        kl: Form of KL(q(z|x) || p(z)) in the loss, "closed_form" or "monte_carlo".
        beta: Weight of the KL term, >= 0. 1 gives the evidence lower bound, more gives a beta-VAE.
        num_frequencies: Frequencies of z given to the decoder, >= 0, see `layers.FourierFeatures`.
        normalise: Use batch normalisation in the decoder's hidden layers. In the encoder it would make the bound worse.
        seed: Seed of the noise in `fit` and `evaluate`; None for a random one.
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: An argument is not allowed.

    Source:
        Kingma & Welling, "Auto-Encoding Variational Bayes", 2014; beta: Higgins et al., "beta-VAE", 2017; learned
        deviation: Rybkin, Daniilidis & Levine, "Simple and Effective VAE Training with Calibrated Decoders", 2021.
    """

    def __init__(
        self,
        *,
        image_shape: Sequence[int] = SHAPE,
        likelihood: str = "bernoulli",
        latent_dim: int = 2,
        hidden_units: Sequence[int] = (512, 512, 256),
        kl: str = "closed_form",
        beta: float = 1.0,
        num_frequencies: int = 5,
        normalise: bool = True,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.latent_dim = validation.number("latent_dim", latent_dim, 1, whole=True)
        self.hidden_units = hidden_widths(hidden_units)
        self.kl, self.beta = validation.choice("kl", kl, KL_FORMS), validation.number("beta", beta, 0)
        self.num_frequencies = validation.number("num_frequencies", num_frequencies, 0, whole=True)
        self.image_shape = validation.image_shape(image_shape)
        self.likelihood = validation.choice("likelihood", likelihood, LIKELIHOODS)
        self.normalise = validation.flag("normalise", normalise)
        self.seed = validation.seed(seed)
        with precision(self.dtype_policy):
            self.encoder, self.decoder = self._networks()
        if likelihood == "gaussian":
            begin = keras.initializers.Constant(-1.0)
            self.log_scale = self.add_weight(shape=(), initializer=begin, autocast=False, name="log_scale")
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        names = ("negative_elbo", "reconstruction", "kl")
        self.negative_elbo, self.reconstruction, self.kl_divergence = (
            keras.metrics.Mean(name, dtype="float32") for name in names
        )

    def _networks(self):
        """Build the encoder to z_mean and z_log_var, side by side, and the decoder to logits."""
        shape = {"image_shape": self.image_shape}
        options = {"num_frequencies": self.num_frequencies, "normalise": self.normalise, **shape}
        encoder = dense_encoder(2 * self.latent_dim, self.hidden_units, **shape)
        return encoder, dense_decoder(self.latent_dim, self.hidden_units[::-1], **options)

    def input_shapes(self) -> Any:
        """Return the shape of an image."""
        return self.image_shape

    def check_inputs(self, x: Any) -> None:
        """Raise ValueError unless `x` are images."""
        check_images(self, "x", x, self.image_shape)

    def check_examples(self, x: Any, y: Any) -> None:
        """Raise ValueError unless `x` are images, and `y`, if it is given, as many images."""
        check_examples(self, x, y, self.image_shape)

    @property
    def expects_binary(self) -> bool:
        """Return whether pixels should be 0 or 1."""
        return self.likelihood == "bernoulli"

    def call(self, images: KerasTensor, training: bool = False) -> dict[str, KerasTensor]:
        """Encode images, sample z and decode it.

        Returns:
            logits (B, height, width, channels); z_mean, z_log_var and z, each (B, latent_dim). Each call
            samples z anew.
        """
        z_mean, z_log_var = ops.split(self.encoder(as_floats(images)), 2, axis=-1)
        z = sample_gaussian(z_mean, z_log_var, self.seed_generator)
        logits = self.decoder(z, training=training)
        return {"logits": logits, "z_mean": z_mean, "z_log_var": z_log_var, "z": z}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> KerasTensor:
        """Return -(logpx_z + logpz - logqz_x), averaged over the batch, in nats.

        KL_FORMS[self.kl] computes the last two terms, and `beta` multiplies them.
        """
        logpx_z = self.log_likelihood(self._targets(x, y), y_pred["logits"])
        kl = self._kl(y_pred)
        self.reconstruction.update_state(-logpx_z)
        self.kl_divergence.update_state(kl)
        self.negative_elbo.update_state(kl - logpx_z)
        return mean_over_batch(self.beta * kl - logpx_z, sample_weight)

    def _kl(self, y_pred):
        return KL_FORMS[self.kl](y_pred["z_mean"], y_pred["z_log_var"], y_pred["z"])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Compare the targets with the means of the pixels."""
        if not self.compares:
            return super().compute_metrics(x, None, None)
        return super().compute_metrics(x, self._targets(x, y), self.mean_image(y_pred["logits"]), sample_weight)

    def _targets(self, x, y):
        """Return what the decoder has to draw: `y`, or the images themselves."""
        return as_floats(self.targets(x) if y is None else y)

    def log_likelihood(self, images: KerasTensor, logits: KerasTensor) -> KerasTensor:
        """Return log p(x|z).

        Args:
            images: Shape (B, ...), values in [0, 1].
            logits: Output of the decoder, same shape.

        Returns:
            Shape (B,), nats.
        """
        if self.likelihood == "gaussian":
            means = ops.sigmoid(logits)
            log_var = 2 * ops.maximum(self.log_scale, LEAST_LOG_SCALE)
            return gaussian_log_density(images, means, ops.zeros_like(means) + log_var)
        if self.likelihood == "continuous_bernoulli":
            return continuous_bernoulli_log_likelihood(images, logits)
        return bernoulli_log_likelihood(images, logits)

    def mean_image(self, logits: KerasTensor) -> KerasTensor:
        """Return the mean of each pixel, of the same shape as the logits."""
        return continuous_bernoulli_mean(logits) if self.likelihood == "continuous_bernoulli" else ops.sigmoid(logits)

    def encode(self, images: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the log-variance of q(z|x).

        Args:
            images: Shape (N, height, width, channels), values in [0, 1].

        Returns:
            Two arrays (N, latent_dim).

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return self._encode(validate_images(images, self.image_shape))

    def _encode(self, *inputs):
        return np.split(predict_in_batches(self.encoder, *inputs), 2, axis=-1)

    def decode_logits(self, z: ArrayLike) -> np.ndarray:
        """Return the logits of the pixel probabilities.

        Args:
            z: Shape (N, latent_dim).

        Returns:
            Shape (N, height, width, channels).

        Raises:
            ValueError: `z` has another shape or is not finite.
        """
        return predict_in_batches(self.decoder, self._codes(z))

    def _codes(self, z):
        return validation.array("z", z, ("N", self.latent_dim))

    def decode(self, *inputs: ArrayLike) -> np.ndarray:
        """Return the mean of each pixel, which is its probability for binarized images.

        Args:
            *inputs: Arguments of `decode_logits`.

        Returns:
            Shape (N, height, width, channels), values in [0, 1].

        Raises:
            ValueError: `decode_logits` refuses an argument.
        """
        drawn = self.decode_logits(*inputs)
        for rows in _rows(len(drawn)):
            drawn[rows] = ops.convert_to_numpy(self.mean_image(drawn[rows]))
        return drawn

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Generate images from z drawn from N(0, I).

        Args:
            count: Number of images, >= 1.
            seed: Seed of z, >= 0.

        Returns:
            Means of the pixels (count, height, width, channels), see `decode`.

        Raises:
            ValueError: The count or the seed is not allowed.
        """
        return self.decode(self._noise(validation.number("count", count, 1, whole=True), seed))

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Return `count` images, as `sample` does; of a conditional model, all under one condition."""
        return self.sample(count, seed)

    def _noise(self, count, seed):
        rng = np.random.default_rng(validation.number("seed", seed, 0, whole=True))
        return rng.standard_normal((count, self.latent_dim), "float32")

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("image_shape", "likelihood", "latent_dim", "hidden_units", "kl", "beta")
        names += ("num_frequencies", "normalise", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def predict_in_batches(network: keras.Model, *inputs: np.ndarray) -> np.ndarray:
    """Run a network on a thousand examples at a time.

    Args:
        network: Model of one input, or of a list of inputs.
        *inputs: Arrays (N, ...).

    Returns:
        The outputs of all examples as one array.
    """
    batches = ([values[rows] for values in inputs] for rows in _rows(len(inputs[0])))
    return np.concatenate([network.predict_on_batch(batch if batch[1:] else batch[0]) for batch in batches])


def _rows(count):
    """Return slices of a thousand rows each.

    `predict` would copy all canvases at once into TensorFlow's memory, which never shrinks.
    """
    return [slice(start, start + 1_000) for start in range(0, count, 1_000)]
