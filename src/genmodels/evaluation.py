"""All scores of one trained model on one split, as a flat dict of floats.

Notebooks quote the scores of one seed; the study collects them over several seeds. Two reference classifiers, trained
on real images only, score all generated images. Names of the second one's scores end in _2. `real_baseline` gives the
scores of the GAN for real images instead of generated ones.
"""

from collections.abc import Sequence

import keras
import numpy as np

from genmodels import metrics
from genmodels.canvas import all_conditions, all_positions, canvases_of, conditions
from genmodels.config import quick_mode
from genmodels.datasets import LABELS, SIDE, Dataset, Split, binarize

PAIRS = ((9, 7), (1, 8))  # of the tasks 1.3 and 2.4
MOVED = 2_000  # images of a split, the first ones, encoded and then decoded in all nine cells
BOUND_IMAGES = 100  # images of a split, the first ones, for the importance-weighted bound
LABELLED = 10_000  # images of the GAN for its label accuracy, the same number of each digit
EACH = 50  # samples of the conditional VAE for each of the 90 conditions


def pairs(split: Split) -> np.ndarray:
    """Return the most typical image of each digit in PAIRS. The choice does not depend on any model.

    Args:
        split: Images with labels.

    Returns:
        Shape (2, 2, 28, 28, 1).

    Raises:
        ValueError: A digit does not occur in the split.
    """
    return np.stack([[split.typical(digit) for digit in pair] for pair in PAIRS])


def _by_both(classifiers, measure, *others):
    """Return {name: value} of a measure for each of two classifiers. Names of the second end in _2.

    Each of `others` is a list of two. `measure` takes one element of each beside the classifier.
    """
    each = zip(("", "_2"), classifiers, *others)
    return {f"{name}{end}": value for end, *both in each for name, value in measure(*both).items()}


def classifier(model: keras.Model, split: Split) -> dict[str, float]:
    """Score a classifier.

    Args:
        model: A trained Classifier.
        split: Images with labels.

    Returns:
        accuracy: Accuracy on the split.
        accuracy_binarized: Accuracy on its binarized images.
    """
    binarized = metrics.label_accuracy(model, binarize(split.images), split.labels)
    return {
        "accuracy": metrics.label_accuracy(model, split.images, split.labels)["overall"],
        "accuracy_binarized": binarized["overall"],
    }


def ae(model: keras.Model, classifiers: Sequence[keras.Model], split: Split) -> dict[str, float]:
    """Score an autoencoder.

    Args:
        model: A trained AE.
        classifiers: Two reference classifiers.
        split: Images with labels.

    Returns:
        mse: Squared error per pixel.
        reconstruction_accuracy: Share of reconstructions classified correctly.
        endpoint_accuracy: Share of the decoded images of PAIRS classified correctly.
    """
    mse = metrics.squared_error(split.images, model.decode(model.encode(split.images)))["mean"]
    return {"mse": mse, **_accuracies(lambda images: model.decode(model.encode(images)), classifiers, split)}


def vae(
    model: keras.Model, classifiers: Sequence[keras.Model], split: Split, *, tight: bool = False
) -> dict[str, float]:
    """Score a VAE. The split is binarized here.

    Args:
        model: A trained VAE.
        classifiers: Two reference classifiers.
        split: Images with labels.
        tight: Add the importance-weighted bound, which takes longest.

    Returns:
        negative_elbo: -ELBO in nats.
        reconstruction: Reconstruction term of -ELBO in nats.
        kl: KL term of -ELBO in nats.
        reconstruction_accuracy: See `ae`.
        endpoint_accuracy: See `ae`.
        negative_iwae: Importance-weighted bound of the first BOUND_IMAGES images, negated, in nats; only with `tight`.
        negative_elbo_there: -ELBO of these images in nats; only with `tight`.
    """
    split = split.binarized()
    accuracies = _accuracies(lambda images: model.decode(model.encode(images)[0]), classifiers, split)
    return {**_bounds(model, split.images, tight=tight), **accuracies}


def _accuracies(reconstruct, classifiers, split):
    """Return reconstruction_accuracy and endpoint_accuracy of both classifiers."""
    images, ends = reconstruct(split.images), reconstruct(pairs(split).reshape(-1, SIDE, SIDE, 1))

    def measure(classifier: keras.Model) -> dict[str, float]:
        return {
            "reconstruction_accuracy": metrics.label_accuracy(classifier, images, split.labels)["overall"],
            "endpoint_accuracy": float((classifier.classify(ends) == np.ravel(PAIRS)).mean()),
        }

    return _by_both(classifiers, measure)


