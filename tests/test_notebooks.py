"""The notebooks as documents; nbval runs them (see `make test`)."""

import ast

import nbformat
import pytest

from genmodels import experiments, report


@pytest.fixture(params=report.NOTEBOOKS)
def notebook(request):
    return nbformat.read(report.notebook_path(request.param), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_checked(cell):
    return report.CHECKED in cell.metadata.get("tags", [])


def test_it_is_valid(notebook):
    nbformat.validate(notebook)


def test_nbval_has_something_to_compare(notebook):
    """nbval passes a notebook without stored outputs, so each has to store some, and no empty ones."""
    checked = [cell for cell in code_cells(notebook) if is_checked(cell)]
    assert len(checked) >= 2
    assert all(any(output.get("text", "").strip() for output in cell.outputs) for cell in checked)


def test_only_checked_cells_store_outputs_and_no_pictures(notebook):
    for cell in code_cells(notebook):
        assert (cell.execution_count is not None) == bool(cell.outputs) == is_checked(cell)  # as nbval wants it
        assert all(output.output_type == "stream" for output in cell.outputs)


def test_cells_are_short_and_define_nothing(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 15
        nodes = list(ast.walk(ast.parse(cell.source)))  # a magic would not parse
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.While)) for node in nodes)
        assert not any(isinstance(node, ast.Attribute) and node.attr in ("fit", "train_step") for node in nodes)


def test_tasks_are_told_in_polish_between_the_cells(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose.startswith("# Zadanie ") and "**Zadanie.**" in prose
    assert len(prose) > 1000


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_it_saves_its_figures_and_ends_with_its_numbers(name):
    code = report.notebook_code(name)
    saved = [
        node.args[1].value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "report.save"
    ]
    assert [file for file in saved if file in report.FIGURES[name]] == list(report.FIGURES[name])
    assert [file for file in saved if file not in report.FIGURES[name]] == list(report.EXTRA[name])
    assert ast.unparse(ast.parse(code).body[-1]).startswith(f"report.record('{report.section_of(name)}'")


def test_nineteen_figures_and_the_cover():
    names = [name for files in report.FIGURES.values() for name in files]
    assert len(names) == len(set(names)) == 20 and names[-1] == "cover.png"


def test_every_run_but_the_studys_own_is_asked_for_by_some_notebook():
    asked = {run for name in report.NOTEBOOKS for run in report.notebook_runs(name)}
    assert asked == set(experiments.RUNS) - {"pupil"}
