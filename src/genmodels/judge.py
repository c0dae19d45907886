"""The digit classifier that judges what the models draw. It is trained on real images only."""

import keras
import numpy as np
from keras import ops

from genmodels.networks import classifier


@keras.saving.register_keras_serializable("genmodels")
class Judge(keras.Model):
    """A small convolutional classifier of digits: images (B, 28, 28, 1) in [0, 1] to label logits (B, 10).

    Half of the training images are seen quantised, because it judges grey and black-and-white drawings alike.
    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """

    def __init__(self, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.classifier = classifier()
        self.coin = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if training:
            heads = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=self.coin) < 0.5
            images = ops.where(heads, ops.cast(images >= 0.5, images.dtype), images)
        return self.classifier(images, training=training)

    def classify(self, images):
        """The most probable label (N,) of images (N, 28, 28, 1)."""
        return np.argmax(self.predict(images, batch_size=500, verbose=0), axis=1)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
