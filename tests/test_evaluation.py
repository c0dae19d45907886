import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from genmodels import canvas, datasets, evaluation, metrics
from genmodels.models.classifier import Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.gan import ConditionalGAN
from genmodels.models.vae import VAE


class Oracle:
    """A classifier that gives an image the label of its nearest neighbour in a split."""

    def __init__(self, split):
        self.split, self.image_shape, self.num_classes = split, split.images.shape[1:], len(np.unique(split.labels))

    def classify(self, images):
        return self.split.labels[metrics.nearest_neighbours(images, self.split.images)[0]]

    def features(self, images):
        return images.reshape(len(images), -1)[:, 200:500:10]


class Perfect:
    """An AE that loses nothing, and a GAN that draws real images of the requested label."""

    def __init__(self, split):
        self.split, self.image_shape, self.num_classes = split, split.images.shape[1:], len(np.unique(split.labels))

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


class Coder:
    """An AE that loses nothing."""

    def __init__(self, image_shape):
        self.image_shape = image_shape

    encode = decode = staticmethod(lambda values: values)


class Few(Oracle):
    """An oracle whose features are a few pixels of small images."""

    def features(self, images):
        return images.reshape(len(images), -1)[:, 10:54:4]


def dataset(train, test):
    classes = 0 if train.labels is None else int(train.labels.max()) + 1
    return SimpleNamespace(
        train=train, validation=test, test=test, image_shape=train.images.shape[1:], num_classes=classes
    )


