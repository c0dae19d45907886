"""Builders of the small networks inside the models: encoders, decoders, generator, discriminator, classifier.

A digit is (B, 28, 28, 1), a canvas (B, 56, 56, 1). Networks that draw return logits, never probabilities.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from genmodels import checks
from genmodels.data import CANVAS, GRID, LABELS, SIDE, STRIDE

SHAPE = (SIDE, SIDE, 1)
PIXELS = SIDE * SIDE
SHARPNESS = 30.0  # of a window's softmax: the larger, the faster it settles on one cell
SETTLED = 0.9  # share of one cell from which on a window stands exactly there
CONDITION = LABELS + 2 * GRID  # one-hot label, one-hot pos_x, one-hot pos_y


def hidden_widths(units):
    """Widths of hidden layers, whole numbers >= 1, at least one, as a tuple; ValueError for anything else."""
    return tuple(checks.array("hidden_units", units, ("layers",), 1, whole=True).tolist())


def _hidden(x, units, normalise):
    """Dense layers with GELU; with batch normalisation before it where `normalise` is set."""
    for width in units:
        x = layers.Dense(width, use_bias=not normalise)(x)
        if normalise:
            x = layers.BatchNormalization()(x)
        x = layers.Activation("gelu")(x)
    return x


def dense_encoder(outputs, hidden_units, *, context=0, normalise=False, normalise_output=False, name="encoder"):
    """A dense network (B, 28, 28, 1) -> (B, outputs), no activation at the end.

    context: length of a vector, such as a one-hot label, that it takes as a second input; 0 for none.
    normalise: batch normalisation in the hidden layers. normalise_output: the same, without scale or shift, at the end,
    so that the outputs have mean 0 and variance 1 over the training data.
    """
    image = keras.Input(SHAPE)
    inputs, x = image, layers.Flatten()(image)
    if context:
        inputs = [image, keras.Input((context,))]
        x = layers.Concatenate()([x, inputs[1]])
    x = layers.Dense(outputs)(_hidden(x, hidden_units, normalise))
    if normalise_output:
        x = layers.BatchNormalization(center=False, scale=False)(x)
    return keras.Model(inputs, x, name=name)


@keras.saving.register_keras_serializable("genmodels")
class Waves(layers.Layer):
    """z (B, d) -> (B, d + 2 * d * count): z, and the sine and cosine of each axis at `count` frequencies.

    The frequencies are pi / 8 * 2^k, k = 0, 1, ..., so that the longest wave covers [-8, 8]. A network that draws from
    very few numbers learns fine detail sooner with them.
    Source: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains",
    2020, section 5.
    """

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, z):
        angles = [float(np.pi / 8 * 2**k) * z for k in range(self.count)]
        return ops.concatenate([z, *map(ops.sin, angles), *map(ops.cos, angles)], axis=-1)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


def dense_decoder(latent_dim, hidden_units, *, context=0, waves=0, normalise=False, name="decoder"):
    """A dense network (B, latent_dim) -> logits (B, 28, 28, 1).

    context, normalise: as in `dense_encoder`; waves: of `Waves`.
    """
    z = keras.Input((latent_dim,))
    inputs, x = z, Waves(waves)(z) if waves else z
    if context:
        inputs = [z, keras.Input((context,))]
        x = layers.Concatenate()([x, inputs[1]])
    x = layers.Dense(PIXELS)(_hidden(x, hidden_units, normalise))
    return keras.Model(inputs, layers.Reshape(SHAPE)(x), name=name)


@keras.saving.register_keras_serializable("genmodels")
class CellWindow(layers.Layer):
    """A 28x28 window on the 56x56 canvas whose place is learned from [pos_x, pos_y]; it reads and it writes.

    On each axis a softmax over the three possible offsets says where the window is; the layer is not told which offset
    a position means. Once a share passes SETTLED it counts as 1 and has no gradient: what is found is not lost again.
    The same weights draw, and read, the digit in all nine cells.
    Source: the read and write attention of Gregor et al., "DRAW: A Recurrent Neural Network For Image Generation",
    2015, section 3.2, with three fixed offsets in place of a Gaussian filter bank.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.columns = self.add_weight(shape=(GRID, GRID), initializer="zeros", name="columns")
        self.rows = self.add_weight(shape=(GRID, GRID), initializer="zeros", name="rows")
        # Dark from the start, so that the window has ink to draw and not an empty canvas around it: a window that draws
        # darkness is best put where the digit is not.
        self.background = self.add_weight(shape=(), initializer=keras.initializers.Constant(-7.0), name="background")

    def call(self, image, position, write=False):
        """Reads (B, 56, 56, 1) -> (B, 28, 28, 1), or writes logits the other way; position: (B, 6), one-hot x and y.

        Where the window writes, the background is added to its logits; around it there is background alone.
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
        """One-hot positions (B, 3) -> matrices (B, 56, 28) that shift a line of 28 pixels by a mixture of offsets."""
        shares = ops.softmax(SHARPNESS * ops.matmul(position, weights))
        settled = shares > SETTLED
        shares = ops.where(ops.any(settled, axis=1, keepdims=True), ops.cast(settled, shares.dtype), shares)
        shifts = np.stack([np.eye(CANVAS, SHAPE[0], -STRIDE * cell, dtype="float32") for cell in range(GRID)])
        return ops.reshape(ops.matmul(shares, shifts.reshape(GRID, -1)), (-1, CANVAS, SHAPE[0]))


def canvas_encoder(window, outputs, hidden_units):
    """Canvas (B, 56, 56, 1) and condition (B, 16), one-hot -> (B, outputs): reads the window, then a dense encoder."""
    canvas, condition = keras.Input((CANVAS, CANVAS, 1)), keras.Input((CONDITION,))
    encode = dense_encoder(outputs, hidden_units, context=LABELS, name="digit_encoder")
    digit = window(canvas, condition[:, LABELS:])
    return keras.Model([canvas, condition], encode([digit, condition[:, :LABELS]]), name="encoder")


def canvas_decoder(window, latent_dim, hidden_units, **drawing):
    """z (B, latent_dim) and condition (B, 16), one-hot -> logits (B, 56, 56, 1): a dense decoder, then the window.

    drawing: options of `dense_decoder`.
    """
    z, condition = keras.Input((latent_dim,)), keras.Input((CONDITION,))
    decode = dense_decoder(latent_dim, hidden_units, context=LABELS, name="digit_decoder", **drawing)
    canvas = window(decode([z, condition[:, :LABELS]]), condition[:, LABELS:], write=True)
    return keras.Model([z, condition], canvas, name="decoder")


@keras.saving.register_keras_serializable("genmodels")
class GatherPixels(layers.Layer):
    """Space to depth: (B, H, W, 1) -> (B, H / 2, W / 2, 4). A CPU convolves four channels faster than one."""

    def call(self, image):
        return tf.nn.space_to_depth(image, 2)


@keras.saving.register_keras_serializable("genmodels")
class SpreadPixels(layers.Layer):
    """Depth to space: (B, H, W, 4) -> (B, 2 * H, 2 * W, 1), the inverse of `GatherPixels`."""

    def call(self, channels):
        return tf.nn.depth_to_space(channels, 2)


def digit_classifier(channels=16):
    """Image (B, 28, 28, 1) -> label logits (B, 10): small, because it is trained along with a generative model."""
    image = keras.Input(SHAPE)
    x = layers.Conv2D(channels, 3, padding="same", activation="relu")(GatherPixels()(image))
    x = layers.Conv2D(2 * channels, 3, padding="same", activation="relu")(layers.MaxPooling2D()(x))
    x = layers.Flatten()(layers.SpatialDropout2D(0.3)(x))
    return keras.Model(image, layers.Dense(LABELS)(x), name="classifier")


def generator(noise_dim, channels=64):
    """Noise (B, noise_dim) and one-hot label (B, 10) -> logits (B, 28, 28, 1), by convolutions that double the side.

    Source: Radford, Metz & Chintala, "Unsupervised Representation Learning with DCGANs", 2016, section 3, made small;
    the last doubling: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", 2016, which a CPU computes twice as fast as a transposed convolution to one channel.
    """
    inputs = [keras.Input((noise_dim,)), keras.Input((LABELS,))]
    x = layers.Dense(7 * 7 * channels, use_bias=False)(layers.Concatenate()(inputs))
    x = layers.Reshape((7, 7, channels))(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(channels // 2, 4, 2, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return keras.Model(inputs, SpreadPixels()(layers.Conv2D(4, 3, padding="same")(x)), name="generator")


def discriminator(channels=64):
    """Image (B, 28, 28, 1) and one-hot label (B, 10) -> real/fake logit (B,) and label logits (B, 10).

    The label enters by projection: the inner product of its embedding with the features joins the logit.
    Source: Miyato & Koyama, "cGANs with Projection Discriminator", 2018, equation 3; auxiliary classifier: Odena, Olah
    & Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017.
    """
    image, label = keras.Input(SHAPE), keras.Input((LABELS,))
    x = layers.Conv2D(channels // 2, 5, padding="same")(GatherPixels()(image))  # 10x10 pixels: strokes, not only edges
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(channels, 4, 2, padding="same", use_bias=False)(x)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    features = layers.Flatten()(x)
    embedding = layers.Dense(features.shape[-1], use_bias=False)(label)
    # Not layers.Dot: as a batch of products of one row and one column it takes three times as long.
    projection = ops.sum(embedding * features, axis=1, keepdims=True)
    logit = layers.Reshape(())(layers.Add()([layers.Dense(1)(features), projection]))
    return keras.Model([image, label], [logit, layers.Dense(LABELS)(features)], name="discriminator")


def pooled_features():
    """Image (B, 28, 28, 1) -> features (B, 128), by two 5x5 convolutions with pooling.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with today's activation.
    """
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
        ],
        name="features",
    )


def strided_features():
    """Image (B, 28, 28, 1) -> features (B, 128), by three 3x3 convolutions, one of them strided, batch-normalised.

    Source: Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015, section 2.
    """
    blocks = [GatherPixels()]
    for channels, stride in ((32, 1), (64, 2), (64, 1)):
        blocks.append(layers.Conv2D(channels, 3, stride, padding="same", use_bias=False))
        blocks += [layers.BatchNormalization(), layers.Activation("relu")]
    head = [layers.Flatten(), layers.Dropout(0.3), layers.Dense(128, activation="relu")]
    return keras.Sequential([keras.Input(SHAPE), *blocks, *head], name="features")
