"""Well-known published recipes, written anew from their hyperparameters, to be timed beside the package's own models.

They follow the published networks, batch sizes, optimizers and losses. `EPOCHS` has their published durations.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import KerasTensor, layers, ops

from genmodels import VAE
from genmodels.datasets import LABELS
from genmodels.layers import SHAPE

# Batch size and epochs as published; names for the report.
BATCH = {"conv_vae": 32, "conditional_gan": 64}
EPOCHS = {"conv_vae": 10, "conditional_gan": 20}
NAMES = {"conv_vae": "splotowy VAE", "torch_vae": "VAE w PyTorch", "conditional_gan": "warunkowy GAN"}


def _convolutions(channels, kernel, **options):
    return [layers.Conv2D(width, kernel, 2, **options) for width in channels]


def _transposed(channels, kernel, strides, **options):
    return [
        layers.Conv2DTranspose(width, kernel, stride, padding="same", **options)
        for width, stride in zip(channels, strides)
    ]


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
            encoder = [*_convolutions((32, 64), 3, activation="relu"), layers.Flatten(), layers.Dense(4)]
            dense = [layers.Dense(7 * 7 * 32, activation="relu"), layers.Reshape((7, 7, 32))]
            decoder = [*dense, *_transposed((64, 32), 3, (2, 2), activation="relu"), *_transposed((1,), 3, (1,))]
            return keras.Sequential([keras.Input(SHAPE), *encoder]), keras.Sequential([keras.Input((2,)), *decoder])

    model = ConvVAE(kl="monte_carlo", seed=seed)
    model.compile(keras.optimizers.Adam(1e-4))
    return model


def _cross_entropy(target, logits):
    return ops.mean(ops.binary_crossentropy(ops.full_like(logits, target), logits, from_logits=True))


class PlainGAN(keras.Model):
    """A conditional GAN with the standard losses and an optimizer for each network. It compiles itself.

    It trains on images x (B, 28, 28, 1) in [0, 1] and labels y (B,), 0-9.

    Args:
        networks: Generator and discriminator. The generator takes noise (B, noise_dim), with one-hot labels appended.
            The discriminator takes images (B, 28, 28, 1), with ten planes of labels appended.
        noise_dim: Axes of the noise.
        learning_rate: Learning rate of both optimizers.
        seed: Seed of the noise.
    """

    def __init__(
        self, networks: tuple[keras.Model, keras.Model], *, noise_dim: int, learning_rate: float, seed: int
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = networks
        self.noise_dim = noise_dim
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.optimizers = [keras.optimizers.Adam(learning_rate) for _ in networks]
        self.built = True
        self.compile()

    def draw(self, label: KerasTensor, training: bool = False) -> KerasTensor:
        """Generate images in [0, 1], one for each one-hot label (B, 10)."""
        noise = keras.random.normal((ops.shape(label)[0], self.noise_dim), seed=self.seed_generator)
        return self.generator(ops.concatenate([noise, label], axis=1), training=training)

    def discriminate(self, images: KerasTensor, label: KerasTensor) -> KerasTensor:
        """Return real/fake logits (B, 1)."""
        planes = label[:, None, None, :] * ops.ones((1, *SHAPE[:2], 1))
        return self.discriminator(ops.concatenate([images, planes], axis=-1), training=True)

    def train_step(self, data: Sequence[KerasTensor]) -> dict[str, KerasTensor]:
        """Train the discriminator, then the generator, on one batch."""
        images, label = data[0], ops.one_hot(ops.cast(data[1], "int32"), LABELS)
        fakes = self.draw(label, training=True)
        with tf.GradientTape() as tape:
            real, fake = self.discriminate(images, label), self.discriminate(fakes, label)
            d_loss = _cross_entropy(1.0, real) + _cross_entropy(0.0, fake)
        self._apply(1, tape.gradient(d_loss, self.discriminator.trainable_variables))
        with tf.GradientTape() as tape:
            g_loss = _cross_entropy(1.0, self.discriminate(self.draw(label, training=True), label))
        self._apply(0, tape.gradient(g_loss, self.generator.trainable_variables))
        return {"generator_loss": g_loss, "discriminator_loss": d_loss}

    def _apply(self, which, gradients):
        network = (self.generator, self.discriminator)[which]
        self.optimizers[which].apply(gradients, network.trainable_variables)


def conditional_gan(seed: int) -> PlainGAN:
    """Build the conditional GAN that sees the label as planes beside the image: Adam 3e-4.

    Args:
        seed: Seed of the noise, >= 0.

    Returns:
        A compiled model.

    Source:
        The conditional GAN among Keras's code examples.
    """
    leaky = {"activation": keras.layers.LeakyReLU(0.2)}
    generator = keras.Sequential(
        [
            keras.Input((128 + LABELS,)),
            layers.Dense(7 * 7 * (128 + LABELS), **leaky),
            layers.Reshape((7, 7, 128 + LABELS)),
            *_transposed((128, 128), 4, (2, 2), **leaky),
            layers.Conv2D(1, 7, padding="same", activation="sigmoid"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((*SHAPE[:2], 1 + LABELS)),
            *_convolutions((64, 128), 3, padding="same", **leaky),
            layers.GlobalMaxPooling2D(),
            layers.Dense(1),
        ]
    )
    return PlainGAN((generator, discriminator), noise_dim=128, learning_rate=3e-4, seed=seed)
