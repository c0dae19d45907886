import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from genmodels import cache, data, figures, report


def test_save_knows_the_figures_and_marks_drafts(checkout, monkeypatch):
    saved = report.save(figures.plot_kl_formulas(), "kld_formulas.png")
    assert saved.path == checkout / "data" / "report" / "kld_formulas.png"
    final = saved._repr_png_()
    assert final.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"figure must be one of latent_space_AE\.png.*got 'other\.png'"):
        report.save(figures.plot_kl_formulas(), "other.png")
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    draft = report.save(figures.plot_kl_formulas(), "kld_formulas.png")
    assert draft.path == checkout / "draft" / "kld_formulas.png" and draft._repr_png_() != final
    assert saved._repr_png_() == final


def test_what_a_figure_shows_is_saved_beside_it(checkout, rng):
    digits = rng.random((10, 28, 28))
    report.save(figures.plot_digits(digits), "gan_examples.png")
    with np.load(report.data_path("gan_examples.png"), allow_pickle=False) as shown:
        images = np.stack([shown[f"axes {number}, image 0"] for number in range(10)])
    assert np.abs(images / 255 - digits).max() <= 0.5 / 255 + 1e-9


def test_points_lines_outlines_and_texts_are_what_a_figure_shows():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [2, 3])
    axes.scatter([4, 5], [6, 7])
    axes.text(0, 0, "siedem")
    axes.hist([1, 1, 2], bins=2, histtype="step")
    shown = report.plotted(figure)
    assert shown["axes 0, line 0"].tolist() == [[0, 2], [1, 3]]
    assert shown["axes 0, points 0"].tolist() == [[4, 6], [5, 7]]
    assert shown["axes 0, texts 0"].tolist() == ["", "siedem"]
    assert shown["axes 0, outline 0"].max() == 2


def test_colours_titles_and_the_height_of_bars_are_what_a_figure_shows():
    def shown(colour, title, height):
        axes = Figure().subplots()
        axes.scatter([1], [1], color=colour)
        axes.set_title(title)
        axes.bar([0], [height])
        return report.plotted(axes.figure)

    first = shown("red", "a", 1)
    for other in (shown("blue", "a", 1), shown("red", "b", 1), shown("red", "a", 2)):
        assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_the_same_figure_gives_the_same_files(checkout, rng):
    codes, labels = rng.normal(size=(50, 2)), rng.integers(0, 10, 50)
    files = []
    for _ in range(2):
        saved = report.save(figures.plot_latent_space(codes, labels), "latent_space_AE.png")
        files.append((saved.path.read_bytes(), report.data_path("latent_space_AE.png").read_bytes()))
    assert files[0] == files[1]


def test_committed_figures_are_pictures_with_data():
    for name in report.all_figures():
        with Image.open(report.output() / name) as image, np.load(report.data_path(name), allow_pickle=False) as shown:
            assert min(image.size) > 100 and shown.files, name


def test_record_keeps_the_other_sections(checkout):
    cache.write_json(report.output() / "metrics.json", {"first": {"x": 1}})
    report.record("second", {"y": [0.5]})
    assert cache.read_json(report.output() / "metrics.json") == {"first": {"x": 1}, "second": {"y": [0.5]}}


def test_an_installed_package_has_no_report(monkeypatch):
    monkeypatch.setattr(data, "checkout", lambda: None)
    with pytest.raises(report.ReportError, match="expected to run from a checkout"):
        report.output()
