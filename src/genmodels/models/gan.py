"""The conditional generative adversarial network: its two networks, its losses and the model."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops, random
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import LABELS, validate_labels
from genmodels.layers import (
    SHAPE,
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Flatten,
    Float32,
    Input,
    LeakyReLU,
    Reshape,
    SpaceToDepth,
    as_floats,
)


def generator(noise_dim: int, channels: int = 64) -> keras.Model:
    """Build the generator: convolutions that double the side, from noise and label to logits.

    Args:
        noise_dim: Axes of the noise.
        channels: Channels at 7x7 pixels; half as many at 14x14.

    Returns:
        A model of [noise (B, noise_dim), one-hot label (B, 10)] with logits (B, 28, 28, 1).

    Source:
        Radford, Metz & Chintala, "Unsupervised Representation Learning with DCGANs", 2016, section 3, made small. The
        last doubling: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network", 2016. A CPU computes it twice as fast as a transposed convolution to one channel.
    """
    inputs = [Input((noise_dim,)), Input((LABELS,))]
    x = Dense(7 * 7 * channels, use_bias=False)(Concatenate()(inputs))
    x = Reshape((7, 7, channels))(x)
    x = Activation("relu")(BatchNormalization()(x))
    x = Conv2DTranspose(channels // 2, 4, 2, padding="same", use_bias=False)(x)
    x = Activation("relu")(BatchNormalization()(x))
    return keras.Model(inputs, DepthToSpace()(Conv2D(4, 3, padding="same")(x)), name="generator")


def discriminator(channels: int = 64) -> keras.Model:
    """Build the discriminator: from image and label to a real/fake logit and label logits.

    The label enters by projection: the inner product of its embedding with the features is added to the logit.

    Args:
        channels: Channels at 7x7 pixels; half as many at 14x14.

    Returns:
        A model of [image (B, 28, 28, 1), one-hot label (B, 10)] with two outputs: [real/fake logit (B,), label logits
        (B, 10)].

    Source:
        Miyato & Koyama, "cGANs with Projection Discriminator", 2018, equation 3; auxiliary classifier: Odena, Olah &
        Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017.
    """
    image, label = Input(SHAPE), Input((LABELS,))
    x = Conv2D(channels // 2, 5, padding="same")(SpaceToDepth()(image))  # 10x10 pixels: strokes, not only edges
    x = LeakyReLU(0.2)(x)
    x = Conv2D(channels, 4, 2, padding="same", use_bias=False)(x)
    x = LeakyReLU(0.2)(BatchNormalization()(x))
    features = Flatten()(x)
    embedding = Dense(features.shape[-1], use_bias=False)(label)
    # Not keras.layers.Dot: as a batch of products of one row and one column it takes three times as long.
    projection = ops.sum(embedding * features, axis=1, keepdims=True)
    logit = Reshape(())(Add()([Dense(1)(features), projection]))
    return keras.Model([image, label], [logit, Dense(LABELS)(features)], name="discriminator")


def _cross_entropy(logits, target):
    """Return the mean binary cross-entropy of real/fake logits (B,) against one target, 0 or 1."""
    return ops.mean(ops.softplus(logits) - target * logits)


def _label_cross_entropy(label, logits):
    """Return the mean cross-entropy of label logits (B, 10) against one-hot labels (B, 10)."""
    return ops.mean(ops.categorical_crossentropy(label, logits, from_logits=True))


@keras.saving.register_keras_serializable("genmodels")
class ConditionalGAN(Float32, keras.Model):
    """A conditional GAN: noise and label in, one digit out.

    It trains on images x (B, 28, 28, 1) in [0, 1] and labels y (B,), 0-9. The discriminator receives the label by
    projection and also learns to classify real images. The generator is rewarded for images classified correctly.
    `generate` uses a running average of the generator's weights, which is steadier than the weights of the last step.

    Args:
        noise_dim: Axes of the noise, >= 1.
        channels: Width of both networks, >= 2.
        classifier_weight: Weight of the label term, >= 0.
        image_noise: Standard deviation, >= 0, of normal noise on all images that the discriminator is trained on, real
            and generated. Without it the discriminator could tell them apart by pixels that are exactly 0.
        average_decay: Decay of the running average, in [0, 1).
        seed: Seed of all noise in `fit`; None for a random one.
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: A number is not allowed.

    Source:
        Goodfellow et al., "Generative Adversarial Nets", 2014 (non-saturating loss, section 3); Mirza & Osindero,
        "Conditional Generative Adversarial Nets", 2014; Odena, Olah & Shlens, 2017 (label term); Arjovsky & Bottou,
        "Towards Principled Methods for Training Generative Adversarial Networks", 2017, section 3 (image noise); Yazici
        et al., "The Unusual Effectiveness of Averaging in GAN Training", 2019.
    """

    def __init__(
        self,
        *,
        noise_dim: int = 24,
        channels: int = 64,
        classifier_weight: float = 0.5,
        image_noise: float = 0.15,
        average_decay: float = 0.998,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.noise_dim = validation.number("noise_dim", noise_dim, 1, whole=True)
        self.channels = validation.number("channels", channels, 2, whole=True)
        self.classifier_weight = validation.number("classifier_weight", classifier_weight, 0)
        self.image_noise = validation.number("image_noise", image_noise, 0)
        self.average_decay, self.seed = validation.number("average_decay", average_decay, 0, 1), validation.seed(seed)
        self.generator = generator(noise_dim, channels)
        self.discriminator = discriminator(channels)
        self.averaged_generator = generator(noise_dim, channels)
        self.averaged_generator.trainable = False
        self.averaged_generator.set_weights(self.generator.get_weights())
        self.seed_generator = keras.random.SeedGenerator(seed)
        names = ("generator_loss", "discriminator_loss", "discriminator_accuracy")
        self.trackers = [keras.metrics.Mean(name, dtype="float32") for name in names]
        self.built = True  # the three networks have their weights already

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        **kwargs,
    ) -> None:
        """Configure the training with an optimizer for each network.

        Args:
            generator_optimizer: Optimizer of the generator.
            discriminator_optimizer: Optimizer of the discriminator.
            **kwargs: Other arguments of keras.Model.compile.
        """
        super().compile(optimizer=None, **kwargs)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    def get_compile_config(self) -> dict:
        """Return both optimizers as configurations."""
        names = ("generator_optimizer", "discriminator_optimizer")
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}

    def compile_from_config(self, config: dict) -> None:
        """Compile with the optimizers of `get_compile_config`."""
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def call(self, inputs: Sequence[KerasTensor], training: bool = False) -> KerasTensor:
        """Return images (B, 28, 28, 1) in (0, 1) from noise (B, noise_dim) and one-hot labels (B, 10)."""
        return ops.sigmoid(self.averaged_generator(inputs))

    def _draw(self, label, training):
        noise = random.normal((ops.shape(label)[0], self.noise_dim), dtype="float32", seed=self.seed_generator)
        return ops.sigmoid(self.generator([noise, label], training=training))

    def losses(
        self, images: KerasTensor, label: KerasTensor, fakes: KerasTensor, training: bool = True
    ) -> tuple[KerasTensor, KerasTensor, KerasTensor]:
        """Return both losses and the accuracy of the discriminator.

        The discriminator should call real images real, classify them correctly, and call fakes fake. The generator's
        fakes should be called real and classified correctly.

        Args:
            images: Real images (B, 28, 28, 1).
            label: One-hot labels (B, 10) of both the real images and the fakes.
            fakes: Generated images (B, 28, 28, 1).
            training: Add image noise, and use batch normalisation in training mode.

        Returns:
            Generator loss, discriminator loss and discriminator accuracy: three scalars.
        """
        if training:
            images, fakes = (
                batch + self.image_noise * random.normal(ops.shape(batch), dtype="float32", seed=self.seed_generator)
                for batch in (images, fakes)
            )
        real, real_label_logits = self.discriminator([images, label], training=training)
        fake, fake_label_logits = self.discriminator([fakes, label], training=training)
        d_loss = (
            _cross_entropy(real, 1.0)
            + _cross_entropy(fake, 0.0)
            + self.classifier_weight * _label_cross_entropy(label, real_label_logits)
        )
        g_loss = _cross_entropy(fake, 1.0) + self.classifier_weight * _label_cross_entropy(label, fake_label_logits)
        accuracy = 0.5 * (ops.mean(ops.cast(real > 0, "float32")) + ops.mean(ops.cast(fake <= 0, "float32")))
        return g_loss, d_loss, accuracy

    def train_step(self, batch: Sequence[KerasTensor]) -> dict[str, KerasTensor]:
        """Train both networks on the same fakes, which are thus generated and discriminated only once."""
        images, label = _floats_of(batch)
        networks = (self.generator, self.generator_optimizer), (self.discriminator, self.discriminator_optimizer)
        with tf.GradientTape(persistent=True) as tape:
            g_loss, d_loss, accuracy = self.losses(images, label, self._draw(label, training=True))
        gradients = [
            tape.gradient(loss, network.trainable_variables) for loss, (network, _) in zip((g_loss, d_loss), networks)
        ]
        for gradient, (network, optimizer) in zip(gradients, networks):
            optimizer.apply(gradient, network.trainable_variables)
        for average, latest in zip(self.averaged_generator.variables, self.generator.variables):
            average.assign(self.average_decay * average + (1 - self.average_decay) * latest)
        return self._track(_len_of(images), g_loss, d_loss, accuracy)

    def test_step(self, batch: Sequence[KerasTensor]) -> dict[str, KerasTensor]:
        """Compute the same losses without training."""
        images, label = _floats_of(batch)
        losses = self.losses(images, label, self._draw(label, training=False), training=False)
        return self._track(_len_of(images), *losses)

    def _track(self, count, *values):
        for tracker, value in zip(self.trackers, values):
            tracker.update_state(value, sample_weight=count)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def generate(self, labels: ArrayLike, seed: int, *, averaged: bool = True) -> np.ndarray:
        """Generate one image for each label.

        Args:
            labels: Shape (N,), 0-9.
            seed: Seed of the noise, >= 0.
            averaged: Use the running average of the generator's weights, otherwise the weights of the last step.

        Returns:
            Shape (N, 28, 28, 1), values in (0, 1).

        Raises:
            ValueError: The labels or the seed are not allowed.
        """
        labels = validate_labels(labels)
        noise = np.random.default_rng(validation.number("seed", seed, 0, whole=True)).standard_normal(
            (len(labels), self.noise_dim), "float32"
        )
        one_hot = np.eye(LABELS, dtype="float32")[labels]
        network = self.averaged_generator if averaged else self.generator
        return ops.convert_to_numpy(ops.sigmoid(network.predict([noise, one_hot], batch_size=1000, verbose=0)))

    def draw(self, count: int, seed: int, *, label: int) -> np.ndarray:
        """Return `count` images (count, 28, 28, 1) with one label, see `generate`."""
        return self.generate([label] * validation.number("count", count, 1, whole=True), seed)

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("noise_dim", "channels", "classifier_weight", "image_noise", "average_decay", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _floats_of(batch):
    """Return images and one-hot labels of a batch as float32."""
    return as_floats(batch[0]), ops.one_hot(ops.cast(batch[1], "int32"), LABELS, dtype="float32")


def _len_of(batch):
    return ops.cast(ops.shape(batch)[0], "float32")
