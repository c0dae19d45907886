"""The variational autoencoder, with both forms of its KL term."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import validate_images
from genmodels.distributions import bernoulli_log_likelihood, kl_closed_form, kl_monte_carlo, sample_gaussian
from genmodels.layers import SHAPE, Float32, as_floats, dense_decoder, dense_encoder, hidden_widths

KL_FORMS = {"monte_carlo": kl_monte_carlo, "closed_form": kl_closed_form}


@keras.saving.register_keras_serializable("genmodels")
class VAE(Float32, keras.Model):
    """A variational autoencoder with Gaussian q(z|x), standard normal p(z) and Bernoulli pixels.

    It trains on binarized images (B, 28, 28, 1), 0 or 1, of any dtype.

    Args:
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
        Kingma & Welling, "Auto-Encoding Variational Bayes", 2014; beta: Higgins et al., "beta-VAE", 2017.
    """

    def __init__(
        self,
        *,
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
        self.normalise = normalise
        self.seed = validation.seed(seed)
        self.encoder, self.decoder = self._networks()
        self.seed_generator = keras.random.SeedGenerator(seed)
        names = ("negative_elbo", "reconstruction", "kl")
        self.negative_elbo, self.reconstruction, self.kl_divergence = (
            keras.metrics.Mean(name, dtype="float32") for name in names
        )

    def _networks(self):
        """Build the encoder to z_mean and z_log_var, side by side, and the decoder to logits."""
        options = {"num_frequencies": self.num_frequencies, "normalise": self.normalise}
        encoder = dense_encoder(2 * self.latent_dim, self.hidden_units)
        return encoder, dense_decoder(self.latent_dim, self.hidden_units[::-1], **options)

    def call(self, images: KerasTensor, training: bool = False) -> dict[str, KerasTensor]:
        """Encode images, sample z and decode it.

        Returns:
            logits (B, 28, 28, 1); z_mean, z_log_var and z, each (B, latent_dim). Each call samples z anew.
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
        images = as_floats(x[0] if isinstance(x, (tuple, list)) else x)
        logpx_z = bernoulli_log_likelihood(images, y_pred["logits"])
        kl = KL_FORMS[self.kl](y_pred["z_mean"], y_pred["z_log_var"], y_pred["z"])
        self.reconstruction.update_state(-logpx_z)
        self.kl_divergence.update_state(kl)
        self.negative_elbo.update_state(kl - logpx_z)
        return ops.mean(self.beta * kl - logpx_z)

    def encode(self, images: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the log-variance of q(z|x).

        Args:
            images: Binarized images (N, 28, 28, 1).

        Returns:
            Two arrays (N, latent_dim).

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return self._encode(validate_images(images, SHAPE))

    def _encode(self, *inputs):
        return np.split(predict_in_batches(self.encoder, *inputs), 2, axis=-1)

    def decode_logits(self, z: ArrayLike) -> np.ndarray:
        """Return the logits of the pixel probabilities.

        Args:
            z: Shape (N, latent_dim).

        Returns:
            Shape (N, 28, 28, 1).

        Raises:
            ValueError: `z` has another shape or is not finite.
        """
        return predict_in_batches(self.decoder, self._codes(z))

    def _codes(self, z):
        return validation.array("z", z, ("N", self.latent_dim))

    def decode(self, *inputs: ArrayLike) -> np.ndarray:
        """Return pixel probabilities.

        Args:
            *inputs: Arguments of `decode_logits`.

        Returns:
            Shape (N, 28, 28, 1), values in [0, 1].

        Raises:
            ValueError: `decode_logits` refuses an argument.
        """
        drawn = self.decode_logits(*inputs)
        for rows in _rows(len(drawn)):
            drawn[rows] = ops.convert_to_numpy(ops.sigmoid(drawn[rows]))
        return drawn

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Generate images from z drawn from N(0, I).

        Args:
            count: Number of images, >= 1.
            seed: Seed of z, >= 0.

        Returns:
            Pixel probabilities (count, 28, 28, 1).

        Raises:
            ValueError: The count or the seed is not allowed.
        """
        return self.decode(self._prior(validation.number("count", count, 1, whole=True), seed))

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Return `count` images, as `sample` does; of a conditional model, all under one condition."""
        return self.sample(count, seed)

    def _prior(self, count, seed):
        rng = np.random.default_rng(validation.number("seed", seed, 0, whole=True))
        return rng.standard_normal((count, self.latent_dim), "float32")

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("latent_dim", "hidden_units", "kl", "beta", "num_frequencies", "normalise", "seed")
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
