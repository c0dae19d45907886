import numpy as np
import pytest

from genmodels import data, metrics, scores


class Oracle:
    """A judge that knows the labels of the images it was shown first, by nearest neighbour."""

    def __init__(self, split):
        self.split = split

    def classify(self, images):
        return self.split.labels[metrics.nearest_neighbours(images, self.split.images)[0]]

    def features(self, images):
        return images.reshape(len(images), -1)[:, 200:500:10]

    def predict(self, images, **_):
        return 20 * np.eye(10)[self.classify(images)]


class Perfect:
    """An AE that loses nothing, and a GAN that draws real digits of the asked label."""

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
    found = scores.ae(Perfect(digits), [Oracle(digits), Oracle(digits)], digits)
    assert found == {"mse": 0, "recognised": 1, "ends": 4, "recognised_2": 1, "ends_2": 4}


def test_real_digits_in_the_gans_place_score_like_the_floor(digits):
    train = data.load().train
    train = data.Split(train.images[1000:3000], train.labels[1000:3000])
    found = scores.gan(Perfect(train), [Oracle(train), Oracle(digits)], digits, train)
    floor = scores.floors([Oracle(train), Oracle(digits)], digits, train)
    assert found["label"] == found["worst"] == 1
    assert found["nearest"] == pytest.approx(0, abs=1e-6) and floor["nearest"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(floor["coverage"], abs=0.15)
    assert found["diversity"] == pytest.approx(floor["diversity"], abs=0.1)


def test_floor_compares_other_images_with_the_same_labels(digits):
    train = data.Split(np.concatenate([digits.images] * 2), np.concatenate([digits.labels] * 2))
    floor = scores.floors([Oracle(digits)], digits, train)
    assert floor["label"] == 1 and floor["diversity"] == pytest.approx(1, abs=0.2)


def test_every_condition_is_asked_as_often():
    wanted = scores.asked(3)
    conditions, counts = np.unique(wanted, axis=0, return_counts=True)
    assert len(conditions) == 90 and (counts == 3).all()


def test_everywhere_keeps_the_label_and_visits_every_cell():
    moved = scores.everywhere(np.array([7, 2])).reshape(2, 9, 3)
    assert (moved[..., 0] == [[7], [2]]).all()
    assert all(np.array_equal(cells[:, 1:], data.all_positions()) for cells in moved)


def test_a_digit_counts_as_moved_where_it_lands_in_the_asked_cell(digits):
    class Painter:
        """Decodes a code, which is the digit itself, into the asked cell, or into the middle one."""

        def __init__(self, obeys):
            self.obeys = obeys

        def decode(self, codes, conditions):
            return data.place(codes, conditions[:, 1:] if self.obeys else np.ones((len(codes), 2), int))

    judges = [Oracle(digits), Oracle(digits)]
    found, ignored = (scores._moved(Painter(obeys), judges, digits.images, digits.labels) for obeys in (True, False))
    assert found["moved_position"] == 1 and ignored["moved_position"] == pytest.approx(1 / 9)
    assert found["moved_label"] == found["moved_label_2"] > 0.9 > ignored["moved_label"]


def test_pairs_are_the_digits_of_the_task(digits):
    chosen = scores.pairs(digits)
    assert chosen.shape == (2, 2, 28, 28, 1)
    assert Oracle(digits).classify(chosen.reshape(-1, 28, 28, 1)).tolist() == [9, 7, 1, 8]
