"""All scores of one trained model on one split.

`evaluate` scores any model on any data set, beside the scores of real images. The other functions give the scores of
the report, for MNIST, as flat dicts of floats. Notebooks quote those of one seed; the study collects them over several
seeds. Two reference classifiers, trained on real images only, score all generated images. Names of the second one's
scores end in _2. `real_baseline` gives the scores of the GAN for real images instead of generated ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from genmodels import metrics, validation
from genmodels.canvas import all_conditions, all_positions, canvases_of, conditions
from genmodels.config import quick_mode
from genmodels.datasets import LABELS, SHAPE, SIDE, Dataset, Split, binarize
from genmodels.models.conditional_vae import ConditionalVAE

PAIRS = ((9, 7), (1, 8))  # of the tasks 1.3 and 2.4
MOVED = 2_000  # images of a split, the first ones, encoded and then decoded in all nine cells
BOUND_IMAGES = 100  # images of a split, the first ones, for the importance-weighted bound
LABELLED = 10_000  # images of the GAN for its label accuracy, the same number of each class
EACH = 50  # samples of the conditional VAE for each of the 90 conditions
COMPARED = 10_000  # images of a larger split, chosen at random, that `evaluate` scores
HELD = 2**26  # values in the images of one kind that `evaluate` holds at once: 256 MiB
READ = 1_024  # training images that `evaluate` reads at once
FEWEST = 4  # images that `evaluate` needs: two blocks of two for the kernel distance
# The values of each score that are better: "lower" or "higher" ones, or those nearer to the value of "real" images. The
# KL term alone says nothing.
BETTER = {
    **dict.fromkeys(("accuracy", "worst_class_accuracy", "reconstruction_accuracy", "label"), "higher"),
    **dict.fromkeys(("position", "ink_inside", "precision", "recall", "density", "coverage"), "higher"),
    **dict.fromkeys(("mse", "negative_elbo", "reconstruction", "negative_iwae", "negative_elbo_there"), "lower"),
    **dict.fromkeys(("frechet", "kernel", "collapsed_classes"), "lower"),
    **dict.fromkeys(("diversity", "worst_class_diversity", "nearest"), "real"),
    "kl": None,
}


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


def trainable_parameters(model: keras.Model) -> int:
    """Return the number of a model's trainable parameters."""
    return int(sum(np.prod(weight.shape) for weight in model.trainable_weights))


def _by_both(classifiers, measure, *others):
    """Return {name: value} of a measure for each of up to two classifiers. Names of the second end in _2.

    Each of `others` is a list of as many. `measure` takes one element of each beside the classifier.
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
    total = terms["reconstruction"] + terms["kl"]
    found = {
        "negative_elbo": float(total.mean()),
        "reconstruction": float(terms["reconstruction"].mean()),
        "kl": float(terms["kl"].mean()),
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
        frechet, kernel, precision, recall, density, coverage: Comparison of other samples, one for each image of the
            split and under its condition, with the binarized split, in the classifier's features. The scores of real
            images are those of `real_baseline` for binarized splits.
        moved_...: The first four for the first MOVED images, encoded and then decoded in all cells.
        probe_position: Accuracy of a linear probe of z, drawn from q(z|x), that predicts the cell.
        probe_label: Accuracy of a linear probe of the same z that predicts the label.
        active_units: See `metrics.active_units`.
        negative_elbo, reconstruction, kl: See `vae`.
    """
    images, placed = canvases_of(split)
    bounds = _bounds(model, images, placed)
    z_mean, z_log_var = model.encode(images, placed)
    del images  # the largest array
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(0).standard_normal(z_mean.shape, "float32")
    each, moved = (5, 100) if quick_mode() else (EACH, MOVED)
    wanted, real = all_conditions(each), split.binarized()
    drawn = binarize(model.sample(wanted, seed=0))
    cells = metrics.crop(drawn, wanted)
    return {
        **_condition_scores(classifiers, drawn, wanted),
        "diversity": metrics.relative_diversity(cells, wanted[:, 0], real)["overall"],
        **_compared_cells(model, classifiers, real, placed),
        **_moved(model, classifiers, z_mean[:moved], split.labels[:moved]),
        "probe_position": metrics.linear_probe(z, 3 * placed[:, 2] + placed[:, 1])["mean"],
        "probe_label": metrics.linear_probe(z, split.labels)["mean"],
        "active_units": metrics.active_units(z_mean),
        **bounds,
    }


