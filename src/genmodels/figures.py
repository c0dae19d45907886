"""The report's figures: arrays in, a matplotlib Figure out. Nothing is shown or saved here.

Words are Polish, or English after `use_language("en")`. Texts that come with the arrays stay as they are.
Images are arrays in [0, 1] of shape (..., height, width, channels), or (..., height, width) for one channel. Those with
three channels are shown as RGB. Grey images are drawn as dark ink on white paper, which suits digits and letters.
`cmap="gray"` draws photographs with their own light and dark. Canvases have 56 pixels a side.

Each figure is as wide as it stands in the report: WIDTH alone, HALF beside another one. Font sizes are then those on
paper. None is under SMALLEST, also not an index or an exponent: on a phone, at 96 pixels an inch, this is 11 pixels.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from genmodels import validation

WIDTH = 6.375  # inches: the text width of the report's page
HALF = 3.11  # inches: the width of each of two figures side by side
SMALLEST = 8.25  # points of the smallest text
LIMIT = 4  # the decoded grid covers [-LIMIT, LIMIT] on both axes
STYLE = {
    **{"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5},
    **{"legend.fontsize": 8.5, "axes.linewidth": 0.6, "mathtext.fontset": "cm"},
}
FORMULA = 12  # points of a formula, whose indices and exponents have 70 % of them
# Each digit has one colour in every figure: eight of P. Tol's "muted" scheme, one of his "high-contrast" scheme
# (#ddaa33), both made for colour-blind readers, and black. Digits that are neighbours in a latent plane, such as 4 and
# 9, have colours far apart, also for readers who see no red or no green.
COLOURS = (
    *("#44aa99", "#cc6677", "#999933", "#aa4499", "#332288"),
    *("#ddaa33", "#882255", "#117733", "#000000", "#88ccee"),
)
LINES = ("#332288", "#cc6677", "#117733", "#ddaa33")  # colours of curves
DOT = 4  # square points: the area of a dot in a scatter plot
COLUMNS = 10  # images in a row of `plot_digits`
SHOWN = 26  # most classes and epochs that `plot_gan_progress` shows
MARK = "#c44900"  # outlines of the cells that conditions ask for
# The words of all figures, in the languages of `use_language`.
WORDS = {
    "pl": {
        "cell accuracy": "rozpoznane próbki [%]",
        "code": "kod $z$",
        "code of": "kod cyfry {}",
        "condition": "warunek: etykieta, pos_x, pos_y",
        "decoded": "odtworzony\nobraz $\\hat x$",
        "decoder": "dekoder",
        "digit": "cyfra {}",
        "discriminator": "dyskryminator",
        "discriminator accuracy": "trafność dyskryminatora",
        "diversity": "różnorodność",
        "draft": "SZKIC",
        "encoder": "enkoder",
        "end": "koniec",
        "epoch": "epoka",
        "epoch of": "epoka {}",
        "formula": "wzór",
        "generated": "obraz\nz generatora",
        "generator": "generator",
        "half": "1/2\n(średnia)",
        "image": "obraz $x$",
        "KL": "KL [naty]",
        "KL by formula": "KL ze wzoru [naty]",
        "KL by sample": "KL z jednej próbki [naty]",
        "information": "informacja osi [naty]",
        "label": "etykieta",
        "label accuracy": "rozpoznane cyfry",
        "loss": "koszt [naty]",
        "model AE": "Autoenkoder: kwadrat różnicy $x$ i $\\hat x$",
        "model CVAE": "Warunkowy VAE: ten sam koszt, w enkoderze i dekoderze jest warunek",
        "model GAN": "Warunkowy GAN: dyskryminator odróżnia obrazy, generator go zwodzi",
        "model VAE": "VAE: $-\\ln p(x|z)$ i rozbieżność KL rozkładu $q(z|x)$ od $\\mathcal{{N}}(0, I)$",
        "noise": "szum",
        "number of images": "liczba obrazów",
        "original": "oryginał",
        "pair": "para {}",
        "pixels": "[piksele]",
        "rank of axis": "oś, od najwięcej niosącej",
        "probabilities": "prawdopod.\npikseli $p$",
        "real": "prawdziwy\nobraz",
        "reconstruction": "rekonstrukcja",
        "sample": "próbka z $p(z)$",
        "seconds": "czas uczenia [s]",
        "share": "udział",
        "standard deviations": "odch. std.",
        "target": "cel",
        "verdict": "prawdziwy?\njaka cyfra?",
    },
    "en": {
        "cell accuracy": "samples classified correctly [%]",
        "code": "code $z$",
        "code of": "code of digit {}",
        "condition": "condition: label, pos_x, pos_y",
        "decoded": "decoded\nimage $\\hat x$",
        "decoder": "decoder",
        "digit": "digit {}",
        "discriminator": "discriminator",
        "discriminator accuracy": "discriminator accuracy",
        "diversity": "diversity",
        "draft": "DRAFT",
        "encoder": "encoder",
        "end": "end",
        "epoch": "epoch",
        "epoch of": "epoch {}",
        "formula": "formula",
        "generated": "generated\nimage",
        "generator": "generator",
        "half": "1/2\n(mean)",
        "image": "image $x$",
        "KL": "KL [nats]",
        "KL by formula": "KL by formula [nats]",
        "KL by sample": "KL from one sample [nats]",
        "information": "information of the axis [nats]",
        "label": "label",
        "label accuracy": "label accuracy",
        "loss": "loss [nats]",
        "model AE": "Autoencoder: squared difference of $x$ and $\\hat x$",
        "model CVAE": "Conditional VAE: the same loss, with the condition in encoder and decoder",
        "model GAN": "Conditional GAN: the discriminator tells images apart, the generator misleads it",
        "model VAE": "VAE: $-\\ln p(x|z)$ and the KL divergence of $q(z|x)$ from $\\mathcal{{N}}(0, I)$",
        "noise": "noise",
        "number of images": "number of images",
        "original": "original",
        "pair": "pair {}",
        "pixels": "[pixels]",
        "rank of axis": "axis, most information first",
        "probabilities": "pixel\nprobab. $p$",
        "real": "real\nimage",
        "reconstruction": "reconstruction",
        "sample": "sample of $p(z)$",
        "seconds": "training time [s]",
        "share": "share",
        "standard deviations": "std. dev.",
        "target": "target",
        "verdict": "real?\nwhich digit?",
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


def _figure(height, width=WIDTH):
    return Figure(figsize=(width, height), layout="constrained")


def _flat(images):
    """Return images without the channel axis; those of three channels unchanged."""
    images = np.asarray(images)
    return images[..., 0] if images.shape[-1] == 1 else images


def _ratio(images):
    """Return the height of images (..., height, width) or (..., height, width, 3) as a share of their width."""
    height, width = images.shape[-3:-1] if images.shape[-1] == 3 else images.shape[-2:]
    return height / width


def _mosaic(images, gap=0):
    """Join images (rows, n, height, width) or (rows, n, height, width, 3) into one, `gap` grey pixels apart."""
    sides = [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)][: images.ndim]
    joined = np.concatenate(np.concatenate(np.pad(images, sides, constant_values=0.5), axis=1), axis=1)
    return joined[: len(joined) - gap, : joined.shape[1] - gap]  # no line behind the last one


def _show(axes, image, title="", cmap="gray_r"):
    axes.imshow(_flat(image), cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)


def _image_table(images, *, columns="", rows="", height=None, width=WIDTH, cmap="gray_r"):
    """Draw a table of images (rows, n, height, width) with texts above and to the left; return figure and axes."""
    count, across = len(images), len(images[0])
    inches = (width - (0.9 if rows else 0.1)) / across  # of a column
    style, extra = _title_style(columns, inches) if columns else ({}, 0)
    figure = _figure((height or inches * count * _ratio(images[0]) + 0.3) + extra, width)
    table = figure.subplots(count, across, squeeze=False)
    for line, line_axes in zip(images, table):
        for image, axes in zip(line, line_axes):
            _show(axes, image, cmap=cmap)
    for axes, text in zip(table[0], columns):
        axes.set_title(text, **style)
    for axes, text in zip(table[:, 0], rows):
        axes.set_ylabel(text, rotation=0, ha="right", va="center")
    return figure, table


def _title_style(names, inches):
    """Return a style for titles that stand side by side, each `inches` wide, and the height that they add in inches.

    Names too long for their columns are written upwards.
    """
    letter = 0.6 * STYLE["font.size"] / 72  # about its width
    longest = letter * max(len(line) for name in names for line in name.splitlines())
    return ({}, 0) if longest <= 1.3 * inches else ({"rotation": 90}, longest)


def class_colours(count: int) -> tuple[str, ...]:
    """Return a colour for each class: the ten of COLOURS, then others.

    Each further colour lies as far as possible from those before it, in a space in which distances are those that an
    eye sees. None is too light for white paper. Beyond some twenty, colours alone do not tell classes apart; figures
    write the names too.

    Args:
        count: Number of classes, >= 1.

    Returns:
        Colours such as "#332288", all different. Fewer classes have the first of them.

    Raises:
        ValueError: The count is not allowed.

    Source:
        Ottosson, "A perceptual color space for image processing", 2020 (OKLab).
    """
    found = list(COLOURS[: validation.number("count", count, 1, whole=True)])
    if count <= len(COLOURS):
        return tuple(found)
    levels = np.arange(0, 256, 15)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    places = _oklab(candidates)
    candidates, places = (values[(places[:, 0] > 0.3) & (places[:, 0] < 0.8)] for values in (candidates, places))
    taken = _oklab(np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in COLOURS]))
    nearest = np.linalg.norm(places[:, None] - taken, axis=2).min(axis=1)
    while len(found) < count:
        best = nearest.argmax()
        found.append("#{:02x}{:02x}{:02x}".format(*candidates[best]))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[best], axis=1))
    return tuple(found)


def _oklab(levels):
    """Return the OKLab coordinates of sRGB levels (N, 3), 0-255."""
    share = levels / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    cones = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
    axes = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])
    return np.cbrt(linear @ cones.T) @ axes.T


def _names(class_names, count):
    """Return the names of `count` classes: their numbers, if none are given."""
    if class_names is None or not len(class_names):
        return [str(label) for label in range(count)]
    if len(class_names) < count:
        raise ValueError(f"class_names must name {count} classes, got {len(class_names)} names")
    return [str(name) for name in class_names[:count]]


def _latent_axes(axes, limit):
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    unit = _word("standard deviations")
    axes.set_xlabel(f"$z_1$ [{unit}]", size=FORMULA, labelpad=1)
    axes.set_ylabel(f"$z_2$ [{unit}]", size=FORMULA, labelpad=0)


@_styled
def plot_latent_space(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    deviations: ArrayLike | None = None,
) -> Figure:
    """Draw codes in the latent plane, coloured by label, with each class written in an area of its own.

    A dashed square marks the decoded grid. Both axes reach to the first whole number beyond it that no code exceeds.
    Of a VAE some q(z|x) can be drawn too: an ellipse reaches two standard deviations from the mean along each axis.

    Args:
        codes: Shape (N, 2), in standard deviations.
        labels: Shape (N,), whole numbers from 0; None draws all codes in one colour.
        class_names: Names of the classes by label; None for their numbers.
        deviations: Standard deviations of q(z|x) of the first M images, shape (M, 2); None for no ellipses.

    Returns:
        A scatter plot.

    Raises:
        ValueError: The codes have more or fewer than two dimensions, a label is not allowed, or a class has no name.
    """
    codes = validation.array("codes", codes, ("N", "latent_dim"))
    if codes.shape[1] != 2:
        chosen = "train with latent_dim=2, or choose two of them, such as codes[:, :2]"
        raise ValueError(f"codes must have two dimensions to be drawn in a plane, got {codes.shape[1]}; {chosen}")
    order = np.random.default_rng(0).permutation(len(codes))  # so that the last class does not lie on top
    if labels is None:
        figure = _figure(HALF, HALF)
        axes = figure.subplots()
        axes.scatter(*codes[order].T, s=DOT, linewidths=0, alpha=0.7, c=LINES[0])
    else:
        labels = validation.array("labels", labels, ("N",), 0, whole=True)
        validation.same_length(codes=codes, labels=labels)
        figure, axes = _labelled_plane(codes, labels, order, _names(class_names, labels.max() + 1))
    if deviations is not None:
        for centre, deviation in zip(codes, validation.array("deviations", deviations, ("M", 2), 0)):
            axes.add_patch(Ellipse(centre, *(4 * deviation), fill=False, linewidth=0.8))
    axes.add_patch(Rectangle((-LIMIT, -LIMIT), 2 * LIMIT, 2 * LIMIT, fill=False, linestyle="--", linewidth=0.8))
    _latent_axes(axes, max(LIMIT + 1, np.ceil(np.abs(codes).max())))
    return figure


def _labelled_plane(codes, labels, order, names):
    """Draw codes coloured by label, with the name of each class in its area and in a legend above.

    A name that finds no free place stands in the legend alone.
    """
    occurring, colours = np.unique(labels), class_colours(len(names))
    named = [names[label] for label in occurring]
    legend, lines = _legend(named)
    figure = _figure(HALF + 0.18 * lines, HALF)
    axes = figure.subplots()
    if lines > 1:
        axes.set_anchor("SW")  # the layout would take free space around the square for the space of its axis labels
    axes.scatter(*codes[order].T, s=DOT, linewidths=0, alpha=0.7, c=[colours[label] for label in labels[order]])
    size = _label_size(named)
    edge = max(LIMIT + 1, np.ceil(np.abs(codes).max()))
    letter = size / 72 * edge / (HALF / 2 - 0.3)  # its height in units of the axes
    for label, name in zip(occurring, named):
        axes.scatter([], [], s=30, color=colours[label], label=name)
    taken = []
    for label in sorted(occurring, key=lambda label: codes[labels == label].std()):  # wide areas have places to spare
        extent = letter * np.array([0.7 * len(names[label]) + 0.3, 1.25])
        found = _own_place(codes, labels == label, extent, edge, taken)
        if found is not None:
            taken.append((found, extent))
            style = {"size": size, "path_effects": [withStroke(linewidth=size / 4, foreground="white")]}
            axes.text(*found, names[label], weight="bold", ha="center", va="center", **style)
    figure.legend(loc="outside upper center", frameon=False, **legend)
    return figure, axes


def _legend(names):
    """Return the style of a legend that fits the figure's width, and its number of lines."""
    style = {"handlelength": 1, "handletextpad": 0.2, "columnspacing": 0.8, "fontsize": STYLE["legend.fontsize"]}
    parts = style["handlelength"] + style["handletextpad"] + style["columnspacing"] + 0.62 * max(map(len, names))
    width = style["fontsize"] / 72 * parts  # of a column, in inches
    most = max(1, int((HALF - 0.2) / width))
    lines = -(-len(names) // most)
    return {"ncols": -(-len(names) // lines), **style}, lines


def _label_size(names):
    """Return a size for names in a plane: smaller for many or for long ones."""
    many, long = max(len(names) / 10, 1), max(max(map(len, names)) / 3, 1)
    return max(SMALLEST, 11 / (many * long) ** 0.5)


def _own_place(points, own, extent, edge, taken):
    """Find a place among points (N, 2) with many points of the mask `own` (N,) and few others.

    The place is the median of own points in the best of boxes 0.8 wide. The best box has the largest count of own
    points times the square of their share. `taken` lists places and extents of other names. A name of the given extent
    covers none of them, and ends before the edge of the axes. None if there is no such place.
    """
    centres = np.unique(np.rint(points[own] / 0.4), axis=0) * 0.4
    boxes = [np.abs(points - centre).max(axis=1) <= 0.4 for centre in centres]
    for box in sorted(boxes, key=lambda box: (box & own).sum() ** 3 / box.sum() ** 2, reverse=True):
        place = np.median(points[box & own], axis=0)
        inside = (np.abs(place) + extent / 2 <= edge).all()
        if inside and all((np.abs(place - other) >= (extent + theirs) / 2).any() for other, theirs in taken):
            return place
    return None


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
def plot_latent_images(images: ArrayLike, *, gap: int = 0, cmap: str = "gray_r") -> Figure:
    """Draw decoded images at their points in the latent plane.

    Args:
        images: Shape (n * n, height, width, channels), decoded from the points of `latent_grid(n)`. Codes of other than
            two dimensions have no such grid.
        gap: Pixels between two images; 1 keeps apart small images that fill their frame.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        A mosaic of n x n images.

    Raises:
        ValueError: The number of images is not the square of a number >= 2.
    """
    images = _flat(images)
    count = round(len(images) ** 0.5)
    if count < 2 or count**2 != len(images):
        grid = "n * n images with n >= 2, decoded from latent_grid(n)"
        raise ValueError(f"expected {grid}, which needs codes of two dimensions, got {len(images)} images")
    mosaic = _mosaic(images.reshape(count, count, *images.shape[1:]), gap)
    edge = LIMIT * count / (count - 1)  # the outermost points are the centres of the outermost images
    figure = _figure(HALF * _ratio(images), HALF)
    axes = figure.subplots()
    axes.imshow(mosaic, cmap=cmap, vmin=0, vmax=1, extent=(-edge, edge, -edge, edge))
    _latent_axes(axes, edge)
    axes.set_aspect(_ratio(images))
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
    figure = _figure(1.35, HALF)
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
    columns = [_word("end"), "1/4", _word("half"), "3/4", _word("end")]
    figure, table = _image_table(_flat(images), columns=columns, height=2.1, width=HALF)
    for line, (first, last) in zip(table, labels):
        line[0].set_xlabel(_word("code of", first), loc="left")
        line[-1].set_xlabel(_word("code of", last), loc="right")
    return figure


@_styled
def plot_training_result(
    originals: ArrayLike, reconstructions: ArrayLike, samples: ArrayLike, *, cmap: str = "gray_r"
) -> Figure:
    """Draw one row each of originals, their reconstructions and samples of the prior.

    Args:
        originals: Shape (n, height, width, channels).
        reconstructions: Same shape.
        samples: Same shape.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        Three rows of images.
    """
    rows = [_word(name) for name in ("original", "reconstruction", "sample")]
    return _image_table([_flat(images) for images in (originals, reconstructions, samples)], rows=rows, cmap=cmap)[0]


BOX, STEP = (0.93, 0.36), 1.08  # inches: a box of `plot_models`, and the distance of two neighbours
# The boxes of each model, from left to right. Texts that are no words of WORDS are formulas, the same in all languages.
_SAMPLED = (r"$\mu,\ \ln\sigma^2$", r"$z=\mu+\sigma\varepsilon$")
_CHAINS = {
    "model AE": ("image", "encoder", "code", "decoder", "decoded"),
    "model VAE": ("image", "encoder", *_SAMPLED, "decoder", "probabilities"),
    "model CVAE": ("image", "encoder", *_SAMPLED, "decoder", "probabilities"),
    "model GAN": ("noise", "generator", "generated", "discriminator", "verdict"),
}


@_styled
def plot_models() -> Figure:
    """Draw the four models as boxes and arrows, each with its loss: AE, VAE, conditional VAE and conditional GAN."""
    heights = {"model AE": 0.72, "model VAE": 0.72, "model CVAE": 1.24, "model GAN": 1.24}
    figure = Figure(figsize=(WIDTH, sum(heights.values())))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, sum(heights.values())))
    axes.axis("off")
    top = sum(heights.values())
    for name, chain in _CHAINS.items():
        axes.text(0.05, top - 0.13, _word(name), va="center", size=9.5, weight="bold")
        places = [(0.48 + STEP * number, top - 0.44) for number in range(len(chain))]
        for box, place in zip(chain, places):
            _box(axes, _word(box) if box in WORDS["pl"] else box, place)
        for place, following in pairwise(places):
            _arrow(axes, (place[0] + BOX[0] / 2, place[1]), (following[0] - BOX[0] / 2, following[1]))
        below = top - 0.96
        if name == "model CVAE":
            middle = (places[1][0] + places[4][0]) / 2
            _box(axes, _word("condition"), (middle, below), 2.2)
            for end, side in ((places[1], -1), (places[4], 1)):
                _arrow(axes, (middle + side * 1.1, below), (end[0], end[1] - BOX[1] / 2))
        if name == "model GAN":
            _box(axes, _word("label"), (places[2][0], below))
            _box(axes, _word("real"), (places[4][0], below))
            for start, end in (((2, -1), 1), ((2, 1), 3), ((4, -1), 3)):
                place, side = start
                shift = 0.12 * (place == 4)  # so that two arrows do not meet in one point
                ends = places[end][0] + shift, places[end][1] - BOX[1] / 2
                _arrow(axes, (places[place][0] + side * BOX[0] / 2, below), ends)
        top -= heights[name]
    return figure


def _box(axes, text, centre, width=BOX[0]):
    corner = (centre[0] - width / 2, centre[1] - BOX[1] / 2)
    axes.add_patch(Rectangle(corner, width, BOX[1], facecolor="#f2f2f2", edgecolor="black", linewidth=0.8))
    size = FORMULA if text[0] == "$" else 8.5
    axes.text(*centre, text, ha="center", va="center", size=size, linespacing=1.1)


def _arrow(axes, start, end):
    style = {"arrowstyle": "-|>", "lw": 0.8, "color": "black", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


@_styled
def plot_kl_formulas() -> Figure:
    """Write the KL divergence of two normal distributions, in general and for P = N(0, 1)."""
    general = (
        r"$D_{\mathrm{KL}}\left(\mathcal{N}(\mu_q,\sigma_q^2)\;\Vert\;\mathcal{N}(\mu_p,\sigma_p^2)\right)"
        r"=\ln\dfrac{\sigma_p}{\sigma_q}+\dfrac{\sigma_q^2+(\mu_q-\mu_p)^2}{2\sigma_p^2}-\dfrac{1}{2}$"
    )
    special = (
        r"$D_{\mathrm{KL}}\left(\mathcal{N}(\mu,\sigma^2)\;\Vert\;\mathcal{N}(0,1)\right)"
        r"=\dfrac{1}{2}\left(\mu^2+\sigma^2-\ln\sigma^2-1\right)$"
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
    figure = _figure(2.9, HALF)
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
        conditions: Shape (9, 3), with the positions of `canvas.all_positions`.

    Returns:
        Three rows of three canvases, with pos_x above the columns and pos_y beside the rows.

    Raises:
        ValueError: The positions are others, or in another order.
    """
    expected = [(pos_x, pos_y) for pos_y in range(3) for pos_x in range(3)]
    if (got := [tuple(map(int, condition[1:])) for condition in conditions]) != expected:
        raise ValueError(f"conditions must have the positions (pos_x, pos_y) {expected}, in this order, got {got}")
    figure = _figure(HALF, HALF)
    table = figure.subplots(3, 3)
    for axes, canvas, position in zip(table.ravel(), canvases, expected):
        _show(axes, canvas)
        _outline(axes, *position)
    for place in range(3):
        table[0, place].set_title(f"pos_x = {place}")
        table[place, 0].set_ylabel(f"pos_y = {place}")
    return figure


@_styled
def plot_digit_rows(images: ArrayLike, *, class_names: Sequence[str] | None = None, cmap: str = "gray_r") -> Figure:
    """Draw one row of images for each digit, or each class of other images.

    Args:
        images: Shape (classes, n, height, width, channels), in the order of the labels.
        class_names: Names of the classes; None for their numbers.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        One row of images for each class.

    Raises:
        ValueError: A class has no name.
    """
    images = _flat(images)
    names = _names(class_names, len(images))
    figure, table = _image_table(images, height=0.41 * len(images) * _ratio(images), cmap=cmap)
    for line, name in zip(table, names):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


@_styled
def plot_digits(images: ArrayLike, *, class_names: Sequence[str] | None = None, cmap: str = "gray_r") -> Figure:
    """Draw one image of each digit, in a row, or one of each class of other images, ten in a row.

    Args:
        images: Shape (classes, height, width, channels), in the order of the labels.
        class_names: Names of the classes; None for their numbers.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        Images with the names of their classes above.

    Raises:
        ValueError: A class has no name.
    """
    images = _flat(images)
    names, width = _names(class_names, len(images)), min(len(images), COLUMNS)
    if len(images) == width:
        return _image_table([images], columns=names, cmap=cmap)[0]
    lines = -(-len(images) // width)
    style, extra = _title_style(names, (WIDTH - 0.9) / width)
    figure = _figure(((WIDTH - 0.9) / width * _ratio(images) + 0.22 + extra) * lines)
    for place, axes in enumerate(figure.subplots(lines, width).ravel()):
        if place < len(images):
            _show(axes, images[place], cmap=cmap)
            axes.set_title(names[place], **style)
        else:
            axes.axis("off")
    return figure


@_styled
def plot_learning(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw learning curves in panels, side by side.

    Args:
        panels: {label of the vertical axis: {name of a curve: values by epoch}}; at most three curves in a panel. The
            label stands above its panel, where there is room for a long one.

    Returns:
        One panel for each label: one as wide as half the text, two as all of it.
    """
    figure = _figure(2.3, HALF if len(panels) == 1 else WIDTH)
    for axes, (label, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        _draw_curves(axes, label, curves)
    return figure


def _draw_curves(axes, label, curves):
    for (name, values), colour, marker in zip(curves.items(), LINES, "os^"):
        axes.plot(range(1, len(values) + 1), values, marker=marker, ms=3, lw=1.2, color=colour, label=name)
    axes.set(xlabel=_word("epoch"))
    axes.set_title(label, loc="left")  # it may be longer than the axis
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
    figure = _figure(2.8)
    left, right = figure.subplots(1, 2)
    ends = [min(closed_form.min(), monte_carlo.min()), max(closed_form.max(), monte_carlo.max())]
    left.plot(ends, ends, color="black", lw=0.8)
    left.scatter(closed_form, monte_carlo, s=DOT, linewidths=0, alpha=0.4, color=LINES[0])
    left.set(xlabel=_word("KL by formula"), ylabel=_word("KL by sample"))
    bins = np.linspace(*ends, 60)
    for values, name, colour in ((closed_form, _word("formula"), LINES[1]), (monte_carlo, "Monte Carlo", LINES[0])):
        right.hist(values, bins, histtype="step", lw=1.3, color=colour, label=name)
    right.set(xlabel=_word("KL"), ylabel=_word("number of images"))
    right.legend(frameon=False, loc="upper right")
    for axes in (left, right):
        _number_axes(axes)
    return figure


@_styled
def plot_rows(rows: Mapping[str, ArrayLike], *, cmap: str = "gray_r") -> Figure:
    """Draw rows of images with a text on the left.

    Args:
        rows: {text: images of shape (n, height, width, channels)}.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        One row for each text.
    """
    return _image_table([_flat(images) for images in rows.values()], rows=list(rows), cmap=cmap)[0]


@_styled
def plot_accuracy_map(shares: np.ndarray) -> Figure:
    """Draw shares by label and cell as a heat map in per cent.

    Args:
        shares: Shape (10, 9), 0 to 1: labels down, the cells of the grid across, row by row.

    Returns:
        A heat map with its colour bar.
    """
    figure = _figure(3.3, HALF)
    axes = figure.subplots()
    low = np.floor(20 * shares.min()) / 20
    shown = axes.imshow(shares, cmap="cividis", vmin=low, vmax=1, aspect="auto")
    for (label, cell), share in np.ndenumerate(shares):
        colour = "white" if share < (low + 1) / 2 else "black"
        axes.text(cell, label, f"{100 * share:.0f}", ha="center", va="center", color=colour, size=8.5)
    cells = [f"{column}, {row}" for row in range(3) for column in range(3)]
    axes.set(xticks=range(9), xticklabels=cells, yticks=range(10), xlabel="pos_x, pos_y", ylabel=_word("label"))
    axes.tick_params(axis="x", rotation=90)
    bar = figure.colorbar(shown, label=_word("cell accuracy"), location="top", aspect=30, pad=0.02)
    bar.formatter = FuncFormatter(lambda value, _: f"{100 * value:.0f}")
    return figure


@_styled
def plot_class_accuracy(shares: Mapping[str, ArrayLike], count: int) -> Figure:
    """Draw the share of correct images of each class, with 95 % intervals.

    Args:
        shares: {name: shares of the classes, 0 to 1}; at most three names.
        count: Number of images of each class.

    Returns:
        A point for each name and class; its bar is Wilson's interval for `count` independent images.
    """
    figure = _figure(2.4, HALF)
    axes = figure.subplots()
    for place, ((name, values), marker) in enumerate(zip(shares.items(), "os^")):
        values = 100 * np.asarray(values)
        tests = (binomtest(round(value * count / 100), count) for value in values)
        ends = 100 * np.array([test.proportion_ci(method="wilson") for test in tests]).T
        across = np.arange(len(values)) + 0.2 * (place - (len(shares) - 1) / 2)
        bars = np.abs(ends - values)
        axes.errorbar(across, values, bars, fmt=marker, ms=4, lw=1, color=LINES[place], label=name)
    axes.set(xticks=np.arange(len(values)), xlabel=_word("label"), ylabel=_word("cell accuracy"))
    _number_axes(axes)
    axes.grid(lw=0.3, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=len(shares))
    return figure


@_styled
def plot_information(axes_of: Mapping[str, ArrayLike]) -> Figure:
    """Draw how much each latent axis of several models carries, the largest first.

    Args:
        axes_of: {name: nats of each axis, see `metrics.information_by_axis`}; at most four names.

    Returns:
        A line for each name, with the rank of the axis across.
    """
    figure = _figure(2.4, HALF)
    axes = figure.subplots()
    for (name, nats), colour, marker in zip(axes_of.items(), LINES, "os^D"):
        nats = np.sort(nats)[::-1]
        axes.plot(np.arange(1, len(nats) + 1), nats, marker=marker, ms=3, lw=1, color=colour, label=name)
    axes.set(xlabel=_word("rank of axis"), ylabel=_word("information"), xscale="log")
    axes.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50, 100]))
    axes.xaxis.set_minor_locator(NullLocator())
    _number_axes(axes)
    axes.grid(lw=0.3)
    axes.legend(frameon=False)
    return figure


@_styled
def plot_gan_progress(
    history: Mapping[str, Sequence[float]],
    drawn: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    cmap: str = "gray_r",
) -> Figure:
    """Draw the training of a GAN by epoch: its losses, its shares, and one image of each class.

    Of more than SHOWN classes or epochs, every second is drawn, or every third, and so on.

    Args:
        history: History of a training with `training.GANMonitor`.
        drawn: Generated images (epochs, classes, height, width) or (epochs, classes, height, width, 3), 0-255.
        class_names: Names of the classes, written above; None for none, or for numbers if some classes are left out.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        Two panels of curves above one row of images for each epoch.

    Raises:
        ValueError: A class has no name.
    """
    drawn = _flat(drawn) / 255
    epochs, classes = (np.arange(count)[:: -(-count // SHOWN)] for count in drawn.shape[:2])
    epochs += len(drawn) - 1 - epochs[-1]  # with the last one
    names = _names(class_names, drawn.shape[1])
    row = min(0.5, (WIDTH - 0.9) / len(classes) * _ratio(drawn) + 0.05)  # inches
    shown = [names[label] for label in classes] if class_names is not None or len(classes) < len(names) else []
    style, extra = _title_style(shown, (WIDTH - 0.9) / len(classes)) if shown else ({}, 0)
    figure = _figure(2.2 + row * len(epochs) + extra)
    above, below = figure.subfigures(2, 1, height_ratios=(2.2, row * len(epochs) + extra))
    _draw_progress(above, history)
    table = below.subplots(len(epochs), len(classes), squeeze=False)
    for epoch, line in zip(epochs, table):
        for axes, image in zip(line, drawn[epoch, classes]):
            _show(axes, image, cmap=cmap)
        line[0].set_ylabel(_word("epoch of", epoch + 1), rotation=0, ha="right", va="center")
    for axes, name in zip(table[0], shown):
        axes.set_title(name, **style)
    return figure


def _draw_progress(figure, history):
    """Draw the losses of a GAN and its shares, side by side."""
    losses = {_word("generator"): history["generator_loss"], _word("discriminator"): history["discriminator_loss"]}
    shares = {
        _word("discriminator accuracy"): history["discriminator_accuracy"],
        _word("label accuracy"): history["label_accuracy"],
        _word("diversity"): history["diversity"],
    }
    for axes, (label, curves) in zip(figure.subplots(1, 2), ((_word("loss"), losses), (_word("share"), shares))):
        _draw_curves(axes, label, curves)


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
    places = figure.subplots(-(-len(panels) // 2), 2).ravel()
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, (quality, target, lines) in zip(places, panels):
        for (who, seeds), colour, marker in zip(lines.items(), LINES, "os^"):
            for number, (seconds, values) in enumerate(seeds):
                label = None if number else who
                axes.plot(seconds, values, marker=marker, ms=2, lw=1, color=colour, label=label)
        axes.axhline(target, color=MARK, lw=0.8, ls="--", label=_word("target"))
        axes.set(xscale="log", xlabel=_word("seconds"), ylabel=quality)
        seen = np.concatenate([values for seeds in lines.values() for _, values in seeds])
        if seen.min() * 100 < seen.max():  # the target would lie on a linear axis
            axes.set_yscale("log")
        _number_axes(axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.grid(lw=0.3)
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3}
        axes.legend(frameon=False, borderpad=0, columnspacing=0.8, handlelength=1.2, handletextpad=0.4, **above)
    return figure


@_styled
def plot_sweep(panels: Mapping[str, Mapping[str, Sequence[float]]], score: str) -> Figure:
    """Draw a score against each option of a sweep: a dot for each training, and mean and standard deviation.

    Args:
        panels: {option: {value: scores of all trainings with it}}.
        score: Name of the score.

    Returns:
        One panel for each option, side by side.
    """
    figure = _figure(2.3, HALF if len(panels) == 1 else WIDTH)
    for axes, (option, scores) in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items()):
        for place, values in enumerate(map(np.asarray, scores.values())):
            axes.scatter(np.full(len(values), place), values, s=DOT, color=LINES[1])
            if len(values):
                spread = values.std(ddof=1) if len(values) > 1 else 0
                axes.errorbar(place + 0.15, values.mean(), spread, fmt="o", ms=4, capsize=3, color=LINES[0])
        room = 0.85 * figure.get_figwidth() / len(panels) / len(scores)  # for a value, in inches
        crowded = (max(map(len, scores)) + 1) * 0.6 * STYLE["xtick.labelsize"] / 72 > room
        axes.set_xticks(range(len(scores)), scores, **({"rotation": 30, "ha": "right"} if crowded else {}))
        axes.set_xlim(-0.5, len(scores) - 0.3)
        axes.set(xlabel=option)
        axes.grid(axis="y", lw=0.3)
    figure.axes[0].set_title(score, loc="left")
    return figure


@_styled
def plot_mosaic(images: ArrayLike, *, gap: int = 0, cmap: str = "gray_r") -> Figure:
    """Draw images edge to edge, without frames or texts.

    Args:
        images: Shape (rows, n, height, width, channels).
        gap: See `plot_latent_images`.
        cmap: Colour map of grey images; "gray" for photographs.

    Returns:
        One picture as wide as the text.
    """
    mosaic = _mosaic(_flat(images), gap)
    figure = Figure(figsize=(WIDTH, WIDTH * mosaic.shape[0] / mosaic.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(mosaic, cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    return figure


def mark_as_draft(figure: Figure) -> None:
    """Write DRAFT, in the chosen language, across a figure that was made in the quick mode.

    Args:
        figure: Figure to mark, in place.
    """
    style = {"size": 40, "color": "red", "alpha": 0.35, "weight": "bold", "rotation": 20}
    figure.text(0.5, 0.5, _word("draft"), ha="center", va="center", **style)


def text_sizes(figure: Figure) -> dict[str, float]:
    """Return the size of each text of a matplotlib Figure, in points on a figure of its own width.

    Args:
        figure: Figure to measure. Its layout is brought up to date.

    Returns:
        {text: the size of its smallest sign}. Indices and exponents of a formula are smaller than its other signs.
    """
    figure.draw_without_rendering()
    found = {}
    for text in figure.findobj(Text):
        for line in text.get_text().splitlines() if text.get_visible() else ():
            size = text.get_fontsize()
            if is_math_text(line) and not text.get_usetex():
                glyphs = MathTextParser("path").parse(line, 72, text.get_fontproperties()).glyphs
                size = min(size, *(glyph[1] for glyph in glyphs))
            if line.strip():
                found[line] = min(size, found.get(line, size))
    return found


def shown_in(figure: Figure) -> dict[str, np.ndarray]:
    """Return what a matplotlib Figure shows, {name: array}: images, coordinates, colours, titles, texts.

    Images in [0, 1] become levels 0-255. Axis labels, ticks, legends and sizes are rendering.
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