@pytest.fixture(scope="module")
def small():
    """Return scikit-learn's 8x8 digits: 1438 training and 359 test images."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8, 1).astype("float32") / 16, labels.astype("int32")
    return dataset(datasets.Split(images[:1438], labels[:1438]), datasets.Split(images[1438:], labels[1438:]))


def without_labels(data):
    return dataset(*(datasets.Split(split.images, None) for split in (data.train, data.test)))


def check(scores, *names):
    """Check that there are the named scores alone, ready for JSON and finite."""
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert sorted(scores) == sorted(names)
    assert all(row.keys() == {"value", "error", "real", "better"} for row in scores.values())


FEATURES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
CLASSES = ("diversity", "worst_class_diversity", "collapsed_classes")
BOUNDS = ("negative_elbo", "reconstruction", "kl", "negative_iwae", "negative_elbo_there")


def test_an_autoencoder_of_small_images_is_scored_beside_real_ones(small):
    judge = Few(small.train)
    found = evaluation.evaluate(Coder((8, 8, 1)), small, [judge])
    check(found, "mse", "reconstruction_accuracy")
    assert found["mse"] == {"value": 0, "error": 0, "real": None, "better": "lower"}
    accuracy = float((judge.classify(small.test.images) == small.test.labels).mean())
    assert found["reconstruction_accuracy"] == {"value": accuracy, "error": None, "real": accuracy, "better": "higher"}


def test_a_generator_of_real_images_scores_like_them(small):
    found = evaluation.evaluate(Perfect(small.train), small, [Few(small.train), Few(small.test)])
    both = [name + end for name in ("label", "worst_class_accuracy", *FEATURES) for end in ("", "_2")]
    check(found, *both, *CLASSES, "nearest")
    assert found["label"]["value"] == 1
    for name in ("precision", "recall", "coverage", "diversity", "worst_class_diversity"):
        assert found[name]["value"] == pytest.approx(found[name]["real"], abs=0.1)
    assert found["nearest"]["value"] == 0 and found["nearest"]["real"] == pytest.approx(1, abs=0.15)
    assert found["collapsed_classes"] == {"value": 0, "error": None, "real": 0, "better": "lower"}


def test_collapsed_classes_are_counted(small):
    class Collapsed(Perfect):
        def generate(self, labels, seed, averaged=True):
            once = super().generate(np.arange(10), 0)
            return np.where(np.reshape(labels < 6, (-1, 1, 1, 1)), once[labels], super().generate(labels, seed))

    found = evaluation.evaluate(Collapsed(small.train), small)
    check(found, *CLASSES, "nearest")
    assert found["collapsed_classes"]["value"] == 6 and found["worst_class_diversity"]["value"] == 0


def test_the_scores_of_mnist_are_those_of_the_report(digits):
    train = datasets.load_mnist().train
    data = dataset(datasets.Split(train.images[1000:3000], train.labels[1000:3000]), digits)
    classifiers = [Oracle(data.train), Oracle(digits)]
    found = evaluation.evaluate(Perfect(data.train), data, classifiers)
    report = evaluation.gan(Perfect(data.train), classifiers, digits, data.train)
    real = evaluation.real_baseline(classifiers, digits, data.train)
    assert {name: (report[name], real[name]) for name in real} == {
        name: (found[name]["value"], found[name]["real"]) for name in real
    }


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian"])
def test_a_vae_is_scored_under_its_own_likelihood(small, likelihood):
    model = VAE(image_shape=(8, 8, 1), likelihood=likelihood, hidden_units=(16,), latent_dim=3)
    found = evaluation.evaluate(model, small, [Few(small.train)], bound_samples=20)
    check(found, *BOUNDS, "reconstruction_accuracy", *FEATURES, "nearest")
    images = datasets.binarize(small.test.images) if likelihood == "bernoulli" else small.test.images
    expected = metrics.negative_elbo(metrics.elbo_terms(model, images, 0))
    assert found["negative_elbo"]["value"] == expected["mean"] and found["negative_elbo"]["error"] == expected["error"]
    assert found["frechet"]["value"] > 2 * found["frechet"]["real"]  # an untrained model
    assert found["precision"]["real"] > 0.7 and found["kl"]["better"] is None


def test_images_without_labels_have_the_scores_that_need_none(small):
    data, judge = without_labels(small), Few(small.train)
    check(evaluation.evaluate(Coder((8, 8, 1)), data, [judge]), "mse")
    vae = VAE(image_shape=(8, 8, 1), hidden_units=(8,))
    check(evaluation.evaluate(vae, data, [judge], bound_samples=0), *BOUNDS[:3], *FEATURES, "nearest")
    found = evaluation.evaluate(Perfect(small.train), data, [judge])
    check(found, "label", "worst_class_accuracy", *FEATURES, "nearest")
    assert found["label"]["real"] is None and found["precision"]["real"] > 0.7


@pytest.mark.parametrize("count", [4, 5, 11])
def test_a_handful_of_images_is_scored(small, count):
    test = datasets.Split(small.test.images[:count], small.test.labels[:count])
    found = evaluation.evaluate(Perfect(small.train), dataset(small.train, test), [Few(small.train)])
    assert {"label", "worst_class_accuracy", *FEATURES, "nearest"} <= found.keys()
    assert json.dumps(found, allow_nan=False)


def test_a_class_that_is_rare_in_training_is_compared_in_equal_numbers(small):
    """A Frechet distance depends on the number of images, which must be that of the real value."""
    rare = np.flatnonzero((small.train.labels != 3) | (np.arange(1438) < 40))
    train = datasets.Split(small.train.images[rare], small.train.labels[rare])
    asked = []

    class Counting(Perfect):
        def generate(self, labels, seed, averaged=True):
            asked.append(labels)
            return super().generate(labels, seed)

    evaluation.evaluate(Counting(train), dataset(train, small.test), [Few(train)])
    assert (train.labels == 3).sum() in [(labels == 3).sum() for labels in asked] and (train.labels == 3).sum() < 10


def test_a_classifier_is_scored_by_its_worst_class_too(small):
    judge = Few(small.train)
    found = evaluation.evaluate(judge, small)
    check(found, "accuracy", "worst_class_accuracy")
    right = judge.classify(small.test.images) == small.test.labels
    worst = min(right[small.test.labels == label].mean() for label in range(10))
    assert found["accuracy"]["value"] == right.mean() and found["worst_class_accuracy"]["value"] == worst


def test_a_conditional_vae_is_scored_on_its_canvas(digits, smoke):
    model = ConditionalVAE(hidden_units=(8,), seed=0)
    found = evaluation.evaluate(model, dataset(digits, digits), [Oracle(digits)], bound_samples=5)
    check(found, *BOUNDS, "label", "position", "ink_inside", *CLASSES)
    assert found["label"]["real"] == 1 == found["position"]["real"]


def test_conditional_gan_of_colour_images_is_scored(rng):
    images, labels = rng.random((60, 8, 12, 3)).astype("float32"), np.arange(60) % 26
    data = dataset(datasets.Split(images[:40], labels[:40]), datasets.Split(images[40:], labels[40:]))
    model = ConditionalGAN(image_shape=(8, 12, 3), num_classes=26, channels=4, noise_dim=2)
    classifier = Classifier(image_shape=(8, 12, 3), num_classes=26)
    found = evaluation.evaluate(model, data, classifier)
    assert {"label", "worst_class_accuracy", *FEATURES, "nearest"} <= found.keys()


class Mapped(np.memmap):
    """Images in a file. The class counts how many of them are read at once."""

    most = 0

    def __getitem__(self, rows):
        found = super().__getitem__(rows)
        Mapped.most = max(Mapped.most, *found.shape[:1])
        return found


@pytest.mark.parametrize(
    "model",
    [
        lambda data: Coder((8, 8, 1)),
        lambda data: VAE(image_shape=(8, 8, 1), hidden_units=(8,)),
        lambda data: VAE(image_shape=(8, 8, 1), hidden_units=(8,), likelihood="gaussian"),
        lambda data: Perfect(data.train),
        lambda data: Few(data.train),
    ],
    ids=["ae", "vae", "gaussian", "gan", "classifier"],
)
def test_data_larger_than_memory_are_scored(model, small, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "COMPARED", 100)
    monkeypatch.setattr(evaluation, "READ", 64)
    images, labels = load_digits(return_X_y=True)
    mapped = Mapped(tmp_path / "images", "uint8", "w+", shape=(len(images), 8, 8, 1))
    mapped[:] = images.reshape(mapped.shape)
    data, held = (datasets.Dataset.from_arrays(each, labels, scale=16) for each in (mapped, np.array(mapped)))
    Mapped.most, judge, scored = 0, Few(small.train), model(small)
    found = evaluation.evaluate(scored, data, [judge], bound_samples=2)
    assert 64 <= Mapped.most <= 100
    assert not any("images" in vars(split) for split in (data.train, data.test))  # none was converted as a whole
    assert found == evaluation.evaluate(scored, held, [judge], bound_samples=2)


def test_of_large_images_fewer_are_held():
    assert evaluation._most((28, 28, 1)) == 10_000
    assert evaluation._most((256, 256, 3)) * 256 * 256 * 3 * 4 <= 2**28
    assert evaluation._most((9_000, 9_000, 3)) == evaluation.FEWEST


def other(data, **changes):
    return SimpleNamespace(**{**vars(data), **changes})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: (object(), data), "model must be an AE, .* or Classifier, got object"),
        (lambda data: (Coder((28, 28, 1)), data), r"expected a model of .* \(8, 8, 1\), .*got one of \(28, 28, 1\)"),
        (
            lambda data: (Perfect(data.train), other(data, num_classes=26)),
            "expected a model of 26 classes, as in the data, got one of 10",
        ),
        (
            lambda data: (Coder((8, 8, 1)), data, [Perfect(datasets.Split(np.zeros((9, 7, 8, 1)), np.arange(9)))]),
            r"expected a classifier of images of shape \(8, 8, 1\), as in the data, got one of \(7, 8, 1\)",
        ),
        (lambda data: (Coder((8, 8, 1)), data, [Few(data.test)] * 3), "classifiers must be one or two, got 3"),
        (
            lambda data: (Few(data.train), without_labels(data)),
            "expected data with labels to score a classifier, got images alone",
        ),
        (
            lambda data: (
                Coder((8, 8, 1)),
                other(data, test=datasets.Split(data.test.images[:3], data.test.labels[:3])),
            ),
            "expected at least 4 test images, got 3",
        ),
        (
            lambda data: (ConditionalVAE(hidden_units=(4,)), data),
            r"expected images of shape \(28, 28, 1\) in 10 classes for a ConditionalVAE, got \(8, 8, 1\) in 10",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(small, call, message):
    with pytest.raises(ValueError, match=message) as refused:
        evaluation.evaluate(*call(small))
    assert "\n" not in str(refused.value)


def test_a_split_whose_images_were_trained_on_has_no_distance_to_the_nearest_training_image(small):
    found = evaluation.evaluate(Perfect(small.train), other(small, test=small.train))
    assert "nearest" not in found and "diversity" in found


def test_a_split_of_other_classes_than_the_training_images_is_refused(small):
    train, test = (
        datasets.Split(split.images[split.labels // 5 == half], split.labels[split.labels // 5 == half])
        for half, split in enumerate((small.train, small.test))
    )
    with pytest.raises(ValueError, match="expected at least 4 training images with labels of the split, got 0"):
        evaluation.evaluate(Perfect(small.train), other(small, train=train, test=test))


def test_another_split_or_number_of_samples_is_refused(small):
    with pytest.raises(ValueError, match="split must be one of validation, test, got 'train'"):
        evaluation.evaluate(Coder((8, 8, 1)), small, split="train")
    with pytest.raises(ValueError, match="bound_samples must be a whole number >= 0, got -1"):
        evaluation.evaluate(Coder((8, 8, 1)), small, bound_samples=-1)


def test_scores_are_printed_as_a_table(small):
    lines = evaluation.as_table(evaluation.evaluate(Coder((8, 8, 1)), small, [Few(small.test)])).splitlines()
    assert lines[0].split() == ["score", "value", "error", "real", "images", "better"]
    assert lines[1].split() == ["mse", "0", "0", "lower"]
    assert lines[2].split() == ["reconstruction_accuracy", "1", "1", "higher"]
    assert [line.index(last) + len(last) for line, last in zip(lines[1:], ("lower", "higher"))] == [len(lines[2])] * 2


def test_every_score_says_which_values_are_better():
    assert set(evaluation.BETTER.values()) == {"lower", "higher", "real", None}
