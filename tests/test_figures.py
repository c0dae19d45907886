import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from genmodels import canvas, figures

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
    "conditional": lambda: figures.plot_conditional_samples(random(1, 10, 56, 56), CONDITIONS[None]),
    "canvas": lambda: figures.plot_canvas(random(56, 56, 1), CONDITIONS[4]),
    "positions": lambda: figures.plot_positions(random(9, 56, 56, 1), POSITIONS),
    "digit_rows": lambda: figures.plot_digit_rows(random(10, 3, 28, 28)),
    "digits": lambda: figures.plot_digits(random(10, 28, 28)),
    "learning": lambda: figures.plot_learning({"MSE": {"trening": [3.0, 2.0], "walidacja": [2.5, 2.25]}}),
    "kl_forms": lambda: figures.plot_kl_forms(random(40), random(40)),
    "rows": lambda: figures.plot_rows({"oryginał": random(4, 28, 28, 1), "rekonstrukcja": random(4, 28, 28, 1)}),
    "accuracy_map": lambda: figures.plot_accuracy_map(random(10, 9)),
    "gan_progress": lambda: figures.plot_gan_progress(HISTORY, 255 * random(2, 10, 28, 28)),
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


def test_ten_different_colours():
    assert len(set(figures.COLOURS)) == 10


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
    assert figures.plot_latent_space(codes, labels).axes[0].texts[0].get_position() == (3.0, 3.0)


def test_numbers_on_axes_have_decimal_commas():
    figure = DRAWINGS["learning"]()
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert any("," in label for label in labels) and not any("." in label for label in labels)


def test_accuracy_map_says_each_share_in_its_place():
    shares = np.arange(90).reshape(10, 9) / 100
    found = {text.get_position(): text.get_text() for text in figures.plot_accuracy_map(shares).axes[0].texts}
    assert found[(3, 7)] == "66" and len(found) == 90


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
