import itertools
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from scipy import spatial

from genmodels import canvas, figures
from genmodels.config import checkout

CONDITIONS = canvas.conditions(np.arange(10), 1, 2)
POSITIONS = canvas.conditions(3, *canvas.all_positions().T)

NAMES = ("generator_loss", "discriminator_loss", "discriminator_accuracy", "label_accuracy", "diversity")
HISTORY = {name: [0.25, 0.5] for name in NAMES}


def random(*shape):
    return np.random.default_rng(0).random(shape, "float32")


DRAWINGS = {
    "latent_space": lambda: figures.plot_latent_space(random(50, 2), np.arange(50) % 10),
    "latent_images": lambda: figures.plot_latent_images(random(16, 28, 28, 1)),
    "pairs": lambda: figures.plot_pairs(random(2, 2, 28, 28, 1), [[9, 7], [1, 8]]),
    "interpolations": lambda: figures.plot_interpolations(random(2, 5, 28, 28), [[9, 7], [1, 8]]),
    "training": lambda: figures.plot_training_result(random(4, 28, 28, 1), random(4, 28, 28, 1), random(4, 28, 28, 1)),
    "formulas": figures.plot_kl_formulas,
    "models": figures.plot_models,
    "conditional": lambda: figures.plot_conditional_samples(random(1, 10, 56, 56), CONDITIONS[None]),
    "canvas": lambda: figures.plot_canvas(random(56, 56, 1), CONDITIONS[4]),
    "positions": lambda: figures.plot_positions(random(9, 56, 56, 1), POSITIONS),
    "digit_rows": lambda: figures.plot_digit_rows(random(10, 3, 28, 28)),
    "digits": lambda: figures.plot_digits(random(10, 28, 28)),
    "learning": lambda: figures.plot_learning({"MSE": {"trening": [3.0, 2.0], "walidacja": [2.5, 2.25]}}),
    "kl_forms": lambda: figures.plot_kl_forms(random(40), random(40)),
    "rows": lambda: figures.plot_rows({"oryginał": random(4, 28, 28, 1), "rekonstrukcja": random(4, 28, 28, 1)}),
    "accuracy_map": lambda: figures.plot_accuracy_map(random(10, 9)),
    "class_accuracy": lambda: figures.plot_class_accuracy({"zwykły": random(10), "poprawiony": random(10)}, 100),
    "information": lambda: figures.plot_information({"2": random(2), "25": random(25)}),
    "gan_progress": lambda: figures.plot_gan_progress(HISTORY, 255 * random(2, 10, 28, 28)),
    "sweep": lambda: figures.plot_sweep({"beta": {"1": [3.0, 2.5], "4": [4.0]}, "kl": {"x": [2.0]}}, "loss"),
    "time_to_quality": lambda: figures.plot_time_to_quality([("MSE", 0.5, {"model": [([1, 2, 4], [0.9, 0.6, 0.4])]})]),
    "mosaic": lambda: figures.plot_mosaic(random(2, 3, 28, 28, 1)),
}


