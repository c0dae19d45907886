"""`fit`: train a model on any data set, with settings that fit it. After an interruption it goes on where it was."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from genmodels import config
from genmodels.datasets import Dataset, augment, binarize
from genmodels.experiments import RUNS, Run, Setup
from genmodels.images import StoredSplit
from genmodels.pipeline import files, fingerprint, records, store

# The report's run whose settings a kind of model starts from.
STARTS = {"ae": "ae", "vae": "vae_kl", "gan": "gan", "classifier": "reference"}
TAKES = {  # options of the command line that go to the model
    "ae": ("latent_dim",),
    "vae": ("latent_dim", "likelihood", "beta"),
    "gan": ("noise_dim", "channels"),
    "classifier": (),
}
LABELLED = ("gan", "classifier")  # kinds that need labels
WIDTHS = {"ae": (256, 256, 256), "vae": (512, 512, 256)}  # of hidden layers; fewer for images below PIXELS values
PIXELS = 28 * 28
LEAST_STEPS = {"ae": 1_500, "vae": 2_500, "gan": 2_000, "classifier": 600}  # training steps, for small data sets
BATCHES = 32  # an epoch has at least so many, unless batches would be smaller than SMALLEST
SMALLEST = 16
SEEN = 5_000  # most validation images
DRAWN = 2**28  # values in the images of a GAN that a classifier learns from: 256 MiB as bytes
FEW_GREYS = 0.65  # largest share of grey among the pixels that are not black of a drawing, such as a digit of MNIST
CORES = 4  # at most: few operations of a step need nothing of each other
ABANDONED = 30  # days after which a checkpoint is removed
_LEADS = ("pipeline.store:train_on", "readers.arrays:assemble")  # the code that all weights depend on


def plan(
    kind: str,
    data: Dataset,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 1,
    **options: Any,
) -> Run:
    """Choose the settings of a training: those of the report's run, adapted to the number of images.

    Few images get smaller batches and more epochs. The AE and the VAE of images smaller than MNIST's get layers whose
    width is in proportion to the side of the images, and which learn at a higher rate.

    Args:
        kind: A key of STARTS.
        data: The data set.
        epochs: Number of epochs; None for those of the report, or for LEAST_STEPS steps if that is more.
        batch_size: Images in a batch; None for that of the report, or for BATCHES batches if that is less.
        learning_rate: Learning rate at the start; None to choose it.
        seed: Seed of the weights, the order of the images and all noise.
        **options: Options of the model, those in TAKES.

    Returns:
        The settings.

    Raises:
        ValueError: The data have no labels but the model needs them, or a number is out of range.
    """
    start, count = RUNS[STARTS[kind]], len(data.train)
    if kind in LABELLED and not data.num_classes:
        raise ValueError(f"{kind}: expected images with labels, got {data.name!r} without; give each class a folder")
    if batch_size is None:
        batch_size = min(start.batch_size, max(SMALLEST, 2 ** int(np.log2(max(1, count // BATCHES)))))
    if epochs is None:
        epochs = max(start.epochs, -(-LEAST_STEPS[kind] // -(-count // batch_size)))
    if kind == "vae" and options.get("likelihood", "auto") == "auto":
        options["likelihood"] = "bernoulli" if is_binary(data) else "continuous_bernoulli"
    shape = {"image_shape": data.image_shape, **({"num_classes": data.num_classes} if kind in LABELLED else {})}
    share = min(1, np.prod(data.image_shape) / PIXELS) ** 0.5 if kind in WIDTHS else 1
    if share < 1:
        shape["hidden_units"] = tuple(32 * int(np.ceil(share * width / 32)) for width in WIDTHS[kind])
    if learning_rate is None:
        learning_rate = float(f"{start.learning_rate / share**0.5:.2g}")
    numbers = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    return replace(start, name=kind, options={**start.options, **shape, **options}, **numbers)


@lru_cache(maxsize=1)
def is_binary(data: Dataset) -> bool:
    """Return whether every pixel to train on, and to validate with, is 0 or 1."""
    for split in (data.train, data.validation):
        for start in range(0, len(split), 1_000):
            images = split.batch(slice(start, start + 1_000))
            if ((images > 0) & (images < 1)).any():
                return False
    return True


def describe(run: Run, data: Dataset) -> list[str]:
    """Return lines for the user: the data set, and the settings of a training.

    Args:
        run: Settings from `plan`.
        data: The data set.
    """
    settings, hidden = run.settings(), ("image_shape", "num_classes")
    options = [f"{name} {value}" for name, value in run.options.items() if name not in hidden]
    chosen = [f"{name} {settings[name]}" for name in ("epochs", "batch_size", "learning_rate", "seed")]
    said = [repr(data), f"{run.name}: {', '.join([*options, *chosen])}"]
    likelihood = run.options.get("likelihood")
    if likelihood == "bernoulli" and not is_binary(data):
        said.append("The images have grey levels. They are binarized at 0.5 for the likelihood bernoulli.")
    if likelihood == "continuous_bernoulli" and data.image_shape[-1] == 1 and not is_binary(data):
        said.append(
            "The images have grey levels, which continuous_bernoulli describes. For drawings, --likelihood bernoulli "
            "binarizes them at 0.5, as the report does with MNIST."
        )
    return said


def identity(run: Run, data: Dataset) -> dict:
    """Return everything that decides the bits of the trained weights: settings, data, code, libraries and machine."""
    return {
        **{f"setting {name}": value for name, value in run.settings().items()},
        **{"data": data.digest, "values": data.values, "counts": [len(data.train), len(data.validation)]},
        **fingerprint.code(*_leads(run)),
        **records.versions(),
        **config.numerics(),
    }


def usual_cores() -> int:
    """Return the number of cores for a training that has this machine for itself: the usable ones, up to CORES."""
    import joblib  # knows the limits of containers and batch systems

    return min(CORES, joblib.cpu_count())


def fit(run: Run, data: Dataset, output: str | Path, *, cores: int = 1) -> dict[str, list]:
    """Train a model and write it to a file. The same call after an interruption goes on after the last whole epoch.

    Args:
        run: Settings from `plan`.
        data: The data set.
        output: The .keras file to write.
        cores: Operations of a step at the same time, each on one core. The weights do not depend on it. More than one
            needs a process of its own: it has an effect only before TensorFlow's first work there, and the process
            cannot train a second model then.

    Returns:
        History {metric: one value per epoch}.

    Raises:
        DivergedError: The result would be useless.
        TrainingError: The package's code was edited during the training.
        ResourceError: The system refuses memory, disk space or rights.
        ValueError: The model refuses an option or the images.
    """
    with _trained(run, data, cores) as (model, history), files.replacing(output) as new:
        model.save(new)
    return history


@contextmanager
def _trained(run, data, cores=1):
    """Train a model, or go on from its checkpoint, which stays until the block ends without an error.

    Yields the model and its history.
    """
    if shortage := config.memory_shortage():
        raise files.ResourceError(shortage)
    with config.quiet_start():
        import_module("genmodels.training")  # imports Keras
    name = f"{run.name}-{files.short(identity(run, data))}"
    unfinished = config.cache_folder() / "unfinished" / f"{name}.npz"
    with files.lock(name), files.system_errors(f"fit {run.name}"):
        if checkpoint := files.load_arrays(unfinished):
            unfinished.touch()  # not abandoned
            print(f"{run.name}: goes on after epoch {_done(checkpoint)}", file=sys.stderr, flush=True)
        _remove_abandoned(unfinished.parent)
        try:
            build, save = partial(_build_on, cores, _BUILDERS[run.builder]), partial(_save, run, unfinished)
            model, history = store.train_on(data, run, build, checkpoint=checkpoint, save=save)
        except store.DivergedError:
            unfinished.unlink(missing_ok=True)  # the same settings would diverge again
            raise
        _refuse_edited_code(run)
        yield model, history
        unfinished.unlink(missing_ok=True)


def _build_on(cores, build, *given):
    """Build a model whose steps run several operations at once. Each has one core, so that its sums stay the same."""
    import tensorflow as tf

    if cores > 1:
        with suppress(RuntimeError):  # TensorFlow has begun its work
            tf.config.threading.set_inter_op_parallelism_threads(cores)
    return build(*given)


def _remove_abandoned(folder):
    """Remove the checkpoints, of runs too, that no training has gone on from for ABANDONED days."""
    for path in folder.glob("*.npz"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - path.stat().st_mtime > 86_400 * ABANDONED:
                path.unlink()


def _leads(run):
    """Return the leads of the code that the weights of a run depend on, see `fingerprint.code`."""
    return [*_LEADS, f"pipeline.fitting:{_BUILDERS[run.builder].__name__}"]


def _done(checkpoint):
    return len(next(iter(json.loads(str(checkpoint["history"])).values())))


def _save(run, path, state):
    _refuse_edited_code(run)
    files.save_arrays(path, state)


def _refuse_edited_code(run):
    if edited := fingerprint.edited(*_leads(run)):
        raise store.TrainingError(f"{', '.join(edited)} changed while {run.name} was trained; start again")


def classification_accuracy(gan: Any, data: Dataset, *, split: str = "test", seed: int = 1) -> dict[str, dict]:
    """Train a classifier on images of a GAN, and another on as many real ones; score both on real images.

    Both learn with the settings of `plan` from images with the same labels: those of the training images, or of some
    chosen at random if all would take more than DRAWN. The same call after an interruption goes on.

    Args:
        gan: A trained ConditionalGAN.
        data: Data set with labels and images of the GAN's shape.
        split: "test" or "validation", to score them on.
        seed: Seed of both trainings.

    Returns:
        {"classification_accuracy_score": entry as in the scores of `evaluation.evaluate`}. `value` is the accuracy of
        the classifier that learned from the GAN's images, `real` that of the other.

    Raises:
        ValueError: See `check_gan`.
        DivergedError: See `fit`, also for the other errors.

    Source:
        Ravuri & Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019.
    """
    from genmodels.evaluation import evaluate

    check_gan(gan, data)
    real = _some_to_learn_from(data)
    sets = {"classifier_of_generated": _drawn_by(gan, real), "classifier_of_real": real}
    runs = {name: replace(plan("classifier", of, seed=seed), name=name) for name, of in sets.items()}
    # Nested, so that the first one's checkpoint outlives an interruption of the second.
    with ExitStack() as stack:
        models = [stack.enter_context(_trained(runs[name], of))[0] for name, of in sets.items()]
        value, usual = (evaluate(model, data, split=split)["accuracy"]["value"] for model in models)
    return {"classification_accuracy_score": {"value": value, "error": None, "real": usual, "better": "higher"}}


def check_gan(model: Any, data: Dataset) -> None:
    """Raise ValueError unless a classifier can learn the classes of a data set from images of a model."""
    if not data.num_classes:
        raise ValueError(f"expected data with labels to train a classifier, got {data.name!r} without")
    shape, classes = tuple(data.image_shape), data.num_classes
    if not hasattr(model, "generate"):
        raise ValueError(f"expected a ConditionalGAN to train a classifier on its images, got {type(model).__name__}")
    if (found := (tuple(model.image_shape), model.num_classes)) != (shape, classes):
        expected = f"a GAN of {classes} classes of images of shape {shape}, as in the data"
        raise ValueError(f"expected {expected}, got one of {found[1]} of {found[0]}")


def _some_to_learn_from(data):
    """Return a data set, with no more training images than DRAWN allows."""
    count, most = len(data.train), DRAWN // int(np.prod(data.image_shape))
    if count <= most:
        return data
    return _with_train(data, data.train.select(np.sort(np.random.default_rng(0).permutation(count)[:most])))


def _drawn_by(gan, data):
    """Return a data set whose training images a GAN has drawn with the labels of the real ones, in 8 bits."""
    labels = data.train.labels
    images = np.empty((len(labels), *data.image_shape), "uint8")
    for start in range(0, len(labels), 1_000):
        rows = slice(start, start + 1_000)
        images[rows] = np.rint(255 * gan.generate(labels[rows], seed=start))
    hashed = hashlib.sha256(data.digest.encode())
    hashed.update(images)
    return _with_train(data, StoredSplit(images, 255.0, labels), hashed.hexdigest())


def _with_train(data, train, digest=None):
    """Return a data set with other training images."""
    known = {"class_names": data.class_names, "digest": digest or data.digest, "values": data.values}
    return Dataset(data.name, train, data.validation, data.test, **known)


def _adam(settings, data, **options):
    """Return Adam with the learning rate of the settings, which decays over the whole training."""
    from genmodels.optimizers import adam

    steps = settings["epochs"] * -(-len(data.train) // settings["batch_size"])
    return adam(settings["learning_rate"], steps, decay=settings["decay"], **options)


def evenly(count: int, most: int = SEEN) -> np.ndarray:
    """Return the places of up to `most` of `count` images, at equal distances: data may be sorted by class."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def _held_out(data):
    """Return images for the validation after each epoch, and their places."""
    places = evenly(len(data.validation))
    return data.validation.batch(places), places


