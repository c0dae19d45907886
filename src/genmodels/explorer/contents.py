"""The contents of the explorer: networks, codes of the test images, verdicts of the classifiers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from genmodels import canvas, datasets, figures
from genmodels.evaluation import PAIRS
from genmodels.explorer.export import describe, describe_flow, pack
from genmodels.explorer.scores import CVAES, FIGURES, MODELS, tables
from genmodels.pipeline import records, store, study

AXES = 6  # of a conditional VAE with a slider
PLACED = 2_000  # test images that choose them
SHOWN = figures.LIMIT + 0.5  # the planes reach so far; the few codes beyond stand at their edge
SURE = 0.9  # probability from which a classifier recognises a typical image
MAP = 81  # points along each side of the map of the classifiers' verdicts


def collect() -> tuple[dict[str, Any], dict[str, Any]]:
    """Collect everything that the page holds. Missing runs are trained.

    Returns:
        {name: value for JSON} of the parts that the first picture needs, and of the others.
    """
    data = datasets.load_mnist()
    models = {name: store.trained(run).model for name, run in MODELS.items()}
    classifiers = [store.trained(run).model for run in study.REFERENCES]
    codes = models["ae"].encode(data.test.images)
    means, log_vars = models["vae"].encode(data.test.binarized().images)
    about = {
        "colours": figures.COLOURS,
        "names": [str(digit) for digit in range(datasets.LABELS)],
        "limit": figures.LIMIT,
        "edge": SHOWN,
        "map": MAP,
        "pairs": PAIRS,
        "typical": _typical(data.test.labels, {"ae": codes, "vae": means}, models, classifiers),
        "count": len(data.test),
        "scores": tables(),
        "figures": FIGURES,
        "noise": models["gan"].noise_dim,
        "cvaes": {models[name].latent_dim: _axes(models[name], data.test) for name in CVAES},
        "deviation": models["gan"].sampling_deviation,
        "commit": _commit(),
    }
    first = {"about": about, **{f"{name}-decoder": describe(models[name].decoder).as_json() for name in ("ae", "vae")}}
    first["codes"] = {"ae": pack(codes.astype("float16")), "vae": pack(means.astype("float16"))}
    first["labels"] = pack(data.test.labels.astype("uint8"))
    later = {"maps": {name: pack(_map(models[name], classifiers)) for name in ("ae", "vae")}}
    later["images"] = pack(np.rint(255 * data.test.images).astype("uint8"))
    later["deviations"] = pack(np.exp(log_vars / 2).astype("float16"))
    later |= {f"{name}-encoder": describe(models[name].encoder).as_json() for name in ("ae", "vae")}
    later["gan-generator"] = describe(models["gan"].averaged_generator).as_json()
    for name in CVAES:
        flow = describe_flow(models[name].flow)
        later[f"{name}-decoder"] = describe(models[name].decoder).as_json()
        # Small, and rounding adds up over its couplings.
        later[f"{name}-flow"] = {**flow, "networks": [network.as_json(exact=True) for network in flow["networks"]]}
    return first, later


def _axes(model, split):
    """Return the axes of a conditional VAE that carry most, in nats, and the deviation of the codes along each.

    An axis carries the KL between q(z|x) and the normal distribution of all codes along it, averaged over images.
    """
    chosen = canvas.place_randomly(split.binarized("uint8"), np.arange(PLACED), np.random.default_rng(0))
    mean, log_var = (values.astype("float64") for values in model.encode(*chosen))
    spread = np.sqrt(mean.var(axis=0) + np.exp(log_var).mean(axis=0))
    carried = np.log(spread) - log_var.mean(axis=0) / 2
    order = np.argsort(-carried)[:AXES]
    told = {"carried": carried[order].round(3), "spread": spread[order].round(4)}
    return {"axes": order.tolist(), **{name: values.tolist() for name, values in told.items()}}


def _typical(labels, codes, models, classifiers):
    """Return the place of a typical test image of each digit: two models and two classifiers agree about it.

    It is the image nearest to the mean code of its digit, over both planes, among those whose reconstructions by both
    models both classifiers recognise. The nearest of all may lie between two clusters, where another digit is drawn.
    """
    judged = [_judge(models[name], classifiers, codes[name]) for name in codes]
    sure = np.all([(each[..., 0] == labels) & (each[..., 1] >= 255 * SURE) for each in judged], axis=(0, 1))
    found = []
    for digit in range(datasets.LABELS):
        rows = np.flatnonzero(labels == digit)
        away = sum(np.square(each[rows] - each[rows].mean(axis=0)).sum(axis=1) for each in codes.values())
        found.append(int(rows[np.argmin(np.where(sure[rows], away, away + 1e6))]))  # any image if none is recognised
    return found


def _commit():
    """Return the commit of the code, whose runs the page shows; empty if the code was changed since."""
    origin = records.origin()
    return (origin["commit"] or "")[:10] if origin["clean"] else ""


def _map(model, classifiers):
    """Return what the classifiers say of a grid over the plane, row by row from the top left."""
    line = np.linspace(-SHOWN, SHOWN, MAP, dtype="float32")
    first, second = np.meshgrid(line, line[::-1])
    return _judge(model, classifiers, np.stack([first.ravel(), second.ravel()], axis=1))


def _judge(model: keras.Model, classifiers: Sequence[keras.Model], codes: np.ndarray) -> np.ndarray:
    """Classify the images that a model decodes.

    Returns:
        uint8 (classifiers, codes, 2): the label, and its probability times 255.
    """
    images, found = model.decode(codes), []
    for classifier in classifiers:
        logits = classifier.predict(images, batch_size=500, verbose=0)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        found.append([logits.argmax(axis=1), np.rint(255 / shares.sum(axis=1))])
    return np.array(found).transpose(0, 2, 1).astype("uint8")
