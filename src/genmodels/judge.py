"""The digit classifier that judges what the models draw. It is trained on real images only."""

import keras
import numpy as np
from keras import layers

from genmodels import checks, data
from genmodels.networks import LABELS, pooled_features, strided_features

ARCHITECTURES = {"pooled": pooled_features, "strided": strided_features}


@keras.saving.register_keras_serializable("genmodels")
class Judge(keras.Model):
    """A small convolutional classifier of digits: images (B, 28, 28, 1) in [0, 1] to label logits (B, 10).

    architecture: of its features, "pooled" or "strided", so that two judges can check each other.
    """

    def __init__(self, *, architecture="pooled", **kwargs):
        super().__init__(**kwargs)
        self.architecture = checks.choice("architecture", architecture, ARCHITECTURES)
        self.extractor = ARCHITECTURES[architecture]()
        self.dropout = layers.Dropout(0.5 if architecture == "pooled" else 0.0)  # the other one has its own, earlier
        self.head = layers.Dense(LABELS)
        self.head.build(self.extractor.output_shape)

    def call(self, images, training=False):
        return self.head(self.dropout(self.extractor(images, training=training), training=training))

    def classify(self, images):
        """The most probable label (N,) of images (N, 28, 28, 1)."""
        return np.argmax(self.predict(data.checked_images(images), batch_size=500, verbose=0), axis=1)

    def features(self, images):
        """Activations (N, 128) of the last hidden layer: the space in which sets of images are compared."""
        return self.extractor.predict(data.checked_images(images), batch_size=500, verbose=0)

    def get_config(self):
        return {**super().get_config(), "architecture": self.architecture}
