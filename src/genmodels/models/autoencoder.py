"""The autoencoder: it encodes images as a few numbers and decodes them back."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import validate_images
from genmodels.layers import SHAPE, Float32, as_floats, dense_decoder, dense_encoder, hidden_widths


@keras.saving.register_keras_serializable("genmodels")
class AE(Float32, keras.Model):
    """A deterministic autoencoder with a sigmoid at the end and the squared error as its loss.

    It trains on images (B, 28, 28, 1) in [0, 1], which are their own targets. The codes are batch-normalised without
    scale or shift. The unit of the latent plane is thus their standard deviation. [-4, 4] means the same as for a VAE.

    Args:
        latent_dim: Axes of the code, >= 1.
        hidden_units: Widths of the encoder's hidden layers. The decoder has them in reverse order.
        num_frequencies: Frequencies of the code given to the decoder, >= 0, see `layers.FourierFeatures`.
        normalise: Use batch normalisation in the hidden layers too.
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: A number is not allowed.

    Source:
        Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 2,
        hidden_units: Sequence[int] = (512, 512, 512, 256),
        num_frequencies: int = 6,
        normalise: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.latent_dim = validation.number("latent_dim", latent_dim, 1, whole=True)
        self.hidden_units = hidden_widths(hidden_units)
        self.num_frequencies = validation.number("num_frequencies", num_frequencies, 0, whole=True)
        self.normalise = normalise
        self.encoder = dense_encoder(latent_dim, self.hidden_units, normalise=normalise, normalise_output=True)
        self.decoder = dense_decoder(
            latent_dim, self.hidden_units[::-1], num_frequencies=num_frequencies, normalise=normalise
        )
        self.mse = keras.metrics.Mean("mse", dtype="float32")

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Return reconstructions (B, 28, 28, 1) in (0, 1)."""
        return ops.sigmoid(self.decoder(self.encoder(images, training=training), training=training))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> KerasTensor:
        """Return the squared error, summed over the pixels of an image and averaged over the batch."""
        squared_error = ops.sum(ops.square(as_floats(x) - y_pred), axis=(1, 2, 3))
        self.mse.update_state(squared_error / (28 * 28))
        return ops.mean(squared_error)

    def encode(self, images: ArrayLike) -> np.ndarray:
        """Return the codes of images.

        Args:
            images: Shape (N, 28, 28, 1), values in [0, 1].

        Returns:
            Shape (N, latent_dim), in standard deviations of the training codes.

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return self.encoder.predict(validate_images(images, SHAPE), batch_size=1000, verbose=0)

    def decode(self, z: ArrayLike) -> np.ndarray:
        """Return the images of codes.

        Args:
            z: Shape (N, latent_dim).

        Returns:
            Shape (N, 28, 28, 1), values in (0, 1).

        Raises:
            ValueError: The codes have another shape or are not finite.
        """
        z = validation.array("z", z, ("N", self.latent_dim))
        return ops.convert_to_numpy(ops.sigmoid(self.decoder.predict(z, batch_size=1000, verbose=0)))

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("latent_dim", "hidden_units", "num_frequencies", "normalise")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
