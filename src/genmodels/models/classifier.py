"""The digit classifier, trained on real images only. Two of them are the reference classifiers of all models."""

import keras
import numpy as np
from keras import KerasTensor
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import LABELS, validate_images
from genmodels.layers import (
    SHAPE,
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Float32,
    Input,
    MaxPooling2D,
    SpaceToDepth,
)


def pooled_features() -> keras.Sequential:
    """Build a network (B, 28, 28, 1) -> features (B, 128) of two 5x5 convolutions with pooling.

    Returns:
        A model of the image.

    Source:
        LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with today's activation.
    """
    return keras.Sequential(
        [
            Input(SHAPE),
            Conv2D(32, 5, activation="relu"),
            MaxPooling2D(),
            Conv2D(64, 5, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(128, activation="relu"),
        ],
        name="features",
    )


def strided_features() -> keras.Sequential:
    """Build a network (B, 28, 28, 1) -> features (B, 128) of three batch-normalised 3x3 convolutions, one strided.

    Returns:
        A model of the image.

    Source:
        Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015, section 2.
    """
    blocks = [SpaceToDepth()]
    for channels, stride in ((32, 1), (64, 2), (64, 1)):
        blocks.append(Conv2D(channels, 3, stride, padding="same", use_bias=False))
        blocks += [BatchNormalization(), Activation("relu")]
    head = [Flatten(), Dropout(0.3), Dense(128, activation="relu")]
    return keras.Sequential([Input(SHAPE), *blocks, *head], name="features")


ARCHITECTURES = {"pooled": pooled_features, "strided": strided_features}


@keras.saving.register_keras_serializable("genmodels")
class Classifier(Float32, keras.Model):
    """A small convolutional classifier of digits: images (B, 28, 28, 1) in [0, 1] to label logits (B, 10).

    Args:
        architecture: Network of the features, "pooled" or "strided". Two classifiers of different architectures can
            check each other.
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: The architecture is not allowed.
    """

    def __init__(self, *, architecture: str = "pooled", **kwargs) -> None:
        super().__init__(**kwargs)
        self.architecture = validation.choice("architecture", architecture, ARCHITECTURES)
        self.extractor = ARCHITECTURES[architecture]()
        # The strided network has its own dropout, earlier.
        self.dropout = Dropout(0.5 if architecture == "pooled" else 0.0)
        self.head = Dense(LABELS)
        self.head.build(self.extractor.output_shape)

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Return label logits (B, 10)."""
        return self.head(self.dropout(self.extractor(images, training=training), training=training))

    def classify(self, images: ArrayLike) -> np.ndarray:
        """Return the most probable label of each image.

        Args:
            images: Shape (N, 28, 28, 1), values in [0, 1].

        Returns:
            Shape (N,), 0-9.

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return np.argmax(self.predict(validate_images(images, SHAPE), batch_size=500, verbose=0), axis=1)

    def features(self, images: ArrayLike) -> np.ndarray:
        """Return the activations of the last hidden layer: the space in which sets of images are compared.

        Args:
            images: Shape (N, 28, 28, 1), values in [0, 1].

        Returns:
            Shape (N, 128).

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return self.extractor.predict(validate_images(images, SHAPE), batch_size=500, verbose=0)

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        return {**super().get_config(), "architecture": self.architecture}
