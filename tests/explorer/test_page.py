import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from genmodels import cli
from genmodels.explorer import page, scores
from genmodels.pipeline import parallel, records

PARTS = {"record": {"run ae": "0123"}, "about": {"text": "</script><script>alert(1)</script>"}}


class Elements(HTMLParser):
    """The scripts, styles and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = [["", {}, ""]]
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        self.found.append(["", {}, ""])

    def handle_data(self, data):
        self.found[-1][2] += data

    def texts(self, tag):
        return [text for each, attributes, text in self.found if each == tag and "type" not in attributes]


@pytest.fixture
def written():
    return page.assemble(PARTS, {"maps": "later"}).decode("utf-8")


def test_the_browser_runs_and_styles_only_what_stands_in_the_page(written):
    elements = Elements(written)
    [policy] = [found["content"] for tag, found, _ in elements.found if found.get("http-equiv")]
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        [text] = elements.texts(tag)
        checksum = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{checksum}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_page_refers_to_nothing_outside_itself(written):
    references = {
        value for _, found, _ in Elements(written).found for name, value in found.items() if name in ("src", "href")
    }
    assert not references and not re.search(r"https?://|@import|url\(", written)


def test_the_first_picture_comes_first(written):
    places = [written.index(text) for text in ('id="record"', 'id="about"', "const Layers", 'id="maps"')]
    assert places == sorted(places)


def test_no_data_ends_its_element(written):
    read = {
        found["id"]: json.loads(text)
        for tag, found, text in Elements(written).found
        if tag == "script" and "id" in found
    }
    assert read == {**PARTS, "maps": "later"}


def words():
    """Return {language: {name of a text: text}} of words.js."""
    text = (page.HERE / "words.js").read_text(encoding="utf-8")
    languages = re.split(r"^    (\w\w): \{$", text, flags=re.MULTILINE)[1:]
    pairs = zip(languages[::2], languages[1::2])
    return {language: dict(re.findall(r'"([^"]+)": "((?:[^"\\]|\\.)*)"', of)) for language, of in pairs}


def test_each_text_stands_in_both_languages_with_the_same_places_to_fill():
    polish, english = words()["pl"], words()["en"]
    assert list(polish) == list(english) and len(polish) > 50
    assert all(re.findall(r"\{\d\}", polish[name]) == re.findall(r"\{\d\}", english[name]) for name in polish)


def test_every_text_that_page_and_scores_name_is_there():
    pages = "".join((page.HERE / name).read_text(encoding="utf-8") for name in page.SCRIPTS)
    named = set(re.findall(r'data-word="([^"]+)"', pages))
    named |= {score for model in scores.SCORES.values() for score in model}
    for name in {*page.SCRIPTS["page.html"], *page.SCRIPTS["own.html"]}:
        text = (page.HERE / name).read_text(encoding="utf-8")
        named |= set(re.findall(r'\b(?:word|say|button|slider|status)\("([^"]+)"', text))
    assert named <= words()["pl"].keys()


def test_every_figure_that_the_page_links_is_in_the_report():
    report = (records.root() / "report" / "generative_models.md").read_text(encoding="utf-8")
    for figures in scores.FIGURES.values():
        assert all(f"{{#{figure} " in report or f"{{#{figure}\n" in report for figure in figures)


def test_a_typical_image_is_the_nearest_to_the_mean_code_that_both_classifiers_recognise(monkeypatch):
    from genmodels.explorer import contents

    labels, codes = np.array([0, 0, 0, 1, 1]), {"ae": np.array([[-1, 0], [0, 0], [2, 0], [5, 0], [5, 1]], "float32")}
    judged = np.array(
        [[[0, 255], [0, 100], [0, 255], [0, 255], [0, 255]]] * 2
    )  # the second unsurely, the last two wrongly
    monkeypatch.setattr(contents, "_judge", lambda *_: judged)
    monkeypatch.setattr(contents.datasets, "LABELS", 2)
    assert contents._typical(labels, codes, {"ae": None}, []) == [0, 3]


@pytest.mark.parametrize("name", scores.MODELS)
def test_the_study_has_every_score_of_the_tables(name):
    table = scores.tables()[name]
    assert table["seeds"] == 3 and all(mean is not None for _, mean, *_ in table["rows"])
    assert [score for score, *_, real in table["rows"] if real is not None]


@pytest.fixture
def quick(monkeypatch, checkout):
    """`genmodels explore` without models: nothing is trained."""
    from genmodels.explorer import contents

    monkeypatch.setattr(parallel, "train_all", lambda *_, **__: None)
    monkeypatch.setattr(contents, "collect", lambda: ({"about": {}}, {"maps": {}}))
    return checkout / "report" / "explorer.html"


def explore(*arguments):
    return CliRunner().invoke(cli.main, ["explore", *arguments])


def test_the_command_writes_the_page_and_status_knows_when_it_is_stale(quick, monkeypatch):
    assert page.why_stale() == "not written yet"
    result = explore()
    assert result.exit_code == 0 and "explorer.html" in result.output and quick.is_file()
    assert page.why_stale() == ""
    made_from = page.inputs()
    monkeypatch.setattr(page, "inputs", lambda: {**made_from, "run ae": "another"})
    assert page.why_stale().startswith("run ae changed since")
    quick.write_text("<!DOCTYPE html>")
    assert page.why_stale() == "it has no record of what it was made from"


def test_the_record_names_runs_code_files_and_scores():
    made_from = page.inputs()
    assert {f"run {name}" for name in scores.RUNS} | set(page.WEB) <= made_from.keys()
    assert {
        "explorer/contents.py",
        "explorer/export.py",
        "explorer/page.py",
        "numbers of the study",
    } <= made_from.keys()


def test_the_page_may_go_elsewhere(quick, tmp_path):
    assert explore("-o", str(tmp_path / "mine" / "page.html")).exit_code == 0
    assert (tmp_path / "mine" / "page.html").is_file() and not quick.is_file()


def test_a_page_that_is_too_large_is_refused_and_not_written(quick, monkeypatch):
    monkeypatch.setattr(page, "LARGEST", 1000)
    result = explore()
    assert result.exit_code == 2 and "expected at most" in result.output and not quick.is_file()


def test_a_layer_that_the_page_cannot_draw_is_one_line(quick, monkeypatch):
    from genmodels.explorer import contents, export

    def refuse():
        raise export.ExportError("expected layers that the explorer can draw, got LSTM 'mine'")

    monkeypatch.setattr(contents, "collect", refuse)
    result = explore()
    assert result.exit_code == 2 and "LSTM 'mine'" in result.output and "Traceback" not in result.output