def _build_ae(settings, data):
    from genmodels.models.autoencoder import AE

    model = AE(**settings["options"])
    model.compile(_adam(settings, data))
    return Setup(model, len(data.train), lambda chosen, rng: (data.train.batch(chosen),), _held_out(data)[:1])


def _build_vae(settings, data):
    from genmodels.models.vae import VAE

    model = VAE(seed=settings["seed"], **settings["options"])
    model.compile(_adam(settings, data, clipnorm=1.0))
    if model.likelihood == "bernoulli":  # a quarter of the memory of floats
        prepared: Callable = partial(binarize, dtype="uint8")
    else:
        prepared = np.asarray
    held_out = prepared(_held_out(data)[0])
    return Setup(model, len(data.train), lambda chosen, rng: (prepared(data.train.batch(chosen)),), (held_out,))


def _build_gan(settings, data):
    from genmodels.models.gan import ConditionalGAN
    from genmodels.training import GANMonitor

    model = ConditionalGAN(seed=settings["seed"], **settings["options"])
    model.compile(*(_adam(settings, data, beta_1=0.5) for _ in range(2)))
    monitor = GANMonitor(data.train, class_names=data.class_names)
    labels = data.train.labels
    return Setup(model, len(labels), lambda chosen, rng: (data.train.batch(chosen), labels[chosen]), monitor=monitor)


