"""Numbers that say how good a model is. Every function returns plain Python floats, ready for JSON."""

import numpy as np
from keras import ops
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances, polynomial_kernel
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from genmodels import checks
from genmodels.data import (
    CANVAS,
    GRID,
    LABELS,
    SIDE,
    STRIDE,
    checked_conditions,
    checked_images,
    checked_labels,
    quantise,
)
from genmodels.distributions import bernoulli_log_likelihood, kl_closed_form, kl_monte_carlo


def mean_and_error(values):
    """Mean of per-example values (N,) and the standard error of that mean (standard deviation / sqrt(N))."""
    values = checks.array("values", values, ("N",)).astype("float64")
    return {"mean": float(values.mean()), "error": float(values.std(ddof=1) / np.sqrt(len(values)))}


def squared_error(images, reconstructions):
    """Squared error per pixel, averaged over images (N, 28, 28, 1); error: of that mean over the images."""
    images, reconstructions = checked_images(images), checked_images(reconstructions, name="reconstructions")
    checks.same_length(images=images, reconstructions=reconstructions)
    return mean_and_error(np.square(images - reconstructions).mean(axis=(1, 2, 3)))


def elbo_terms(model, images, seed, conditions=None):
    """Terms of the evidence lower bound with one z for each image: a dict of arrays (N,), nats.

    Keys: reconstruction (-log p(x|z)), kl_closed_form, kl_monte_carlo, all at the same z drawn with `seed`. images:
    quantised, (N, 28, 28, 1), or canvases (N, 56, 56, 1) with their conditions (N, 3) for a ConditionalVAE.
    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, equations 6 and 7.
    """
    condition = [] if conditions is None else [conditions]
    z_mean, z_log_var = model.encode(images, *condition)
    noise = np.random.default_rng(seed).standard_normal(z_mean.shape, "float32")
    z = z_mean + np.exp(0.5 * z_log_var) * noise
    reconstruction = []
    for rows in gen_batches(len(z), 1_000):  # the logits of all canvases at once would fill the memory
        logits = model.decode_logits(z[rows], *(values[rows] for values in condition))
        reconstruction.append(-ops.convert_to_numpy(bernoulli_log_likelihood(images[rows], logits)))
    return {
        "reconstruction": np.concatenate(reconstruction),
        "kl_closed_form": ops.convert_to_numpy(kl_closed_form(z_mean, z_log_var)),
        "kl_monte_carlo": ops.convert_to_numpy(kl_monte_carlo(z_mean, z_log_var, z)),
    }


def negative_elbo(terms):
    """-ELBO from what `elbo_terms` gives, KL in closed form: its mean and error, and the means of its parts; nats."""
    total = terms["reconstruction"] + terms["kl_closed_form"]
    parts = {"reconstruction": terms["reconstruction"], "kl": terms["kl_closed_form"]}
    return mean_and_error(total) | {name: float(values.mean()) for name, values in parts.items()}


def label_accuracy(judge, images, labels):
    """Share of images (N, 28, 28, 1) that the judge gives their label (N,): overall, and a list for each digit 0-9.

    A digit that does not occur has None in the list.
    """
    images, labels = checked_images(images), checked_labels(labels)
    checks.same_length(images=images, labels=labels)
    right = judge.classify(images) == labels
    by_digit = [float(right[labels == digit].mean()) if (labels == digit).any() else None for digit in range(LABELS)]
    return {"overall": float(right.mean()), "by_digit": by_digit, "count": len(right)}


def confident_share(judge, images, *, threshold=0.9):
    """Share of images (N, 28, 28, 1) for which the judge gives some digit a probability of at least `threshold`."""
    checks.number("threshold", threshold, 0, 1)
    logits = judge.predict(checked_images(images), batch_size=500, verbose=0)
    probabilities = ops.convert_to_numpy(ops.softmax(logits))
    return float((probabilities.max(axis=1) >= threshold).mean())


def grey_share(images, *, margin=0.1):
    """Share of pixels strictly between `margin` and 1 - `margin` among those above `margin`, from 0 to 1.

    images: (N, 28, 28, 1) in [0, 1]. A pure black-and-white drawing has 0.
    """
    images, margin = checked_images(images), checks.number("margin", margin, 0, 0.5)
    return float(((images > margin) & (images < 1 - margin)).sum() / max((images > margin).sum(), 1))


def code_spread(codes, *, box=0.25, reach=3.0):
    """Where codes (N, 2) lie in the plane, in the unit of the axes.

    smallest, largest: over both axes. inside_grid: share of codes in [-4, 4]^2. filled: share of boxes of side `box` in
    [-reach, reach]^2 that hold at least one code.
    """
    codes = checks.array("codes", codes, ("N", 2))
    edges = np.linspace(-reach, reach, round(2 * reach / box) + 1)
    counts, _, _ = np.histogram2d(codes[:, 0], codes[:, 1], bins=[edges, edges])
    return {
        "smallest": float(codes.min()),
        "largest": float(codes.max()),
        "inside_grid": float((np.abs(codes) <= 4).all(axis=1).mean()),
        "filled": float((counts > 0).mean()),
    }


