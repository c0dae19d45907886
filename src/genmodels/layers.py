"""Layers and dense networks that several models share.

Images are (B, height, width, channels), by default digits (B, 28, 28, 1); a canvas is (B, 56, 56, 1). Decoders return
logits, never probabilities.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, layers, ops

from genmodels import validation
from genmodels.canvas import CANVAS, GRID, STRIDE
from genmodels.datasets import SHAPE, SIDE

SHARPNESS = 30.0  # factor inside a window's softmax: the larger, the faster the window settles on one cell
SETTLED = 0.9  # share of one cell beyond which the window stands exactly there
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

_precision = ["float32"]  # the policy of the layers that are built now


@contextmanager
def precision(policy: Any) -> Iterator[None]:
    """Build the layers inside the block with a dtype policy.

    Args:
        policy: A keras.DTypePolicy, or its name.
    """
    _precision.append(policy)
    try:
        yield
    finally:
        _precision.pop()


def model_policy(dtype: Any = None) -> Any:
    """Return the dtype policy of a model.

    Args:
        dtype: A keras.DTypePolicy, its name or its configuration. None takes Keras's policy if it is a mixed one, and
            float32 otherwise.

    Returns:
        A keras.DTypePolicy.

    Raises:
        ValueError: The policy is not in POLICIES: weights are float32 in all of them.
    """
    if dtype is None:
        usual = keras.config.dtype_policy()
        return usual if usual.name in POLICIES else keras.DTypePolicy("float32")
    policy = keras.dtype_policies.get(dtype)
    validation.choice("dtype", policy.name, POLICIES)
    return policy


def _follows(layer: type, **fixed: Any) -> Callable[..., layers.Layer]:
    """Return a function that builds a layer of Keras with the policy of `precision`, whatever keras.json says."""
    return lambda *args, **options: layer(*args, **{"dtype": _precision[-1], **fixed, **options})


_LAST = {"data_format": "channels_last"}
Activation = _follows(layers.Activation)
Add = _follows(layers.Add)
BatchNormalization = _follows(layers.BatchNormalization)
Concatenate = _follows(layers.Concatenate)
Conv2D = _follows(layers.Conv2D, **_LAST)
Conv2DTranspose = _follows(layers.Conv2DTranspose, **_LAST)
Dense = _follows(layers.Dense)
Dropout = _follows(layers.Dropout)
Flatten = _follows(layers.Flatten, **_LAST)
LeakyReLU = _follows(layers.LeakyReLU)
MaxPooling2D = _follows(layers.MaxPooling2D, **_LAST)
Reshape = _follows(layers.Reshape)
Input = partial(keras.Input, dtype="float32")


class Float32:
    """Base of layers that compute in float32, whatever the policy or the floatx of ~/.keras/keras.json.

    Sines of large angles, and a softmax that settles exactly on one cell, need the digits of float32.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"dtype": "float32", **kwargs})


def as_floats(images: KerasTensor) -> KerasTensor:
    """Return images as float32.

    `fit` also takes them as uint8, which is a quarter of the bytes to hand over. `evaluate` hands them over as Keras's
    floatx.
    """
    return ops.cast(images, "float32")


