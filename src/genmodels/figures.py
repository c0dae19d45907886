"""The report's figures: arrays in, a matplotlib Figure out. Nothing is shown or saved here.

Words are Polish, or English after `use_language("en")`. Texts that come with the arrays stay as they are.
Digits are drawn as dark ink on white paper. Images are arrays (..., 28, 28) or (..., 28, 28, 1) in [0, 1]. Canvases are
alike, with 56 pixels a side.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from genmodels import validation

WIDTH = 6.3  # inches: the text width of an A4 page
LIMIT = 4  # the decoded grid covers [-LIMIT, LIMIT] on both axes
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "axes.linewidth": 0.6, "mathtext.fontset": "cm"}
# Each digit has one colour in every figure: eight of P. Tol's "muted" scheme, one of his "high-contrast" scheme
# (#ddaa33), both made for colour-blind readers, and black.
COLOURS = (
    *("#332288", "#cc6677", "#117733", "#88ccee", "#882255"),
    *("#999933", "#44aa99", "#000000", "#aa4499", "#ddaa33"),
)
MARK = "#c44900"  # outlines of the cells that conditions ask for
# The words of all figures, in the languages of `use_language`.
WORDS = {
    "pl": {
        "cell accuracy": "rozpoznane próbki [%]",
        "code of": "kod cyfry {}",
        "digit": "cyfra {}",
        "discriminator": "dyskryminator",
        "discriminator accuracy": "trafność dyskryminatora",
        "diversity": "różnorodność",
        "draft": "SZKIC",
        "end": "koniec",
        "epoch": "epoka",
        "epoch of": "epoka {}",
        "formula": "wzór",
        "generator": "generator",
        "half": "1/2 (średnia)",
        "KL": "KL [naty]",
        "KL by formula": "KL ze wzoru [naty]",
        "KL by sample": "KL z jednej próbki [naty]",
        "label": "etykieta",
        "label accuracy": "rozpoznane cyfry",
        "loss": "koszt [naty]",
        "number of images": "liczba obrazów",
        "original": "oryginał",
        "pair": "para {}",
        "pixels": "[piksele]",
        "reconstruction": "rekonstrukcja",
        "sample": "próbka z $p(z)$",
        "seconds": "czas uczenia [s]",
        "share": "udział",
        "standard deviations": "odch. std.",
        "target": "cel",
    },
    "en": {
        "cell accuracy": "samples classified correctly [%]",
        "code of": "code of digit {}",
        "digit": "digit {}",
        "discriminator": "discriminator",
        "discriminator accuracy": "discriminator accuracy",
        "diversity": "diversity",
        "draft": "DRAFT",
        "end": "end",
        "epoch": "epoch",
        "epoch of": "epoch {}",
        "formula": "formula",
        "generator": "generator",
        "half": "1/2 (mean)",
        "KL": "KL [nats]",
        "KL by formula": "KL by formula [nats]",
        "KL by sample": "KL from one sample [nats]",
        "label": "label",
        "label accuracy": "label accuracy",
        "loss": "loss [nats]",
        "number of images": "number of images",
        "original": "original",
        "pair": "pair {}",
        "pixels": "[pixels]",
        "reconstruction": "reconstruction",
        "sample": "sample of $p(z)$",
        "seconds": "training time [s]",
        "share": "share",
        "standard deviations": "std. dev.",
        "target": "target",
    },
}
# No ContextVar: Jupyter may run each cell in a context of its own. The report's kernels set the variable.
_chosen = {"language": "en" if os.environ.get("GENMODELS_LANG") == "en" else "pl"}


def use_language(language: str) -> None:
    """Choose the language of the figures that are drawn from now on.

    Args:
        language: "pl" or "en".

    Raises:
        ValueError: The language is another one.

    Example:
        >>> figures.use_language("en")
    """
    _chosen["language"] = validation.choice("language", language, WORDS)


def _word(name, *values):
    return WORDS[_chosen["language"]][name].format(*values)


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the report's style, independent of the user's own matplotlibrc."""

    @wraps(draw)
    def in_style(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return in_style


def _figure(height):
    return Figure(figsize=(WIDTH, height), layout="constrained")


def _flat(images):
    """Return images without the channel axis."""
    images = np.asarray(images)
    return images[..., 0] if images.shape[-1] == 1 else images


def _mosaic(images):
    """Join images (rows, n, side, side) edge to edge into one."""
    return np.concatenate(np.concatenate(images, axis=1), axis=1)


def _show(axes, image, title=""):
    axes.imshow(_flat(image), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)


def _image_table(images, *, columns="", rows="", height=None):
    """Draw a table of images (rows, columns, 28, 28) with texts above and to the left; return figure and axes."""
    count, width = len(images), len(images[0])
    figure = _figure(height or (WIDTH - 0.9) / width * count + 0.3)
    table = figure.subplots(count, width, squeeze=False)
    for line, line_axes in zip(images, table):
        for image, axes in zip(line, line_axes):
            _show(axes, image)
    for axes, text in zip(table[0], columns):
        axes.set_title(text)
    for axes, text in zip(table[:, 0], rows):
        axes.set_ylabel(text, rotation=0, ha="right", va="center")
    return figure, table


def _latent_axes(axes, limit):
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    unit = _word("standard deviations")
    axes.set(xlabel=f"$z_1$ [{unit}]", ylabel=f"$z_2$ [{unit}]")


@_styled
def plot_latent_space(codes: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw codes in the latent plane, coloured by label, with each digit written in an area of its own.

    A dashed square marks the decoded grid. Both axes reach to the first whole number beyond it that no code exceeds.

    Args:
        codes: Shape (N, 2), in standard deviations.
        labels: Shape (N,), 0-9.

    Returns:
        A scatter plot.
    """
    codes, labels = np.asarray(codes), np.asarray(labels)
    figure = _figure(WIDTH)
    axes = figure.subplots()
    order = np.random.default_rng(0).permutation(len(codes))  # so that the last digit does not lie on top
    axes.scatter(*codes[order].T, s=3, linewidths=0, alpha=0.7, c=[COLOURS[label] for label in labels[order]])
    for digit in np.unique(labels):
        outline = [withStroke(linewidth=3, foreground="white")]
        axes.text(
            *_own_place(codes, labels == digit),
            str(digit),
            size=15,
            weight="bold",
            ha="center",
            va="center",
            path_effects=outline,
        )
        axes.scatter([], [], s=30, color=COLOURS[digit], label=str(digit))
    axes.add_patch(Rectangle((-LIMIT, -LIMIT), 2 * LIMIT, 2 * LIMIT, fill=False, linestyle="--", linewidth=0.8))
    _latent_axes(axes, max(LIMIT + 1, np.ceil(np.abs(codes).max())))
    figure.legend(loc="outside upper center", ncols=10, frameon=False, handletextpad=0, columnspacing=1)
    return figure


def _own_place(points, own):
    """Find a place among points (N, 2) with many points of the mask `own` (N,) and few others.

    The place is the median of own points in the best of boxes 0.8 wide. The best box has the largest count of own
    points times the square of their share.
    """
    centres = np.unique(np.rint(points[own] / 0.4), axis=0) * 0.4
    boxes = [np.abs(points - centre).max(axis=1) <= 0.4 for centre in centres]
    best = max(boxes, key=lambda box: (box & own).sum() ** 3 / box.sum() ** 2)
    return np.median(points[best & own], axis=0)


def latent_grid(count: int) -> np.ndarray:
    """Return the points of a regular grid over [-LIMIT, LIMIT]^2, row by row from the top left.

    Args:
        count: Points along each axis.

    Returns:
        float32 array of shape (count * count, 2).
    """
    line = np.linspace(-LIMIT, LIMIT, count, dtype="float32")
    z_1, z_2 = np.meshgrid(line, line[::-1])
    return np.stack([z_1.ravel(), z_2.ravel()], axis=1)


def interpolate(start: np.ndarray, end: np.ndarray, count: int = 5) -> np.ndarray:
    """Return equally spaced points from `start` to `end`, both included.

    Args:
        start: Shape (latent_dim,).
        end: Shape (latent_dim,).
        count: Number of points.

    Returns:
        Shape (count, latent_dim).
    """
    share = np.linspace(0, 1, count, dtype="float32")[:, None]
    return (1 - share) * start + share * end


@_styled
def plot_latent_images(images: ArrayLike) -> Figure:
    """Draw decoded images at their points in the latent plane.

    Args:
        images: Shape (n * n, 28, 28), decoded from the points of `latent_grid(n)`.

    Returns:
        A mosaic of n x n images.
    """
    images = _flat(images)
    count = round(len(images) ** 0.5)
    mosaic = _mosaic(images.reshape(count, count, 28, 28))
    edge = LIMIT * count / (count - 1)  # the outermost points are the centres of the outermost images
    figure = _figure(WIDTH)
    axes = figure.subplots()
    axes.imshow(mosaic, cmap="gray_r", vmin=0, vmax=1, extent=(-edge, edge, -edge, edge), interpolation="nearest")
    _latent_axes(axes, edge)
    axes.set(xticks=range(-LIMIT, LIMIT + 1), yticks=range(-LIMIT, LIMIT + 1))
    return figure


@_styled
def plot_pairs(images: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw two pairs of images with their labels.

    Args:
        images: Shape (2, 2, 28, 28).
        labels: Shape (2, 2).

    Returns:
        Two groups of two images, side by side.
    """
    figure = _figure(2.2)
    for number, half in enumerate(figure.subfigures(1, 2)):
        half.suptitle(_word("pair", number + 1))
        for axes, image, label in zip(half.subplots(1, 2), images[number], labels[number]):
            _show(axes, image, _word("digit", label))
    return figure


@_styled
def plot_interpolations(images: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw decoded points between the codes of each pair of digits.

    Args:
        images: Shape (2, 5, 28, 28), from one end to the other.
        labels: Shape (2, 2), labels of the ends.

    Returns:
        One row of images for each pair.
    """
    figure, table = _image_table(_flat(images), columns=[_word("end"), "1/4", _word("half"), "3/4", _word("end")])
    for line, (first, last) in zip(table, labels):
        line[0].set_xlabel(_word("code of", first))
        line[-1].set_xlabel(_word("code of", last))
    return figure


@_styled
def plot_training_result(originals: ArrayLike, reconstructions: ArrayLike, samples: ArrayLike) -> Figure:
    """Draw one row each of originals, their reconstructions and samples of the prior.

    Args:
        originals: Shape (n, 28, 28).
        reconstructions: Shape (n, 28, 28).
        samples: Shape (n, 28, 28).

    Returns:
        Three rows of images.
    """
    rows = [_word(name) for name in ("original", "reconstruction", "sample")]
    return _image_table([_flat(images) for images in (originals, reconstructions, samples)], rows=rows)[0]


@_styled
def plot_kl_formulas() -> Figure:
    """Write the KL divergence of two normal distributions, in general and for P = N(0, 1)."""
    general = (
        r"$D_{\mathrm{KL}}\left(\mathcal{N}(\mu_q,\sigma_q^2)\;\Vert\;\mathcal{N}(\mu_p,\sigma_p^2)\right)"
        r"=\ln\frac{\sigma_p}{\sigma_q}+\frac{\sigma_q^2+(\mu_q-\mu_p)^2}{2\sigma_p^2}-\frac{1}{2}$"
    )
    special = (
        r"$D_{\mathrm{KL}}\left(\mathcal{N}(\mu,\sigma^2)\;\Vert\;\mathcal{N}(0,1)\right)"
        r"=\frac{1}{2}\left(\mu^2+\sigma^2-\ln\sigma^2-1\right)$"
    )
    figure = Figure(figsize=(WIDTH, 1.5))
    figure.text(0.5, 0.72, general, size=14, ha="center", va="center")
    figure.text(0.5, 0.25, special, size=14, ha="center", va="center")
    return figure


def _outline(axes, pos_x, pos_y):
    corner = (14 * pos_x - 0.5, 14 * pos_y - 0.5)
    axes.add_patch(Rectangle(corner, 28, 28, fill=False, edgecolor=MARK, linewidth=0.8, linestyle=":"))


@_styled
def plot_conditional_samples(canvases: ArrayLike, conditions: np.ndarray) -> Figure:
    """Draw canvases in columns by label and outline the cells that their conditions ask for.

    Args:
        canvases: Shape (rows, 10, 56, 56).
        conditions: Shape (rows, 10, 3).

    Returns:
        A table of canvases.
    """
    figure, table = _image_table(_flat(canvases), columns=[str(label) for label in conditions[0][:, 0]])
    for axes, (_, pos_x, pos_y) in zip(table.ravel(), np.reshape(conditions, (-1, 3))):
        _outline(axes, pos_x, pos_y)
    return figure


@_styled
def plot_canvas(canvas: ArrayLike, condition: Sequence[int]) -> Figure:
    """Draw one canvas with its condition, on axes in pixels.

    Args:
        canvas: Shape (56, 56).
        condition: Shape (3,): label, pos_x, pos_y.

    Returns:
        One image.
    """
    label, pos_x, pos_y = condition
    figure = _figure(2.9)
    axes = figure.subplots()
    _show(axes, canvas, f"{_word('label')} {label}, pos_x = {pos_x}, pos_y = {pos_y}")
    _outline(axes, pos_x, pos_y)
    ticks = np.arange(0, 57, 14)
    axes.set(xticks=ticks - 0.5, yticks=ticks - 0.5, xlabel=f"x {_word('pixels')}", ylabel=f"y {_word('pixels')}")
    axes.set(xticklabels=ticks, yticklabels=ticks)
    return figure


@_styled
def plot_positions(canvases: ArrayLike, conditions: ArrayLike) -> Figure:
    """Draw nine canvases, laid out like the cells that their conditions ask for.

    Args:
        canvases: Shape (9, 56, 56), row by row.
        conditions: Shape (9, 3).

    Returns:
        Three rows of three canvases.
    """
    figure = _figure(5.4)
    for axes, canvas, (_, pos_x, pos_y) in zip(figure.subplots(3, 3).ravel(), canvases, conditions):
        _show(axes, canvas, f"pos_x = {pos_x}, pos_y = {pos_y}")
        _outline(axes, pos_x, pos_y)
    return figure


@_styled
def plot_digit_rows(images: ArrayLike) -> Figure:
    """Draw one row of images for each digit.

    Args:
        images: Shape (10, n, 28, 28), for the digits 0-9.

    Returns:
        Ten rows of images.
    """
    figure, table = _image_table(_flat(images), height=4.1)
    for digit, line in enumerate(table):
        line[0].set_ylabel(str(digit), rotation=0, ha="right", va="center", color=COLOURS[digit], weight="bold")
    return figure


@_styled
def plot_digits(images: ArrayLike) -> Figure:
    """Draw one image of each digit, in a row.

    Args:
        images: Shape (10, 28, 28), for the digits 0-9.

    Returns:
        One row of images.
    """
    return _image_table([_flat(images)], columns=[str(digit) for digit in range(10)])[0]


@_styled
def plot_learning(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw learning curves in panels, side by side.

    Args:
        panels: {label of the vertical axis: {name of a curve: values by epoch}}; at most three curves in a panel.

    Returns:
        One panel for each label.
    """
    figure = _figure(2.4)
    for axes, (label, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        _draw_curves(axes, label, curves)
    return figure


def _draw_curves(axes, label, curves):
    for (name, values), colour, marker in zip(curves.items(), (COLOURS[0], COLOURS[1], COLOURS[2]), "os^"):
        axes.plot(range(1, len(values) + 1), values, marker=marker, ms=3, lw=1.2, color=colour, label=name)
    axes.set(xlabel=_word("epoch"), ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    _number_axes(axes)
    axes.grid(lw=0.3)
    axes.legend(frameon=False)


def _number_axes(axes):
    """Write the numbers of both axes with the decimal separator of the language."""
    comma = "," if _chosen["language"] == "pl" else "."
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace(".", comma).replace("-", "−")))


@_styled
def plot_kl_forms(closed_form: np.ndarray, monte_carlo: np.ndarray) -> Figure:
    """Draw two forms of the KL term, for the same images and the same noise.

    Args:
        closed_form: Shape (N,), nats.
        monte_carlo: Shape (N,), nats.

    Returns:
        A scatter plot of the pairs and a histogram of both forms.
    """
    figure = _figure(3.0)
    left, right = figure.subplots(1, 2)
    ends = [min(closed_form.min(), monte_carlo.min()), max(closed_form.max(), monte_carlo.max())]
    left.plot(ends, ends, color="black", lw=0.8)
    left.scatter(closed_form, monte_carlo, s=2, linewidths=0, alpha=0.4, color=COLOURS[0])
    left.set(xlabel=_word("KL by formula"), ylabel=_word("KL by sample"))
    bins = np.linspace(*ends, 60)
    for values, name, colour in ((closed_form, _word("formula"), COLOURS[1]), (monte_carlo, "Monte Carlo", COLOURS[0])):
        right.hist(values, bins, histtype="step", lw=1.3, color=colour, label=name)
    right.set(xlabel=_word("KL"), ylabel=_word("number of images"))
    right.legend(frameon=False, loc="upper left")
    for axes in (left, right):
        _number_axes(axes)
    return figure


@_styled
def plot_rows(rows: Mapping[str, ArrayLike]) -> Figure:
    """Draw rows of images with a text on the left.

    Args:
        rows: {text: images of shape (n, 28, 28)}.

    Returns:
        One row for each text.
    """
    return _image_table([_flat(images) for images in rows.values()], rows=list(rows))[0]


@_styled
def plot_accuracy_map(shares: np.ndarray) -> Figure:
    """Draw shares by label and cell as a heat map in per cent.

    Args:
        shares: Shape (10, 9), 0 to 1: labels down, the cells of the grid across, row by row.

    Returns:
        A heat map with its colour bar.
    """
    figure = _figure(3.6)
    axes = figure.subplots()
    low = np.floor(20 * shares.min()) / 20
    shown = axes.imshow(shares, cmap="cividis", vmin=low, vmax=1, aspect="auto")
    for (label, cell), share in np.ndenumerate(shares):
        colour = "white" if share < (low + 1) / 2 else "black"
        axes.text(cell, label, f"{100 * share:.0f}", ha="center", va="center", color=colour, size=8)
    cells = [f"({column}, {row})" for row in range(3) for column in range(3)]
    axes.set(xticks=range(9), xticklabels=cells, yticks=range(10), xlabel="(pos_x, pos_y)", ylabel=_word("label"))
    bar = figure.colorbar(shown, label=_word("cell accuracy"))
    bar.formatter = FuncFormatter(lambda value, _: f"{100 * value:.0f}")
    return figure


@_styled
def plot_gan_progress(history: Mapping[str, Sequence[float]], drawn: ArrayLike) -> Figure:
    """Draw the training of a GAN by epoch: its losses, its shares, and one image of each digit.

    Args:
        history: History of a training with `training.GANMonitor`.
        drawn: Generated images (epochs, 10, 28, 28), 0-255.

    Returns:
        Two panels of curves above one row of images for each epoch.
    """
    drawn = np.asarray(drawn) / 255
    figure = _figure(2.2 + 0.5 * len(drawn))
    above, below = figure.subfigures(2, 1, height_ratios=(2.2, 0.5 * len(drawn)))
    losses = {_word("generator"): history["generator_loss"], _word("discriminator"): history["discriminator_loss"]}
    shares = {
        _word("discriminator accuracy"): history["discriminator_accuracy"],
        _word("label accuracy"): history["label_accuracy"],
        _word("diversity"): history["diversity"],
    }
    for axes, (label, curves) in zip(above.subplots(1, 2), ((_word("loss"), losses), (_word("share"), shares))):
        _draw_curves(axes, label, curves)
    for epoch, (line, images) in enumerate(zip(below.subplots(len(drawn), 10, squeeze=False), drawn), 1):
        for axes, image in zip(line, images):
            _show(axes, image)
        line[0].set_ylabel(_word("epoch of", epoch), rotation=0, ha="right", va="center")
    return figure


@_styled
def plot_time_to_quality(panels: Sequence[tuple[str, float, Mapping[str, Sequence[tuple]]]]) -> Figure:
    """Draw quality against seconds of training, one panel for each measure of quality.

    Args:
        panels: Tuples (quality, target, lines). quality: label of the vertical axis; target: value to reach; lines:
            {implementation: [(seconds, qualities) of each seed]}.

    Returns:
        Panels in two columns.
    """
    figure = _figure(2.6 * -(-len(panels) // 2))
    for axes, (quality, target, lines) in zip(figure.subplots(-(-len(panels) // 2), 2).ravel(), panels):
        for (who, seeds), colour, marker in zip(lines.items(), COLOURS, "os^"):
            for number, (seconds, values) in enumerate(seeds):
                label = None if number else who
                axes.plot(seconds, values, marker=marker, ms=2, lw=1, color=colour, label=label)
        axes.axhline(target, color=MARK, lw=0.8, ls="--", label=_word("target"))
        axes.set(xscale="log", xlabel=_word("seconds"), ylabel=quality)
        seen = np.concatenate([values for seeds in lines.values() for _, values in seeds])
        if seen.min() * 100 < seen.max():  # the target would lie on a linear axis
            axes.set_yscale("log")
        _number_axes(axes)
        axes.grid(lw=0.3)
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "fontsize": "small"}
        axes.legend(frameon=False, borderpad=0, columnspacing=0.8, handlelength=1.2, handletextpad=0.4, **above)
    return figure


@_styled
def plot_mosaic(images: ArrayLike) -> Figure:
    """Draw images edge to edge, without frames or texts.

    Args:
        images: Shape (rows, n, side, side).

    Returns:
        One picture as wide as the text.
    """
    mosaic = _mosaic(_flat(images))
    figure = Figure(figsize=(WIDTH, WIDTH * mosaic.shape[0] / mosaic.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(mosaic, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    return figure


def mark_as_draft(figure: Figure) -> None:
    """Write DRAFT, in the chosen language, across a figure that was made in the quick mode.

    Args:
        figure: Figure to mark, in place.
    """
    style = {"size": 40, "color": "red", "alpha": 0.35, "weight": "bold", "rotation": 20}
    figure.text(0.5, 0.5, _word("draft"), ha="center", va="center", **style)


def shown_in(figure: Figure) -> dict[str, np.ndarray]:
    """Return what a matplotlib Figure shows, {name: array}: images, coordinates, colours, titles, texts.

    Images in [0, 1] become grey levels 0-255. Axis labels, ticks, legends and sizes are rendering.
    """
    found = {"texts": np.array([text.get_text() for text in figure.texts], dtype=str)}
    for number, axes in enumerate(figure.get_axes()):
        texts = [axes.get_title(), *(text.get_text() for text in axes.texts)]
        shown = {
            "image": [_levels(image.get_array()) for image in axes.images],
            "line": [line.get_xydata().astype("float32") for line in axes.lines],
            "points": [np.asarray(points.get_offsets(), "float32") for points in axes.collections],
            "colours": [np.rint(255 * points.get_facecolors()).astype("uint8") for points in axes.collections],
            "outline": [patch.get_patch_transform().transform(patch.get_path().vertices) for patch in axes.patches],
            "texts": [np.array(texts, dtype=str)] if any(texts) else [],
        }
        for kind, arrays in shown.items():
            found |= {f"axes {number}, {kind} {place}": array for place, array in enumerate(arrays)}
    return found


def _levels(image):
    image = np.ma.filled(np.ma.asarray(image), np.nan) if np.ma.isMaskedArray(image) else np.asarray(image)
    inside = image.dtype.kind == "f" and image.size and np.nanmin(image) >= 0 and np.nanmax(image) <= 1
    return np.rint(255 * np.nan_to_num(image)).astype("uint8") if inside else image
