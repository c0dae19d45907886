"""The conditional generative adversarial network: its two networks, its losses and the model."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops, random
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import LABELS, SHAPE, validate_labels
from genmodels.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Flatten,
    Input,
    LeakyReLU,
    Reshape,
    SpaceToDepth,
    as_floats,
    precision,
)
from genmodels.models.inputs import ImageModel, check_images, share_of_replica


def generator(
    noise_dim: int, channels: int = 64, image_shape: tuple[int, int, int] = SHAPE, num_classes: int = LABELS
) -> keras.Model:
    """Build the generator: convolutions that double the side, from noise and label to logits.

    A hidden dense layer comes before them, so that distant parts of an image can depend on each other in more ways than
    linearly. Noise and label also go past it.

    Args:
        noise_dim: Axes of the noise.
        channels: Channels at a quarter of the sides; half as many at half of them, and twice as many hidden units.
        image_shape: Height, width and channels; the sides are multiples of 4.
        num_classes: Number of classes.

    Returns:
        A model of [noise (B, noise_dim), one-hot label (B, num_classes)] with logits (B, height, width, channels).

    Source:
        Radford, Metz & Chintala, "Unsupervised Representation Learning with DCGANs", 2016, section 3, made small. The
        last doubling: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network", 2016. A CPU computes it twice as fast as a transposed convolution to one channel.
    """
    height, width, colours = image_shape
    inputs = [Input((noise_dim,)), Input((num_classes,))]
    x = Concatenate()(inputs)
    x = Concatenate()([x, Dense(2 * channels, activation="relu")(x)])
    x = Dense(height // 4 * (width // 4) * channels, use_bias=False)(x)
    x = Reshape((height // 4, width // 4, channels))(x)
    x = Activation("relu")(BatchNormalization()(x))
    x = Conv2DTranspose(channels // 2, 4, 2, padding="same", use_bias=False)(x)
    x = Activation("relu")(BatchNormalization()(x))
    x = Conv2D(4 * colours, 3, padding="same", dtype="float32")(x)
    return keras.Model(inputs, DepthToSpace()(x), name="generator")


def discriminator(
    channels: int = 64, image_shape: tuple[int, int, int] = SHAPE, num_classes: int = LABELS
) -> keras.Model:
    """Build the discriminator: from image and label to a real/fake logit and label logits.

    A hidden dense layer relates all parts of the image: the convolutions see 16x16 pixels of it. The label enters by
    projection: the inner product of its embedding with the features is added to the logit.

    Args:
        channels: Channels at a quarter of the sides; half as many at half of them, and twice as many features.
        image_shape: Height, width and channels; the sides are multiples of 4.
        num_classes: Number of classes.

    Returns:
        A model of [image (B, height, width, channels), one-hot label (B, num_classes)] with two outputs: [real/fake
        logit (B,), label logits (B, num_classes)].

    Source:
        Miyato & Koyama, "cGANs with Projection Discriminator", 2018, equation 3; auxiliary classifier: Odena, Olah &
        Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017.
    """
    image, label = Input(image_shape), Input((num_classes,))
    x = Conv2D(channels // 2, 5, padding="same")(SpaceToDepth()(image))  # 10x10 pixels: strokes, not only edges
    x = LeakyReLU(0.2)(x)
    x = Conv2D(channels, 4, 2, padding="same", use_bias=False)(x)
    x = LeakyReLU(0.2)(BatchNormalization()(x))
    features = LeakyReLU(0.2)(Dense(2 * channels)(Flatten()(x)))
    embedding = Dense(features.shape[-1], use_bias=False, dtype="float32")(label)
    # Not keras.layers.Dot: as a batch of products of one row and one column it takes three times as long.
    projection = ops.sum(embedding * features, axis=1, keepdims=True)
    logit = Reshape((), dtype="float32")(Add(dtype="float32")([Dense(1, dtype="float32")(features), projection]))
    label_logits = Dense(num_classes, dtype="float32")(features)
    return keras.Model([image, label], [logit, label_logits], name="discriminator")


def decay_after(steps: KerasTensor | int, average_decay: float) -> KerasTensor:
    """Return the decay of the running average of weights after a number of training steps.

    The average of the first steps covers about a tenth of them. With the final decay it would hold the random weights
    of the start for long: after 1,000 steps with a decay of 0.998 still 14 % of them.

    Args:
        steps: Number of steps, >= 1.
        average_decay: The final decay, in [0, 1).

    Returns:
        min(average_decay, (1 + steps) / (10 + steps)).

    Source:
        The option `num_updates` of tf.train.ExponentialMovingAverage.
    """
    steps = ops.cast(steps, "float32")
    return ops.minimum(average_decay, (1 + steps) / (10 + steps))


def _cross_entropy(logits, target):
    """Return the mean binary cross-entropy of real/fake logits (B,) against one target, 0 or 1."""
    return ops.mean(ops.softplus(logits) - target * logits)


def _label_cross_entropy(label, logits):
    """Return the mean cross-entropy of label logits (B, num_classes) against one-hot labels of that shape."""
    return ops.mean(ops.categorical_crossentropy(label, logits, from_logits=True))


@keras.saving.register_keras_serializable("genmodels")
class ConditionalGAN(ImageModel):
    """A conditional GAN: noise and label in, one image out.

    It trains on images x (B, height, width, channels) in [0, 1] and labels y (B,), from 0 to num_classes - 1. The
    discriminator receives the label by projection and also learns to classify real images. The generator is rewarded
    for images classified correctly.
    `generate` uses a running average of the generator's weights, which is steadier than the weights of the last step.

    Args:
        image_shape: Height, width and channels; the sides must be multiples of 4.
        num_classes: Number of classes, >= 1.
        noise_dim: Axes of the noise, >= 1.
        channels: Width of both networks, >= 2.
        classifier_weight: Weight of the label term, >= 0.
        image_noise: Standard deviation, >= 0, of normal noise on all images that the discriminator is trained on, real
            and generated. Without it the discriminator could tell them apart by pixels that are exactly 0.
        sampling_deviation: Standard deviation, >= 0, of the noise that `generate` draws; training draws from N(0, 1).
            Above 1, generated images are more diverse and less typical.
        average_decay: Decay of the running average, in [0, 1). In the first steps it is smaller, see `decay_after`.
        seed: Seed of all noise in `fit`; None for a random one.
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: A number is not allowed.

    Source:
        Goodfellow et al., "Generative Adversarial Nets", 2014 (non-saturating loss, section 3); Mirza & Osindero,
        "Conditional Generative Adversarial Nets", 2014; Odena, Olah & Shlens, 2017 (label term); Arjovsky & Bottou,
        "Towards Principled Methods for Training Generative Adversarial Networks", 2017, section 3 (image noise); Yazici
        et al., "The Unusual Effectiveness of Averaging in GAN Training", 2019; Brock, Donahue & Simonyan, "Large Scale
        GAN Training for High Fidelity Natural Image Synthesis", 2019, section 3.1 (another width of the noise in
        sampling than in training; theirs is smaller, for more typical images).
    """

    takes_weights = False

    def __init__(
        self,
        *,
        image_shape: Sequence[int] = SHAPE,
        num_classes: int = LABELS,
        noise_dim: int = 24,
        channels: int = 64,
        classifier_weight: float = 0.5,
        image_noise: float = 0.15,
        sampling_deviation: float = 1.0,
        average_decay: float = 0.998,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.noise_dim = validation.number("noise_dim", noise_dim, 1, whole=True)
        self.channels = validation.number("channels", channels, 2, whole=True)
        self.classifier_weight = validation.number("classifier_weight", classifier_weight, 0)
        self.image_noise = validation.number("image_noise", image_noise, 0)
        self.sampling_deviation = validation.number("sampling_deviation", sampling_deviation, 0)
        self.average_decay, self.seed = validation.number("average_decay", average_decay, 0, 1), validation.seed(seed)
        self.image_shape = _validate_sides(validation.image_shape(image_shape))
        self.num_classes = validation.number("num_classes", num_classes, 1, whole=True)
        shape = self.image_shape, self.num_classes
        with precision(self.dtype_policy):
            self.generator = generator(self.noise_dim, self.channels, *shape)
            self.discriminator = discriminator(self.channels, *shape)
            self.averaged_generator = generator(self.noise_dim, self.channels, *shape)
        self.averaged_generator.trainable = False
        self.averaged_generator.set_weights(self.generator.get_weights())
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        names = ("generator_loss", "discriminator_loss", "discriminator_accuracy")
        self.trackers = [keras.metrics.Mean(name, dtype="float32") for name in names]

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer | str,
        discriminator_optimizer: keras.optimizers.Optimizer | str,
        *,
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """Configure the training with an optimizer for each network.

        Args:
            generator_optimizer: Optimizer of the generator, or its name.
            discriminator_optimizer: Optimizer of the discriminator, or its name; not the same object.
            auto_scale_loss: Scale the losses in the policy "mixed_float16", see keras.Model.compile.
            **kwargs: steps_per_execution, run_eagerly or jit_compile of keras.Model.compile.

        Raises:
            ValueError: Both optimizers are one object, or another argument is given.
        """
        if other := sorted(set(kwargs) - {"steps_per_execution", "run_eagerly", "jit_compile"}):
            raise ValueError(f"ConditionalGAN: expected no {', '.join(other)}; it has its own losses and measures")
        if generator_optimizer is discriminator_optimizer and not isinstance(generator_optimizer, str):
            raise ValueError("ConditionalGAN: expected two optimizers, got one object for both networks")
        super().compile(None, **kwargs)
        scaled = auto_scale_loss and self.dtype_policy.name == "mixed_float16"
        self.generator_optimizer = _optimizer(generator_optimizer, self.generator, scaled)
        self.discriminator_optimizer = _optimizer(discriminator_optimizer, self.discriminator, scaled)

    def get_compile_config(self) -> dict | None:
        """Return both optimizers as configurations; None before `compile`."""
        if not self.compiled:
            return None
        names = ("generator_optimizer", "discriminator_optimizer")
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}

    def compile_from_config(self, config: dict) -> None:
        """Compile with the optimizers of `get_compile_config`."""
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def input_shapes(self) -> list[tuple]:
        """Return the shapes of noise and of a one-hot label."""
        return [(self.noise_dim,), (self.num_classes,)]

    def check_inputs(self, x: Any) -> None:
        """Raise ValueError unless `x` is a pair of noise and as many one-hot labels."""
        if not isinstance(x, (tuple, list)) or len(x) != 2:
            raise ValueError(
                "ConditionalGAN: x must be the pair [noise, one-hot labels]; `generate` takes labels alone"
            )
        noise = validation.array("noise", x[0], ("N", self.noise_dim))
        labels = validation.array("one-hot labels", x[1], ("N", self.num_classes), 0, 1)
        validation.same_length(noise=noise, labels=labels)

    def check_examples(self, x: Any, y: Any) -> None:
        """Raise ValueError unless `x` are images and `y` as many labels."""
        images = check_images(self, "x", x, self.image_shape)
        if y is None:
            raise ValueError("ConditionalGAN: expected labels as y, got none; of one class, y is zeros of shape (N,)")
        advice = "; for one-hot labels: y.argmax(axis=1)" if np.shape(y)[1:] == (self.num_classes,) else ""
        try:
            labels = validate_labels(y, self.num_classes)
        except ValueError as error:
            raise ValueError(f"ConditionalGAN: {error}{advice}") from None
        validation.same_length(x=images, y=labels)

    def limits(self, x: Any, y: Any) -> list[tuple]:
        """Return the limits of images and labels."""
        return [(x, 0, 1), (y, 0, self.num_classes - 1)]

    def call(self, inputs: Sequence[KerasTensor], training: bool = False) -> KerasTensor:
        """Return images (B, height, width, channels) in (0, 1) from noise (B, noise_dim) and one-hot labels."""
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
            images: Real images (B, height, width, channels).
            label: One-hot labels (B, num_classes) of both the real images and the fakes.
            fakes: Generated images (B, height, width, channels).
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
        images, label = self._floats_of(batch)
        networks = (self.generator, self.generator_optimizer), (self.discriminator, self.discriminator_optimizer)
        with tf.GradientTape(persistent=True) as tape:
            g_loss, d_loss, accuracy = self.losses(images, label, self._draw(label, training=True))
            shares = share_of_replica(g_loss), share_of_replica(d_loss)
            scaled = [optimizer.scale_loss(share) for share, (_, optimizer) in zip(shares, networks)]
        gradients = [tape.gradient(loss, network.trainable_variables) for loss, (network, _) in zip(scaled, networks)]
        for gradient, (network, optimizer) in zip(gradients, networks):
            optimizer.apply(gradient, network.trainable_variables)
        decay = decay_after(self.generator_optimizer.iterations, self.average_decay)
        for average, latest in zip(self.averaged_generator.variables, self.generator.variables):
            average.assign(decay * average + (1 - decay) * latest)
        return self._track(_len_of(images), g_loss, d_loss, accuracy)

    def test_step(self, batch: Sequence[KerasTensor]) -> dict[str, KerasTensor]:
        """Compute the same losses without training."""
        images, label = self._floats_of(batch)
        losses = self.losses(images, label, self._draw(label, training=False), training=False)
        return self._track(_len_of(images), *losses)

    def _floats_of(self, batch):
        """Return images and one-hot labels of a batch as float32."""
        return as_floats(batch[0]), ops.one_hot(ops.cast(batch[1], "int32"), self.num_classes, dtype="float32")

    def _track(self, count, *values):
        for tracker, value in zip(self.trackers, values):
            tracker.update_state(value, sample_weight=count)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def generate(self, labels: ArrayLike, seed: int, *, averaged: bool = True) -> np.ndarray:
        """Generate one image for each label.

        Args:
            labels: Shape (N,), whole numbers from 0 to num_classes - 1.
            seed: Seed of the noise, >= 0.
            averaged: Use the running average of the generator's weights, otherwise the weights of the last step.

        Returns:
            Shape (N, height, width, channels), values in (0, 1).

        Raises:
            ValueError: The labels or the seed are not allowed.
        """
        labels = validate_labels(labels, self.num_classes)
        rng = np.random.default_rng(validation.number("seed", seed, 0, whole=True))
        noise = np.float32(self.sampling_deviation) * rng.standard_normal((len(labels), self.noise_dim), "float32")
        one_hot = np.eye(self.num_classes, dtype="float32")[labels]
        network = self.averaged_generator if averaged else self.generator
        return ops.convert_to_numpy(ops.sigmoid(network.predict([noise, one_hot], batch_size=1000, verbose=0)))

    def draw(self, count: int, seed: int, *, label: int) -> np.ndarray:
        """Return `count` images (count, height, width, channels) with one label, see `generate`."""
        return self.generate([label] * validation.number("count", count, 1, whole=True), seed)

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("image_shape", "num_classes", "noise_dim", "channels")
        names += ("classifier_weight", "image_noise", "sampling_deviation", "average_decay", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _validate_sides(shape):
    """Return an image shape whose sides are multiples of 4, as two doublings give them."""
    if any(side % 4 for side in shape[:2]):
        below = " x ".join(str(max(4, side // 4 * 4)) for side in shape[:2])
        above = " x ".join(str(-(-side // 4) * 4) for side in shape[:2])
        raise ValueError(
            f"image_shape must have sides that are multiples of 4, got {shape}; resize the images to {below} or {above}"
        )
    return shape


def _optimizer(given, network, scaled):
    """Return an optimizer, built for a network; `scaled` wraps it for the losses of float16."""
    optimizer = keras.optimizers.get(given)
    if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
    optimizer.build(network.trainable_variables)
    return optimizer


def _len_of(batch):
    return ops.cast(ops.shape(batch)[0], "float32")
