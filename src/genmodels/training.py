"""Training any keras.Model: shuffled batches, one progress bar, the same weights every time."""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from genmodels import checks

STEPS = 10  # of training between two looks of Python at it
VALIDATED = 500  # images in a batch of validation


def use_one_thread():
    """Keeps TensorFlow to one thread of the CPU; tells whether it is, which it cannot be once it has run with more.

    One thread, because sums over several threads depend on how many cores a machine has; independent runs side by side
    use the cores better anyway.
    """
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow is already in use
        return tf.config.threading.get_intra_op_parallelism_threads() == 1
    return True


def prepare(seed):
    """Makes the training that follows repeatable: one thread, deterministic operations, one seed for everything.

    Raises RuntimeError where TensorFlow already runs with more threads.
    """
    if not use_one_thread():
        raise RuntimeError(
            "expected TensorFlow to be unused or on one thread, but it already runs with several; "
            "call genmodels.experiments.trained before any other TensorFlow code of this process"
        )
    tf.config.experimental.enable_op_determinism()
    # It may drop the order between a weight that is only read, as a classifier held fixed is, and its next change.
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    # Names begin anew too: TensorFlow sums gradients in an order that follows from the names of layers.
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)


class Batches:
    """Batches of `count` examples in a new order each epoch; a short last batch is kept.

    make: a function of indices (B,) and a np.random.Generator that returns one batch as `fit` takes it. The order and
    whatever `make` draws follow from the seed and the epoch alone.
    """

    def __init__(self, count, batch_size, make, *, seed):
        self.count = checks.number("count", count, 1, whole=True)
        self.batch_size = checks.number("batch_size", batch_size, 1, whole=True)
        self.make, self.seed = make, checks.number("seed", seed, 0, whole=True)
        self.begin(0)

    def begin(self, epoch):
        """Goes to the start of an epoch, counted from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(self.count)

    def __len__(self):
        return -(-self.count // self.batch_size)

    def __getitem__(self, index):
        indices = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.make(indices, np.random.default_rng([self.seed, self.epoch, index]))

    def _several(self):
        """The batches of the epoch, STEPS of them joined: handing over is what costs, and costs the same for more."""
        for start in range(0, len(self), STEPS):
            several = [self[index] for index in range(start, min(start + STEPS, len(self)))]
            yield tf.nest.map_structure(lambda *parts: np.concatenate(parts), *several)

    def dataset(self):
        """One epoch, the present one whenever it is begun, as a tf.data.Dataset."""
        shapes = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), self[0])
        options = tf.data.Options()
        # Its tuning thread holds up the end of an epoch, by up to as long as the epoch took.
        options.autotune.enabled = False
        found = tf.data.Dataset.from_generator(self._several, output_signature=shapes).rebatch(self.batch_size)
        return found.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(2).with_options(options)


class Progress(keras.callbacks.Callback):
    """A bar with epoch, loss and time left on a terminal; elsewhere, such as in a log, a line for each epoch."""

    def __init__(self, name, position=0):
        super().__init__()
        self.name, self.position = name, position

    def on_train_begin(self, logs=None):
        self.total = self.params["epochs"] * self.params["steps"]
        self.start, self.begun = time.monotonic(), None
        self.bar = tqdm(total=self.total, desc=self.name, position=self.position, unit="step", disable=None)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.begun is None:  # where an interrupted training goes on, it is not 0
            self.begun = epoch / self.params["epochs"]
        self.bar.set_description(f"{self.name}, epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch, logs=None):
        done = min(batch + 1, self.params["steps"])  # Keras counts whole rounds of STEPS
        self.bar.update(self.epoch * self.params["steps"] + done - self.bar.n)
        self.bar.set_postfix_str(self._losses(logs), refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        if self.bar.disable:
            done = (epoch + 1) / self.params["epochs"]
            left = (time.monotonic() - self.start) * (1 - done) / (done - self.begun)
            line = f"{self.name}: epoch {epoch + 1}/{self.params['epochs']}, {self._losses(logs)}, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    def on_train_end(self, logs=None):
        self.bar.close()

    @staticmethod
    def _losses(logs):
        return ", ".join(f"{name} {float(value):.4g}" for name, value in logs.items() if name.endswith("loss"))


class Guard(keras.callbacks.Callback):
    """Stops a training with FloatingPointError as soon as one of its numbers is not finite."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(list(logs.values())).all():
            self._stop(min(batch + 1, self.params["steps"]), logs)

    def on_epoch_end(self, epoch, logs=None):
        if self._bad():  # the last step's: no loss has seen them
            self._stop(self.params["steps"], logs)

    def _bad(self):
        return [each.path for each in self.model.variables if not np.isfinite(each.numpy()).all()]

    def _stop(self, step, logs):
        shown = [f"{name} {float(value):.4g}" for name, value in logs.items() if not np.isfinite(value)]
        raise FloatingPointError(
            f"{self.name}: stopped in epoch {self.epoch + 1}, by step {step} of {self.params['steps']}: expected "
            f"finite numbers, got {', '.join(shown or ['weights that are not'])}; first bad tensor: "
            f"{(self._bad() or ['the loss'])[0]}; a lower learning rate usually helps"
        )


