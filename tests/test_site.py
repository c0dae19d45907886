"""The site's pages are gathered from executed notebooks. `.ci/check_site.mjs` checks the built site in a browser."""

import base64
import importlib.util
from pathlib import Path

import nbformat.v4 as v4
import pytest

from genmodels.pipeline.files import FileError

PIXEL = base64.b64encode(b"not really a PNG").decode()


@pytest.fixture
def gather():
    spec = importlib.util.spec_from_file_location("gather", Path(__file__).parents[1] / "docs" / "gather.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def converted(gather, *cells):
    metadata = {"language_info": {"name": "python"}}
    return gather.convert(v4.new_notebook(cells=list(cells), metadata=metadata), "mine")


def drawing(source="save(figure, 'a.png')"):
    return v4.new_code_cell(source, outputs=[v4.new_output("display_data", {"image/png": PIXEL})])


def test_a_figure_is_shown_once_with_the_text_of_the_picture_below_it(gather):
    page, pictures = converted(gather, drawing(), v4.new_markdown_cell("![Żółta linia [a]](../data/report/a.png)"))
    assert list(pictures) == ["mine_files/mine_0_0.png"] and pictures["mine_files/mine_0_0.png"] == b"not really a PNG"
    assert page.count(".png\n") == 1 and "../data/report" not in page
    assert "```{image} mine_files/mine_0_0.png\n:alt: Żółta linia [a]\n" in page


def test_a_figure_without_a_text_says_from_which_cell_it_is(gather):
    page, _ = converted(gather, v4.new_markdown_cell("# Title"), drawing(), v4.new_markdown_cell("A sentence."))
    assert ":alt: Rysunek z komórki 2, bez opisu\n" in page and "A sentence." in page


def test_a_picture_in_a_sentence_stays(gather):
    page, _ = converted(gather, drawing(), v4.new_markdown_cell("See ![b](../data/report/b.png) again."))
    assert "See ![b](../data/report/b.png) again." in page


def test_outputs_are_blocks_of_their_own_without_colours(gather):
    printed = v4.new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m\n```\n")
    cell = v4.new_code_cell("print('```')", outputs=[printed, v4.new_output("execute_result", {"text/plain": "7"})])
    page, _ = converted(gather, cell)
    assert "```````{code-block} python\nprint('```')\n```````" in page
    assert "```````{code-block} text\n:class: output\n\nred\n```\n" in page and ":class: output\n\n7\n" in page


def test_without_executed_notebooks_the_message_says_what_to_run(gather, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path))
    monkeypatch.setattr(gather.records, "root", lambda: tmp_path)
    monkeypatch.setattr(gather.notebooks, "names", lambda: ["zadanie_1"])
    with pytest.raises(FileError, match=r"found no notebooks/zadanie_1\.ipynb, report/.*\.html.*; run make report"):
        gather.gather()
