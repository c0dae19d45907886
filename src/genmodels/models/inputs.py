"""The way into a model: what `fit`, `evaluate` and `predict` accept, checked before Keras sees it.

Keras itself trains on nearly everything, also on grey levels up to 255 or on labels that do not exist. The base class
`ImageModel` refuses them with one line, wherever they come from: arrays, tf.data, a generator or a PyDataset.
"""

import functools
import inspect
import types
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops

from genmodels import validation
from genmodels.datasets import validate_images
from genmodels.layers import model_policy

SOURCES = "arrays, a tf.data.Dataset, a keras.utils.PyDataset or a generator"


def _checked(method: Callable) -> Callable:
    """Wrap a method of keras.Model that takes data, so that the data are checked first."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def checked(self, *args: Any, **kwargs: Any) -> Any:
        if self._inside:  # `fit` calls `evaluate` with data that it has checked
            return method(self, *args, **kwargs)
        self._build_once()
        given = signature.bind(self, *args, **kwargs).arguments
        extra = given.pop("kwargs", {})
        del given["self"]
        refused = []
        self._pass(given, method.__name__, refused)
        self._inside = True
        try:
            return method(self, **given, **extra)
        except (tf.errors.OpError, RuntimeError) as error:
            if refused:  # a bad batch, met inside TensorFlow
                raise refused[0] from None
            raise error
        finally:
            self._inside = False

    return checked


def _built(method: Callable) -> Callable:
    """Wrap a method of keras.Model that needs the shapes of the inputs, which these models know from the start."""

    @functools.wraps(method)
    def built(self, *args: Any, **kwargs: Any) -> Any:
        self._build_once()
        return method(self, *args, **kwargs)

    return built


class ImageModel(keras.Model):
    """Base of the models: it validates the data, and follows the precision policies that keep weights in float32.

    A subclass says what its examples are, in `check_inputs`, `check_examples`, `limits` and `input_shapes`.

    Args:
        dtype: "float32", "mixed_float16" or "mixed_bfloat16", or such a policy. None takes Keras's policy if it is a
            mixed one, and float32 otherwise, whatever ~/.keras/keras.json says.
        **kwargs: Other options of keras.Model.

    Raises:
        ValueError: The dtype is another one.
    """

    takes_weights = True  # whether `sample_weight` has a meaning for this model
    takes_class_weights = False
    expects_binary = False  # whether grey levels deserve a warning

    def __init__(self, *, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(dtype=model_policy(dtype), autocast=False, **kwargs)
        self._inside = False

    fit = _checked(keras.Model.fit)
    evaluate = _checked(keras.Model.evaluate)
    predict = _checked(keras.Model.predict)
    train_on_batch = _checked(keras.Model.train_on_batch)
    test_on_batch = _checked(keras.Model.test_on_batch)
    predict_on_batch = _checked(keras.Model.predict_on_batch)
    count_params = _built(keras.Model.count_params)
    summary = _built(keras.Model.summary)
    export = _built(keras.Model.export)
    save = _built(keras.Model.save)
    save_weights = _built(keras.Model.save_weights)
    load_weights = _built(keras.Model.load_weights)

    def input_shapes(self) -> Any:
        """Return the shape of one input of `call`, or a list of the shapes of several, without the batch axis."""
        raise NotImplementedError

    def check_inputs(self, x: Any) -> None:
        """Raise ValueError unless `x` is what `predict` takes.

        Args:
            x: Array of inputs, or a tuple of arrays.
        """
        raise NotImplementedError

    def check_examples(self, x: Any, y: Any) -> None:
        """Raise ValueError unless `x` and `y` are what `fit` and `evaluate` take.

        Args:
            x: Array of inputs, or a tuple of arrays.
            y: Array of targets; None without targets.
        """
        raise NotImplementedError

    def limits(self, x: Any, y: Any) -> list[tuple]:
        """Return (part, low, high) for each part of a batch that `check_examples` accepts only within these limits."""
        return [(part, 0, 1) for part in (x, y) if part is not None]

    def targets(self, x: Any) -> Any:
        """Return what the model has to draw for `x`, where `fit` gets no targets: the images themselves."""
        return x[0] if isinstance(x, (tuple, list)) else x

    def warn_of_grey(self, x: Any, y: Any) -> None:
        """Warn if pixels are neither 0 nor 1, but the likelihood treats them as coin tosses.

        Args:
            x: Inputs of `fit`.
            y: Targets, or None.
        """
        some = np.asarray((self.targets(x) if y is None else y)[:100])
        if self.expects_binary and some.dtype.kind == "f" and ((some > 0) & (some < 1)).any():
            warnings.warn(
                f'{type(self).__name__}: likelihood="bernoulli" expects pixels of 0 and 1, got grey levels; use '
                'datasets.binarize, or likelihood="continuous_bernoulli" or "gaussian"',
                stacklevel=5,
            )

    def _build_once(self):
        if not (self.built and self._called):
            shapes = self.input_shapes()
            several = isinstance(shapes, list)
            inputs = [keras.Input(shape, dtype="float32") for shape in (shapes if several else [shapes])]
            self(inputs if several else inputs[0])  # symbolic: no noise is drawn

    def _pass(self, given, method, refused):
        """Check the data among the arguments of a method, and replace sources of batches by checked ones."""
        if given.get("class_weight") is not None and not self.takes_class_weights:
            raise ValueError(f"{type(self).__name__}: expected no class_weight, because its loss is not of classes")
        if method in ("train_on_batch", "test_on_batch", "predict_on_batch"):
            self._check_arrays(given, learns=method != "predict_on_batch")
            return
        learns = method != "predict"
        given["x"] = self._source(given, learns, refused, first=method == "fit")
        held_out = given.get("validation_data")
        if held_out is None:
            return
        if isinstance(held_out, (tuple, list)):
            if len(held_out) > 3:
                raise ValueError(f"validation_data must be x, y and sample_weight at most, got {len(held_out)} parts")
            parts = dict(zip(("x", "y", "sample_weight"), held_out))
            parts["x"] = self._source(parts, learns, refused)
            given["validation_data"] = tuple(parts.values())
        else:
            given["validation_data"] = self._source({"x": held_out}, learns, refused)

    def _source(self, given, learns, refused, first=False):
        """Check arrays now; return any other source so that each of its batches is checked as it comes."""
        x = given.get("x")
        if isinstance(x, (tf.data.Dataset, types.GeneratorType, keras.utils.PyDataset)):
            return self._checked_source(x, _Check(self, learns, refused, first))
        if hasattr(x, "__next__") or isinstance(x, tf.distribute.DistributedDataset) or hasattr(x, "dataset"):
            raise ValueError(f"{type(self).__name__}: expected {SOURCES}, got {type(x).__name__}")
        self._check_arrays(given, learns)
        if first:
            self.warn_of_grey(x, given.get("y"))
        return given["x"]

    def _checked_source(self, source, check):
        if isinstance(source, tf.data.Dataset):
            if not hasattr(source, "checks"):
                return _checked_dataset(source, check)
            source.checks[:] = [check]  # of `training.Batches`, which calls them
            return source
        if isinstance(source, keras.utils.PyDataset):
            return _CheckedPyDataset(source, check)
        return _checked_generator(source, check)

    def _check_arrays(self, given, learns):
        x, y, weights = (given.get(name) for name in ("x", "y", "sample_weight"))
        if x is None:
            raise ValueError(f"{type(self).__name__}: expected {SOURCES} as x, got none")
        if learns:
            self.check_examples(x, y)
            self.check_weights(weights, _length(x))
            if weights is not None and y is None:  # Keras drops the weights of examples without targets
                given["y"] = self.targets(x)
        else:
            self.check_inputs(x)
        given |= _as_arrays(given, several=isinstance(x, (tuple, list)))

    def check_weights(self, weights: Any, count: int) -> None:
        """Raise ValueError unless sample weights are one finite number >= 0 for each example, or None.

        Args:
            weights: The weights.
            count: Number of examples.
        """
        if weights is None:
            return
        if not self.takes_weights:
            raise ValueError(
                f"{type(self).__name__}: expected no sample_weight, because its losses compare real and generated "
                "images; repeat or leave out examples instead"
            )
        weights = validation.array("sample_weight", weights, ("N",), 0)
        if len(weights) != count:
            raise ValueError(f"expected as many sample_weight as examples, {count}, got {len(weights)}")

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configure the training. The loss is the model's own.

        Args:
            optimizer: A keras.optimizers.Optimizer or its name.
            loss: Must be None.
            loss_weights: Must be None.
            metrics: Metrics of the reconstructions against the targets, which are the images themselves by default.
            weighted_metrics: The same, multiplied by the sample weights.
            **kwargs: Other arguments of keras.Model.compile.

        Raises:
            ValueError: A loss is given.
        """
        if loss is not None or loss_weights is not None:
            found = f"loss={loss!r:.60}" if loss is not None else f"loss_weights={loss_weights!r:.60}"
            raise ValueError(f"{type(self).__name__}: expected no loss, because the model has its own, got {found}")
        self.compares = bool(metrics or weighted_metrics)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        """Compile as a saved model was compiled."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)


class _Check:
    """Check of one batch after another, and memory of the error that TensorFlow would wrap in its own.

    Args:
        model: The ImageModel that takes the batches.
        learns: Whether the batches have targets and weights beside the inputs.
        refused: List for the first error.
        first: Whether the model looks at the first batch for a warning.
    """

    def __init__(self, model, learns, refused, first):
        self.model, self.learns, self.refused, self.first = model, learns, refused, first

    def __call__(self, batch):
        """Return a batch unless the model refuses it."""
        x, y, _ = self.validate(batch)
        if self.first:
            self.first = False
            self.model.warn_of_grey(x, y)
        return batch

    def validate(self, batch):
        """Return x, y and weights of a batch unless the model refuses it."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        try:
            self.model._check_arrays({"x": x, "y": y, "sample_weight": weights}, self.learns)
        except ValueError as error:
            self.refused.append(error)
            raise
        return x, y, weights

    def suspects(self, batch):
        """Return whether a batch of tensors may be bad: a value beyond its limits, or parts of different lengths."""
        if not self.learns:
            return tf.constant(True)
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        limits = self.model.limits(x, y)
        limits += [] if weights is None else [(weights, 0, weights.dtype.max)]
        one, *others = tf.nest.flatten(batch)
        good = [tf.constant(True), *(tf.equal(tf.shape(part)[0], tf.shape(one)[0]) for part in others)]
        good += [_within(*each) for each in limits if each[0].dtype != tf.bool]  # False and True are 0 and 1
        first = self.model.targets(x)[0] if y is None else y[0]
        if self.first and self.model.expects_binary and first.dtype.is_floating:
            good.append(tf.reduce_all(tf.logical_or(first == 0, first == 1)))
        return tf.logical_not(tf.reduce_all(tf.stack(good)))