def texts(figure):
    return {text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_comes_back_and_is_the_same_picture_every_time(name, tmp_path):
    pictures = []
    for index in range(2):
        figure = DRAWINGS[name]()
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{index}.png", metadata={"Software": None})
        pictures.append((tmp_path / f"{index}.png").read_bytes())
    assert pictures[0] == pictures[1] and len(pictures[0]) > 1000


LONG = ["T-shirt/top", "Ankle boot"] * 5
SMALLEST_OF_ALL = {
    **DRAWINGS,
    "hundred classes": lambda: figures.plot_latent_space(random(300, 2), np.arange(300) % 100),
    "long names in the plane": lambda: figures.plot_latent_space(random(50, 2), np.arange(50) % 10, class_names=LONG),
    "long names": lambda: figures.plot_digits(random(10, 6, 8), class_names=LONG),
    "long names in rows": lambda: figures.plot_digit_rows(random(10, 3, 6, 8), class_names=LONG),
    "long names of a GAN": lambda: figures.plot_gan_progress(HISTORY, 255 * random(2, 26, 4, 4), class_names=LONG * 3),
}


@pytest.mark.parametrize("name", SMALLEST_OF_ALL)
def test_no_text_is_too_small_for_paper_or_a_phone(name):
    """On paper figures have their own width, and on a phone at least 96 pixels an inch."""
    figure = SMALLEST_OF_ALL[name]()
    sizes = figures.text_sizes(figure)
    assert bool(sizes) == (name != "mosaic") and min(sizes.values(), default=9) >= figures.SMALLEST
    assert figures.SMALLEST >= 7 and figures.SMALLEST / 72 * 96 >= 11
    assert figure.get_figwidth() in (figures.HALF, figures.WIDTH)


def test_an_index_is_smaller_than_its_formula():
    figure = Figure()
    figure.text(0, 0, "kod $z_1$ i $z$\nwiersz", size=10)
    figure.text(0, 0, "ukryty", size=1, visible=False)
    assert figures.text_sizes(figure) == {"kod $z_1$ i $z$": pytest.approx(7), "wiersz": 10}


def shown_texts(figure):
    """The texts of a figure, as drawn: findobj would also give tick labels outside the axes."""
    figure.draw_without_rendering()
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    found += [text for part in figure.subfigs for text in (*part.texts, part._suptitle) if text is not None]
    for axes in figure.get_axes():
        found += [axes.title, axes._left_title, *axes.texts]
        if axes.axison:
            ticks = [tick for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
            found += [axes.xaxis.label, axes.yaxis.label]
            found += [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]
        if axes.get_legend():
            found += axes.get_legend().get_texts()
    return [text for text in dict.fromkeys(found) if text.get_text()]


@pytest.mark.parametrize("name", DRAWINGS)
def test_texts_stand_in_the_figure_and_cover_no_others(name):
    figure = DRAWINGS[name]()
    shown = shown_texts(figure)
    width, height = figure.canvas.get_width_height()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    outside = [text for text, box in boxes if min(box.x0, box.y0) < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    covered = [
        (text, other)
        for place, (text, box) in enumerate(boxes)
        for other, its in boxes[:place]
        if min(box.x1, its.x1) - max(box.x0, its.x0) > 1 and min(box.y1, its.y1) - max(box.y0, its.y0) > 1
    ]
    assert (outside, covered) == ([], [])


def test_ten_different_colours():
    assert len(set(figures.COLOURS)) == 10


NEIGHBOURS = ((0, 4), (0, 8), (4, 8), (4, 9), (4, 7), (7, 9), (3, 5), (3, 8), (5, 8))  # in the planes of AE or VAE
# How linear RGB looks to readers without red or green cones: Machado, Oliveira and Fernandes, 2009, severity 1.
SIGHTS = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_of_neighbours_in_the_plane_are_far_apart(sight):
    """Distances in OKLab; black and white are 1 apart."""
    share = levels(figures.COLOURS) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SIGHTS[sight]), 0, 1)
    places = figures._oklab(255 * np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    assert min(np.linalg.norm(places[one] - places[other]) for one, other in NEIGHBOURS) > 0.25


def levels(colours):
    return np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours])


@pytest.mark.parametrize(("count", "least"), [(10, 0.1), (26, 0.1), (100, 0.05)])
def test_colours_of_classes_differ_from_each_other_and_from_paper(count, least):
    """Distances in OKLab; black and white are 1 apart."""
    colours = figures.class_colours(count)
    assert colours[:10] == figures.COLOURS and len(colours) == len(set(colours)) == count
    places = figures._oklab(levels([*colours, "#ffffff"]))
    assert spatial.distance.pdist(places).min() > least


def test_few_classes_have_the_first_colours():
    assert figures.class_colours(3) == figures.COLOURS[:3]


def test_coordinates_of_known_colours_are_those_of_the_source():
    """White, black and red, from the table of OKLab's author and from CSS Color 4."""
    expected = [[1, 0, 0], [0, 0, 0], [0.6280, 0.2249, 0.1258]]
    np.testing.assert_allclose(figures._oklab(levels(["#ffffff", "#000000", "#ff0000"])), expected, atol=1e-3)


