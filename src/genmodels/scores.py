"""All scores of a trained model on one split: a flat dict of floats for each kind of model.

Notebooks quote them for one seed, `study` collects them over several. Scores that come from a judge are given by both:
the second judge's carry _2. Every measure of the GAN's images has its floor in `floors`: the same on real images.
"""

import numpy as np

from genmodels import data, metrics

PAIRS = ((9, 7), (1, 8))  # of the tasks 1.3 and 2.4
MOVED = 2_000  # the first ones, encoded and decoded in all nine cells
BOUND_IMAGES = 100  # the first ones of a split, for the importance-weighted bound
LABELLED = 10_000  # images of the GAN, as many of each digit, for the accuracy of labels
EACH = 50  # conditional samples for each of the 90 conditions


def pairs(split):
    """The most typical image of each digit in PAIRS, which no model has a say in: images (2, 2, 28, 28, 1)."""
    return np.stack([[split.typical(digit) for digit in pair] for pair in PAIRS])


def canvases(split):
    """The quantised images of a split on canvases, each in a random cell, the same each time: and their conditions."""
    return data.on_canvas(split.quantised(), np.arange(len(split)), np.random.default_rng(0))


def asked(each):
    """Conditions (90 * each, 3): every label in every cell, `each` times."""
    cells = np.tile(data.all_positions(), (each, 1))
    return np.concatenate([data.conditions(label, cells[:, 0], cells[:, 1]) for label in range(data.LABELS)])


def everywhere(labels):
    """Conditions (9 * N, 3): each of the labels (N,) in every cell, one label after another."""
    cells = np.tile(data.all_positions(), (len(labels), 1))
    return data.conditions(np.repeat(labels, 9), cells[:, 0], cells[:, 1])


def _by_both(judges, measure, *others):
    """{name: value} that `measure` gives for each of two judges; the second one's names end in _2.

    others: lists of two, whose elements `measure` takes beside the judge.
    """
    each = zip(("", "_2"), judges, *others)
    return {f"{name}{end}": value for end, *both in each for name, value in measure(*both).items()}


def judge(model, split):
    """accuracy on the split; accuracy_quantised: on its quantised images."""
    quantised = metrics.label_accuracy(model, data.quantise(split.images), split.labels)
    return {
        "accuracy": metrics.label_accuracy(model, split.images, split.labels)["overall"],
        "accuracy_quantised": quantised["overall"],
    }


def ae(model, judges, split):
    """mse; recognised: share of reconstructions named right; ends: decoded ends of PAIRS named right, of 4."""
    mse = metrics.squared_error(split.images, model.decode(model.encode(split.images)))["mean"]
    return {"mse": mse, **_reconstructed(lambda images: model.decode(model.encode(images)), judges, split)}


def vae(model, judges, split, *, tight=False):
    """Terms of the bounds in nats, see `_bounds`; recognised and ends as for `ae`. The split is quantised here.

    tight: with the importance-weighted bound, which takes longest.
    """
    split = split.quantised()
    drawn = _reconstructed(lambda images: model.decode(model.encode(images)[0]), judges, split)
    return {**_bounds(model, split.images, tight=tight), **drawn}


def _reconstructed(reconstruct, judges, split):
    images, ends = reconstruct(split.images), reconstruct(pairs(split).reshape(-1, data.SIDE, data.SIDE, 1))

    def named(judge):
        recognised = metrics.label_accuracy(judge, images, split.labels)["overall"]
        return {"recognised": recognised, "ends": int((judge.classify(ends) == np.ravel(PAIRS)).sum())}

    return _by_both(judges, named)


def _bounds(model, images, conditions=None, *, tight=False):
    """negative_elbo with its parts; if tight, negative_iwae, and negative_elbo_there on the same images."""
    terms = metrics.elbo_terms(model, images, 0, conditions)
    total = terms["reconstruction"] + terms["kl_closed_form"]
    found = {
        "negative_elbo": float(total.mean()),
        "reconstruction": float(terms["reconstruction"].mean()),
        "kl": float(terms["kl_closed_form"].mean()),
    }
    if tight:
        count = 10 if data.smoke_budget() else BOUND_IMAGES
        found["negative_iwae"] = float(-metrics.importance_weighted_bound(model, images[:count], 0).mean())
        found["negative_elbo_there"] = float(total[:count].mean())
    return found


