"""Models ready to train: which model, optimiser and batches the settings of a run stand for.

TensorFlow is imported inside the builders, so that listing runs and their state stays instant.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from genmodels import canvas, config, datasets


class Setup(NamedTuple):
    """What a builder makes.

    Attributes:
        model: a compiled keras.Model.
        count: the number of examples.
        make_batch: gives one batch for indices and a random generator, see `training.Batches`.
        validation: arrays for the model's `evaluate`, or None.
        monitor: a callback with a `failure_reason`, which ends a useless training, or None.
    """

    model: Any
    count: int
    make_batch: Callable
    validation: Any = None
    monitor: Any = None


BUILDERS: dict[str, Callable[..., Setup]] = {}


def model_builder(kind: str) -> Callable:
    """Register a function as the builder of a kind of model, for runs with that `builder`.

    The function takes the run's settings, the dataset with its splits, and the models that the run depends on.

    Example:
        @model_builder("perceptron")
        def build(settings, splits): ...; return Setup(model, len(images), lambda chosen, rng: (images[chosen],))
    """

    def register(build):
        BUILDERS[kind] = build
        return build

    return register


def _adam(settings, count, **options):
    """Return Adam with the learning rate of a run, and its decay over `count` examples an epoch."""
    from genmodels.optimizers import adam

    steps = settings["epochs"] * -(-count // settings["batch_size"])
    return adam(settings["learning_rate"], steps, decay=settings["decay"], **options)


@model_builder("autoencoder")
def build_autoencoder(settings, splits):
    """Set up an autoencoder."""
    from genmodels.models.autoencoder import AE

    model = AE(**settings["options"])
    images = splits.train.images
    model.compile(_adam(settings, len(images)))
    return Setup(model, len(images), lambda chosen, rng: (images[chosen],), (splits.validation.images,))


@model_builder("vae")
def build_vae(settings, splits):
    """Set up a VAE on binarized images."""
    from genmodels.models.vae import VAE

    model = VAE(seed=settings["seed"], **settings["options"])
    images, validation = (datasets.binarize(split.images, "uint8") for split in (splits.train, splits.validation))
    # The encoder is not normalised: a single steep step, as the Monte-Carlo term makes now and then, would ruin it.
    model.compile(_adam(settings, len(images), global_clipnorm=50.0))
    return Setup(model, len(images), lambda chosen, rng: (images[chosen],), (validation,))


@model_builder("conditional_vae")
def build_conditional_vae(settings, splits):
    """Set up a conditional VAE on binarized images, each in a new cell each time."""
    from genmodels.models.conditional_vae import ConditionalVAE

    model = ConditionalVAE(seed=settings["seed"], **settings["options"])
    model.compile(_adam(settings, len(splits.train)))
    train, validation = (split.binarized("uint8") for split in (splits.train, splits.validation))
    held_out = canvas.place_randomly(validation, np.arange(len(validation)), np.random.default_rng(settings["seed"]))
    return Setup(model, len(train), lambda chosen, rng: (canvas.place_randomly(train, chosen, rng),), (held_out,))


@model_builder("gan")
def build_gan(settings, splits):
    """Set up a conditional GAN with its monitor."""
    from genmodels.models.gan import ConditionalGAN
    from genmodels.training import GANMonitor

    model = ConditionalGAN(seed=settings["seed"], **settings["options"])
    images, labels = splits.train.images, splits.train.labels
    model.compile(*(_adam(settings, len(images), beta_1=0.5) for _ in range(2)))
    return Setup(
        model, len(images), lambda chosen, rng: (images[chosen], labels[chosen]), monitor=GANMonitor(splits.train)
    )


@model_builder("classifier")
def build_classifier(settings, splits):
    """Set up a classifier of real images."""
    return _classifier_setup(splits.train, settings, splits)


@model_builder("gan_train")
def build_gan_train(settings, splits, gan, *, count=60_000):
    """Set up a classifier, built like the second reference classifier, of `count` images that the GAN generates."""
    count = len(splits.train) if config.quick_mode() else count
    labels = np.arange(count) % datasets.LABELS
    return _classifier_setup(datasets.Split(gan.generate(labels, seed=settings["seed"]), labels), settings, splits)


def _classifier_setup(train, settings, splits):
    import keras

    from genmodels.models.classifier import Classifier

    model = Classifier(**settings["options"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(_adam(settings, len(train)), loss=loss, metrics=["accuracy"])
    return Setup(
        model,
        len(train),
        lambda chosen, rng: (datasets.augment(train.images[chosen], rng), train.labels[chosen]),
        (splits.validation.images, splits.validation.labels),
    )