def test_the_grid_is_drawn_with_z2_upwards():
    grid = figures.latent_grid(3)
    assert grid[0].tolist() == [-4, 4] and grid[2].tolist() == [4, 4] and grid[-1].tolist() == [4, -4]
    images = np.zeros((9, 28, 28))
    images[2] = 1  # the point (4, 4)
    mosaic = figures.plot_latent_images(images).axes[0].images[0].get_array()
    assert mosaic[:28, -28:].min() == 1 and mosaic.sum() == 28 * 28


def test_each_decoded_image_is_centred_on_its_point():
    left, right, _, _ = figures.plot_latent_images(np.zeros((25, 28, 28))).axes[0].images[0].get_extent()
    assert left + (right - left) / 5 / 2 == pytest.approx(-4)


def shown_images(figure):
    return [np.asarray(image.get_array()) for axes in figure.get_axes() for image in axes.images]


COLOURFUL = {
    "latent_images": lambda: figures.plot_latent_images(random(9, 6, 8, 3)),
    "training": lambda: figures.plot_training_result(*[random(4, 6, 8, 3)] * 3),
    "digit_rows": lambda: figures.plot_digit_rows(random(26, 3, 6, 8, 3)),
    "digits": lambda: figures.plot_digits(random(26, 6, 8, 3)),
    "rows": lambda: figures.plot_rows({"a": random(4, 6, 8, 3)}),
    "gan_progress": lambda: figures.plot_gan_progress(HISTORY, 255 * random(2, 26, 6, 8, 3)),
    "mosaic": lambda: figures.plot_mosaic(random(2, 3, 6, 8, 3)),
    "mosaic with gaps": lambda: figures.plot_mosaic(random(2, 3, 6, 8, 3), gap=1),
}


@pytest.mark.parametrize("name", COLOURFUL)
def test_colour_images_are_shown_as_they_are(name):
    shown = shown_images(COLOURFUL[name]())
    assert all(image.shape[2:] == (3,) for image in shown)
    np.testing.assert_allclose(shown[0][:6, :8], random(9, 6, 8, 3)[0], rtol=1e-6)


def test_images_that_are_not_square_keep_their_shape():
    axes = figures.plot_latent_images(random(9, 6, 12, 1)).axes[0]
    assert axes.get_aspect() == 0.5 and axes.images[0].get_array().shape == (18, 36)
    wide, square = (figures.plot_rows({"a": random(4, 6, width)}).get_size_inches() for width in (12, 6))
    assert wide[1] - 0.3 == pytest.approx((square[1] - 0.3) / 2)


def test_photographs_keep_their_light_and_dark():
    for cmap in ("gray_r", "gray"):
        figure = figures.plot_digits(random(10, 6, 8, 1), cmap=cmap)
        assert {image.get_cmap().name for axes in figure.axes for image in axes.images} == {cmap}


def test_codes_of_other_than_two_dimensions_are_refused():
    message = "codes must have two dimensions to be drawn in a plane, got 16; train with latent_dim=2, or choose two"
    with pytest.raises(ValueError, match=message):
        figures.plot_latent_space(random(50, 16), np.arange(50) % 10)
    with pytest.raises(ValueError, match=r"expected n \* n images .* needs codes of two dimensions, got 10 images"):
        figures.plot_latent_images(random(10, 28, 28))


def test_codes_without_labels_are_drawn_in_one_colour():
    figure = figures.plot_latent_space(random(50, 2))
    assert len(figure.axes[0].collections[0].get_facecolors()) == 1 and not figure.legends
    assert len(figure.axes[0].texts) == 0


CLASS_NAMES = {
    "letters": list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "hundred": None,
    "clothes": ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"],
    "long": [f"a rather long name of a class {number}" for number in range(30)],
}