def conditional_vae(model, judges, split):
    """Scores of samples for every condition, of encoded digits moved to all cells, of what z gives away, and bounds.

    label, position, ink_inside: of EACH samples for each condition, quantised. diversity: within a label, against
    quantised real images. moved_...: the first three, of the first MOVED images, encoded and decoded in all cells.
    probe_position, probe_label: accuracy of a linear probe of z_mean.
    """
    images, conditions = canvases(split)
    bounds = _bounds(model, images, conditions)
    z_mean, _ = model.encode(images, conditions)
    del images  # the largest array
    each, moved = (5, 100) if data.smoke_budget() else (EACH, MOVED)
    wanted = asked(each)
    drawn = data.quantise(model.sample(wanted, seed=0))
    cells = metrics.crop(drawn, wanted)
    return {
        **_obeyed(judges, drawn, wanted),
        "diversity": metrics.relative_diversity(cells, wanted[:, 0], split.quantised())["overall"],
        **_moved(model, judges, z_mean[:moved], split.labels[:moved]),
        "probe_position": metrics.linear_probe(z_mean, 3 * conditions[:, 2] + conditions[:, 1])["mean"],
        "probe_label": metrics.linear_probe(z_mean, split.labels)["mean"],
        **bounds,
    }


def _obeyed(judges, canvases, conditions):
    """label, label_2, position and ink_inside of canvases (N, 56, 56, 1), see `metrics.conditional_accuracy`."""
    first, second = (metrics.conditional_accuracy(judge, canvases, conditions) for judge in judges)
    return {name: first[name] for name in ("label", "position", "ink_inside")} | {"label_2": second["label"]}


def _moved(model, judges, codes, labels):
    """What `_obeyed` gives, as moved_..., for codes decoded with their labels in all cells."""
    cells = [data.conditions(labels, pos_x, pos_y) for pos_x, pos_y in data.all_positions()]
    # Quantised one cell at a time: all canvases as floats would be the largest array.
    drawn = np.concatenate([data.quantise(model.decode(codes, conditions), "uint8") for conditions in cells])
    found = _obeyed(judges, drawn, np.concatenate(cells))
    return {f"moved_{name}": value for name, value in found.items()}


def gan(model, judges, split, train):
    """Scores of as many drawn images as the split has, and of LABELLED ones for the accuracy of labels: see `_drawn`.

    nearest: of training images, see `_nearest`.
    latest_label, latest_frechet: with the generator's last weights in place of their running average.
    """
    drawn = data.Split(model.generate(split.labels, seed=0), split.labels)
    evenly = np.arange(len(split) if data.smoke_budget() else LABELLED) % data.LABELS
    even = data.Split(model.generate(evenly, seed=1), evenly)
    latest = model.generate(split.labels, seed=0, averaged=False)
    references = [judge.features(split.images) for judge in judges]
    return {
        **_drawn(drawn, even, judges, references, split),
        "nearest": _nearest(drawn, split, train.images),
        "latest_label": metrics.label_accuracy(judges[0], latest, split.labels)["overall"],
        "latest_frechet": metrics.frechet_distance(judges[0].features(latest), references[0]),
    }


def floors(judges, split, train):
    """What `gan` gives, but for the latest weights, on real training images, as many as the split has, same labels.

    The accuracy of labels is that on the split's own images, which the judges have not learned from.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(train))
    chosen = np.concatenate(
        [order[train.labels[order] == digit][: (split.labels == digit).sum()] for digit in range(data.LABELS)]
    )
    chosen = rng.permutation(chosen)  # so that no block of the kernel distance has one digit alone
    real = data.Split(train.images[chosen], train.labels[chosen])
    nearest = _nearest(real, split, np.delete(train.images, chosen, axis=0))  # first, as that copy is large
    references = [judge.features(split.images) for judge in judges]
    return {**_drawn(real, split, judges, references, split), "nearest": nearest}


def _nearest(drawn, split, others):
    """Median distance to the nearest of other images, as a share of that of the split's images; the first thousand."""
    near, usual = (metrics.nearest_neighbours(each.images[:1000], others)[1] for each in (drawn, split))
    return float(np.median(near) / np.median(usual))


def _drawn(drawn, even, judges, references, split):
    """Accuracy of labels on `even`; distances of `drawn` from the split.

    references: the split's features, for each judge.
    label, worst: share of images named right, over all and for the worst digit. frechet, kernel, precision, recall,
    density, coverage: in the judge's features. diversity: within a label.
    """

    block = min(1_000, len(drawn) // 2, len(split) // 2)

    def compared(judge, reference):
        named, features = metrics.label_accuracy(judge, even.images, even.labels), judge.features(drawn.images)
        return {
            "label": named["overall"],
            "worst": min(named["by_digit"]),
            "frechet": metrics.frechet_distance(features, reference),
            "kernel": metrics.kernel_distance(features, reference, block=block)["mean"],
            **metrics.neighbourhood_scores(features, reference),
        }

    return {
        **_by_both(judges, compared, references),
        "diversity": metrics.relative_diversity(drawn.images, drawn.labels, split)["overall"],
    }