def crop(canvases, conditions):
    """The 28x28 cell of each canvas (N, 56, 56, 1) at its condition's position: (N, 28, 28, 1)."""
    canvases, conditions = checked_images(canvases, CANVAS, name="canvases"), checked_conditions(conditions)
    checks.same_length(canvases=canvases, conditions=conditions)
    corners = STRIDE * conditions[:, 1:]
    return np.stack([canvas[y : y + SIDE, x : x + SIDE] for canvas, (x, y) in zip(canvases, corners)])


def found_positions(canvases):
    """The cell nearest to the ink's centre of mass on canvases (N, 56, 56, 1): (N, 2), columns pos_x and pos_y.

    Cells overlap, so that the ink of one digit can lie within two of them; the centre of mass tells them apart. A
    canvas without ink has -1, -1.
    """
    ink = checked_images(canvases, CANVAS, name="canvases")[..., 0]
    along_x, along_y = (ink.sum(axis=axis, dtype="float64") for axis in (1, 2))
    lines = np.arange(CANVAS) + 0.5
    total = along_x.sum(axis=1, keepdims=True)
    moments = np.stack([(along_x * lines).sum(1), (along_y * lines).sum(1)], axis=1)
    centre = moments / np.where(total > 0, total, 1)
    cells = np.clip(np.rint((centre - SIDE / 2) / STRIDE), 0, GRID - 1).astype("int32")
    return np.where(total > 0, cells, -1)


def conditional_accuracy(judge, canvases, conditions):
    """How well canvases (N, 56, 56, 1), pixel probabilities, obey their conditions (N, 3). Shares from 0 to 1.

    Canvases are quantised first. label: the judge names the digit in the asked cell right; position: the ink's centre
    of mass is nearest to the centre of the asked cell; both: the two at once; ink_inside: mean share of ink in it.
    """
    drawn, conditions = quantise(canvases, "uint8"), checked_conditions(conditions)
    cells = crop(drawn, conditions)
    label = _named(judge, cells) == conditions[:, 0]
    position = (found_positions(drawn) == conditions[:, 1:]).all(axis=1)
    inside = cells.sum(axis=(1, 2, 3)) / np.maximum(drawn.sum(axis=(1, 2, 3)), 1)
    return {
        "label": float(label.mean()),
        "position": float(position.mean()),
        "both": float((label & position).mean()),
        "ink_inside": float(inside.mean()),
        "count": len(label),
    }


def _named(judge, quantised):
    """Labels (N,) that the judge gives to images (N, 28, 28, 1), uint8: one that comes again is judged once."""
    keys = [image.tobytes() for image in quantised]
    distinct = dict(zip(keys, quantised))
    names = dict(zip(distinct, judge.classify(np.stack([*distinct.values()]).astype("float32"))))
    return np.array([names[key] for key in keys])


def relative_diversity(images, labels, real, *, seed=0):
    """Diversity within a label: mean distance between images of one digit, as a share of that of real images.

    images: (N, 28, 28, 1) with labels (N,); real: a Split. The distance is Euclidean, over pixels, between random pairs
    of one digit drawn with `seed`. Returns the mean over digits and a list by digit; 1 is as diverse as real, 0 one
    image each time.
    """
    images, labels = checked_images(images), checked_labels(labels)
    checks.same_length(images=images, labels=labels)
    if missing := sorted({*range(LABELS)} - {*labels.tolist()}):
        raise ValueError(f"labels must hold every digit, got none of {missing}")
    rng = np.random.default_rng(seed)
    by_digit = []
    for digit in range(LABELS):
        distances = [
            _pair_distance(group, rng) for group in (images[labels == digit], real.images[real.labels == digit])
        ]
        by_digit.append(float(distances[0] / distances[1]))
    return {"overall": float(np.mean(by_digit)), "by_digit": by_digit}


def _pair_distance(images, rng):
    """Mean distance between random pairs: each image against the next in a random order, so that none meets itself."""
    shuffled = images[rng.permutation(len(images))]
    return np.sqrt(np.square(shuffled - np.roll(shuffled, 1, axis=0)).sum(axis=(1, 2, 3))).mean()