@pytest.mark.parametrize("kind", CLASS_NAMES)
def test_the_legend_fits_and_names_cover_no_others(kind):
    names = CLASS_NAMES[kind] or [str(number) for number in range(100)]
    labels = np.arange(3000) % len(names)
    codes = np.random.default_rng(0).normal(size=(len(names), 2))[labels] * 2 + 0.1 * random(3000, 2)
    figure = figures.plot_latent_space(codes, labels, class_names=CLASS_NAMES[kind])
    figure.draw_without_rendering()
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == names
    box, (width, height) = legend.get_window_extent(), figure.canvas.get_width_height()
    assert 0 <= box.x0 and box.x1 <= width and box.y1 <= height
    assert box.y0 >= figure.axes[0].get_window_extent().y1 and figure.axes[0].get_tightbbox().y0 > 0
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert {text.get_text() for text in figure.axes[0].texts} <= set(names)
    assert len(boxes) >= (0 if kind == "long" else 7) and all(0 <= box.x0 and box.x1 <= width for box in boxes)
    assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place])


def test_positions_in_another_order_are_refused():
    with pytest.raises(ValueError, match=r"in this order, got \[\(2, 2\), \(1, 2\)"):
        figures.plot_positions(random(9, 56, 56, 1), POSITIONS[::-1])


def test_classes_beyond_ten_have_colours_of_their_own():
    shown = figures.shown_in(figures.plot_latent_space(random(52, 2), np.arange(52) % 26))
    assert len(np.unique(shown["axes 0, colours 0"], axis=0)) == 26


def test_classes_are_called_by_their_names():
    names = [f"class {label}" for label in range(26)]
    rows = figures.plot_digit_rows(random(26, 3, 8, 8), class_names=names)
    for figure in (figures.plot_digits(random(26, 8, 8), class_names=names), rows):
        assert set(names) <= texts(figure)
    with pytest.raises(ValueError, match="class_names must name 26 classes, got 10 names"):
        figures.plot_digits(random(26, 8, 8), class_names=names[:10])


def test_one_image_of_each_of_many_classes_is_drawn_ten_in_a_row():
    figure = figures.plot_digits(random(26, 8, 8))
    assert len(figure.axes) == 30 and len(shown_images(figure)) == 26
    assert [axes.get_title() for axes in figure.axes[:26]] == [str(label) for label in range(26)]


def test_many_classes_and_epochs_of_a_gan_are_thinned_out_evenly():
    drawn = 255 * random(28, 60, 4, 4)
    figure = figures.plot_gan_progress(HISTORY, drawn)
    shown = np.stack(shown_images(figure)).reshape(14, 20, 4, 4)
    np.testing.assert_allclose(shown, drawn[1::2, ::3] / 255, atol=1e-6)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [str(label) for label in range(0, 60, 3)]


@pytest.mark.parametrize(
    ("name", "draw", "shape"),
    [
        ("gan_examples", figures.plot_digits, (10, 28, 28)),
        ("cover", figures.plot_mosaic, (6, 10, 28, 28)),
        ("grid_ae", figures.plot_latent_images, (400, 28, 28)),
    ],
)
def test_the_figures_of_the_report_show_what_they_showed(name, draw, shape):
    """Draw the images of a committed figure again."""
    with np.load(checkout() / "data" / "report" / f"{name}.npz") as file:
        committed = dict(file)
    images = np.stack([committed[part] for part in committed if ", image " in part]) / 255
    if len(images) == 1:  # a mosaic
        side = images.shape[1] // 28, images.shape[2] // 28
        images = images.reshape(side[0], 28, side[1], 28).swapaxes(1, 2)
    shown = figures.shown_in(draw(images.reshape(shape)))
    assert shown.keys() == committed.keys()
    assert all(np.array_equal(shown[part], committed[part]) for part in shown)


def test_interpolation_is_even_and_its_middle_is_the_mean():
    points = figures.interpolate(np.array([0.0, 4.0]), np.array([8.0, 0.0]))
    assert points[[0, 2, 4]].tolist() == [[0, 4], [4, 2], [8, 0]]
    assert np.ptp(np.diff(points, axis=0), axis=0).tolist() == [0, 0]