def _compared_cells(model, classifiers, real, placed):
    """Return `_feature_scores` of one binarized sample for each condition, cut out of its canvas."""
    drawn = metrics.crop(binarize(model.sample(placed, seed=1), "uint8"), placed)

    def measure(classifier: keras.Model) -> dict[str, float]:
        return _feature_scores(classifier.features(drawn), classifier.features(real.images))

    return _by_both(classifiers, measure)


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
    even = _evenly(model, len(split))
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
    chosen = _in_place(split, train)
    real = Split(train.images[chosen], train.labels[chosen])
    nearest = _nearest(real, split, np.delete(train.images, chosen, axis=0))  # first, because that copy is large
    references = [classifier.features(split.images) for classifier in classifiers]
    return {**_sample_scores(real, split, classifiers, references, split), "nearest": nearest}


def _evenly(model, count):
    """Return generated images of all classes in turn: LABELLED of them, or `count` in the quick mode."""
    labels = np.arange(count if quick_mode() else LABELLED) % model.num_classes
    return Split(model.generate(labels, seed=1), labels)


def _in_place(split, train):
    """Return the places of random training images with the labels of a split; fewer where `train` lacks a class."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(train))
    if split.labels is None:
        return order[: len(split)]
    classes = np.unique(split.labels)
    counts = [(split.labels == label).sum() for label in classes]
    each = [order[train.labels[order] == label][:count] for label, count in zip(classes, counts)]
    return rng.permutation(np.concatenate(each))  # so that no block of the kernel distance has one class alone


def _nearest(drawn, split, others):
    """Return the median distance to the nearest of other images, as a share of that of the split's images.

    Only the first thousand images of each set are compared. None if the split's images are among the others: their
    distances are then nothing but rounding.
    """
    near, usual = (metrics.nearest_neighbours(each.images[:1000], others)[1] for each in (drawn, split))
    return float(np.median(near) / np.median(usual)) if np.median(usual) > 1e-3 else None


def _sample_scores(drawn, even, classifiers, references, split):
    """Return the scores that `gan` and `real_baseline` share.

    The label accuracies are those of `even`. All other scores compare `drawn` with the split. `references` are the
    split's features, for each classifier.
    """
    return {
        **_classifier_scores(drawn, even, classifiers, references),
        "diversity": metrics.relative_diversity(drawn.images, drawn.labels, split)["overall"],
    }


def _classifier_scores(drawn, even, classifiers, references):
    """Return the scores that need classifiers: label accuracies of `even`, and `drawn` against reference features."""

    def measure(classifier: keras.Model, reference: np.ndarray) -> dict[str, float]:
        labelled = {} if even is None else _label_scores(classifier, even, "label")
        return {**labelled, **_feature_scores(classifier.features(drawn.images), reference)}

    return _by_both(classifiers, measure, references)


def _label_scores(classifier, split, name):
    """Return the label accuracy of images as `name`, and that of the worst class that occurs."""
    found = metrics.label_accuracy(classifier, split.images, split.labels)
    known = [share for share in found["by_digit"] if share is not None]
    return {name: found["overall"], "worst_class_accuracy": min(known)}


def _feature_scores(features, reference):
    """Compare features with those of real images; few of them in smaller blocks and with nearer neighbours."""
    fewer = min(len(features), len(reference))
    return {
        "frechet": metrics.frechet_distance(features, reference),
        "kernel": metrics.kernel_distance(features, reference, block=min(1_000, fewer // 2))["mean"],
        **metrics.neighbourhood_scores(features, reference, neighbours=min(5, fewer - 1)),
    }


# Any model on any data.


def evaluate(
    model: Any,
    data: Dataset,
    classifiers: Sequence[keras.Model] | keras.Model | None = None,
    *,
    split: str = "test",
    bound_samples: int = 1_000,
) -> dict[str, dict[str, float | str | None]]:
    """Score a model on a data set: every score that makes sense for both, beside that of real images.

    For the real value of a generated set of images, real training images with the same labels take its place. That of
    an accuracy is the accuracy on the split's own images. A Bernoulli VAE is scored on images binarized at 0.5, and its
    samples are binarized too. `collapsed_classes` counts the classes with less than 0.35 of the diversity of real
    images; `nearest` is explained at `gan`.

    The data may be larger than memory: training images are read in batches. Of a large split 10,000 images are scored,
    chosen at random, or as many as take 256 MiB if those are fewer.

    Args:
        model: An AE, VAE, ConditionalVAE, ConditionalGAN or Classifier, or a model with the same methods.
        data: Data set with images of the model's shape. Without labels, all scores that need them are left out.
        classifiers: One or two classifiers, trained on real images of this kind; None leaves out the scores that need
            them.
        split: "test" or "validation".
        bound_samples: Number of z for each image of the importance-weighted bound, which grows with it. The report
            takes 5,000. 0 leaves out that bound.

    Returns:
        {score: {"value": value, "error": its standard error or None, "real": value for real images or None, "better":
        "lower", "higher", "real" (the nearer to `real`) or None}}. It is ready for JSON; `as_table` prints it.

    Raises:
        ValueError: The model is of another kind, there are too few images, or shapes or numbers of classes differ.

    Example:
        >>> print(as_table(evaluate(model, data, [classifier])))
    """
    classifiers = [classifiers] if isinstance(classifiers, keras.Model) else list(classifiers or ())
    held_out = getattr(data, validation.choice("split", split, ("validation", "test")))
    validation.number("bound_samples", bound_samples, 0, whole=True)
    _check_evaluable(model, data, classifiers, held_out, split)
    held_out = _at_most(held_out, _most(data.image_shape))
    if isinstance(model, ConditionalVAE):
        found = _evaluated_conditional_vae(model, classifiers, held_out, bound_samples)
    elif hasattr(model, "classify"):
        found = _label_scores(model, held_out, "accuracy"), {}
    elif hasattr(model, "generate"):
        found = _evaluated_gan(model, classifiers, held_out, data.train)
    elif hasattr(model, "log_likelihood"):
        found = _evaluated_vae(model, classifiers, held_out, data.train, bound_samples)
    else:
        found = _evaluated_ae(model, classifiers, held_out)
    return {name: _row(name, value, found[1]) for name, value in found[0].items() if value is not None}


def _row(name, value, real):
    """Return the entry of a score, which is a number or a mean with its error."""
    value = value if isinstance(value, Mapping) else {"mean": float(value), "error": None}
    better = BETTER[name.removesuffix("_2")]
    return {"value": value["mean"], "error": value["error"], "real": real.get(name), "better": better}


def as_table(scores: Mapping[str, Mapping[str, float | str | None]]) -> str:
    """Return scores of `evaluate` as a table of text, one score a line.

    Args:
        scores: Result of `evaluate`.

    Returns:
        Lines of equal columns: score, value, standard error, value of real images, and the direction that is better.
    """

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    rows = [("score", "value", "error", "real images", "better")]
    for name, row in scores.items():
        better = {"real": "like real", None: ""}.get(row["better"], row["better"])
        rows.append((name, *(number(row[part]) for part in ("value", "error", "real")), better))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]))).rstrip() for row in rows]
    return "\n".join(lines)


def reconstruct(model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encode and decode images.

    Args:
        model: An AE or a VAE. For a Bernoulli VAE the images are binarized at 0.5. A VAE decodes the mean of q(z|x).
        images: Shape (N, height, width, channels), values in [0, 1].

    Returns:
        The images as the model sees them, and their reconstructions, of the same shape.
    """
    seen = _prepared_for(model)(images)
    codes = model.encode(seen)
    return seen, model.decode(codes[0] if isinstance(codes, (tuple, list)) else codes)


