import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from genmodels import config, figures, record, save
from genmodels.pipeline import files, fingerprint, notebooks, records, results


@pytest.fixture(autouse=True)
def untold(monkeypatch):
    """A process that has not yet said that nothing is saved."""
    monkeypatch.setattr(results, "_told", [])


@pytest.fixture
def recording(checkout, monkeypatch):
    """A notebook of a checkout that the pipeline runs, without its kernel: the names of the results that it noted."""
    noted = []
    monkeypatch.setattr(results, "_is_recording", lambda: True)
    monkeypatch.setattr(results, "_note", noted.append)
    return noted


def plot():
    figure = Figure()
    figure.subplots().plot([0, 1], [2, 3])
    return figure


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def numbers_on_disk():
    return files.read_json(records.output() / "metrics.json")


def test_a_picture_says_its_width_and_the_size_of_its_smallest_text(tmp_path):
    figure = Figure(figsize=(3, 2))
    (tmp_path / "bare.png").write_bytes(results.picture(figure))
    figure.text(0.5, 0.5, "$z_1$", size=10)
    (tmp_path / "text.png").write_bytes(results.picture(figure))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    assert results.size_of(tmp_path / "bare.png") == (3, None)
    assert results.size_of(tmp_path / "text.png") == (3, 7)
    assert results.size_of(tmp_path / "broken.png") == (None, None)


@pytest.mark.parametrize("name", ["my_figure.png", "łódź.png", "2.v1-final.png", "A.png"])
def test_any_plain_file_name_is_a_figures_name(recording, name):
    picture = save(plot(), name)
    assert (records.output() / name).read_bytes() == picture.data and picture.data.startswith(b"\x89PNG")
    assert recording == [name]


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "folder/x.png",
        "/x.png",
        "a\\b.png",
        ".hidden.png",
        ".png",
        "",
        "x",
        "x.jpg",
        "x.PNG",
        "x.png\n",
        "two words.png",
        "-x.png",
        None,
        3,
    ],
)
def test_other_names_are_refused_in_one_line(recording, name):
    before = contents(records.output())
    with pytest.raises(ValueError, match=r"\Aname must be a plain file name that ends in \.png.*, got .+\Z") as refused:
        save(plot(), name)
    assert repr(name) in str(refused.value)
    assert recording == [] and contents(records.output()) == before


@pytest.mark.parametrize("figure", [None, "kld_formulas.png", np.zeros((28, 28)), plot().axes[0]], ids=str)
def test_what_is_no_figure_is_refused_with_advice(recording, figure):
    expected = "figure must be a matplotlib Figure, such as plt.gcf() or axes.figure, got "
    with pytest.raises(ValueError, match=re.escape(expected)):
        save(figure, "x.png")
    assert recording == []


def test_drafts_are_marked_and_go_to_their_own_folder(recording, checkout, monkeypatch):
    final = save(figures.plot_kl_formulas(), "kld_formulas.png").data
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    draft = save(figures.plot_kl_formulas(), "kld_formulas.png").data
    assert draft != final
    assert (checkout / "data" / "report" / "kld_formulas.png").read_bytes() == final
    assert (checkout / "draft" / "kld_formulas.png").read_bytes() == draft


def test_what_a_figure_shows_is_saved_beside_it(recording, rng):
    digits = rng.random((10, 28, 28))
    save(figures.plot_digits(digits), "gan_examples.png")
    with np.load(results.data_path("gan_examples.png"), allow_pickle=False) as shown:
        images = np.stack([shown[f"axes {number}, image 0"] for number in range(10)])
    assert np.abs(images / 255 - digits).max() <= 0.5 / 255 + 1e-9


def test_the_same_figure_gives_the_same_files(recording, rng):
    codes, labels = rng.normal(size=(50, 2)), rng.integers(0, 10, 50)
    written = []
    for _ in range(2):
        picture = save(figures.plot_latent_space(codes, labels), "latent_space_AE.png").data
        written.append((picture, results.data_path("latent_space_AE.png").read_bytes()))
    assert written[0] == written[1]


def test_a_saved_figure_is_closed_so_that_a_notebook_shows_it_once(recording):
    import matplotlib.pyplot as plt

    save(plt.figure(), "x.png")
    assert plt.get_fignums() == []