def optimizers(model):
    """The optimisers of a compiled model, with their variables: a step that has to make these is traced twice."""
    found = [each for each in vars(model).values() if isinstance(each, keras.optimizers.Optimizer)]
    for optimizer in found:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    return found


def _variables(model):
    """All that a training changes: weights, running averages, states of random generators and of optimisers."""
    metrics = {id(each) for each in model.metrics_variables}  # these begin anew with each epoch
    own = [each for each in model.variables if id(each) not in metrics]
    return [*own, *(each for optimizer in optimizers(model) for each in optimizer.variables)]


class Checkpoint(keras.callbacks.Callback):
    """After each epoch but one that ends the training early gives `keep` all that the rest depends on, as arrays."""

    def __init__(self, keep):
        super().__init__()
        self.keep = keep

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training:
            return
        values = {f"variable {place}": each.numpy() for place, each in enumerate(_variables(self.model))}
        self.keep({"history": np.array(json.dumps(_plain(self.model.history.history))), **values})


def _restore(model, kept):
    """Sets a model to what `Checkpoint` kept; returns the history up to there."""
    for place, variable in enumerate(_variables(model)):
        variable.assign(kept[f"variable {place}"])
    return json.loads(str(kept["history"]))


def _plain(history):
    """A history of Keras as plain numbers and lists."""
    return {metric: [np.asarray(value).tolist() for value in values] for metric, values in history.items()}


def fit(model, batches, *, epochs, name, position=0, validation=None, callbacks=(), kept=None, keep=None):
    """Trains a compiled model; returns its history, {metric: one value per epoch}, as plain numbers and lists.

    batches: a Batches. validation: arrays for the model's `evaluate`, or None. name, position: of the progress bar.
    callbacks: of Keras; what they put into `logs` at the end of an epoch joins the history. keep: a function that is
    given the state of the training, {name: array}, after each epoch; kept: what it was given last by a training that
    was interrupted, to go on from, with the same result as without the interruption. Raises FloatingPointError, with
    the epoch, the step and the first bad tensor, as soon as a number is not finite.
    """
    model.steps_per_execution = STEPS
    if all(layer.built for layer in model.layers):  # what is not yet has no weights that an optimiser could know
        optimizers(model)
    history = keras.callbacks.History()
    if kept:
        history.history = _restore(model, kept)
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
    checkpoint = [Checkpoint(keep)] if keep else []
    model.fit(
        batches.dataset(),
        epochs=epochs,
        initial_epoch=len(next(iter(history.history.values()), ())),
        validation_data=validation,
        validation_batch_size=VALIDATED,
        shuffle=False,  # they are
        verbose=0,
        callbacks=[begin, Guard(name), *callbacks, history, *checkpoint, Progress(name, position)],
    )
    return _plain(history.history)


@keras.saving.register_keras_serializable("genmodels")
class LateDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that stays for the first half of `steps` and falls to 0 along a straight line in the second."""

    def __init__(self, learning_rate, steps):
        super().__init__()
        self.learning_rate, self.steps = learning_rate, steps

    def __call__(self, step):
        left = 1 - keras.ops.cast(step, "float32") / self.steps
        return self.learning_rate * keras.ops.clip(2 * left, 0.0, 1.0)

    def get_config(self):
        return {"learning_rate": self.learning_rate, "steps": self.steps}


@keras.saving.register_keras_serializable("genmodels")
class OnePassAdam(keras.optimizers.Adam):
    """Adam that goes once over the memory of each weight; that of Keras, with the same formula, does so a dozen times.

    On a CPU these passes, not the arithmetic, are what a step of small dense networks waits for.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad:  # has no such operation
            return super().update_step(gradient, variable, learning_rate)
        place = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


DECAYS = {"constant": lambda rate, steps: rate, "cosine": keras.optimizers.schedules.CosineDecay, "late": LateDecay}


def adam(learning_rate, steps, *, decay="cosine", **options):
    """Adam whose learning rate stays ("constant"), falls to 0 over `steps` along half a cosine ("cosine"), or "late".

    options: others of keras.optimizers.Adam. Source: Kingma & Ba, "Adam", 2015; Loshchilov & Hutter, "SGDR", 2017,
    equation 5 without restarts.
    """
    checks.number("learning_rate", learning_rate, 0)
    checks.number("steps", steps, 1, whole=True)
    return OnePassAdam(DECAYS[checks.choice("decay", decay, DECAYS)](learning_rate, steps), **options)
