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
BATCH = {"conv_vae": 32, "conv_vae_grey": 128, "conditional_gan": 64, "dcgan": 256}
NAMES = {
    "conv_vae": "splotowy VAE I",
    "conv_vae_grey": "splotowy VAE II",
    "conditional_gan": "warunkowy GAN",
    "dcgan": "DCGAN",
    "torch_vae": "VAE w PyTorch",
}
EPOCHS = {"conv_vae": 10, "conv_vae_grey": 30, "conditional_gan": 20, "dcgan": 50}


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


def conv_vae_grey(seed: int) -> keras.Model:
    """Build the convolutional VAE for grey images, compiled: KL term in closed form, Adam 1e-3.

    Args:
        seed: Seed of the noise, >= 0.

    Returns:
        A compiled model that trains on images (B, 28, 28, 1) in [0, 1].

    Source:
        The variational autoencoder among Keras's code examples.
    """

    class ConvVAE(VAE):
        def _networks(self):
            features = [*_convolutions((32, 64), 3, activation="relu", padding="same"), layers.Flatten()]
            encoder = [*features, layers.Dense(16, activation="relu"), layers.Dense(4)]
            dense = [layers.Dense(7 * 7 * 64, activation="relu"), layers.Reshape((7, 7, 64))]
            decoder = [*dense, *_transposed((64, 32), 3, (2, 2), activation="relu"), *_transposed((1,), 3, (1,))]
            return keras.Sequential([keras.Input(SHAPE), *encoder]), keras.Sequential([keras.Input((2,)), *decoder])

    model = ConvVAE(kl="closed_form", seed=seed)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def _cross_entropy(target, logits):
    return ops.mean(ops.binary_crossentropy(ops.full_like(logits, target), logits, from_logits=True))


class PlainGAN(keras.Model):
    """A GAN with the standard losses and an optimizer for each network. It compiles itself.

    It trains on images x (B, 28, 28, 1) in [0, 1] and labels y (B,), 0-9.

    Args:
        networks: Generator and discriminator. The generator takes noise (B, noise_dim), with one-hot labels appended in
            a conditional GAN. The discriminator takes images (B, 28, 28, 1), with ten planes of labels appended in a
            conditional GAN.
        noise_dim: Axes of the noise.
        learning_rate: Learning rate of both optimizers.
        conditional: Give both networks the labels.
        low: Value of an empty pixel for both networks. A full one is 1.
        at_once: Train both networks on the same generated images; otherwise the discriminator first.
        seed: Seed of the noise.
    """

    def __init__(
        self,
        networks: tuple[keras.Model, keras.Model],
        *,
        noise_dim: int,
        learning_rate: float,
        conditional: bool,
        low: float,
        at_once: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = networks
        self.noise_dim, self.conditional, self.low, self.at_once = noise_dim, conditional, low, at_once
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.optimizers = [keras.optimizers.Adam(learning_rate) for _ in networks]
        self.built = True
        self.compile()

    def draw(self, label: KerasTensor, training: bool = False) -> KerasTensor:
        """Generate images in [low, 1], one for each one-hot label (B, 10). Without conditions only B counts."""
        noise = keras.random.normal((ops.shape(label)[0], self.noise_dim), seed=self.seed_generator)
        return self.generator(ops.concatenate([noise, label], axis=1) if self.conditional else noise, training=training)

    def discriminate(self, images: KerasTensor, label: KerasTensor) -> KerasTensor:
        """Return real/fake logits (B, 1)."""
        if self.conditional:
            planes = label[:, None, None, :] * ops.ones((1, *SHAPE[:2], 1))
            images = ops.concatenate([images, planes], axis=-1)
        return self.discriminator(images, training=True)

    def train_step(self, data: Sequence[KerasTensor]) -> dict[str, KerasTensor]:
        """Train both networks on one batch."""
        images, label = self.low + (1 - self.low) * data[0], ops.one_hot(ops.cast(data[1], "int32"), LABELS)
        with tf.GradientTape(persistent=True) as tape:
            drawn = self.draw(label, training=True)
            fake = self.discriminate(drawn, label)
            d_loss = _cross_entropy(1.0, self.discriminate(images, label)) + _cross_entropy(0.0, fake)
            g_loss = _cross_entropy(1.0, fake)
        self._apply(1, tape.gradient(d_loss, self.discriminator.trainable_variables))
        if self.at_once:
            self._apply(0, tape.gradient(g_loss, self.generator.trainable_variables))
        else:
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
    options = {"noise_dim": 128, "learning_rate": 3e-4, "conditional": True, "low": 0.0, "at_once": False}
    return PlainGAN((generator, discriminator), **options, seed=seed)


def dcgan(seed: int) -> PlainGAN:
    """Build the deep convolutional GAN without labels: Adam 1e-4.

    Args:
        seed: Seed of the noise, >= 0.

    Returns:
        A compiled model.

    Source:
        The DCGAN among TensorFlow's tutorials.
    """

    def normalised(layer: layers.Layer) -> list[layers.Layer]:
        return [layer, layers.BatchNormalization(), layers.LeakyReLU(0.3)]

    options = {"padding": "same", "use_bias": False}
    generator = keras.Sequential(
        [
            keras.Input((100,)),
            *normalised(layers.Dense(7 * 7 * 256, use_bias=False)),
            layers.Reshape((7, 7, 256)),
            *normalised(layers.Conv2DTranspose(128, 5, 1, **options)),
            *normalised(layers.Conv2DTranspose(64, 5, 2, **options)),
            layers.Conv2DTranspose(1, 5, 2, activation="tanh", **options),
        ]
    )
    discriminator = [keras.Input(SHAPE)]
    for layer in _convolutions((64, 128), 5, padding="same"):
        discriminator += [layer, layers.LeakyReLU(0.3), layers.Dropout(0.3)]
    discriminator = keras.Sequential([*discriminator, layers.Flatten(), layers.Dense(1)])
    options = {"noise_dim": 100, "learning_rate": 1e-4, "conditional": False, "low": -1.0, "at_once": True}
    return PlainGAN((generator, discriminator), **options, seed=seed)
