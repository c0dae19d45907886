"""A well-known published recipe, written anew from its description, to be timed beside the package's own VAE.

It follows the published networks, batch size, optimizer and loss. `torch_vae` is the other recipe.
"""

import keras
from keras import layers

from genmodels import VAE
from genmodels.layers import SHAPE

EPOCHS, BATCH = 10, 32  # as published


def _convolution(channels):
    return layers.Conv2D(channels, 3, 2, activation="relu")


def _transposed(channels, stride, activation="relu"):
    return layers.Conv2DTranspose(channels, 3, stride, padding="same", activation=activation)


def conv_vae(seed: int) -> keras.Model:
    """Build the convolutional VAE for binarized images, compiled: Monte-Carlo loss, Adam 1e-4.

    Args:
        seed: Seed of the noise, >= 0.

    Returns:
        A compiled model that trains on images (B, 28, 28, 1), 0 or 1.

    Source:
        The convolutional variational autoencoder among TensorFlow's tutorials.
    """

    class ConvVAE(VAE):
        def _networks(self):
            encoder = [_convolution(32), _convolution(64), layers.Flatten(), layers.Dense(4)]
            dense = [layers.Dense(7 * 7 * 32, activation="relu"), layers.Reshape((7, 7, 32))]
            decoder = [*dense, _transposed(64, 2), _transposed(32, 2), _transposed(1, 1, None)]
            return keras.Sequential([keras.Input(SHAPE), *encoder]), keras.Sequential([keras.Input((2,)), *decoder])

    model = ConvVAE(kl="monte_carlo", seed=seed)
    model.compile(keras.optimizers.Adam(1e-4))
    return model