def test_outside_the_pipeline_nothing_is_written_and_that_is_said_once(checkout, capsys):
    before = contents(records.output())
    picture = save(plot(), "grid_ae.png")
    record("zadanie_1", {"x": 1})
    save(plot(), "new.png")
    assert contents(records.output()) == before and picture.data.startswith(b"\x89PNG")
    said = "shown, not saved: figures and numbers of data/report/ are written by `make report` alone\n"
    assert capsys.readouterr().out == said


def test_outside_the_pipeline_names_and_numbers_are_checked_all_the_same(checkout):
    with pytest.raises(ValueError, match="name must be a plain file name"):
        save(plot(), "../x.png")
    with pytest.raises(ValueError, match="numbers of a must be finite"):
        record("a", {"x": float("nan")})


def test_record_keeps_the_other_sections(recording):
    files.write_json(records.output() / "metrics.json", {"first": {"x": 1}})
    record("second", {"y": [0.5]})
    assert numbers_on_disk() == {"first": {"x": 1}, "second": {"y": [0.5]}} and recording == ["second"]


def test_record_replaces_its_own_section(recording):
    record("mine", {"x": 1, "y": 2})
    record("mine", {"x": 3})
    assert numbers_on_disk()["mine"] == {"x": 3}


def test_numbers_of_numpy_are_written_as_plain_json(recording):
    numbers = {
        "float": np.float32(0.5),
        "whole": np.int64(7),
        "truth": np.bool_(True),
        "vector": np.arange(3),
        "matrix": np.eye(2, dtype="float32"),
        "inside": {"list": [np.float64(0.25), (1, 2)]},
    }
    record("mine", numbers)
    written = numbers_on_disk()["mine"]
    expected = '{"float": 0.5, "whole": 7, "truth": true, "vector": [0, 1, 2], "matrix": [[1.0, 0.0], [0.0, 1.0]], '
    expected += '"inside": {"list": [0.25, [1, 2]]}}'
    assert json.dumps({name: written[name] for name in numbers}) == expected


@pytest.mark.parametrize(
    "numbers",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": -np.inf},
        {"x": np.float32("nan")},
        {"x": {"inside": [1.0, np.array([0.0, np.nan])]}},
        {"x": object()},
        {"x": {1, 2}},
        {"x": 1 + 2j},
        {"x": b"bytes"},
        {(1, 2): 3},
        [1, 2],
        0.5,
        "0.5",
        None,
    ],
    ids=lambda numbers: type(numbers).__name__,  # an object has another text in each worker
)
def test_numbers_that_json_does_not_hold_are_refused_in_one_line_that_names_the_section(recording, numbers):
    before = contents(records.output())
    with pytest.raises(ValueError, match=r"\Anumbers of mine must be .*, got.+\Z"):
        record("mine", numbers)
    assert recording == [] and contents(records.output()) == before


@pytest.mark.parametrize("section", ["study", "benchmark", "", "two words", "a.b", "1st", "_a", "../x", None, 3])
def test_reserved_and_other_sections_that_are_no_word_are_refused_in_one_line(recording, section):
    before = contents(records.output())
    expected = re.escape(f"section must be a word, and neither of study, benchmark, got {section!r}")
    with pytest.raises(ValueError, match=rf"\A{expected}\Z"):
        record(section, {"x": 1})
    assert recording == [] and contents(records.output()) == before


def test_committed_figures_are_pictures_with_data():
    made = [name for maker in records.provenance().values() for name in maker.results if name.endswith(".png")]
    assert len(made) == len(set(made)) == 35
    for name in made:
        with Image.open(records.output() / name) as image, np.load(results.data_path(name)) as shown:
            assert min(image.size) > 100 and shown.files, name


def test_the_code_names_no_figure_of_the_report():
    """Figures are discovered, so that a new one needs no line of code."""
    named = {
        (path.name, found)
        for path in fingerprint.PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        for found in re.findall(r"[\w-]+\.png\b", path.read_text(encoding="utf-8", errors="replace"))
    }
    assert {found for _, found in named} <= {"my_figure.png"}, named


def test_no_notebooks_are_listed_in_the_code():
    for path in fingerprint.PACKAGE.rglob("*.py"):
        assert not [name for name in notebooks.names() if name in path.read_text(encoding="utf-8")], path.name


def test_an_installed_package_has_no_report(monkeypatch):
    monkeypatch.setattr(config, "checkout", lambda: None)
    with pytest.raises(records.ReportError, match="expected to run from a checkout"):
        records.output()