def importance_weighted_bound(model, images, seed, conditions=None, *, samples=5_000):
    """Importance-weighted lower bound on log p(x) for each image, an array (N,), nats; never below the ELBO on average.

    samples: k, draws of z for each image. images, conditions: as in `elbo_terms`. One image is decoded at a time, so
    the memory does not grow with N.
    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, equation 8.
    """
    condition = [] if conditions is None else [conditions]
    checks.number("samples", samples, 1, whole=True)
    z_mean, z_log_var = model.encode(images, *condition)
    rng = np.random.default_rng(seed)
    bounds = []
    for index in range(len(images)):
        noise = rng.standard_normal((samples, z_mean.shape[1]), "float32")
        z = z_mean[index] + np.exp(0.5 * z_log_var[index]) * noise
        repeated = [np.repeat(values[index : index + 1], samples, axis=0) for values in condition]
        logits = model.decode_logits(z, *repeated)
        likelihood = ops.convert_to_numpy(bernoulli_log_likelihood(images[index : index + 1], logits))
        kl = ops.convert_to_numpy(kl_monte_carlo(z_mean[index : index + 1], z_log_var[index : index + 1], z))
        bounds.append(logsumexp(likelihood.astype("float64") - kl) - np.log(samples))
    return np.array(bounds)


def linear_probe(codes, targets, *, folds=5):
    """How well a linear classifier reads `targets` (N,), whole numbers, from codes (N, latent_dim): accuracy, 0 to 1.

    Logistic regression on standardised codes, mean over `folds` of cross-validation; error: standard error over folds.
    chance: the share of the most frequent target. An accuracy at chance says that codes don't give the target away
    linearly.
    Source: Alain & Bengio, "Understanding intermediate layers using linear classifier probes", 2017.
    """
    codes = checks.array("codes", codes, ("N", "latent_dim"))
    targets = checks.array("targets", targets, ("N",), 0, whole=True)
    checks.same_length(codes=codes, targets=targets)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    scores = cross_val_score(probe, codes, targets, cv=folds)
    chance = float(np.bincount(targets).max() / len(targets))
    return mean_and_error(scores) | {"chance": chance, "count": len(targets)}


def frechet_distance(features, reference):
    """Squared Frechet distance between normal distributions fitted to two sets of features (N, d) and (M, d); >= 0.

    Its unit is that of the squared features, so that values compare only within one feature space and sample size.
    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, equation 6.
    """
    first, second = (values.astype("float64") for values in _compared(features, reference, 2))
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # The trace of a matrix's square root is the sum of the roots of its eigenvalues; rounding makes some negative.
    roots = np.sqrt(np.clip(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0, None)).sum()
    shift = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(max(shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots, 0))


def kernel_distance(features, reference, *, block=1_000):
    """Kernel distance (KID): unbiased squared MMD of features (N, d) with the kernel (x.y / d + 1)^3; may be negative.

    Averaged over disjoint blocks of `block` from each set, with the standard error over blocks.
    Source: Binkowski et al., "Demystifying MMD GANs", 2018, section 4.
    """
    features, reference = _compared(features, reference)
    checks.number("block", block, 2, whole=True)
    if (count := min(len(features), len(reference)) // block) < 2:
        raise ValueError(f"expected at least {2 * block} features in each set, got {len(features)}, {len(reference)}")
    pairs = zip(np.split(features[: count * block], count), np.split(reference[: count * block], count))
    return mean_and_error([_squared_mmd(first.astype("float64"), second.astype("float64")) for first, second in pairs])


def _squared_mmd(first, second):
    """Unbiased: an example is not compared with itself."""
    within = 0.0
    for group in (first, second):
        kernel = polynomial_kernel(group, degree=3)
        within += (kernel.sum() - np.trace(kernel)) / (len(group) * (len(group) - 1))
    return within - 2 * polynomial_kernel(first, second, degree=3).mean()


def neighbourhood_scores(features, reference, *, neighbours=5):
    """Precision, recall, density and coverage of features (N, d) against those of real images (M, d).

    Each set is taken as the union of balls around its points that reach to their `neighbours`-th nearest neighbour.
    precision: share of features inside real balls; recall: share of real ones inside balls of the others; density:
    number of real balls around a feature, over `neighbours`, 1 on average for real images; coverage: share of real
    balls that hold a feature.
    Source: Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019; Naeem et
    al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020.
    """
    features, reference = _compared(features, reference, checks.number("neighbours", neighbours, 1, whole=True) + 1)
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
    """Two sets of features (N, d) and (M, d) as arrays, at least `fewest` in each; ValueError for anything else."""
    features = checks.array("features", features, ("N", "d"))
    reference = checks.array("reference", reference, ("M", features.shape[1]))
    if min(len(features), len(reference)) < fewest:
        raise ValueError(f"expected at least {fewest} features in each set, got {len(features)}, {len(reference)}")
    return features, reference


def _reach(points, neighbours):
    """Distance of each point to its `neighbours`-th nearest other point."""
    found = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(points)
    return found.kneighbors()[0][:, -1]


def nearest_neighbours(images, real):
    """Index of, and Euclidean distance to, the nearest of the images `real` (M, 28, 28, 1): two arrays (N,)."""
    images, real = checked_images(images), checked_images(real, name="real")
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(real.reshape(len(real), -1))
    distances, indices = search.kneighbors(images.reshape(len(images), -1))
    return indices[:, 0], distances[:, 0]
