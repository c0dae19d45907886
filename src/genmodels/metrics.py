"""Measures of the quality of a model. Scores are plain Python floats and lists of them, ready for JSON.

Images have any height, width and channels. Functions that compare two sets of images demand one shape of both;
functions that use a classifier demand the classifier's. Canvases are 56x56 pixels.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances, polynomial_kernel
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches

from genmodels import validation
from genmodels.canvas import CANVAS, CANVAS_SHAPE, GRID, STRIDE, validate_conditions
from genmodels.datasets import SIDE, Split, binarize, validate_images, validate_labels
from genmodels.distributions import kl_closed_form, kl_monte_carlo


def mean_and_error(values: ArrayLike) -> dict[str, float]:
    """Return the mean of per-example values and its standard error.

    Args:
        values: Shape (N,).

    Returns:
        mean: Mean of the values.
        error: Its standard error, standard deviation / sqrt(N).

    Raises:
        ValueError: The values have another shape or are not finite.
    """
    values = validation.array("values", values, ("N",)).astype("float64")
    return {"mean": float(values.mean()), "error": float(values.std(ddof=1) / np.sqrt(len(values)))}


def squared_error(images: ArrayLike, reconstructions: ArrayLike) -> dict[str, float]:
    """Return the squared error per pixel, averaged over images.

    Args:
        images: Shape (N, height, width, channels), values in [0, 1].
        reconstructions: Same shape and range.

    Returns:
        mean: Mean over the images.
        error: Its standard error over the images.

    Raises:
        ValueError: The shapes differ, or a value is out of range.
    """
    images = validate_images(images)
    reconstructions = validate_images(reconstructions, images.shape[1:], name="reconstructions")
    validation.same_length(images=images, reconstructions=reconstructions)
    return mean_and_error(np.square(images - reconstructions).mean(axis=(1, 2, 3)))


def elbo_terms(
    model: keras.Model, images: np.ndarray, seed: int, conditions: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the terms of the evidence lower bound, from one z for each image.

    Args:
        model: A VAE, or a ConditionalVAE.
        images: Images (N, height, width, channels) in [0, 1], binarized if the likelihood is Bernoulli; canvases
            (N, 56, 56, 1) for a ConditionalVAE.
        seed: Seed of z. All terms use the same z.
        conditions: Shape (N, 3), for a ConditionalVAE only.

    Returns:
        Arrays (N,) in nats:
        reconstruction: -log p(x|z).
        kl_closed_form: KL term in closed form; left out if the model has learned its prior.
        kl_monte_carlo: KL term estimated at z.
        kl: The first of the two that there is, because it has less variance.

    Raises:
        ValueError: The images or the conditions are not allowed.

    Source:
        Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, equations 6 and 7.
    """
    condition = [] if conditions is None else [conditions]
    z_mean, z_log_var = model.encode(images, *condition)
    noise = np.random.default_rng(seed).standard_normal(z_mean.shape, "float32")
    z = z_mean + np.exp(0.5 * z_log_var) * noise
    reconstruction = []
    for rows in gen_batches(len(z), 1_000):  # the logits of all canvases at once would fill the memory
        logits = model.decode_logits(z[rows], *(values[rows] for values in condition))
        reconstruction.append(-ops.convert_to_numpy(model.log_likelihood(images[rows], logits)))
    logpz = _logpz(model, z, condition)
    kl = {"kl_closed_form": ops.convert_to_numpy(kl_closed_form(z_mean, z_log_var))} if logpz is None else {}
    kl["kl_monte_carlo"] = ops.convert_to_numpy(kl_monte_carlo(z_mean, z_log_var, z, logpz))
    return {"reconstruction": np.concatenate(reconstruction), **kl, "kl": next(iter(kl.values()))}


def _logpz(model, z, condition):
    """Return the log-density of a learned prior at z, shape (N,); None for the prior N(0, I)."""
    return None if getattr(model, "prior", "normal") == "normal" else model.log_prior(z, *condition)