def hidden_widths(units: Sequence[int]) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple.

    Args:
        units: At least one whole number >= 1.

    Returns:
        `units` as Python integers.

    Raises:
        ValueError: The sequence is empty or holds anything else.
    """
    return tuple(validation.array("hidden_units", units, ("layers",), 1, whole=True).tolist())


def _hidden(x, units, normalise):
    """Stack dense layers with GELU. `normalise` puts batch normalisation before each GELU."""
    for width in units:
        x = Dense(width, use_bias=not normalise)(x)
        if normalise:
            x = BatchNormalization()(x)
        x = Activation("gelu")(x)
    return x


def dense_encoder(
    outputs: int,
    hidden_units: Sequence[int],
    *,
    image_shape: tuple[int, int, int] = SHAPE,
    context: int = 0,
    normalise: bool = False,
    normalise_output: bool = False,
    name: str = "encoder",
) -> keras.Model:
    """Build a dense network (B, height, width, channels) -> (B, outputs) with no activation at the end.

    Args:
        outputs: Number of outputs per image.
        hidden_units: Widths of the hidden layers.
        image_shape: Height, width and channels.
        context: Length of a second input, such as a one-hot label; 0 for none.
        normalise: Use batch normalisation in the hidden layers.
        normalise_output: Use batch normalisation without scale or shift at the end. The outputs then have mean 0 and
            variance 1 over the training data.
        name: Name of the model.

    Returns:
        A model of the image, or of the pair [image, context].
    """
    image = Input(image_shape)
    inputs, x = image, Flatten()(image)
    if context:
        inputs = [image, Input((context,))]
        x = Concatenate()([x, inputs[1]])
    x = Dense(outputs, dtype="float32")(_hidden(x, hidden_units, normalise))
    if normalise_output:
        x = BatchNormalization(center=False, scale=False, dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def dense_decoder(
    latent_dim: int,
    hidden_units: Sequence[int],
    *,
    image_shape: tuple[int, int, int] = SHAPE,
    context: int = 0,
    num_frequencies: int = 0,
    normalise: bool = False,
    name: str = "decoder",
) -> keras.Model:
    """Build a dense network (B, latent_dim) -> logits (B, height, width, channels).

    Args:
        latent_dim: Number of axes of the code.
        hidden_units: Widths of the hidden layers.
        image_shape: Height, width and channels.
        context: Length of a second input, such as a one-hot label; 0 for none.
        num_frequencies: Frequencies of the code to compute with `FourierFeatures`; 0 for the code alone.
        normalise: Use batch normalisation in the hidden layers.
        name: Name of the model.

    Returns:
        A model of the code, or of the pair [code, context].
    """
    z = Input((latent_dim,))
    inputs, x = z, FourierFeatures(num_frequencies)(z) if num_frequencies else z
    if context:
        inputs = [z, Input((context,))]
        x = Concatenate()([x, inputs[1]])
    x = Dense(math.prod(image_shape), dtype="float32")(_hidden(x, hidden_units, normalise))
    return keras.Model(inputs, Reshape(image_shape, dtype="float32")(x), name=name)


@keras.saving.register_keras_serializable("genmodels")
class FourierFeatures(Float32, layers.Layer):
    """Append the sine and cosine of each axis of z at several frequencies: (B, d) -> (B, d + 2 * d * num_frequencies).

    The frequencies are pi / 8 * 2^k for k = 0, 1, ... The longest wave covers [-8, 8]. They help a network with very
    few inputs to learn fine detail sooner.

    Args:
        num_frequencies: Number of frequencies.
        **kwargs: Options of keras.layers.Layer.

    Source:
        Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains", 2020,
        section 5.
    """

    def __init__(self, num_frequencies: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_frequencies = num_frequencies

    def call(self, z: KerasTensor) -> KerasTensor:
        """Return z (B, d), then all sines, then all cosines."""
        angles = [float(np.pi / 8 * 2**k) * z for k in range(self.num_frequencies)]
        return ops.concatenate([z, *map(ops.sin, angles), *map(ops.cos, angles)], axis=-1)

    def get_config(self) -> dict:
        """Return the options that rebuild the layer."""
        return {**super().get_config(), "num_frequencies": self.num_frequencies}


@keras.saving.register_keras_serializable("genmodels")
class ReadWriteWindow(Float32, layers.Layer):
    """A 28x28 window on the 56x56 canvas. It reads and writes, and learns its place from [pos_x, pos_y].

    On each axis a softmax over the three possible offsets places the window. The layer is not told the offset of a
    position. A share above SETTLED counts as 1 and has no gradient, so that the window keeps the offset it found. The
    same weights read and write the digit in all nine cells.

    Source:
        Gregor et al., "DRAW: A Recurrent Neural Network For Image Generation", 2015, section 3.2 (read and write
        attention). Three fixed offsets replace the Gaussian filter bank.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.columns = self.add_weight(shape=(GRID, GRID), initializer="zeros", name="columns")
        self.rows = self.add_weight(shape=(GRID, GRID), initializer="zeros", name="rows")
        # The background starts dark, so that the window has to draw ink and not the empty canvas around it. A window
        # that draws darkness is best placed away from the digit.
        dark = keras.initializers.Constant(-7.0)
        self.background = self.add_weight(shape=(), initializer=dark, autocast=False, name="background")

    def call(self, image: KerasTensor, position: KerasTensor, write: bool = False) -> KerasTensor:
        """Read a digit from a canvas, or write a digit's logits on a canvas.

        Writing adds the background to the logits inside the window and gives the background alone around it.

        Args:
            image: Canvas (B, 56, 56, 1) to read, or logits (B, 28, 28, 1) to write.
            position: Shape (B, 6), one-hot pos_x and one-hot pos_y side by side.
            write: Write instead of read.

        Returns:
            Digit (B, 28, 28, 1) when reading, logits (B, 56, 56, 1) when writing.
        """
        across = self._offsets(position[:, :GRID], self.columns)
        down = self._offsets(position[:, GRID:], self.rows)
        image = ops.squeeze(image, -1)
        if write:
            image = tf.matmul(down, tf.matmul(image, across, transpose_b=True)) + self.background
        else:
            image = tf.matmul(down, tf.matmul(image, across), transpose_a=True)
        return ops.expand_dims(image, -1)

    def _offsets(self, position, weights):
        """Map one-hot positions (B, 3) to matrices (B, 56, 28) that shift 28 pixels by a mixture of offsets."""
        shares = ops.softmax(SHARPNESS * ops.matmul(position, weights))
        settled = shares > SETTLED
        shares = ops.where(ops.any(settled, axis=1, keepdims=True), ops.cast(settled, shares.dtype), shares)
        shifts = np.stack([np.eye(CANVAS, SIDE, -STRIDE * cell, dtype="float32") for cell in range(GRID)])
        return ops.reshape(ops.matmul(shares, shifts.reshape(GRID, -1)), (-1, CANVAS, SIDE))


@keras.saving.register_keras_serializable("genmodels")
class SpaceToDepth(Float32, layers.Layer):
    """Space to depth: (B, H, W, C) -> (B, H / 2, W / 2, 4 * C). A CPU convolves four channels faster than one."""

    def call(self, image: KerasTensor) -> KerasTensor:
        """Move each 2x2 block of pixels into four times as many channels."""
        return tf.nn.space_to_depth(image, 2)


@keras.saving.register_keras_serializable("genmodels")
class DepthToSpace(Float32, layers.Layer):
    """Depth to space: (B, H, W, 4 * C) -> (B, 2 * H, 2 * W, C), the inverse of `SpaceToDepth`."""

    def call(self, channels: KerasTensor) -> KerasTensor:
        """Move four channels into each 2x2 block of pixels."""
        return tf.nn.depth_to_space(channels, 2)