def _prepared_for(model):
    """Return the function that turns images into what the model sees."""
    return binarize if getattr(model, "likelihood", None) == "bernoulli" else np.asarray


def _check_evaluable(model, data, classifiers, held_out, split):
    """Raise ValueError unless `evaluate` can score the model on these images."""
    kinds = (("classify",), ("generate",), ("log_likelihood",), ("encode", "decode"))
    if not any(all(hasattr(model, method) for method in kind) for kind in kinds):
        kinds = "an AE, VAE, ConditionalVAE, ConditionalGAN or Classifier"
        raise ValueError(f"model must be {kinds}, got {type(model).__name__}")
    if len(held_out) < FEWEST:
        raise ValueError(f"expected at least {FEWEST} {split} images, got {len(held_out)}")
    if len(classifiers) > 2:
        raise ValueError(f"classifiers must be one or two, got {len(classifiers)}")
    if isinstance(model, ConditionalVAE) and (tuple(data.image_shape), data.num_classes) != (SHAPE, LABELS):
        expected = f"images of shape {SHAPE} in {LABELS} classes for a ConditionalVAE"
        raise ValueError(f"expected {expected}, got {tuple(data.image_shape)} in {data.num_classes}")
    if hasattr(model, "classify") and held_out.labels is None:
        raise ValueError("expected data with labels to score a classifier, got images alone")
    parts = [("classifier", each) for each in classifiers]
    parts += [] if isinstance(model, ConditionalVAE) else [("model", model)]
    for name, part in parts:
        if tuple(part.image_shape) != tuple(data.image_shape):
            expected = f"a {name} of images of shape {tuple(data.image_shape)}, as in the data"
            raise ValueError(f"expected {expected}, got one of {tuple(part.image_shape)}")
        labelled = hasattr(part, "classify") or hasattr(part, "generate")
        if held_out.labels is not None and labelled and part.num_classes != data.num_classes:
            expected = f"a {name} of {data.num_classes} classes, as in the data"
            raise ValueError(f"expected {expected}, got one of {part.num_classes}")