def test_axes_reach_every_code_and_the_whole_grid():
    assert figures.plot_latent_space(np.array([[7.2, 0.0]]), np.array([3])).axes[0].get_xlim() == (-8, 8)
    assert figures.plot_latent_space(np.array([[0.1, 0.0]]), np.array([3])).axes[0].get_xlim() == (-5, 5)


def test_texts_are_polish_and_axes_have_units():
    assert {"oryginał", "rekonstrukcja"} <= texts(DRAWINGS["training"]())
    assert "$z_1$ [odch. std.]" in texts(DRAWINGS["latent_space"]())
    assert "x [piksele]" in texts(DRAWINGS["canvas"]())


@pytest.mark.parametrize(("chosen", "mark"), [("pl", "SZKIC"), ("en", "DRAFT")])
def test_drafts_are_marked_in_the_language(language, chosen, mark):
    figure = figures.plot_kl_formulas()
    language(chosen)
    figures.mark_as_draft(figure)
    assert mark in texts(figure)


@pytest.fixture
def language():
    """`use_language`, for one test."""
    yield figures.use_language
    figures.use_language("pl")


# In English the caller's own texts are English too.
IN_ENGLISH = {
    **DRAWINGS,
    "learning": lambda: figures.plot_learning({"MSE": {"training": [3.0, 2.0], "validation": [2.5, 2.25]}}),
    "rows": lambda: figures.plot_rows({"original": random(4, 28, 28, 1)}),
    "class_accuracy": lambda: figures.plot_class_accuracy({"plain": random(10)}, 100),
}
# Of the Polish table, but the words that are the same in English.
POLISH = {word for text in figures.WORDS["pl"].values() for word in re.findall(r"\w{2,}", text)}
POLISH -= {word for text in figures.WORDS["en"].values() for word in re.findall(r"\w{2,}", text)}


def test_every_plot_function_is_drawn_in_the_tests():
    made = {name.removeprefix("plot_") for name in vars(figures) if name.startswith("plot_")}
    assert len(made) == len(DRAWINGS)


@pytest.mark.parametrize("name", DRAWINGS)
def test_no_text_of_an_english_figure_is_polish(language, name):
    language("en")
    figure = IN_ENGLISH[name]()
    figure.canvas.draw()
    for text in texts(figure):
        assert not re.search("[ąćęłńóśźż]", text, re.IGNORECASE), text
        assert not POLISH & set(re.findall(r"\w+", text)), text
        assert "$" in text or not re.search(r"\d,\d", text), text


def test_an_english_figure_shows_the_same_data(language):
    polish = figures.shown_in(DRAWINGS["kl_forms"]())
    language("en")
    english = figures.shown_in(DRAWINGS["kl_forms"]())
    assert polish.keys() == english.keys()
    assert all(np.array_equal(polish[name], english[name]) for name in polish)


def test_both_languages_have_the_same_words_with_the_same_gaps():
    polish, english = figures.WORDS["pl"], figures.WORDS["en"]
    assert {name: text.count("{}") for name, text in polish.items()} == {
        name: text.count("{}") for name, text in english.items()
    }


def test_an_unknown_language_is_refused():
    with pytest.raises(ValueError, match="language must be one of pl, en, got 'de'"):
        figures.use_language("de")


def test_a_digit_is_written_where_it_outnumbers_the_others():
    codes = np.repeat([[-2.0, -2.0], [3.0, 3.0], [-2.0, -2.0]], [30, 20, 25], axis=0)
    labels = np.repeat([0, 0, 1], [30, 20, 25])
    names = {text.get_text(): text.get_position() for text in figures.plot_latent_space(codes, labels).axes[0].texts}
    assert names == {"0": (3.0, 3.0), "1": (-2.0, -2.0)}


def test_numbers_on_axes_have_decimal_commas():
    figure = DRAWINGS["learning"]()
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert any("," in label for label in labels) and not any("." in label for label in labels)


