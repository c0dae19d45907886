"""Builders of the small networks inside the models: encoders, decoders, generator, discriminator, classifier.

Every image is (B, 28, 28, 1). Networks that draw return logits, never probabilities.
"""

import keras
from keras import layers

SHAPE = (28, 28, 1)
PIXELS = 28 * 28
LABELS = 10


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


def dense_decoder(latent_dim, hidden_units, *, context=0, normalise=False, name="decoder"):
    """A dense network (B, latent_dim) -> logits (B, 28, 28, 1); `context` as in `dense_encoder`."""
    z = keras.Input((latent_dim,))
    inputs, x = z, z
    if context:
        inputs = [z, keras.Input((context,))]
        x = layers.Concatenate()(inputs)
    x = layers.Dense(PIXELS)(_hidden(x, hidden_units, normalise))
    return keras.Model(inputs, layers.Reshape(SHAPE)(x), name=name)


def generator(noise_dim, channels=64):
    """Noise (B, noise_dim) and one-hot label (B, 10) -> logits (B, 28, 28, 1), by two transposed convolutions.

    Source: Radford, Metz & Chintala, "Unsupervised Representation Learning with DCGANs", 2016, section 3, made small.
    """
    inputs = [keras.Input((noise_dim,)), keras.Input((LABELS,))]
    x = layers.Dense(7 * 7 * channels, use_bias=False)(layers.Concatenate()(inputs))
    x = layers.Reshape((7, 7, channels))(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(channels // 2, 4, 2, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(1, 4, 2, padding="same")(x)
    return keras.Model(inputs, x, name="generator")


def discriminator(channels=64):
    """Image (B, 28, 28, 1) and one-hot label (B, 10) -> real/fake logit (B,) and label logits (B, 10).

    The label enters by projection: the inner product of its embedding with the features joins the logit.
    Source: Miyato & Koyama, "cGANs with Projection Discriminator", 2018, equation 3; auxiliary classifier: Odena, Olah &
    Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017.
    """
    image, label = keras.Input(SHAPE), keras.Input((LABELS,))
    x = layers.Conv2D(channels // 2, 4, 2, padding="same")(image)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(channels, 4, 2, padding="same", use_bias=False)(x)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    features = layers.Flatten()(x)
    embedding = layers.Dense(features.shape[-1], use_bias=False)(label)
    projection = layers.Dot(axes=1)([embedding, features])
    logit = layers.Reshape(())(layers.Add()([layers.Dense(1)(features), projection]))
    return keras.Model([image, label], [logit, layers.Dense(LABELS)(features)], name="discriminator")


def classifier():
    """Image (B, 28, 28, 1) -> label logits (B, 10), by two convolutions."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(LABELS),
        ],
        name="classifier",
    )
