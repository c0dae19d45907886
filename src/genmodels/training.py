"""Train any keras.Model: shuffled batches, one progress bar, and the same weights in every run."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import mode
from sklearn.neighbors import KNeighborsClassifier
from tqdm import tqdm

from genmodels import config, validation
from genmodels.datasets import Split

STEPS = 10  # training steps between two returns to Python
VALIDATION_BATCH_SIZE = 500


def prepare(seed: int) -> None:
    """Make the following training repeatable: one thread, deterministic operations, one seed for everything.

    Args:
        seed: Whole number >= 0 for Python, NumPy and TensorFlow.

    Raises:
        RuntimeError: TensorFlow already runs with several threads.
    """
    if not config.use_one_thread():
        raise RuntimeError(
            "expected TensorFlow to be unused or on one thread, but it already runs with several; "
            "call this before any other TensorFlow code of this process, or use genmodels.trained, which works then too"
        )
    tf.config.experimental.enable_op_determinism()
    # This optimisation may drop the order between the read of a weight and its next update. That concerns weights which
    # a loss only reads, such as those of a classifier held fixed.
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    # Layer names restart too: TensorFlow sums gradients in an order that follows from them.
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)


class Batches:
    """Batches of examples in a new order in each epoch. A short last batch is kept.

    The order and all random draws of `make` follow from the seed and the epoch alone.

    Args:
        count: Number of examples, >= 1.
        batch_size: Examples in a batch, >= 1.
        make: Function of indices (B,) and a np.random.Generator that returns one batch for `fit`.
        seed: Whole number >= 0.

    Raises:
        ValueError: A number is not allowed.

    Example:
        >>> batches = Batches(len(images), 128, lambda chosen, rng: (images[chosen],), seed=0)
    """

    def __init__(
        self, count: int, batch_size: int, make: Callable[[np.ndarray, np.random.Generator], Any], *, seed: int
    ) -> None:
        self.count = validation.number("count", count, 1, whole=True)
        self.batch_size = validation.number("batch_size", batch_size, 1, whole=True)
        self.make, self.seed = make, validation.number("seed", seed, 0, whole=True)
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Go to the start of an epoch, counted from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(self.count)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.count // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        """Return one batch of the current epoch."""
        indices = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.make(indices, np.random.default_rng([self.seed, self.epoch, index]))

    def _joined(self):
        """Yield the batches of the epoch, STEPS of them joined: a handover costs the same for more data."""
        for start in range(0, len(self), STEPS):
            several = [self[index] for index in range(start, min(start + STEPS, len(self)))]
            yield tf.nest.map_structure(lambda *parts: np.concatenate(parts), *several)

    def dataset(self) -> tf.data.Dataset:
        """Return the current epoch as a tf.data.Dataset. Each iteration starts the epoch that is then current.

        Its attribute `checks` is a list of functions that see each batch first. An `ImageModel` adds its own there:
        NumPy checks STEPS joined batches in less time than TensorFlow checks one.
        """
        shapes = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), self[0])
        options = tf.data.Options()
        # The autotune thread delays the end of an epoch, by up to the duration of the epoch.
        options.autotune.enabled = False
        checks: list[Callable[[Any], Any]] = []

        def checked() -> Iterator[Any]:
            for several in self._joined():
                for check in checks:
                    check(several)
                yield several

        found = tf.data.Dataset.from_generator(checked, output_signature=shapes).rebatch(self.batch_size)
        found = found.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(2).with_options(options)
        found.checks = checks
        return found


class Progress(keras.callbacks.Callback):
    """Show epoch, losses and time left: a bar on a terminal, one line per epoch elsewhere, such as in a log.

    Args:
        name: Name of the training, shown first.
        position: Line of the bar, counted from 0, when several trainings share a terminal.
    """

    def __init__(self, name: str, position: int = 0) -> None:
        super().__init__()
        self.name, self.position = name, position

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Open the bar."""
        self.total = self.params["epochs"] * self.params["steps"]
        self.start, self.begun = time.monotonic(), None
        self.bar = tqdm(total=self.total, desc=self.name, position=self.position, unit="step", disable=None)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Show the number of the epoch."""
        self.epoch = epoch
        if self.begun is None:  # a resumed training does not start at 0
            self.begun = epoch / self.params["epochs"]
        self.bar.set_description(f"{self.name}, epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Advance the bar."""
        done = min(batch + 1, self.params["steps"])  # Keras counts whole rounds of STEPS
        self.bar.update(self.epoch * self.params["steps"] + done - self.bar.n)
        self.bar.set_postfix_str(self._losses(logs), refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Print a line if there is no terminal."""
        if self.bar.disable:
            done = (epoch + 1) / self.params["epochs"]
            left = (time.monotonic() - self.start) * (1 - done) / (done - self.begun)
            line = f"{self.name}: epoch {epoch + 1}/{self.params['epochs']}, {self._losses(logs)}, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Close the bar."""
        self.bar.close()

    @staticmethod
    def _losses(logs):
        return ", ".join(f"{name} {float(value):.4g}" for name, value in logs.items() if name.endswith("loss"))


class StopOnNonFinite(keras.callbacks.Callback):
    """Stop a training with FloatingPointError as soon as one of its numbers is not finite.

    Args:
        name: Name of the training, for the error message.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch for the error message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Check the losses and metrics."""
        if not np.isfinite(list(logs.values())).all():
            self._stop(min(batch + 1, self.params["steps"]), logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Check the weights: no loss has seen those of the last step."""
        if self._bad():
            self._stop(self.params["steps"], logs)

    def _bad(self):
        """Return the paths of the variables that are not finite."""
        return [each.path for each in self.model.variables if not np.isfinite(each.numpy()).all()]

    def _stop(self, step, logs):
        shown = [f"{name} {float(value):.4g}" for name, value in logs.items() if not np.isfinite(value)]
        raise FloatingPointError(
            f"{self.name}: stopped in epoch {self.epoch + 1}, by step {step} of {self.params['steps']}: expected "
            f"finite numbers, got {', '.join(shown or ['weights that are not'])}; first bad tensor: "
            f"{(self._bad() or ['the loss'])[0]}; a lower learning rate usually helps"
        )


def built_optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Return the optimizers of a compiled model after building their variables.

    TensorFlow traces a training step twice if the step has to create these variables.

    Args:
        model: A compiled model whose layers are built.

    Returns:
        All optimizers among the model's attributes.
    """
    found = [each for each in vars(model).values() if isinstance(each, keras.optimizers.Optimizer)]
    for optimizer in found:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    return found


def _variables(model):
    """Return all state that training changes: weights, averages, random generators and optimizer variables."""
    metrics = {id(each) for each in model.metrics_variables}  # these restart in each epoch
    own = [each for each in model.variables if id(each) not in metrics]
    return [*own, *(each for optimizer in built_optimizers(model) for each in optimizer.variables)]


class Checkpoint(keras.callbacks.Callback):
    """Save the training state after each epoch, unless training was stopped early.

    Args:
        save: Function of the state, {name: array}.
    """

    def __init__(self, save: Callable[[dict[str, np.ndarray]], Any]) -> None:
        super().__init__()
        self.save = save

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save the variables and the history up to this epoch."""
        if self.model.stop_training:
            return
        values = {f"variable {place}": each.numpy() for place, each in enumerate(_variables(self.model))}
        self.save({"history": np.array(json.dumps(_plain(self.model.history.history))), **values})


def _restore(model, checkpoint):
    """Set a model to the state that `Checkpoint` saved and return the history up to there."""
    for place, variable in enumerate(_variables(model)):
        variable.assign(checkpoint[f"variable {place}"])
    return json.loads(str(checkpoint["history"]))


def _plain(history):
    """Return a history of Keras as plain numbers and lists."""
    return {metric: [np.asarray(value).tolist() for value in values] for metric, values in history.items()}


def fit(
    model: keras.Model,
    batches: Batches,
    *,
    epochs: int,
    name: str,
    position: int = 0,
    validation: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint: Mapping[str, np.ndarray] | None = None,
    save: Callable[[dict[str, np.ndarray]], Any] | None = None,
) -> dict[str, list]:
    """Train a compiled model. A training resumed from a saved state ends with the same result as an undisturbed one.

    Args:
        model: A compiled model.
        batches: Training batches.
        epochs: Number of epochs, those before the saved state included.
        name: Name of the training, for the progress bar and for errors.
        position: Line of the progress bar, counted from 0.
        validation: Arrays for the model's `evaluate`; None for no validation.
        callbacks: Callbacks of Keras. Values that they add to `logs` at the end of an epoch join the history.
        checkpoint: State to resume from: the last argument of `save`. None starts anew.
        save: Function called with the state of the training, {name: array}, after each epoch.

    Returns:
        History {metric: one value per epoch}, as plain numbers and lists.

    Raises:
        FloatingPointError: A number is not finite. The message names the epoch, the step and the first bad tensor.
    """
    history = _ready(model, checkpoint)
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
    saving = [Checkpoint(save)] if save else []
    everything = [begin, StopOnNonFinite(name), *callbacks, history, *saving, Progress(name, position)]
    start = len(next(iter(history.history.values()), ()))
    held_out = {"validation_data": validation, "validation_batch_size": VALIDATION_BATCH_SIZE}
    options = {"epochs": epochs, "initial_epoch": start, "shuffle": False, "verbose": 0}  # `batches` are shuffled
    model.fit(batches.dataset(), callbacks=everything, **held_out, **options)
    return _plain(history.history)


def _ready(model, checkpoint):
    """Make a model ready for `fit`, in the state of a checkpoint if there is one; return its history up to there."""
    model.steps_per_execution = STEPS
    if all(layer.built for layer in model.layers):  # an unbuilt layer has no weights to build an optimizer for
        built_optimizers(model)
    history = keras.callbacks.History()
    if checkpoint:
        history.history = _restore(model, checkpoint)
    return history


PATIENCE = 2  # failing epochs in a row that stop the training
PATIENCE_STEPS = 1_000  # training steps that these epochs have at least: few images make short epochs
MIN_DIVERSITY = 0.35  # as a share of the diversity of real images, on average and of each class
MIN_LABEL_ACCURACY = 0.3  # as a share of the accuracy that the same neighbours reach for real images
MAX_DISCRIMINATOR_ACCURACY = 0.97


class GANMonitor(keras.callbacks.Callback):
    """Generate images of each class after each epoch, measure them, and stop a training that has failed.

    The images come from the latest weights. Each epoch adds six values to the history. Lists have one value for each
    class that occurs in the real images, in the order of their labels.

    - label_accuracy: share classified correctly by the three nearest of 5,000 real training images. Nearest neighbours
      need no training, so that the features learned by the GAN cannot fool them. They classify 94.7 % of MNIST's
      validation images correctly.
    - diversity: mean distance between images of one class, as a share of that distance for real images.
    - class_label_accuracy, class_diversity: lists of both for each class. A class whose real images do not differ has
      no diversity: None.
    - drawn: the first image of each class, whole numbers 0-255, shape (classes, height, width), or (classes, height,
      width, channels) with several channels.
    - failing: number of epochs in a row, up to this one, in which `diagnose` found a failure.

    After PATIENCE failing epochs in a row, and PATIENCE_STEPS steps in them, the monitor stops the training and keeps
    the reason in `failure_reason`. It draws nothing from the random streams of the training.

    Args:
        real: Training images with labels. Up to 5,000 of them are used: the first ones, or as many of each class if a
            class is rare among these.
        count: Number of images to generate of each class; None for 50, or fewer of more than a hundred classes.
        class_names: Names of the classes by label, for messages; None for their numbers.

    Attributes:
        failure_reason: The reason why the training was stopped; None if it was not.

    Raises:
        ValueError: The real images have no labels, no class has two different images, or a class has no name.
    """

    def __init__(self, real: Split, *, count: int | None = None, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        if real.labels is None:
            raise ValueError("real must have labels, got None; the monitor compares images class by class")
        images, labels = _reference(real)
        self.usual_distances = _distances(_flat(images), labels)
        self.differs = self.usual_distances > 0
        if not self.differs.any():
            raise ValueError("real must hold a class with two different images, got none")
        self.image_shape, classes = images.shape[1:], np.unique(labels)
        self.names = _names(classes, class_names)
        count = count or max(10, min(50, 5_000 // len(classes)))
        self.labels = np.tile(classes, count)
        # Three neighbours outvote a class of which there are fewer.
        self.neighbours = KNeighborsClassifier(3 if min(_counts(labels)) > 3 else 1, algorithm="brute")
        self.neighbours.fit(_flat(images), labels)
        self.real_label_accuracy = _accuracy_left_out(self.neighbours, _flat(images), labels)
        self.failure_reason = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuse a model of images of another shape."""
        if tuple(self.model.image_shape) != self.image_shape:
            found = f"{self.image_shape}, and a model of {tuple(self.model.image_shape)}"
            raise ValueError(f"expected the monitor's images to have the shape of the model's, got {found}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the measurements to `logs`, print a failure, and stop once it has lasted."""
        images = self.model.generate(self.labels, seed=0, averaged=False)  # the average lags behind at first
        self._measure(images, logs)
        named = dict(zip(self.names, logs["class_diversity"]))
        accuracies = {"real_label_accuracy": self.real_label_accuracy, "class_diversity": named}
        found = diagnose(logs["discriminator_accuracy"], logs["label_accuracy"], logs["diversity"], **accuracies)
        failing = self.model.history.history.get("failing", [0])[-1]  # a resumed training keeps its history
        logs["failing"] = failing + 1 if found else 0
        patience = max(PATIENCE, -(-PATIENCE_STEPS // ((self.params or {}).get("steps") or PATIENCE_STEPS)))
        if found and 2 * logs["failing"] >= patience:
            print(f"epoch {epoch + 1}: {found}", file=sys.stderr, flush=True)
        if logs["failing"] >= patience:
            self.failure_reason = f"stopped after epoch {epoch + 1}: {found}"
            self.model.stop_training = True

    def _measure(self, images, logs):
        """Add all measurements of generated images (N, height, width, channels) to `logs`."""
        classes = len(self.names)
        right = self.neighbours.predict(_flat(images)) == self.labels
        distances = _distances(_flat(images), self.labels)
        shares = distances[self.differs] / self.usual_distances[self.differs]
        by_class = np.full(classes, None)
        by_class[self.differs] = shares.tolist()
        logs["label_accuracy"] = float(right.mean())
        logs["diversity"] = _mean(distances[self.differs]) / _mean(self.usual_distances[self.differs])
        logs["class_label_accuracy"] = right.reshape(-1, classes).mean(axis=0).tolist()
        logs["class_diversity"] = by_class.tolist()
        first = images[:classes]
        logs["drawn"] = np.rint(255 * (first[..., 0] if first.shape[-1] == 1 else first)).astype("uint8")


def diagnose(
    discriminator_accuracy: float,
    label_accuracy: float,
    diversity: float,
    *,
    class_diversity: Mapping[str, float | None] | None = None,
    real_label_accuracy: float = 1.0,
) -> str | None:
    """Name the failure of a GAN after an epoch and the usual remedy.

    Args:
        discriminator_accuracy: Share of images that the discriminator tells apart, 0 to 1.
        label_accuracy: Share of generated images with the requested label, 0 to 1, as `GANMonitor` measures it.
        diversity: Diversity as `GANMonitor` measures it; 1 is as diverse as real images.
        class_diversity: Diversity of each class by its name; None for a class that has none.
        real_label_accuracy: Label accuracy of real images, which limits that of generated ones.

    Returns:
        One sentence, or None without a failure.
    """
    remedy = "lower the learning rate, or raise the batch size"
    if diversity < MIN_DIVERSITY:
        return (
            f"the generator has collapsed: its images of one class differ by {diversity:.0%} of what real ones do; "
            f"{remedy}"
        )
    low = {name: share for name, share in (class_diversity or {}).items() if share is not None}
    if low := {name: share for name, share in low.items() if share < MIN_DIVERSITY}:
        several = f"classes {_listed([*low])} have collapsed: their images differ by at most"
        which = several if len(low) > 1 else f"class {_listed([*low])} has collapsed: its images differ by"
        return f"{which} {max(low.values()):.0%} of what real ones do; {remedy}"
    if label_accuracy >= MIN_LABEL_ACCURACY * real_label_accuracy:
        return None
    if discriminator_accuracy > MAX_DISCRIMINATOR_ACCURACY:
        return (
            f"the discriminator wins: it tells {discriminator_accuracy:.0%} of images apart, and only "
            f"{label_accuracy:.0%} of the drawn images are of the class that they should be; lower its learning rate, "
            "or widen the generator"
        )
    return (
        f"the generator ignores its labels: {label_accuracy:.0%} of its images are of the class that they should be; "
        "raise classifier_weight, or train the discriminator faster"
    )


def _names(classes, class_names):
    """Return the names of classes, given by their labels; without `class_names` the labels as texts."""
    if class_names is None or not len(class_names):
        return [str(label) for label in classes]
    if len(class_names) <= max(classes):
        raise ValueError(f"class_names must name {max(classes) + 1} classes, got {len(class_names)} names")
    return [str(class_names[label]) for label in classes]


def _listed(names, most=10):
    """Return names as one text, of which only the first few are written out."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _reference(real, most=5_000, enough=20):
    """Return up to `most` images with labels: the first ones, or as many of each class if a class is rare among them.

    Data may be sorted by class.
    """
    labels = np.asarray(real.labels)
    size = labels.max() + 1
    if (np.bincount(labels[:most], minlength=size) >= np.minimum(np.bincount(labels), enough)).all():
        return real.batch(slice(most)), labels[:most]
    order, counts = np.argsort(labels, kind="stable"), np.bincount(labels)
    rank = np.empty(len(labels), int)  # of each image among those of its class
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.sort(np.argsort(rank, kind="stable")[:most])
    return real.batch(chosen), labels[chosen]


def _counts(labels):
    return np.unique(labels, return_counts=True)[1]


def _flat(images):
    return images.reshape(len(images), -1)


def _mean(values):
    return float(np.mean(values))


def _accuracy_left_out(neighbours, rows, labels, most=1_000):
    """Return the share of up to `most` images that their nearest neighbours, without themselves, classify correctly."""
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)
    several = neighbours.n_neighbors + 1
    nearest = neighbours.kneighbors(rows[chosen], min(several, len(rows)), return_distance=False)[:, 1:]
    return _mean(mode(labels[nearest], axis=1).mode == labels[chosen])


def _distances(rows, labels):
    """Return for each class the mean distance between each image and the next image of the class.

    The monitor does not use `metrics.relative_diversity`, so that an edit of a metric does not train the GAN anew.
    """
    groups = [rows[labels == label] for label in np.unique(labels)]
    return np.array([np.linalg.norm(group - np.roll(group, 1, axis=0), axis=1).mean() for group in groups])
