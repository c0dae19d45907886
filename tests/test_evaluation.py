import numpy as np
import pytest

from genmodels import canvas, datasets, evaluation, experiments, metrics


class Oracle:
    """A classifier that gives an image the label of its nearest neighbour in a split."""

    def __init__(self, split):
        self.split = split

    def classify(self, images):
        return self.split.labels[metrics.nearest_neighbours(images, self.split.images)[0]]

    def features(self, images):
        return images.reshape(len(images), -1)[:, 200:500:10]

    def predict(self, images, **_):
        return 20 * np.eye(10)[self.classify(images)]


class Perfect:
    """An AE that loses nothing, and a GAN that draws real digits of the requested label."""

    def __init__(self, split):
        self.split = split

    def encode(self, images):
        return images

    def decode(self, codes):
        return codes

    def generate(self, labels, seed, averaged=True):
        rng = np.random.default_rng(seed)
        return np.stack([self.split.images[rng.choice(np.flatnonzero(self.split.labels == label))] for label in labels])


def test_a_perfect_autoencoder_has_perfect_scores(digits):
    found = evaluation.ae(Perfect(digits), [Oracle(digits), Oracle(digits)], digits)
    assert found == {
        "mse": 0,
        "reconstruction_accuracy": 1,
        "endpoint_accuracy": 1,
        "reconstruction_accuracy_2": 1,
        "endpoint_accuracy_2": 1,
    }


def test_endpoint_accuracy_is_the_share_of_the_four_ends_with_the_right_digit(digits):
    class Nine(Perfect):
        def decode(self, codes):
            return np.stack([self.split.typical(9)] * len(codes))

    found = evaluation.ae(Nine(digits), [Oracle(digits), Oracle(digits)], digits)
    assert found["endpoint_accuracy"] == found["endpoint_accuracy_2"] == 0.25


def test_real_digits_in_the_gans_place_score_like_the_real_baseline(digits):
    train = datasets.load_mnist().train
    train = datasets.Split(train.images[1000:3000], train.labels[1000:3000])
    found = evaluation.gan(Perfect(train), [Oracle(train), Oracle(digits)], digits, train)
    baseline = evaluation.real_baseline([Oracle(train), Oracle(digits)], digits, train)
    assert found["label"] == found["worst_class_accuracy"] == 1
    assert found["nearest"] == pytest.approx(0, abs=1e-6) and baseline["nearest"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(baseline["coverage"], abs=0.15)
    assert found["diversity"] == pytest.approx(baseline["diversity"], abs=0.1)


def test_real_baseline_compares_other_images_with_the_same_labels(digits):
    train = datasets.Split(np.concatenate([digits.images] * 2), np.concatenate([digits.labels] * 2))
    baseline = evaluation.real_baseline([Oracle(digits)], digits, train)
    assert baseline["label"] == 1 and baseline["diversity"] == pytest.approx(1, abs=0.2)


def test_a_digit_counts_as_moved_where_it_lands_in_the_requested_cell(digits):
    class Painter:
        """Decode a code, which is the digit itself, into the requested cell, or always into the middle one."""

        def __init__(self, obeys):
            self.obeys = obeys

        def decode(self, codes, conditions):
            return canvas.place_on_canvas(codes, conditions[:, 1:] if self.obeys else np.ones((len(codes), 2), int))

    classifiers = [Oracle(digits), Oracle(digits)]
    found, ignored = (
        evaluation._moved(Painter(obeys), classifiers, digits.images, digits.labels) for obeys in (True, False)
    )
    assert found["moved_position"] == 1 and ignored["moved_position"] == pytest.approx(1 / 9)
    assert found["moved_label"] == found["moved_label_2"] > 0.9 > ignored["moved_label"]


def test_pairs_are_the_digits_of_the_task(digits):
    chosen = evaluation.pairs(digits)
    assert chosen.shape == (2, 2, 28, 28, 1)
    assert Oracle(digits).classify(chosen.reshape(-1, 28, 28, 1)).tolist() == [9, 7, 1, 8]


def test_every_kind_of_model_has_its_scores():
    assert all(callable(getattr(evaluation, f"score_{kind}")) for kind in experiments.BUILDERS)