def _checked_dataset(dataset, check):
    """Return a tf.data.Dataset whose batches are checked. Shapes and dtypes are checked at once."""
    spec = dataset.element_spec
    check.validate(tf.nest.map_structure(lambda part: _zeros(part, check.model), spec))

    def look(*parts):
        check(tf.nest.pack_sequence_as(spec, parts))
        return True

    def passed(*batch):
        parts, whole = tf.nest.flatten(batch), batch if isinstance(spec, tuple) else batch[0]
        # Python looks only at batches that TensorFlow suspects: a call of Python takes longer than the rest.
        seen = tf.cond(check.suspects(whole), lambda: tf.numpy_function(look, parts, tf.bool), lambda: True)
        with tf.control_dependencies([seen]):
            return tf.nest.map_structure(tf.identity, whole)

    return dataset.map(passed)


def _within(part, low, high):
    """Return whether all values of a tensor are between two ends, which are numbers or one number for each column."""
    low, high = (tf.cast(end, part.dtype) for end in (low, high))
    if part.dtype.is_unsigned and low.shape.rank == 0:  # in one pass; no image of bytes is below 0
        return tf.reduce_max(part) <= high
    return tf.reduce_all(tf.equal(tf.clip_by_value(part, low, high), part))  # False of NaN, unlike a minimum


