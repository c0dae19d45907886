"""The explorer of one's own AE or VAE: images of any shape, codes of any size."""

from pathlib import Path
from typing import Any

import numpy as np

from genmodels import figures
from genmodels.datasets import Dataset, binarize
from genmodels.explorer.export import describe, pack, unpack
from genmodels.pipeline import files, fitting

MOST = 10_000  # images in the page
PIXELS = 4 * 2**20  # values in all of them, a byte each


def collect(model: Any, data: Dataset, name: str, *, ink: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Collect everything that a page or a widget shows of one model and its test images.

    Args:
        model: An AE or a VAE.
        data: Data set with images of the model's shape.
        name: Title of the model.
        ink: Draw grey images as dark ink on white.

    Returns:
        {name: value for JSON} of the parts that the first picture needs, and of the others.

    Raises:
        ExportError: The decoder has a layer that the page cannot draw.
        ValueError: The model is of another kind, or the images have another shape.
    """
    check(model, name)
    chosen = fitting.evenly(len(data.test), min(MOST, max(1, PIXELS // int(np.prod(data.image_shape)))))
    images = data.test.batch(chosen)
    codes, log_vars = _encode(model, images)
    about = {
        "name": name,
        "shape": data.image_shape,
        "names": data.class_names,
        "colours": figures.class_colours(data.num_classes or 1),
        "ink": ink,
        "binary": _likelihood(model) == "bernoulli",
        "mean": "continuous" if _likelihood(model) == "continuous_bernoulli" else "sigmoid",
        "axes": codes.shape[1],
        "variational": log_vars is not None,
        **_plane(codes),
        **_axes(codes, log_vars),
    }
    labels = data.test.labels[chosen] if data.num_classes else np.zeros(len(chosen))
    first = {"about": about, "decoder": describe(model.decoder).as_json()}
    first |= {"codes": pack(codes.astype("float16")), "labels": pack(labels.astype("uint16"))}
    later = {"images": pack(np.rint(255 * images).astype("uint8"))}
    if log_vars is not None and codes.shape[1] == 2:
        later["deviations"] = pack(np.exp(log_vars / 2).astype("float16"))
    return first, {"later": later}


def codes_of(parts: dict[str, Any]) -> np.ndarray:
    """Return the codes (N, axes) that `collect` packed."""
    return unpack(parts["codes"], "<f2").reshape(-1, parts["about"]["axes"]).astype("float64")


def check(model: Any, name: str) -> None:
    """Raise ValueError unless a model is an AE or a VAE without conditions."""
    from genmodels.models.autoencoder import AE
    from genmodels.models.conditional_vae import ConditionalVAE
    from genmodels.models.vae import VAE

    if not isinstance(model, (AE, VAE)) or isinstance(model, ConditionalVAE):
        raise ValueError(f"{name}: expected an AE or a VAE to explore, got a {type(model).__name__}")


def record(path: Path, data: Dataset) -> dict[str, str]:
    """Return what a page is made from: {model or data with its name: checksum}."""
    return {f"model {path.name}": files.checksum(path)[:16], f"data {data.name}": data.digest[:16]}


def _likelihood(model):
    return getattr(model, "likelihood", None)


def _encode(model, images):
    """Return the codes of images, and the log-variances of a VAE or None."""
    codes = model.encode(binarize(images) if _likelihood(model) == "bernoulli" else images)
    return codes if isinstance(codes, (tuple, list)) else (codes, None)


def _plane(codes):
    """Return the plane that is shown: the codes' own for two axes, and that of PCA for others.

    One axis makes a line in it.
    """
    axes = codes.shape[1]
    centre, directions = np.zeros(axes), np.eye(2)
    if axes != 2:
        centre = codes.mean(axis=0, dtype="float64")
        found = np.linalg.svd(np.cov(codes.T.reshape(axes, -1)).reshape(axes, axes))[2][:2]
        directions = np.zeros((2, axes))
        directions[: len(found)] = found * np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])[:, None]
    furthest = np.ceil(max(np.abs((codes - centre) @ directions.T).max(), np.abs(codes).max()))
    edge = max(figures.LIMIT + 1, int(furthest))
    limit = figures.LIMIT if edge <= 3 * figures.LIMIT else edge // 2
    told = {"centre": centre.tolist(), "directions": directions.tolist()}
    return {**told, "edge": edge, "limit": limit}


def _axes(codes, log_vars):
    """Return what each axis carries, KL in nats or variance, and the axes in that order."""
    if log_vars is None:
        carried = codes.var(axis=0)
    else:
        carried = 0.5 * (codes**2 + np.exp(log_vars) - log_vars - 1).mean(axis=0)
    return {"carried": [round(float(value), 4) for value in carried], "order": np.argsort(-carried).tolist()}