def _bounds(model, images, conditions=None, *, tight=False):
    """Return negative_elbo and its parts; with `tight` also negative_iwae.

    negative_iwae covers the first BOUND_IMAGES images, negative_elbo_there is the negative ELBO of the same images.
    """
    terms = metrics.elbo_terms(model, images, 0, conditions)
    total = terms["reconstruction"] + terms["kl_closed_form"]
    found = {
        "negative_elbo": float(total.mean()),
        "reconstruction": float(terms["reconstruction"].mean()),
        "kl": float(terms["kl_closed_form"].mean()),
    }
    if tight:
        count = 10 if quick_mode() else BOUND_IMAGES
        found["negative_iwae"] = float(-metrics.importance_weighted_bound(model, images[:count], 0).mean())
        found["negative_elbo_there"] = float(total[:count].mean())
    return found


def conditional_vae(model: keras.Model, classifiers: Sequence[keras.Model], split: Split) -> dict[str, float]:
    """Score a conditional VAE: samples for every condition, digits moved to all cells, a probe of z, and the bound.

    Args:
        model: A trained ConditionalVAE.
        classifiers: Two reference classifiers.
        split: Images with labels.

    Returns:
        label, label_2, position, ink_inside: See `metrics.conditional_accuracy`; of EACH samples for each condition.
        diversity: Diversity of the samples within a label, as a share of that of binarized real images.
        moved_...: The first four for the first MOVED images, encoded and then decoded in all cells.
        probe_position: Accuracy of a linear probe of z_mean that predicts the cell.
        probe_label: Accuracy of a linear probe of z_mean that predicts the label.
        negative_elbo, reconstruction, kl: See `vae`.
    """
    images, placed = canvases_of(split)
    bounds = _bounds(model, images, placed)
    z_mean, _ = model.encode(images, placed)
    del images  # the largest array
    each, moved = (5, 100) if quick_mode() else (EACH, MOVED)
    wanted = all_conditions(each)
    drawn = binarize(model.sample(wanted, seed=0))
    cells = metrics.crop(drawn, wanted)
    return {
        **_condition_scores(classifiers, drawn, wanted),
        "diversity": metrics.relative_diversity(cells, wanted[:, 0], split.binarized())["overall"],
        **_moved(model, classifiers, z_mean[:moved], split.labels[:moved]),
        "probe_position": metrics.linear_probe(z_mean, 3 * placed[:, 2] + placed[:, 1])["mean"],
        "probe_label": metrics.linear_probe(z_mean, split.labels)["mean"],
        **bounds,
    }


def _condition_scores(classifiers, canvases, conditions):
    """Return label, label_2, position and ink_inside of canvases (N, 56, 56, 1), see `metrics.conditional_accuracy`."""
    first, second = (metrics.conditional_accuracy(classifier, canvases, conditions) for classifier in classifiers)
    return {name: first[name] for name in ("label", "position", "ink_inside")} | {"label_2": second["label"]}


def _moved(model, classifiers, codes, labels):
    """Return `_condition_scores` of codes decoded with their labels in all cells, as moved_..."""
    cells = [conditions(labels, pos_x, pos_y) for pos_x, pos_y in all_positions()]
    # Binarized one cell at a time: all canvases as floats would be the largest array.
    drawn = np.concatenate([binarize(model.decode(codes, each), "uint8") for each in cells])
    found = _condition_scores(classifiers, drawn, np.concatenate(cells))
    return {f"moved_{name}": value for name, value in found.items()}


def gan(model: keras.Model, classifiers: Sequence[keras.Model], split: Split, train: Split) -> dict[str, float]:
    """Score a conditional GAN on as many generated images as the split has.

    Label accuracies come from LABELLED other generated images.

    Args:
        model: A trained ConditionalGAN.
        classifiers: Two reference classifiers.
        split: Images with labels.
        train: Training images, for the distance to the nearest of them.

    Returns:
        label: Share of images classified correctly.
        worst_class_accuracy: Share classified correctly of the worst digit.
        frechet, kernel, precision, recall, density, coverage: Comparison with the split in the classifier's features.
        diversity: Diversity within a label, as a share of that of real images.
        nearest: Median distance to the nearest training image, as a share of that of the split's images; only the first
            thousand images of each are compared.
        latest_label, latest_frechet: Scores of the generator's last weights instead of their running average.
    """
    drawn = Split(model.generate(split.labels, seed=0), split.labels)
    evenly = np.arange(len(split) if quick_mode() else LABELLED) % LABELS
    even = Split(model.generate(evenly, seed=1), evenly)
    latest = model.generate(split.labels, seed=0, averaged=False)
    references = [classifier.features(split.images) for classifier in classifiers]
    return {
        **_sample_scores(drawn, even, classifiers, references, split),
        "nearest": _nearest(drawn, split, train.images),
        "latest_label": metrics.label_accuracy(classifiers[0], latest, split.labels)["overall"],
        "latest_frechet": metrics.frechet_distance(classifiers[0].features(latest), references[0]),
    }


