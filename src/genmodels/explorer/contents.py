"""The contents of the explorer: networks, codes of the test images, verdicts of the classifiers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from genmodels import canvas, datasets, figures
from genmodels.evaluation import PAIRS
from genmodels.explorer.export import describe, describe_flow, pack
from genmodels.explorer.scores import CVAES, FIGURES, MODELS, tables
from genmodels.pipeline import store, study

AXES = 6  # of a conditional VAE with a slider
PLACED = 2_000  # test images that choose them
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
    edge = float(max(figures.LIMIT + 1, np.ceil(np.abs([codes, means]).max())))
    about = {
        "colours": figures.COLOURS,
        "names": [str(digit) for digit in range(datasets.LABELS)],
        "limit": figures.LIMIT,
        "edge": edge,
        "map": MAP,
        "pairs": PAIRS,
        "typical": [_typical(data.test, digit) for digit in range(datasets.LABELS)],
        "count": len(data.test),
        "scores": tables(),
        "figures": FIGURES,
        "noise": models["gan"].noise_dim,
        "cvaes": {models[name].latent_dim: _axes(models[name], data.test) for name in CVAES},
        "deviation": models["gan"].sampling_deviation,
    }
    first = {"about": about, **{f"{name}-decoder": describe(models[name].decoder).as_json() for name in ("ae", "vae")}}
    first["codes"] = {"ae": pack(codes.astype("float16")), "vae": pack(means.astype("float16"))}
    first["labels"] = pack(data.test.labels.astype("uint8"))
    later = {"maps": {name: pack(_verdicts(models[name], classifiers, edge)) for name in ("ae", "vae")}}
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


def _typical(split, digit):
    """Return the place of the image that `Split.typical` chooses; any image of the digit in a slice without it."""
    rows = np.flatnonzero(split.labels == digit)
    return int(rows[(split.images[rows] == split.typical(digit)).all(axis=(1, 2, 3)).argmax()])


def _verdicts(model: keras.Model, classifiers: Sequence[keras.Model], edge: float) -> np.ndarray:
    """Classify the images of a grid over the plane, row by row from the top left.

    Returns:
        uint8 (classifiers, MAP * MAP, 2): the label, and its probability times 255.
    """
    line = np.linspace(-edge, edge, MAP, dtype="float32")
    first, second = np.meshgrid(line, line[::-1])
    images = model.decode(np.stack([first.ravel(), second.ravel()], axis=1))
    found = []
    for classifier in classifiers:
        logits = classifier.predict(images, batch_size=500, verbose=0)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        found.append([logits.argmax(axis=1), np.rint(255 / shares.sum(axis=1))])
    return np.array(found).transpose(0, 2, 1).astype("uint8")