def _evaluated_ae(model, classifiers, split):
    """Return the scores of an autoencoder, and those of real images."""
    _, reconstructions = reconstruct(model, split.images)
    found = {"mse": metrics.squared_error(split.images, reconstructions)}
    recognised, real = (_recognised(images, split, classifiers) for images in (reconstructions, split.images))
    return {**found, **recognised}, real


def _recognised(images, split, classifiers):
    """Return the share of images that each classifier gives the labels of the split; nothing without labels."""
    if split.labels is None:
        return {}

    def measure(classifier: keras.Model) -> dict[str, float]:
        return {"reconstruction_accuracy": metrics.label_accuracy(classifier, images, split.labels)["overall"]}

    return _by_both(classifiers, measure)


def _evaluated_vae(model, classifiers, split, train, bound_samples):
    """Return the scores of a VAE, and those of real images."""
    prepared = _prepared_for(model)
    split = Split(prepared(split.images), split.labels)
    found = _evaluated_bounds(model, split.images, bound_samples)
    _, reconstructions = reconstruct(model, split.images)
    recognised, real = (_recognised(images, split, classifiers) for images in (reconstructions, split.images))

    def draw(labels: np.ndarray | None, count: int) -> np.ndarray:
        return prepared(model.sample(count, seed=0))

    unlabelled = Split(split.images)  # samples have no labels to compare by
    scores, real_scores = _against_real(draw, None, None, classifiers, unlabelled, train, prepared)
    return {**found, **recognised, **scores}, {**real, **real_scores}


def _evaluated_bounds(model, images, bound_samples, conditions=None):
    """Return negative_elbo with its error and parts, and the importance-weighted bound of some images."""
    terms = metrics.elbo_terms(model, images, 0, conditions)
    total = terms["reconstruction"] + terms["kl"]
    found = {"negative_elbo": metrics.mean_and_error(total)}
    found |= {"reconstruction": terms["reconstruction"].mean(), "kl": terms["kl"].mean()}
    if bound_samples:
        chosen = _some(len(images), 10 if quick_mode() else BOUND_IMAGES)
        there = images[chosen], 0, None if conditions is None else conditions[chosen]
        bounds = metrics.importance_weighted_bound(model, *there, samples=bound_samples)
        found["negative_iwae"] = metrics.mean_and_error(-bounds)
        found["negative_elbo_there"] = metrics.mean_and_error(total[chosen])
    return found


def _evaluated_conditional_vae(model, classifiers, split, bound_samples):
    """Return the scores of a conditional VAE, and those of real digits on the canvas."""
    split = split.binarized()
    canvases, placed = canvases_of(split)
    found, real = _evaluated_bounds(model, canvases, bound_samples, placed), {}
    wanted = all_conditions(5 if quick_mode() else EACH)
    drawn = binarize(model.sample(wanted, seed=0))

    def measured(canvases: np.ndarray, conditions: np.ndarray) -> dict[str, float]:
        def measure(classifier: keras.Model) -> dict[str, float]:
            scores = metrics.conditional_accuracy(classifier, canvases, conditions)
            return {name: scores[name] for name in ("label", "position", "ink_inside")}

        return _by_both(classifiers, measure)

    found |= measured(drawn, wanted) | _diversities(Split(metrics.crop(drawn, wanted), wanted[:, 0]), split)
    real |= measured(canvases, placed) | _diversities(split, split)
    return found, real


