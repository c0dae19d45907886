"""The autoencoder: images to a few numbers and back."""

import keras
from keras import ops

from genmodels import checks, data
from genmodels.networks import dense_decoder, dense_encoder, hidden_widths


@keras.saving.register_keras_serializable("genmodels")
class AE(keras.Model):
    """A deterministic autoencoder with a sigmoid at the end and the squared error as its loss.

    Takes images (B, 28, 28, 1) in [0, 1], which are their own target. The codes are batch-normalised, without scale or
    shift, so the unit of the latent plane is the codes' standard deviation and [-4, 4] means the same as for a VAE.
    latent_dim: axes of the code, >= 1. hidden_units: widths of the encoder's hidden layers; the decoder mirrors them.
    normalise: batch normalisation in the hidden layers too. waves: frequencies of the codes that the decoder is given,
    see `networks.Waves`.
    Source: Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006.
    """

    def __init__(self, *, latent_dim=2, hidden_units=(512, 512, 512, 256), waves=6, normalise=True, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = checks.number("latent_dim", latent_dim, 1, whole=True)
        self.hidden_units = hidden_widths(hidden_units)
        self.waves, self.normalise = checks.number("waves", waves, 0, whole=True), normalise
        self.encoder = dense_encoder(latent_dim, self.hidden_units, normalise=normalise, normalise_output=True)
        self.decoder = dense_decoder(latent_dim, self.hidden_units[::-1], waves=waves, normalise=normalise)
        self.mse = keras.metrics.Mean("mse")

    def call(self, images, training=False):
        """Reconstructions (B, 28, 28, 1) in (0, 1)."""
        return ops.sigmoid(self.decoder(self.encoder(images, training=training), training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The squared error summed over an image's pixels, averaged over the batch."""
        squared_error = ops.sum(ops.square(x - y_pred), axis=(1, 2, 3))
        self.mse.update_state(squared_error / (28 * 28))
        return ops.mean(squared_error)

    def encode(self, images):
        """Codes of images (N, 28, 28, 1): an array (N, latent_dim), in standard deviations of the training codes."""
        return self.encoder.predict(data.checked_images(images), batch_size=1000, verbose=0)

    def decode(self, z):
        """Images (N, 28, 28, 1) in (0, 1) drawn from codes z (N, latent_dim)."""
        z = checks.array("z", z, ("N", self.latent_dim))
        return ops.convert_to_numpy(ops.sigmoid(self.decoder.predict(z, batch_size=1000, verbose=0)))

    def get_config(self):
        names = ("latent_dim", "hidden_units", "waves", "normalise")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
