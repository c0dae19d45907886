"""The classifier of images, trained on real ones only. Two of them are the reference classifiers of all models."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.datasets import LABELS, SHAPE, validate_images, validate_labels
from genmodels.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPooling2D,
    SpaceToDepth,
    precision,
)
from genmodels.models.inputs import ImageModel, check_images


def pooled_features(image_shape: tuple[int, int, int] = SHAPE) -> keras.Sequential:
    """Build a network from images to features (B, 128), of two 5x5 convolutions with pooling.

    Args:
        image_shape: Height, width and channels. The convolutions of images below 16 pixels a side are padded.

    Returns:
        A model of the image.

    Source:
        LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with today's activation.
    """
    padding = "valid" if min(image_shape[:2]) >= 16 else "same"
    return keras.Sequential(
        [
            Input(image_shape),
            Conv2D(32, 5, padding=padding, activation="relu"),
            MaxPooling2D(padding=padding),
            Conv2D(64, 5, padding=padding, activation="relu"),
            MaxPooling2D(padding=padding),
            Flatten(),
            Dense(128, activation="relu"),
        ],
        name="features",
    )


def strided_features(image_shape: tuple[int, int, int] = SHAPE) -> keras.Sequential:
    """Build a network from images to features (B, 128), of three batch-normalised 3x3 convolutions, one strided.

    Args:
        image_shape: Height, width and channels.

    Returns:
        A model of the image.

    Source:
        Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015, section 2.
    """
    even = not (image_shape[0] % 2 or image_shape[1] % 2)
    blocks = [SpaceToDepth() if even else MaxPooling2D(padding="same")]
    for channels, stride in ((32, 1), (64, 2), (64, 1)):
        blocks.append(Conv2D(channels, 3, stride, padding="same", use_bias=False))
        blocks += [BatchNormalization(), Activation("relu")]
    head = [Flatten(), Dropout(0.3), Dense(128, activation="relu")]
    return keras.Sequential([Input(image_shape), *blocks, *head], name="features")


ARCHITECTURES = {"pooled": pooled_features, "strided": strided_features}


@keras.saving.register_keras_serializable("genmodels")
class Classifier(ImageModel):
    """A small convolutional classifier: images (B, height, width, channels) in [0, 1] to label logits (B, num_classes).

    It has no loss of its own: compile it with one of Keras's that takes logits.

    Args:
        image_shape: Height, width and channels.
        num_classes: Number of classes, >= 2.
        architecture: Network of the features, "pooled" or "strided". Two classifiers of different architectures can
            check each other.
        **kwargs: Options of keras.Model.

    Raises:
        ValueError: An argument is not allowed.
    """

    takes_class_weights = True

    def __init__(
        self,
        *,
        image_shape: Sequence[int] = SHAPE,
        num_classes: int = LABELS,
        architecture: str = "pooled",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = validation.image_shape(image_shape)
        self.num_classes = validation.number("num_classes", num_classes, 2, whole=True)
        self.architecture = validation.choice("architecture", architecture, ARCHITECTURES)
        with precision(self.dtype_policy):
            self.extractor = ARCHITECTURES[architecture](self.image_shape)
            # The strided network has its own dropout, earlier.
            self.dropout = Dropout(0.5 if architecture == "pooled" else 0.0)
            self.head = Dense(self.num_classes, dtype="float32")
        self.head.build(self.extractor.output_shape)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure the training, with the arguments of keras.Model.compile."""
        keras.Model.compile(self, *args, **kwargs)

    def input_shapes(self) -> tuple[int, int, int]:
        """Return the shape of an image."""
        return self.image_shape

    def check_inputs(self, x: Any) -> None:
        """Raise ValueError unless `x` are images."""
        check_images(self, "x", x, self.image_shape)

    def check_examples(self, x: Any, y: Any) -> None:
        """Raise ValueError unless `x` are images and `y` as many labels, or one-hot rows."""
        images = check_images(self, "x", x, self.image_shape)
        if y is None:
            raise ValueError("Classifier: expected labels as y, got none")
        if np.ndim(y) == 2:
            y = validation.array("y (one-hot labels)", y, ("N", self.num_classes), 0, 1)
        else:
            y = validate_labels(y, self.num_classes)
        validation.same_length(x=images, y=y)

    def limits(self, x: Any, y: Any) -> list[tuple]:
        """Return the limits of images and labels."""
        return [(x, 0, 1), (y, 0, self.num_classes - 1)]

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Return label logits (B, num_classes)."""
        return self.head(self.dropout(self.extractor(images, training=training), training=training))

    def classify(self, images: ArrayLike) -> np.ndarray:
        """Return the most probable label of each image.

        Args:
            images: Shape (N, height, width, channels), values in [0, 1].

        Returns:
            Shape (N,), from 0 to num_classes - 1.

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return np.argmax(self.predict(validate_images(images, self.image_shape), batch_size=500, verbose=0), axis=1)

    def features(self, images: ArrayLike) -> np.ndarray:
        """Return the activations of the last hidden layer: the space in which sets of images are compared.

        Args:
            images: Shape (N, height, width, channels), values in [0, 1].

        Returns:
            Shape (N, 128).

        Raises:
            ValueError: The images have another shape, dtype or range.
        """
        return self.extractor.predict(validate_images(images, self.image_shape), batch_size=500, verbose=0)

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        names = ("image_shape", "num_classes", "architecture")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