def real_baseline(classifiers: Sequence[keras.Model], split: Split, train: Split) -> dict[str, float]:
    """Score real training images in place of generated ones: as many as the split has, with the same labels.

    Label accuracy is that on the split's own images, which the classifiers have not been trained on.

    Args:
        classifiers: Two reference classifiers.
        split: Images with labels.
        train: Training images.

    Returns:
        The scores of `gan`, except those of the latest weights.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(train))
    chosen = np.concatenate(
        [order[train.labels[order] == digit][: (split.labels == digit).sum()] for digit in range(LABELS)]
    )
    chosen = rng.permutation(chosen)  # so that no block of the kernel distance has one digit alone
    real = Split(train.images[chosen], train.labels[chosen])
    nearest = _nearest(real, split, np.delete(train.images, chosen, axis=0))  # first, because that copy is large
    references = [classifier.features(split.images) for classifier in classifiers]
    return {**_sample_scores(real, split, classifiers, references, split), "nearest": nearest}


def _nearest(drawn, split, others):
    """Return the median distance to the nearest of other images, as a share of that of the split's images.

    Only the first thousand images of each set are compared.
    """
    near, usual = (metrics.nearest_neighbours(each.images[:1000], others)[1] for each in (drawn, split))
    return float(np.median(near) / np.median(usual))


def _sample_scores(drawn, even, classifiers, references, split):
    """Return the scores that `gan` and `real_baseline` share.

    The label accuracies are those of `even`. All other scores compare `drawn` with the split. `references` are the
    split's features, for each classifier.
    """
    block = min(1_000, len(drawn) // 2, len(split) // 2)

    def measure(classifier: keras.Model, reference: np.ndarray) -> dict[str, float]:
        accuracy = metrics.label_accuracy(classifier, even.images, even.labels)
        features = classifier.features(drawn.images)
        return {
            "label": accuracy["overall"],
            "worst_class_accuracy": min(accuracy["by_digit"]),
            "frechet": metrics.frechet_distance(features, reference),
            "kernel": metrics.kernel_distance(features, reference, block=block)["mean"],
            **metrics.neighbourhood_scores(features, reference),
        }

    return {
        **_by_both(classifiers, measure, references),
        "diversity": metrics.relative_diversity(drawn.images, drawn.labels, split)["overall"],
    }


# The scores of a run of the report by the kind of its model: a kind `x` has a function `score_x`. All take the model,
# two reference classifiers, the dataset and the name of a split.


def score_autoencoder(model: keras.Model, classifiers: Sequence[keras.Model], data: Dataset, split: str) -> dict:
    """Score an autoencoder on a split, see `ae`."""
    return ae(model, classifiers, getattr(data, split))


def score_vae(model: keras.Model, classifiers: Sequence[keras.Model], data: Dataset, split: str) -> dict:
    """Score a VAE on a split, see `vae`. The test set gets the importance-weighted bound too."""
    return vae(model, classifiers, getattr(data, split), tight=split == "test")


def score_conditional_vae(model: keras.Model, classifiers: Sequence[keras.Model], data: Dataset, split: str) -> dict:
    """Score a conditional VAE on a split, see `conditional_vae`."""
    return conditional_vae(model, classifiers, getattr(data, split))


def score_gan(model: keras.Model, classifiers: Sequence[keras.Model], data: Dataset, split: str) -> dict:
    """Score a conditional GAN against a split, see `gan`."""
    return gan(model, classifiers, getattr(data, split), data.train)


def score_classifier(model: keras.Model, classifiers: Sequence[keras.Model], data: Dataset, split: str) -> dict:
    """Score a classifier on a split, see `classifier`."""
    return classifier(model, getattr(data, split))


def score_gan_train(model: keras.Model, classifiers: Sequence[keras.Model], data: Dataset, split: str) -> dict:
    """Score the classifier that learned from the GAN's images, on real ones."""
    return classifier(model, getattr(data, split))