def _build_classifier(settings, data):
    import keras

    from genmodels.models.classifier import Classifier

    model = Classifier(**settings["options"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy", dtype="float32")
    model.compile(_adam(settings, data), loss=loss, metrics=[accuracy])
    labels, change = data.train.labels, partial(augment, **_augmentation(data))
    images, places = _held_out(data)
    return Setup(
        model,
        len(labels),
        lambda chosen, rng: (change(data.train.batch(chosen), rng), labels[chosen]),
        (images, data.validation.labels[places]),
    )


def _augmentation(data):
    """Return options of `augment`: small images move by one pixel; photographs and colours are never binarized."""
    from genmodels.metrics import grey_share

    real = data.validation if len(data.validation) else data.train  # a GAN may have drawn the training images
    some = real.batch(evenly(len(real), 1_000))
    drawing = some.shape[-1] == 1 and grey_share(some) <= FEW_GREYS
    reach = 2 if min(some.shape[1:3]) >= 16 else 1
    return {"reach": reach, "border": "edge", "binarized_share": 0.5 if drawing else 0.0}


_BUILDERS: dict[str, Callable[[dict, Dataset], Setup]] = {
    "autoencoder": _build_ae,
    "vae": _build_vae,
    "gan": _build_gan,
    "classifier": _build_classifier,
}
