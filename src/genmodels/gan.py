"""The conditional generative adversarial network."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops, random

from genmodels import checks, data
from genmodels.networks import LABELS, discriminator, generator


def _cross_entropy(logits, target):
    """Mean binary cross-entropy of real/fake logits (B,) against one target, 0 or 1."""
    return ops.mean(ops.softplus(logits) - target * logits)


def _naming(label, names):
    """Mean cross-entropy of label logits (B, 10) against one-hot labels."""
    return ops.mean(ops.categorical_crossentropy(label, names, from_logits=True))


@keras.saving.register_keras_serializable("genmodels")
class ConditionalGAN(keras.Model):
    """A conditional GAN: noise and label in, one digit out.

    Trained on images (B, 28, 28, 1) in [0, 1] as x and labels (B,), 0-9, as y. The discriminator sees the label by
    projection and also learns to name it from real images; the generator is rewarded for images that it names right.
    `generate` draws with a running average of the generator's weights, which is steadier than the last step's.
    noise_dim: axes of the noise, >= 1. channels: width of the networks. classifier_weight: weight of the label term.
    image_noise: standard deviation of normal noise on all images that the discriminator is trained on, real and drawn,
    so that it cannot tell them apart by pixels that are exactly 0. average_decay: of the running average, in [0, 1).
    seed: of all noise in `fit`.
    Source: Goodfellow et al., "Generative Adversarial Nets", 2014 (non-saturating loss, section 3); Mirza & Osindero,
    "Conditional Generative Adversarial Nets", 2014; Odena, Olah & Shlens, 2017 (label term); Arjovsky &
    Bottou, "Towards Principled Methods for Training Generative Adversarial Networks", 2017, section 3 (image noise);
    Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training", 2019.
    """

    def __init__(
        self,
        *,
        noise_dim=24,
        channels=64,
        classifier_weight=0.5,
        image_noise=0.15,
        average_decay=0.998,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.noise_dim = checks.number("noise_dim", noise_dim, 1, whole=True)
        self.channels = checks.number("channels", channels, 2, whole=True)
        self.classifier_weight = checks.number("classifier_weight", classifier_weight, 0)
        self.image_noise = checks.number("image_noise", image_noise, 0)
        self.average_decay, self.seed = checks.number("average_decay", average_decay, 0, 1), checks.seed(seed)
        self.generator = generator(noise_dim, channels)
        self.discriminator = discriminator(channels)
        self.averaged_generator = generator(noise_dim, channels)
        self.averaged_generator.trainable = False
        self.averaged_generator.set_weights(self.generator.get_weights())
        self.noise = keras.random.SeedGenerator(seed)
        names = ("generator_loss", "discriminator_loss", "discriminator_accuracy")
        self.trackers = [keras.metrics.Mean(name) for name in names]
        self.built = True  # the three networks have their weights already

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Takes an optimiser for each network; other arguments as for keras.Model.compile."""
        super().compile(optimizer=None, **kwargs)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    def get_compile_config(self):
        names = ("generator_optimizer", "discriminator_optimizer")
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}

    def compile_from_config(self, config):
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def call(self, inputs, training=False):
        """Images (B, 28, 28, 1) in (0, 1) from noise (B, noise_dim) and one-hot labels (B, 10)."""
        return ops.sigmoid(self.averaged_generator(inputs))

    def _draw(self, label, training):
        noise = random.normal((ops.shape(label)[0], self.noise_dim), seed=self.noise)
        return ops.sigmoid(self.generator([noise, label], training=training))

    def losses(self, images, label, fakes, training=True):
        """Losses of the generator and the discriminator and the latter's accuracy, three scalars.

        The discriminator is to call real images real and to name them, and to call fakes fake; the generator's fakes
        are to be called real and to be named right. images, fakes: (B, 28, 28, 1); label: of both, one-hot (B, 10).
        """
        if training:
            images, fakes = (
                batch + self.image_noise * random.normal(ops.shape(batch), seed=self.noise) for batch in (images, fakes)
            )
        real, names_of_real = self.discriminator([images, label], training=training)
        fake, names_of_fakes = self.discriminator([fakes, label], training=training)
        d_loss = (
            _cross_entropy(real, 1.0)
            + _cross_entropy(fake, 0.0)
            + self.classifier_weight * _naming(label, names_of_real)
        )
        g_loss = _cross_entropy(fake, 1.0) + self.classifier_weight * _naming(label, names_of_fakes)
        accuracy = 0.5 * (ops.mean(ops.cast(real > 0, "float32")) + ops.mean(ops.cast(fake <= 0, "float32")))
        return g_loss, d_loss, accuracy

    def train_step(self, batch):
        """One step of both networks on the same fakes, which are therefore drawn and judged only once."""
        images, label = batch[0], ops.one_hot(ops.cast(batch[1], "int32"), LABELS)
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

    def test_step(self, batch):
        """The same losses without a step."""
        images, label = batch[0], ops.one_hot(ops.cast(batch[1], "int32"), LABELS)
        losses = self.losses(images, label, self._draw(label, training=False), training=False)
        return self._track(_len_of(images), *losses)

    def _track(self, count, *values):
        for tracker, value in zip(self.trackers, values):
            tracker.update_state(value, sample_weight=count)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def generate(self, labels, seed, *, averaged=True):
        """One image (N, 28, 28, 1) in (0, 1) for each label (N,), 0-9; noise drawn with `seed`.

        averaged: with the running average of the generator's weights, otherwise with those of the last step.
        """
        labels = data.checked_labels(labels)
        noise = np.random.default_rng(checks.number("seed", seed, 0, whole=True)).standard_normal(
            (len(labels), self.noise_dim), "float32"
        )
        one_hot = np.eye(LABELS, dtype="float32")[labels]
        network = self.averaged_generator if averaged else self.generator
        return ops.convert_to_numpy(ops.sigmoid(network.predict([noise, one_hot], batch_size=1000, verbose=0)))

    def get_config(self):
        names = ("noise_dim", "channels", "classifier_weight", "image_noise", "average_decay", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _len_of(batch):
    return ops.cast(ops.shape(batch)[0], "float32")
