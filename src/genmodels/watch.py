"""Watches a conditional GAN while it trains: says in plain words how it goes and stops what cannot get better."""

import sys

import keras
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from genmodels.data import LABELS

EPOCHS = 2  # in a row that a fault may last before the run counts as hopeless
COLLAPSED = 0.35  # diversity below it, a share of the real one
NAMELESS = 0.3  # label accuracy below it
WINNING = 0.97  # accuracy of the discriminator above it


def fault(discriminator_accuracy, label_accuracy, diversity):
    """What is wrong with a GAN after an epoch and what usually helps, in one sentence; None where nothing is.

    The first two from 0 to 1; 1 is as diverse as real images. All three as `Watch` measures them.
    """
    if diversity < COLLAPSED:
        return (
            f"the generator has collapsed: its images of one digit differ by {diversity:.0%} of what real ones do; "
            "lower the learning rate, or raise the batch size"
        )
    if label_accuracy < NAMELESS and discriminator_accuracy > WINNING:
        return (
            f"the discriminator wins: it tells {discriminator_accuracy:.0%} of images apart, and only "
            f"{label_accuracy:.0%} of the drawn digits are what they should be; lower its learning rate, or widen the "
            "generator"
        )
    if label_accuracy < NAMELESS:
        return (
            f"the generator ignores its labels: {label_accuracy:.0%} of its digits are what they should be; raise "
            "classifier_weight, or train the discriminator faster"
        )
    return None


class Watch(keras.callbacks.Callback):
    """After each epoch draws `count` images of each digit with the latest weights; what it finds joins the history.

    label_accuracy: share named right by the three nearest of 5,000 real training images, which need no training and so
    cannot be fooled by what the GAN learned; they name 94.7 % of the validation images right. diversity: mean distance
    between images of one digit, as a share of the same for real ones. drawn: the first image of each digit, whole
    numbers 0-255, (10, 28, 28). Once a fault has lasted EPOCHS epochs in a row it stops the training and keeps the
    reason in `hopeless`. real: a Split of training images.
    """

    def __init__(self, real, *, count=50):
        super().__init__()
        images, labels = _rows(real.images[:5_000]), real.labels[:5_000]
        self.labels = np.tile(np.arange(LABELS), count)
        self.neighbours = KNeighborsClassifier(3, algorithm="brute").fit(images, labels)
        self.usual_distance = _distance(images, labels)
        self.hopeless = None

    def on_epoch_end(self, epoch, logs=None):
        images = self.model.generate(self.labels, seed=0, averaged=False)  # the average lags behind at first
        logs["label_accuracy"] = float((self.neighbours.predict(_rows(images)) == self.labels).mean())
        logs["diversity"] = _distance(_rows(images), self.labels) / self.usual_distance
        logs["drawn"] = np.rint(255 * images[:LABELS, ..., 0]).astype("uint8")
        found = fault(logs["discriminator_accuracy"], logs["label_accuracy"], logs["diversity"])
        faulty = self.model.history.history.get("faulty", [0])[-1]  # survives an interruption there
        logs["faulty"] = faulty + 1 if found else 0
        if found:
            print(f"epoch {epoch + 1}: {found}", file=sys.stderr, flush=True)
        if logs["faulty"] >= EPOCHS:
            self.hopeless = f"stopped after epoch {epoch + 1}: {found}"
            self.model.stop_training = True


def _rows(images):
    return images.reshape(len(images), -1)


def _distance(rows, labels):
    """Mean distance between images of one digit: each against the next of that digit.

    Not `metrics.relative_diversity`, so that an edit of a metric does not train the GAN anew.
    """
    groups = [rows[labels == digit] for digit in np.unique(labels)]
    return float(np.mean([np.linalg.norm(group - np.roll(group, 1, axis=0), axis=1).mean() for group in groups]))
