from types import SimpleNamespace

import numpy as np
import pytest

from genmodels.watch import EPOCHS, Watch, fault


class Generator:
    """Stands for a GAN that draws `images` of its own choice."""

    stop_training = False

    def __init__(self, draw):
        self.draw, self.history = draw, SimpleNamespace(history={})

    def generate(self, labels, seed, averaged):
        return self.draw(labels)


def watched(digits, draw, accuracy=0.7, epochs=EPOCHS):
    watch = Watch(digits, count=5)
    watch.set_model(Generator(draw))
    for epoch in range(epochs):
        logs = {"discriminator_accuracy": accuracy}
        watch.on_epoch_end(epoch, logs)
        watch.model.history.history.setdefault("faulty", []).append(logs["faulty"])
    return watch, logs


def real(digits):
    """Draws real digits of the asked labels, a different one each time."""

    def draw(labels):
        places = [np.flatnonzero(digits.labels == label) for label in labels]
        return np.stack([digits.images[place[index // 10 % len(place)]] for index, place in enumerate(places)])

    return draw


def test_real_digits_pass(digits):
    watch, logs = watched(digits, real(digits))
    assert watch.hopeless is None and not watch.model.stop_training
    assert logs["label_accuracy"] > 0.8 and 0.7 < logs["diversity"] < 1.3
    assert logs["drawn"].shape == (10, 28, 28) and logs["drawn"].max() == 255


@pytest.mark.parametrize(
    ("draw", "accuracy", "message"),
    [
        (lambda digits: lambda labels: np.stack([digits.typical(label) for label in labels]), 0.7, "has collapsed"),
        (lambda digits: lambda labels: real(digits)((labels + 1) % 10), 0.99, "the discriminator wins"),
        (lambda digits: lambda labels: real(digits)((labels + 1) % 10), 0.6, "ignores its labels"),
    ],
)
def test_a_hopeless_run_is_stopped_with_advice(digits, capsys, draw, accuracy, message):
    watch, _ = watched(digits, draw(digits), accuracy)
    assert watch.model.stop_training and message in watch.hopeless and f"after epoch {EPOCHS}" in watch.hopeless
    assert capsys.readouterr().err.count(message) == EPOCHS


def test_one_bad_epoch_is_only_said(digits, capsys):
    watch, _ = watched(digits, lambda labels: np.zeros((len(labels), 28, 28, 1)), epochs=EPOCHS - 1)
    assert watch.hopeless is None and "collapsed" in capsys.readouterr().err


def test_nothing_is_said_of_a_good_epoch():
    assert fault(0.75, 0.93, 0.95) is None