def test_accuracy_map_says_each_share_in_its_place():
    shares = np.arange(90).reshape(10, 9) / 100
    found = {text.get_position(): text.get_text() for text in figures.plot_accuracy_map(shares).axes[0].texts}
    assert found[(3, 7)] == "66" and len(found) == 90


def test_an_ellipse_reaches_two_deviations_from_its_code():
    codes, deviations = np.array([[1.0, -2.0], [0, 0], [3, 3]]), np.array([[0.5, 0.25], [0.1, 0.2]])
    axes = figures.plot_latent_space(codes, [0, 1, 1], deviations=deviations).axes[0]
    drawn = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert [(tuple(each.center), each.width, each.height) for each in drawn] == [((1, -2), 2, 1), ((0, 0), 0.4, 0.8)]


def test_class_accuracy_has_wilsons_intervals():
    count, share = 1000, 0.9
    bars = figures.plot_class_accuracy({"a": [share] * 10}, count).axes[0].containers[0].lines[2][0]
    middle = (share + 1.96**2 / (2 * count)) / (1 + 1.96**2 / count)
    half = 1.96 / (1 + 1.96**2 / count) * np.sqrt(share * (1 - share) / count + 1.96**2 / (4 * count**2))
    for (_, low), (_, high) in bars.get_segments():
        np.testing.assert_allclose([low, high], [100 * (middle - half), 100 * (middle + half)], atol=0.01)


def test_information_is_drawn_from_the_axis_that_carries_most():
    drawn = figures.plot_information({"a": [0.5, 2, 1]}).axes[0].lines[0]
    assert drawn.get_ydata().tolist() == [2, 1, 0.5]


def test_shown_in_gives_images_as_grey_levels():
    digits = random(10, 28, 28)
    shown = figures.shown_in(figures.plot_digits(digits))
    images = np.stack([shown[f"axes {number}, image 0"] for number in range(10)])
    assert images.dtype == np.uint8 and np.abs(images / 255 - digits).max() <= 0.5 / 255 + 1e-9


def test_shown_in_gives_points_lines_outlines_and_texts():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [2, 3])
    axes.scatter([4, 5], [6, 7])
    axes.text(0, 0, "siedem")
    axes.hist([1, 1, 2], bins=2, histtype="step")
    shown = figures.shown_in(figure)
    assert shown["axes 0, line 0"].tolist() == [[0, 2], [1, 3]]
    assert shown["axes 0, points 0"].tolist() == [[4, 6], [5, 7]]
    assert shown["axes 0, texts 0"].tolist() == ["", "siedem"]
    assert shown["axes 0, outline 0"].max() == 2


def test_shown_in_tells_colours_titles_and_heights_of_bars_apart():
    def shown(colour, title, height):
        axes = Figure().subplots()
        axes.scatter([1], [1], color=colour)
        axes.set_title(title)
        axes.bar([0], [height])
        return figures.shown_in(axes.figure)

    first = shown("red", "a", 1)
    for other in (shown("blue", "a", 1), shown("red", "b", 1), shown("red", "a", 2)):
        assert not all(np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gap_keeps_images_apart(channels):
    images = np.ones((2, 3, 4, 5, channels))
    shown = figures.plot_mosaic(images, gap=2).axes[0].images[0].get_array()
    assert shown.shape[:2] == (2 * 4 + 2, 3 * 5 + 2 * 2)
    assert (shown[4:6] == 0.5).all() and (shown[:, 5:7] == 0.5).all() and (shown[:4, :5] == 1).all()


@pytest.mark.parametrize(
    ("values", "angle"),
    [(["2", "8", "32"], 0), (["(256,)", "(512, 256)"], 0), (["(256,)", "(512, 256)", "(512, 512, 256)"], 30)],
    ids=["numbers", "two lists", "three lists"],
)
def test_long_values_of_a_sweep_are_slanted_where_they_would_overlap(values, angle):
    figure = figures.plot_sweep({"option": {value: [1.0, 2.0] for value in values}}, "loss")
    assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {angle}
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert angle or all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