def _evaluated_gan(model, classifiers, split, train):
    """Return the scores of a conditional generator, and those of real images."""

    def draw(labels: np.ndarray | None, count: int) -> np.ndarray:
        return model.generate(np.arange(count) % model.num_classes if labels is None else labels, seed=0)

    even = None
    if classifiers:  # as `_evenly` does for the report
        count = len(split) if quick_mode() else min(LABELLED, _most(split.image_shape))
        labels = np.arange(count) % model.num_classes
        even = Split(model.generate(labels, seed=1), labels)
    return _against_real(draw, even, split, classifiers, split, train)


def _against_real(draw, even, labelled, classifiers, split, train, prepared=np.asarray):
    """Compare generated images with a split, and real training images in their place.

    Args:
        draw: Function of labels, or None, and a count that returns images.
        even: Generated images of all classes, for their label accuracy, or None.
        labelled: Real images for their label accuracy, or None.
        classifiers: Up to two classifiers.
        split: Real images to compare with, with or without labels.
        train: Training images, with labels if the split has some.
        prepared: Function of training images that returns them as the model sees them.

    Returns:
        The scores of generated images, and those of real ones.
    """
    chosen = _in_place(split, train)
    if len(chosen) < FEWEST:
        raise ValueError(f"expected at least {FEWEST} training images with labels of the split, got {len(chosen)}")
    real = Split(prepared(train.batch(chosen)), None if split.labels is None else train.labels[chosen])
    labels = split.labels if len(real) == len(split) else real.labels
    drawn = Split(draw(labels, len(real)), labels)
    references = [classifier.features(split.images) for classifier in classifiers]
    labelled = labelled if labelled is not None and labelled.labels is not None else None
    rows = np.arange(len(train))
    sets = (drawn, even, rows), (real, labelled, np.delete(rows, chosen))
    return tuple(
        {
            **_classifier_scores(images, even_ones, classifiers, references),
            **_diversities(images, split),
            "nearest": _nearest_in_batches(images, split, train, prepared, others) if len(others) else None,
        }
        for images, even_ones, others in sets
    )


def _nearest_in_batches(drawn, split, train, prepared, rows):
    """Return the value of `_nearest` for the training images in `rows`, of which READ are read at a time."""
    compared = [each.images[_some(len(each), 1_000)] for each in (drawn, split)]
    least = [np.full(len(images), np.inf) for images in compared]
    step = min(READ, _most(split.image_shape))
    for start in range(0, len(rows), step):
        others = prepared(train.batch(rows[start : start + step]))
        found = [metrics.nearest_neighbours(images, others)[1] for images in compared]
        least = [np.minimum(*pair) for pair in zip(least, found)]
    near, usual = map(np.median, least)
    return float(near / usual) if usual > 1e-3 else None


def _of_classes(split, labels):
    return split.select(np.flatnonzero(np.isin(split.labels, labels)))


def _most(image_shape):
    """Return the number of images of a shape that `evaluate` holds at most: COMPARED, or as many as HELD allows."""
    return max(FEWEST, min(COMPARED, HELD // int(np.prod(image_shape))))


def _at_most(split, count):
    """Return a split, or `count` of its images chosen at random."""
    return split if len(split) <= count else split.select(_some(len(split), count))


def _some(length, count):
    """Return up to `count` places below `length`, chosen at random and sorted: images may be sorted by class."""
    return np.sort(np.random.default_rng(0).permutation(length)[:count])


def _diversities(drawn, split):
    """Return the diversity within classes, that of the worst class, and the number of collapsed classes.

    Nothing without labels, or if no class has two images in both sets.
    """
    if drawn.labels is None or split.labels is None:
        return {}
    drawn, split = (_of_classes(*pair) for pair in ((drawn, split.labels), (split, drawn.labels)))
    size = max(each.labels.max(initial=-1) for each in (drawn, split)) + 1
    fewer = np.minimum(*(np.bincount(each.labels, minlength=size) for each in (drawn, split)))
    if fewer.max(initial=0) < 2:
        return {}
    found = metrics.relative_diversity(drawn.images, drawn.labels, split)
    known = [share for share in found["by_digit"] if share is not None]
    collapsed = float(len(metrics.collapsed_classes(known)))
    return {"diversity": found["overall"], "worst_class_diversity": min(known), "collapsed_classes": collapsed}


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
