"""The autoencoder: it encodes images as a few numbers and decodes them back."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import SHAPE, validate_images
from genmodels.layers import as_floats, dense_decoder, dense_encoder, hidden_widths, precision
from genmodels.models.inputs import ImageModel, check_examples, check_images, mean_over_batch

PIXEL_LOSSES = ("squared_error", "binary_cross_entropy")


@keras.saving.register_keras_serializable("genmodels")
class AE(ImageModel):
    """A deterministic autoencoder with a sigmoid at the end.

    It trains on images (B, height, width, channels) in [0, 1]. They are their own targets, unless `fit` gets others:
    `fit(noisy, clean)` trains a denoising autoencoder. The codes are batch-normalised without scale or shift. The unit
    of the latent plane is thus their standard deviation. [-4, 4] means the same as for a VAE.

    The loss is the squared error, or the binary cross-entropy -x ln p - (1 - x) ln(1 - p) of a pixel x and its
    reconstruction p. Either has its minimum at p = x.

    Args:
        image_shape: Height, width and channels.
        latent_dim: Axes of the code, >= 1.
        hidden_units: Widths of the encoder's hidden layers. The decoder has them in reverse order.
        num_frequencies: Frequencies of the code given to the decoder, >= 0, see `layers.FourierFeatures`.
        normalise: Use batch normalisation in the hidden layers.
        normalise_codes: Use batch normalisation for the codes. Without it they may take any range.
        pixel_loss: "squared_error" or "binary_cross_entropy".
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: An argument is not allowed.

    Source:
        Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006.
    """

    def __init__(
        self,
        *,
        image_shape: Sequence[int] = SHAPE,
        latent_dim: int = 2,
        hidden_units: Sequence[int] = (256, 256, 256),
        num_frequencies: int = 6,
        normalise: bool = True,
        normalise_codes: bool = True,
        pixel_loss: str = "squared_error",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.latent_dim = validation.number("latent_dim", latent_dim, 1, whole=True)
        self.hidden_units = hidden_widths(hidden_units)
        self.num_frequencies = validation.number("num_frequencies", num_frequencies, 0, whole=True)
        self.image_shape = validation.image_shape(image_shape)
        self.normalise = validation.flag("normalise", normalise)
        self.normalise_codes = validation.flag("normalise_codes", normalise_codes)
        self.pixel_loss = validation.choice("pixel_loss", pixel_loss, PIXEL_LOSSES)
        options = {"image_shape": self.image_shape, "normalise": self.normalise}
        with precision(self.dtype_policy):
            self.encoder = dense_encoder(
                self.latent_dim, self.hidden_units, normalise_output=self.normalise_codes, **options
            )
            self.decoder = dense_decoder(
                self.latent_dim, self.hidden_units[::-1], num_frequencies=self.num_frequencies, **options
            )
        self.mse = keras.metrics.Mean("mse", dtype="float32")

    def input_shapes(self) -> tuple[int, int, int]:
        """Return the shape of an image."""
        return self.image_shape

    def check_inputs(self, x: Any) -> None:
        """Raise ValueError unless `x` are images."""
        check_images(self, "x", x, self.image_shape)

    def check_examples(self, x: Any, y: Any) -> None:
        """Raise ValueError unless `x` are images, and `y`, if it is given, as many images."""
        check_examples(self, x, y, self.image_shape)

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Return reconstructions (B, height, width, channels) in (0, 1)."""
        return ops.sigmoid(self.decoder(self.encoder(images, training=training), training=training))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> KerasTensor:
        """Return the loss, summed over the pixels of an image and averaged over the batch."""
        targets = as_floats(self.targets(x) if y is None else y)
        squared_error = ops.sum(ops.square(targets - y_pred), axis=(1, 2, 3))
        self.mse.update_state(squared_error / math.prod(self.image_shape))
        if self.pixel_loss == "squared_error":
            return mean_over_batch(squared_error, sample_weight)
        cross_entropy = ops.sum(ops.binary_crossentropy(targets, y_pred), axis=(1, 2, 3))
        return mean_over_batch(cross_entropy, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Compare the targets with the reconstructions."""
        y = as_floats(self.targets(x) if y is None else y) if self.compares else None
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def encode(self, images: ArrayLike) -> np.ndarray:
        """Return the codes of images.

        Args:
            images: Shape (N, height, width, channels), values in [0, 1].

        Returns:
            Shape (N, latent_dim); with `normalise_codes` in standard deviations of the training codes.

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return self.encoder.predict(validate_images(images, self.image_shape), batch_size=1000, verbose=0)

    def decode(self, z: ArrayLike) -> np.ndarray:
        """Return the images of codes.

        Args:
            z: Shape (N, latent_dim).

        Returns:
            Shape (N, height, width, channels), values in (0, 1).

        Raises:
            ValueError: The codes have another shape or are not finite.
        """
        z = validation.array("z", z, ("N", self.latent_dim))
        return ops.convert_to_numpy(ops.sigmoid(self.decoder.predict(z, batch_size=1000, verbose=0)))

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("image_shape", "latent_dim", "hidden_units", "num_frequencies")
        names += ("normalise", "normalise_codes", "pixel_loss")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