def _zeros(spec, model):
    """Return zeros of the shape and dtype that a batch will have; of unknown length it takes the length 1."""
    if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None or None in spec.shape[1:]:
        shape = getattr(spec, "shape", type(spec).__name__)
        raise ValueError(f"{type(model).__name__}: expected batches of known shape, got {shape}; use tf.ensure_shape")
    return np.zeros([1 if length is None else length for length in spec.shape], spec.dtype.as_numpy_dtype)


def _checked_generator(batches, check):
    for batch in batches:
        yield check(_tuple(batch, check.model))


def _tuple(batch, model):
    """Return a batch of a generator or of a PyDataset, which Keras takes only as a tuple."""
    if not isinstance(batch, tuple):
        expected = "batches as tuples (x,), (x, y) or (x, y, sample_weight)"
        raise ValueError(f"{type(model).__name__}: expected {expected}, got {type(batch).__name__}")
    return batch


class _CheckedPyDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked."""

    def __init__(self, source, check):
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self.source, self.check = source, check

    @property
    def num_batches(self):
        """Return the number of batches; None for an infinite source."""
        return self.source.num_batches

    def __getitem__(self, index):
        return self.check(_tuple(self.source[index], self.check.model))

    def on_epoch_begin(self):
        """Begin an epoch of the source."""
        self.source.on_epoch_begin()

    def on_epoch_end(self):
        """End an epoch of the source."""
        self.source.on_epoch_end()


def _as_arrays(given, several):
    """Return the data of a call with arrays in place of lists of numbers, which Keras does not take."""

    def array(part):
        return np.asarray(part) if isinstance(part, (list, tuple)) else part

    found = {name: array(given[name]) for name in ("y", "sample_weight") if given.get(name) is not None}
    return {**found, "x": [array(part) for part in given["x"]] if several else given["x"]}


def _length(x):
    return len(x[0]) if isinstance(x, (tuple, list)) else len(x)


def check_images(model: ImageModel, name: str, images: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """Return images as an array, or raise ValueError with the name of the model and what to do.

    Args:
        model: The model that takes the images.
        name: Name of the argument.
        images: Array of shape (N, height, width, channels), values in [0, 1].
        shape: Expected height, width and channels.

    Returns:
        `images` as an array.

    Raises:
        ValueError: They are several arrays, or have another shape, dtype or range.
    """
    if isinstance(images, (tuple, list, dict)):
        raise ValueError(
            f"{type(model).__name__}: {name} must be one array of images, got {type(images).__name__} of {len(images)}"
        )
    try:
        return validate_images(images, shape, name=name)
    except ValueError as error:
        raise ValueError(f"{type(model).__name__}: {error}{_advice(images, shape)}") from None


def check_examples(model: ImageModel, x: Any, y: Any, shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless images and, where they are given, their targets are images, one for each.

    Args:
        model: The model that takes them.
        x: Images (N, height, width, channels), values in [0, 1].
        y: Targets, alike; None without targets.
        shape: Expected height, width and channels.
    """
    images = check_images(model, "x", x, shape)
    if y is not None:
        validation.same_length(x=images, y=check_images(model, "y (the images to draw)", y, shape))


