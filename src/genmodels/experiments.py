"""The named runs of the report and their ablations: frozen settings, and the functions that build their models.

TensorFlow is imported inside the builders, so that listing runs and their state stays instant.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from genmodels import canvas, config, datasets, validation


@dataclass(frozen=True)
class Run:
    """The settings of one training run.

    Attributes:
        name: A word. With the seed it names the run in progress bars and in the report.
        builder: Kind of model, a key of BUILDERS.
        summary: Short description.
        options: Keyword arguments of the model.
        epochs: Whole number >= 1.
        batch_size: Whole number >= 1.
        learning_rate: Learning rate of Adam at the start, >= 0.
        decay: Decay of the learning rate, a key of `optimizers.DECAYS`.
        depends_on: Names of runs whose models this run learns from, trained with the same seed.
        seed: Seed of the initial weights, the order of the images and all noise.

    Raises:
        ValueError: A number is out of range.
    """

    name: str
    builder: str
    summary: str = ""
    _: KW_ONLY
    epochs: int
    batch_size: int
    learning_rate: float
    options: dict = field(default_factory=dict)
    decay: str = "cosine"
    depends_on: tuple = ()
    seed: int = 1

    def __post_init__(self):
        validation.number("epochs", self.epochs, 1, whole=True)
        validation.number("batch_size", self.batch_size, 1, whole=True)
        validation.number("learning_rate", self.learning_rate, 0)

    def settings(self) -> dict:
        """Return the settings that the weights depend on, as a plain dict. The quick mode trains for one epoch."""
        settings = asdict(replace(self, epochs=1) if config.quick_mode() else self)
        del settings["summary"]
        return settings

    def __str__(self):
        return self.name if self.seed == 1 else f"{self.name}, seed {self.seed}"


@dataclass(frozen=True)
class Ablation:
    """A run with one part changed: its model's options, or its other settings.

    Attributes:
        name: A word.
        of: Name of the run.
        what: The change in words, {language: text}, for the report.
        options: Changed options of the model.
        settings: Changed settings of the run.
    """

    name: str
    of: str
    what: dict[str, str]
    options: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def run(self) -> Run:
        """Return the changed run."""
        run = RUNS[self.of]
        return replace(run, name=self.name, options={**run.options, **self.options}, **self.settings)


_LATE = {"decay": "constant_then_linear"}
_VAE = {"epochs": 12, "batch_size": 128, "learning_rate": 1.5e-3, **_LATE}
_CVAE = {"epochs": 12, "batch_size": 128, "learning_rate": 3.5e-3, **_LATE}
_SLOWER = {"epochs": 10, "learning_rate": 1.5e-3}  # at the rate of the others one training in three diverged
_PLAIN = {**_CVAE, "learning_rate": 2e-3}
_PLAIN_CVAE = {"latent_dim": 25, "hidden_units": (512, 256), "window": False}
_FLOW = {"hidden_units": (512, 256), "prior": "flow"}
_FLOW_2 = {"latent_dim": 2, "hidden_units": (512, 512, 256), "prior": "flow", "num_frequencies": 5}
_CLASSIFIER = {"epochs": 5, "batch_size": 64, "learning_rate": 2e-3}
_GAN = {"epochs": 5, "batch_size": 64, "learning_rate": 2e-3, **_LATE}
_SMALL = {"hidden_units": (512,), "num_frequencies": 0, "normalise": False}
_PLAIN_AE = {"num_frequencies": 0, "normalise": False, "normalise_codes": False}

# In the order in which they are started: the longest first, so that two workers finish together.
_RUNS = (
    Run("gan", "gan", "conditional GAN", options={"sampling_deviation": 1.06}, **_GAN),
    Run("ae", "autoencoder", "autoencoder, 2-D", epochs=40, batch_size=256, learning_rate=8e-3, **_LATE),
    Run("reference", "classifier", "scores the images", options={"architecture": "strided"}, **_CLASSIFIER),
    Run("cvae_25", "conditional_vae", "conditional VAE, 25-D", options={"latent_dim": 25, **_FLOW}, **_CVAE),
    Run("cvae_100", "conditional_vae", "conditional VAE, 100-D", options={"latent_dim": 100, **_FLOW}, **_CVAE),
    Run(
        "cvae_25_tuned",
        "tuned_prior",
        "conditional VAE, 25-D, its prior trained on",
        depends_on=("cvae_25",),
        **{**_CVAE, "epochs": 80, "batch_size": 256, "learning_rate": 2e-3},
    ),
    Run("cvae_plain_25", "conditional_vae", "plain conditional VAE, 25-D", options=_PLAIN_CVAE, **_PLAIN),
    Run("cvae_2", "conditional_vae", "conditional VAE, 2-D", options=_FLOW_2, **{**_CVAE, **_SLOWER}),
    Run("reference_2", "classifier", "scores them too", options={"architecture": "pooled"}, seed=101, **_CLASSIFIER),
    Run("vae_mc", "vae", "VAE, 2-D, Monte-Carlo KL", options={"kl": "monte_carlo"}, **_VAE),
    Run("vae_kl", "vae", "VAE, 2-D, closed-form KL", options={"kl": "closed_form"}, **_VAE),
    Run("vae_before", "vae", "VAE, 2-D, before it was improved", options=_SMALL, **{**_VAE, "decay": "constant"}),
    Run(
        "ae_plain",
        "autoencoder",
        "plain autoencoder, 2-D",
        epochs=10,
        batch_size=128,
        learning_rate=1e-3,
        options=_PLAIN_AE,
    ),
    Run("gan_train", "gan_train", "classifier of the GAN's images", depends_on=("gan",), **_CLASSIFIER),
)
RUNS = MappingProxyType({run.name: run for run in _RUNS})


def find(run: Run | str) -> Run:
    """Return a run of the report by its name.

    Args:
        run: A name in RUNS, or a Run, which is returned unchanged.

    Raises:
        ValueError: No run has that name.
    """
    if isinstance(run, Run):
        return run
    return RUNS[validation.choice("run", run, RUNS)]


def dependencies(run: Run | str) -> list[Run]:
    """Return the runs whose models a run learns from, with the run's seed.

    Args:
        run: A run or its name.

    Raises:
        ValueError: No run has that name.
    """
    run = find(run)
    return [replace(find(name), seed=run.seed) for name in run.depends_on]


_RATE = {"learning_rate": 1e-3}  # the rate of the normalised network is too high without normalisation
_NO_FOURIER = {"pl": "bez cech Fouriera na wejściu dekodera", "en": "no Fourier features at the decoder's input"}
_LONGER = {"epochs": 2 * _CVAE["epochs"]}
ABLATIONS = (
    Ablation("ae_without_fourier_features", "ae", _NO_FOURIER, {"num_frequencies": 0}),
    Ablation(
        "ae_without_normalisation",
        "ae",
        {"pl": "bez normalizacji w warstwach ukrytych", "en": "no normalisation in the hidden layers"},
        {"normalise": False},
        _RATE,
    ),
    Ablation(
        "ae_cosine",
        "ae",
        {"pl": "krok malejący wzdłuż połówki kosinusa", "en": "learning rate falling along half a cosine"},
        settings={"decay": "cosine"},
    ),
    Ablation(
        "ae_binary_cross_entropy",
        "ae",
        {"pl": "koszt: binarna entropia krzyżowa", "en": "loss: binary cross-entropy"},
        {"pixel_loss": "binary_cross_entropy"},
    ),
    Ablation("vae_without_fourier_features", "vae_kl", _NO_FOURIER, {"num_frequencies": 0}),
    Ablation(
        "vae_without_normalisation",
        "vae_kl",
        {"pl": "bez normalizacji w dekoderze", "en": "no normalisation in the decoder"},
        {"normalise": False},
    ),
    Ablation(
        "vae_constant",
        "vae_kl",
        {"pl": "stały krok uczenia", "en": "constant learning rate"},
        settings={"decay": "constant"},
    ),
    Ablation(
        "cvae_normal_prior",
        "cvae_25",
        {"pl": "rozkład a priori N(0, I), niewyuczony", "en": "prior N(0, I), not learned"},
        {"prior": "normal"},
    ),
    Ablation("cvae_100_longer", "cvae_100", {"pl": "dwa razy więcej epok", "en": "twice the epochs"}, settings=_LONGER),
    Ablation("cvae_plain_2", "cvae_plain_25", {"pl": "2 wymiary", "en": "2 dimensions"}, {"latent_dim": 2}),
    Ablation("cvae_plain_100", "cvae_plain_25", {"pl": "100 wymiarów", "en": "100 dimensions"}, {"latent_dim": 100}),
    Ablation(
        "cvae_plain_longer", "cvae_plain_25", {"pl": "dwa razy więcej epok", "en": "twice the epochs"}, settings=_LONGER
    ),
    Ablation(
        "gan_without_classifier", "gan", {"pl": "bez klasyfikatora", "en": "no classifier"}, {"classifier_weight": 0.0}
    ),
    Ablation(
        "gan_without_image_noise",
        "gan",
        {"pl": "bez szumu na obrazach", "en": "no noise on the images"},
        {"image_noise": 0.0},
    ),
)


class Setup(NamedTuple):
    """A model ready to train, from a builder.

    Attributes:
        model: A compiled keras.Model.
        count: Number of examples.
        make_batch: Function of indices and a random generator that returns one batch, see `training.Batches`.
        validation: Arrays for the model's `evaluate`, or None.
        monitor: Callback with a `failure_reason` that stops a useless training, or None.
    """

    model: Any
    count: int
    make_batch: Callable
    validation: Any = None
    monitor: Any = None


BUILDERS: dict[str, Callable[..., Setup]] = {}


def model_builder(kind: str, *, draws: tuple[str, ...] | None = None) -> Callable:
    """Register a function as the builder of a kind of model, for runs with that `builder`.

    The function takes the run's settings as a dict, the Dataset, and the models that the run depends on. It returns a
    Setup.

    Args:
        kind: A word.
        draws: Conditions that `model.draw(count, seed, ...)` takes; None for a model that draws nothing from noise.

    Returns:
        A decorator that returns the function unchanged.

    Example:
        @model_builder("perceptron")
        def build(settings, splits): ...; return Setup(model, len(images), lambda chosen, rng: (images[chosen],))
    """

    def register(build: Callable[..., Setup]) -> Callable[..., Setup]:
        BUILDERS[kind], build.draws = build, draws
        return build

    return register


def _adam(settings, count, **options):
    """Return Adam with the run's learning rate, and with its decay for `count` examples an epoch."""
    from genmodels.optimizers import adam

    steps = settings["epochs"] * -(-count // settings["batch_size"])
    return adam(settings["learning_rate"], steps, decay=settings["decay"], **options)


@model_builder("autoencoder")
def build_autoencoder(settings: dict, splits: datasets.Dataset) -> Setup:
    """Set up an autoencoder, see `model_builder`."""
    from genmodels.models.autoencoder import AE

    model = AE(**settings["options"])
    images = splits.train.images
    model.compile(_adam(settings, len(images)))
    return Setup(model, len(images), lambda chosen, rng: (images[chosen],), (splits.validation.images,))


@model_builder("vae", draws=())
def build_vae(settings: dict, splits: datasets.Dataset) -> Setup:
    """Set up a VAE on binarized images, see `model_builder`."""
    from genmodels.models.vae import VAE

    model = VAE(seed=settings["seed"], **settings["options"])
    images, validation = (datasets.binarize(split.images, "uint8") for split in (splits.train, splits.validation))
    # The gradient of an odd image may be nearly all in the encoder, which is not normalised, and ruin it: one training
    # in three ended so when the norm of all layers together was limited. Each layer's own, usually above 1, is now.
    model.compile(_adam(settings, len(images), clipnorm=1.0))
    return Setup(model, len(images), lambda chosen, rng: (images[chosen],), (validation,))


@model_builder("conditional_vae", draws=("label", "position"))
def build_conditional_vae(settings: dict, splits: datasets.Dataset) -> Setup:
    """Set up a conditional VAE on binarized images, each placed in a random cell each time."""
    from genmodels.models.conditional_vae import ConditionalVAE

    model = ConditionalVAE(seed=settings["seed"], **settings["options"])
    # The Monte-Carlo term of a learned prior sometimes gives a steep step.
    model.compile(_adam(settings, len(splits.train), global_clipnorm=50.0))
    train, validation = (split.binarized("uint8") for split in (splits.train, splits.validation))
    held_out = canvas.place_randomly(validation, np.arange(len(validation)), np.random.default_rng(settings["seed"]))
    return Setup(model, len(train), lambda chosen, rng: (canvas.place_randomly(train, chosen, rng),), (held_out,))


@model_builder("tuned_prior", draws=("label", "position"))
def build_tuned_prior(settings: dict, splits: datasets.Dataset, vae: Any) -> Setup:
    """Set up the training of a conditional VAE's learned prior alone, on codes of images in random cells.

    Args:
        settings: Settings of the run.
        splits: Real images.
        vae: A trained ConditionalVAE with a learned prior.
    """
    from genmodels.models.conditional_vae import PriorTuner

    def encode(split):
        placed = split.binarized("uint8")
        rng = np.random.default_rng(settings["seed"])
        parts = [canvas.place_randomly(placed, part, rng) for part in np.array_split(np.arange(len(placed)), 20)]
        codes = [(*vae.encode(*part), part[1]) for part in parts]
        return tuple(map(np.concatenate, zip(*codes)))

    codes, held_out = encode(splits.train), encode(splits.validation)
    model = PriorTuner(vae)
    model.compile(_adam(settings, len(splits.train)))
    return Setup(model, len(splits.train), lambda chosen, rng: (tuple(part[chosen] for part in codes),), (held_out,))


@model_builder("gan", draws=("label",))
def build_gan(settings: dict, splits: datasets.Dataset) -> Setup:
    """Set up a conditional GAN with its monitor, see `model_builder`."""
    from genmodels.models.gan import ConditionalGAN
    from genmodels.training import GANMonitor

    model = ConditionalGAN(seed=settings["seed"], **settings["options"])
    images, labels = splits.train.images, splits.train.labels
    model.compile(*(_adam(settings, len(images), beta_1=0.5) for _ in range(2)))
    return Setup(
        model, len(images), lambda chosen, rng: (images[chosen], labels[chosen]), monitor=GANMonitor(splits.train)
    )


@model_builder("classifier")
def build_classifier(settings: dict, splits: datasets.Dataset) -> Setup:
    """Set up a classifier of real images, see `model_builder`."""
    return _classifier_setup(splits.train, settings, splits)


@model_builder("gan_train")
def build_gan_train(settings: dict, splits: datasets.Dataset, gan: Any, *, count: int = 60_000) -> Setup:
    """Set up a classifier that learns from images of the GAN, and is built like the second reference classifier.

    Args:
        settings: Settings of the run.
        splits: Real images; the validation split measures the accuracy.
        gan: A trained ConditionalGAN.
        count: Number of generated images. The quick mode takes as many as there are training images.
    """
    count = len(splits.train) if config.quick_mode() else count
    labels = np.arange(count) % datasets.LABELS
    return _classifier_setup(datasets.Split(gan.generate(labels, seed=settings["seed"]), labels), settings, splits)


def _classifier_setup(train, settings, splits):
    import keras

    from genmodels.models.classifier import Classifier

    model = Classifier(**settings["options"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy", dtype="float32")
    model.compile(_adam(settings, len(train)), loss=loss, metrics=[accuracy])
    return Setup(
        model,
        len(train),
        lambda chosen, rng: (datasets.augment(train.images[chosen], rng), train.labels[chosen]),
        (splits.validation.images, splits.validation.labels),
    )