def negative_elbo(terms: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return -ELBO, with the KL in closed form unless the prior was learned.

    Args:
        terms: Terms from `elbo_terms`.

    Returns:
        Values in nats:
        mean: Mean of -ELBO.
        error: Its standard error.
        reconstruction: Mean of the reconstruction term.
        kl: Mean of the KL term.
    """
    total = terms["reconstruction"] + terms["kl"]
    return mean_and_error(total) | {name: float(terms[name].mean()) for name in ("reconstruction", "kl")}


def label_accuracy(
    classifier: keras.Model, images: ArrayLike, labels: ArrayLike
) -> dict[str, float | int | list[float | None]]:
    """Return the share of images that the classifier gives their label.

    Args:
        classifier: A trained Classifier.
        images: Shape (N, *classifier.image_shape), values in [0, 1].
        labels: Shape (N,), whole numbers from 0 to classifier.num_classes - 1.

    Returns:
        overall: Share of all images, 0 to 1.
        by_digit: Share of each of the classifier's classes, in their order; None for a class that does not occur.
        count: Number of images.

    Raises:
        ValueError: The images or the labels are not allowed, or their numbers differ.
    """
    images = validate_images(images, classifier.image_shape)
    labels = validate_labels(labels, classifier.num_classes)
    validation.same_length(images=images, labels=labels)
    right = classifier.classify(images) == labels
    groups = [right[labels == label] for label in range(classifier.num_classes)]
    by_digit = [float(group.mean()) if len(group) else None for group in groups]
    return {"overall": float(right.mean()), "by_digit": by_digit, "count": len(right)}


def confident_share(classifier: keras.Model, images: ArrayLike, *, threshold: float = 0.9) -> float:
    """Return the share of images that the classifier is confident about.

    Args:
        classifier: A trained Classifier.
        images: Shape (N, *classifier.image_shape), values in [0, 1].
        threshold: Smallest probability of the most probable class, 0 to 1.

    Returns:
        Share, 0 to 1.

    Raises:
        ValueError: The images or the threshold are not allowed.
    """
    validation.number("threshold", threshold, 0, 1)
    logits = classifier.predict(validate_images(images, classifier.image_shape), batch_size=500, verbose=0)
    probabilities = ops.convert_to_numpy(ops.softmax(logits))
    return float((probabilities.max(axis=1) >= threshold).mean())


def grey_share(images: ArrayLike, *, margin: float = 0.1) -> float:
    """Return the share of grey pixels among the pixels that are not black; each channel of a pixel counts by itself.

    A pixel is grey strictly between `margin` and 1 - `margin`, and not black above `margin`.

    Args:
        images: Shape (N, height, width, channels), values in [0, 1].
        margin: Distance from 0 and 1, 0 to 0.5.

    Returns:
        Share, 0 to 1; 0 for binarized images.

    Raises:
        ValueError: The images or the margin are not allowed.
    """
    images, margin = validate_images(images), validation.number("margin", margin, 0, 0.5)
    return float(((images > margin) & (images < 1 - margin)).sum() / max((images > margin).sum(), 1))


def code_spread(codes: ArrayLike, *, box: float = 0.25, reach: float = 3.0) -> dict[str, float]:
    """Describe the spread of codes in the plane, in the unit of the axes.

    Args:
        codes: Shape (N, 2).
        box: Side of a box.
        reach: Half the side of the square that the boxes fill.

    Returns:
        smallest: Smallest coordinate on both axes.
        largest: Largest coordinate on both axes.
        inside_grid: Share of codes in [-4, 4]^2.
        filled: Share of boxes in [-reach, reach]^2 that hold at least one code.

    Raises:
        ValueError: The codes have another shape or are not finite.
    """
    codes = validation.array("codes", codes, ("N", 2))
    edges = np.linspace(-reach, reach, round(2 * reach / box) + 1)
    counts, _, _ = np.histogram2d(codes[:, 0], codes[:, 1], bins=[edges, edges])
    return {
        "smallest": float(codes.min()),
        "largest": float(codes.max()),
        "inside_grid": float((np.abs(codes) <= 4).all(axis=1).mean()),
        "filled": float((counts > 0).mean()),
    }


def crop(canvases: ArrayLike, conditions: ArrayLike) -> np.ndarray:
    """Cut from each canvas the cell that its condition asks for.

    Args:
        canvases: Shape (N, 56, 56, 1), values in [0, 1].
        conditions: Shape (N, 3).

    Returns:
        Shape (N, 28, 28, 1).

    Raises:
        ValueError: The canvases or the conditions are not allowed, or their numbers differ.
    """
    canvases, conditions = validate_images(canvases, CANVAS_SHAPE, name="canvases"), validate_conditions(conditions)
    validation.same_length(canvases=canvases, conditions=conditions)
    corners = STRIDE * conditions[:, 1:]
    return np.stack([canvas[y : y + SIDE, x : x + SIDE] for canvas, (x, y) in zip(canvases, corners)])


def found_positions(canvases: ArrayLike) -> np.ndarray:
    """Return the cell whose centre is nearest to the ink's centre of mass.

    Cells overlap, so that the ink of one digit can lie within two of them. The centre of mass tells them apart.

    Args:
        canvases: Shape (N, 56, 56, 1), values in [0, 1].

    Returns:
        Shape (N, 2), pos_x and pos_y; -1 and -1 for a canvas without ink.

    Raises:
        ValueError: The canvases have another shape, dtype or range.
    """
    ink = validate_images(canvases, CANVAS_SHAPE, name="canvases")[..., 0]
    along_x, along_y = (ink.sum(axis=axis, dtype="float64") for axis in (1, 2))
    lines = np.arange(CANVAS) + 0.5
    total = along_x.sum(axis=1, keepdims=True)
    moments = np.stack([(along_x * lines).sum(1), (along_y * lines).sum(1)], axis=1)
    centre = moments / np.where(total > 0, total, 1)
    cells = np.clip(np.rint((centre - SIDE / 2) / STRIDE), 0, GRID - 1).astype("int32")
    return np.where(total > 0, cells, -1)


def conditional_accuracy(classifier: keras.Model, canvases: ArrayLike, conditions: ArrayLike) -> dict[str, float | int]:
    """Measure how well canvases obey their conditions. Canvases are binarized first.

    Args:
        classifier: A trained Classifier.
        canvases: Shape (N, 56, 56, 1), pixel probabilities.
        conditions: Shape (N, 3).

    Returns:
        Shares from 0 to 1 and the number of canvases:
        label: The digit in the requested cell is classified correctly.
        position: The centre of the requested cell is the nearest to the ink's centre of mass.
        both: Label and position at once.
        ink_inside: Mean share of the ink that lies in the requested cell.
        count: Number of canvases.

    Raises:
        ValueError: The canvases or the conditions are not allowed, or their numbers differ.
    """
    drawn, conditions = binarize(canvases, "uint8"), validate_conditions(conditions)
    cells = crop(drawn, conditions)
    label = _classified(classifier, cells) == conditions[:, 0]
    position = (found_positions(drawn) == conditions[:, 1:]).all(axis=1)
    inside = cells.sum(axis=(1, 2, 3)) / np.maximum(drawn.sum(axis=(1, 2, 3)), 1)
    return {
        "label": float(label.mean()),
        "position": float(position.mean()),
        "both": float((label & position).mean()),
        "ink_inside": float(inside.mean()),
        "count": len(label),
    }


def _classified(classifier, binarized):
    """Classify images (N, 28, 28, 1), uint8, and each distinct image only once."""
    keys = [image.tobytes() for image in binarized]
    distinct = dict(zip(keys, binarized))
    names = dict(zip(distinct, classifier.classify(np.stack([*distinct.values()]).astype("float32"))))
    return np.array([names[key] for key in keys])


def relative_diversity(
    images: ArrayLike, labels: ArrayLike, real: Split, *, seed: int = 0
) -> dict[str, float | list[float | None]]:
    """Return the mean distance between images of one class, as a share of that distance for real images.

    The distance is Euclidean, over pixels, between random pairs of images of the same class.

    Args:
        images: Shape (N, height, width, channels) of the real images, values in [0, 1].
        labels: Shape (N,). Every class of the real images must occur.
        real: Real images with labels. Their classes are 0 to the largest label.
        seed: Seed of the pairs.

    Returns:
        overall: Mean over classes. 1 is as diverse as real images, 0 is the same image every time.
        by_digit: Value of each class; None without two images of it in both sets, or if all its real images are equal.

    Raises:
        ValueError: The images or the labels are not allowed, their numbers differ, a class is missing, or no class has
            a value.
    """
    if real.labels is None:
        raise ValueError("real must have labels, got None; a diversity within classes needs them")
    images = validate_images(images, real.images.shape[1:])
    labels = validate_labels(labels, int(real.labels.max()) + 1)
    validation.same_length(images=images, labels=labels)
    if missing := sorted({*real.labels.tolist()} - {*labels.tolist()}):
        raise ValueError(f"labels must hold every class of the real images, got none of {missing}")
    rng = np.random.default_rng(seed)
    by_class = []
    for label in range(int(real.labels.max()) + 1):
        groups = images[labels == label], real.images[real.labels == label]
        distances = [_pair_distance(group, rng) if len(group) > 1 else None for group in groups]
        by_class.append(float(distances[0] / distances[1]) if None not in distances and distances[1] else None)
    if not (known := [value for value in by_class if value is not None]):
        raise ValueError("expected a class with two images and with two different real ones, got none")
    return {"overall": float(np.mean(known)), "by_digit": by_class}


def collapsed_classes(diversity: Sequence[float | None], *, least: float = 0.35) -> list[int]:
    """Return the classes whose images hardly differ. A mean over classes may hide them.

    Args:
        diversity: Diversity of each class as a share of that of real images, such as `by_digit` of
            `relative_diversity`; None for a class without a value.
        least: Smallest diversity that counts as healthy, >= 0.

    Returns:
        Numbers of the classes below it.

    Raises:
        ValueError: `least` is not allowed.
    """
    validation.number("least", least, 0)
    return [label for label, value in enumerate(diversity) if value is not None and value < least]


def _pair_distance(images, rng):
    """Return the mean distance of each image to the next in a random order. No image is paired with itself."""
    shuffled = images[rng.permutation(len(images))]
    return np.sqrt(np.square(shuffled - np.roll(shuffled, 1, axis=0)).sum(axis=(1, 2, 3))).mean()


def importance_weighted_bound(
    model: keras.Model, images: np.ndarray, seed: int, conditions: np.ndarray | None = None, *, samples: int = 5_000
) -> np.ndarray:
    """Return the importance-weighted lower bound on log p(x) for each image.

    On average it is never below the ELBO. One image is decoded at a time, so that the memory does not grow with N.

    Args:
        model: A VAE, or a ConditionalVAE.
        images: Images (N, height, width, channels) in [0, 1], binarized if the likelihood is Bernoulli; canvases
            (N, 56, 56, 1) for a ConditionalVAE.
        seed: Seed of all z.
        conditions: Shape (N, 3), for a ConditionalVAE only.
        samples: Number k of z per image, >= 1.

    Returns:
        Shape (N,), nats.

    Raises:
        ValueError: The images, the conditions or the number of samples are not allowed.

    Source:
        Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, equation 8.
    """
    condition = [] if conditions is None else [conditions]
    validation.number("samples", samples, 1, whole=True)
    z_mean, z_log_var = model.encode(images, *condition)
    rng = np.random.default_rng(seed)
    bounds = []
    for index in range(len(images)):
        noise = rng.standard_normal((samples, z_mean.shape[1]), "float32")
        z = z_mean[index] + np.exp(0.5 * z_log_var[index]) * noise
        repeated = [np.repeat(values[index : index + 1], samples, axis=0) for values in condition]
        logits = model.decode_logits(z, *repeated)
        likelihood = ops.convert_to_numpy(model.log_likelihood(images[index : index + 1], logits))
        q = z_mean[index : index + 1], z_log_var[index : index + 1]
        kl = ops.convert_to_numpy(kl_monte_carlo(*q, z, _logpz(model, z, repeated)))
        bounds.append(logsumexp(likelihood.astype("float64") - kl) - np.log(samples))
    return np.array(bounds)


def linear_probe(codes: ArrayLike, targets: ArrayLike, *, folds: int = 5) -> dict[str, float | int]:
    """Return the accuracy of a linear classifier that predicts targets from codes.

    The classifier is logistic regression. An accuracy at chance says that the codes don't encode the target linearly.
    The codes are not standardised: that would blow up axes that a VAE has switched off, and with them what little they
    carry. Codes of a VAE must be samples of q(z|x), because the decoder cannot read the means more precisely either.

    Args:
        codes: Shape (N, latent_dim).
        targets: Shape (N,), whole numbers >= 0.
        folds: Number of folds of cross-validation.

    Returns:
        mean: Mean accuracy over the folds, 0 to 1.
        error: Its standard error over the folds.
        chance: Share of the most frequent target.
        count: Number of codes.

    Raises:
        ValueError: The codes or the targets are not allowed, or their numbers differ.

    Source:
        Alain & Bengio, "Understanding intermediate layers using linear classifier probes", 2017.
    """
    codes = validation.array("codes", codes, ("N", "latent_dim"))
    targets = validation.array("targets", targets, ("N",), 0, whole=True)
    validation.same_length(codes=codes, targets=targets)
    scores = cross_val_score(LogisticRegression(max_iter=500), codes, targets, cv=folds)
    chance = float(np.bincount(targets).max() / len(targets))
    return mean_and_error(scores) | {"chance": chance, "count": len(targets)}


def active_units(z_mean: ArrayLike, *, threshold: float = 0.01) -> int:
    """Return the number of latent axes that a VAE uses: those on which the mean of q(z|x) depends on the image.

    Args:
        z_mean: Means of q(z|x), shape (N, latent_dim), N >= 2.
        threshold: Least variance of the mean over the images.

    Returns:
        Number of axes, 0 to latent_dim.

    Raises:
        ValueError: The means are not allowed, or there is only one.

    Source:
        Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.3.
    """
    z_mean = validation.array("z_mean", z_mean, ("N", "latent_dim"))
    if len(z_mean) < 2:
        raise ValueError(f"z_mean must be of at least 2 images, got {len(z_mean)}")
    return int((z_mean.var(axis=0) > validation.number("threshold", threshold, 0)).sum())


def information_by_axis(z_mean: ArrayLike, z_log_var: ArrayLike) -> np.ndarray:
    """Return how much each latent axis can say about the image: an upper bound of the mutual information, in nats.

    With v for the variance of an axis over all images and all noise, and s^2 for the variance of q(z|x), the bound is

        I(x; z) <= 1/2 ln v - 1/2 mean(ln s^2)

    because no density of variance v has a larger entropy than the normal one. Unlike the KL term the bound does not
    depend on the prior, nor on the unit of the axis. An axis that carries nothing has 0.

    Args:
        z_mean: Means of q(z|x), shape (N, latent_dim).
        z_log_var: Log-variances of q(z|x), shape (N, latent_dim).

    Returns:
        Shape (latent_dim,), nats, each >= 0.

    Raises:
        ValueError: An array is not allowed, or their shapes differ.

    Source:
        Cover & Thomas, "Elements of Information Theory", 2006, theorem 8.6.5 (largest entropy).
    """
    z_mean, z_log_var = (
        validation.array(name, values, ("N", "latent_dim")).astype("float64")
        for name, values in (("z_mean", z_mean), ("z_log_var", z_log_var))
    )
    if z_mean.shape != z_log_var.shape:
        raise ValueError(f"expected z_mean and z_log_var of one shape, got {z_mean.shape} and {z_log_var.shape}")
    variance = z_mean.var(axis=0) + np.exp(z_log_var).mean(axis=0)
    return (np.log(variance) - z_log_var.mean(axis=0)) / 2


def frechet_distance(features: ArrayLike, reference: ArrayLike) -> float:
    """Return the squared Frechet distance between normal distributions fitted to two sets of features.

    The unit is that of the squared features. Compare values only within one feature space and sample size.

    Args:
        features: Shape (N, d), N >= 2.
        reference: Shape (M, d), M >= 2.

    Returns:
        Distance >= 0.

    Raises:
        ValueError: A set is too small, not finite, or of another width.

    Source:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, equation 6.
    """
    first, second = (values.astype("float64") for values in _compared(features, reference, 2))
    covariances = [np.atleast_2d(np.cov(values, rowvar=False)) for values in (first, second)]  # also of one feature
    # The trace of a matrix's square root is the sum of the roots of its eigenvalues; rounding makes some negative.
    roots = np.sqrt(np.clip(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0, None)).sum()
    shift = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(max(shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots, 0))


def kernel_distance(features: ArrayLike, reference: ArrayLike, *, block: int = 1_000) -> dict[str, float]:
    """Return the kernel distance (KID): the unbiased squared MMD with the kernel (x.y / d + 1)^3.

    The distance is averaged over disjoint blocks of both sets, chosen at random: images are often sorted by class. It
    may be negative.

    Args:
        features: Shape (N, d).
        reference: Shape (M, d).
        block: Features in a block, >= 2. Both sets must fill at least two blocks.

    Returns:
        mean: Mean over the blocks.
        error: Its standard error over the blocks.

    Raises:
        ValueError: A set is too small, not finite, or of another width.

    Source:
        Binkowski et al., "Demystifying MMD GANs", 2018, section 4.
    """
    features, reference = _compared(features, reference)
    validation.number("block", block, 2, whole=True)
    if (count := min(len(features), len(reference)) // block) < 2:
        raise ValueError(f"expected at least {2 * block} features in each set, got {len(features)}, {len(reference)}")
    rng = np.random.default_rng(0)
    pairs = zip(*(np.split(rng.permutation(each)[: count * block], count) for each in (features, reference)))
    return mean_and_error([_squared_mmd(first.astype("float64"), second.astype("float64")) for first, second in pairs])


def _squared_mmd(first, second):
    """Return the unbiased squared MMD, in which no example is compared with itself."""
    within = 0.0
    for group in (first, second):
        kernel = polynomial_kernel(group, degree=3)
        within += (kernel.sum() - np.trace(kernel)) / (len(group) * (len(group) - 1))
    return within - 2 * polynomial_kernel(first, second, degree=3).mean()


def neighbourhood_scores(features: ArrayLike, reference: ArrayLike, *, neighbours: int = 5) -> dict[str, float]:
    """Return precision, recall, density and coverage of features against those of real images.

    Each set is the union of balls around its points. A ball reaches to the `neighbours`-th nearest neighbour.

    Args:
        features: Shape (N, d), N > neighbours.
        reference: Features of real images, shape (M, d), M > neighbours.
        neighbours: Rank of the neighbour that a ball reaches to, >= 1.

    Returns:
        precision: Share of features inside real balls.
        recall: Share of real features inside balls of `features`.
        density: Number of real balls around a feature, divided by `neighbours`; 1 on average for real images.
        coverage: Share of real balls that hold a feature.

    Raises:
        ValueError: A set is too small, not finite, or of another width.

    Source:
        Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019; Naeem et al.,
        "Reliable Fidelity and Diversity Metrics for Generative Models", 2020.
    """
    features, reference = _compared(features, reference, validation.number("neighbours", neighbours, 1, whole=True) + 1)
    reach, reference_reach = _reach(features, neighbours), _reach(reference, neighbours)
    around = np.zeros(len(features))
    covered, recalled = [], []
    for rows in gen_batches(len(reference), 500):
        distances = euclidean_distances(reference[rows], features)
        inside = distances <= reference_reach[rows, None]
        around += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((distances <= reach).any(axis=1))
    return {
        "precision": float((around > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(around.mean() / neighbours),
        "coverage": float(np.concatenate(covered).mean()),
    }


def _compared(features, reference, fewest=1):
    """Return features (N, d) and (M, d) as arrays, or raise ValueError unless each set has at least `fewest`."""
    features = validation.array("features", features, ("N", "d"))
    reference = validation.array("reference", reference, ("M", features.shape[1]))
    if min(len(features), len(reference)) < fewest:
        raise ValueError(f"expected at least {fewest} features in each set, got {len(features)}, {len(reference)}")
    return features, reference


def _reach(points, neighbours):
    """Return the distance of each point to its `neighbours`-th nearest other point."""
    found = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(points)
    return found.kneighbors()[0][:, -1]


def nearest_neighbours(images: ArrayLike, real: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest real image to each image, by Euclidean distance over pixels.

    Args:
        images: Shape (N, height, width, channels), values in [0, 1].
        real: Shape (M, height, width, channels) with the same last three, values in [0, 1].

    Returns:
        Indices into `real` and distances, two arrays (N,).

    Raises:
        ValueError: The images have another shape, dtype or range.
    """
    images = validate_images(images)
    real = validate_images(real, images.shape[1:], name="real")
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(real.reshape(len(real), -1))
    distances, indices = search.kneighbors(images.reshape(len(images), -1))
    return indices[:, 0], distances[:, 0]