def _advice(images, shape):
    """Return what to do with images that are refused, if that is plain."""
    found = np.asarray(images)
    if found.dtype.kind not in "fiub" or not found.size:
        return ""
    if found.shape[1:] == shape[:2] and shape[2] == 1:
        return "; add the axis of channels: images[..., None]"
    if found.shape == shape:
        return "; one image needs an axis for it: images[None]; a tf.data.Dataset needs .batch()"
    if found.shape[1:] == (shape[2], *shape[:2]):
        return "; move the axis of channels to the end: np.moveaxis(images, 1, -1)"
    low, high = found.min(), found.max()
    if found.shape[1:] == shape and low >= 0 and 1 < high <= 255:
        return "; divide them by 255"
    return (
        "; bring them to [0, 1]: (images + 1) / 2" if found.shape[1:] == shape and -1 <= low < 0 and high <= 1 else ""
    )


def mean_over_batch(values: KerasTensor, sample_weight: Any = None) -> KerasTensor:
    """Return the loss of a batch, as Keras reduces its own ("sum_over_batch_size").

    Args:
        values: Losses of the examples, shape (B,).
        sample_weight: Weights of the examples, shape (B,); None for 1.

    Returns:
        The sum of the weighted losses divided by B, see `share_of_replica`.
    """
    if sample_weight is not None:
        values = values * ops.cast(sample_weight, values.dtype)
    return share_of_replica(ops.mean(values))


def share_of_replica(loss: KerasTensor) -> KerasTensor:
    """Return a loss divided by the number of replicas of the distribution strategy, which adds their gradients."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return loss / replicas if replicas > 1 else loss
