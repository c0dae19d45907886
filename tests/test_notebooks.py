"""The notebooks as documents, which nbval runs (see `make test`); what rests on what in them; running them."""

import ast
import json

import nbformat
import pytest

from conftest import replace_in
from genmodels import cache, data, execution, experiments, notebooks, report, sources

# By hand: the trained runs behind each figure. A wrong entry here, or a notebook that uses another, fails.
CVAES, JUDGES = {"cvae_2", "cvae_25", "cvae_100"}, {"judge", "judge_2"}
BEHIND = (
    ({"ae"}, ("learning_ae.png", "latent_space_AE.png", "grid_ae.png", "phase_change_ae.png")),
    (set(), ("2_pairs_ae.png", "2_pairs_quantized_vae.png", "kld_formulas.png", "cond_representation.png")),
    ({"vae_mc"}, ("latent_space_VAE.png", "phase_change_vae.png", "training_result_vae.png", "kl_forms.png")),
    ({"ae", "vae_mc"}, ("grid_Vae.png",)),  # decoded in one cell with the AE's grid
    ({"vae_mc", "vae_kl"}, ("learning_vae.png",)),
    ({"vae_kl"}, ("training_result_vae_special_loss.png",)),
    ({"vae_before", "vae_kl"}, ("vae_before_after.png",)),
    (CVAES, ("cond_vae_2.png", "cond_vae_25.png", "cond_vae_100.png", "learning_cvae.png")),
    (CVAES, ("cond_rep_all_positions.png", "cond_rep_normal.png")),  # of the best of the three
    (CVAES | JUDGES, ("cvae_accuracy_map.png", "zadanie_3")),
    ({"gan"}, ("gan_results.png", "gan_examples.png", "cover.png", "gan_progress.png", "gan_neighbours.png")),
    ({"ae"} | JUDGES, ("zadanie_1",)),
    ({"ae", "vae_mc", "vae_kl", "vae_before"} | JUDGES, ("zadanie_2",)),
    ({"gan"} | JUDGES, ("zadanie_4",)),
)
RUNS_BEHIND = {result: runs for runs, results in BEHIND for result in results}


@pytest.fixture(params=report.NOTEBOOKS)
def notebook(request):
    return nbformat.read(notebooks.path(request.param), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_checked(cell):
    return notebooks.CHECKED in cell.metadata.get("tags", [])


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
    made = list(notebooks.results(name))
    assert [file for file in made if file in report.FIGURES[name]] == list(report.FIGURES[name])
    assert [file for file in made[:-1] if file not in report.FIGURES[name]] == list(report.EXTRA[name])
    assert made[-1] == report.section_of(name)


def test_nineteen_figures_and_the_cover():
    names = [name for files in report.FIGURES.values() for name in files]
    assert len(names) == len(set(names)) == 20 and names[-1] == "cover.png"


def all_results():
    return {result: made for name in report.NOTEBOOKS for result, made in notebooks.results(name).items()}


def test_the_runs_behind_each_result_are_found():
    assert {result: set(made.runs) for result, made in all_results().items()} == RUNS_BEHIND


def test_every_run_but_the_studys_own_is_asked_for_by_some_notebook():
    asked = {run for made in all_results().values() for run in made.runs}
    assert asked == set(experiments.RUNS) - {"pupil"}


def small_notebook(code):
    """Puts a small notebook in the place of the first one; returns its name."""
    name = report.NOTEBOOKS[0]
    cells = [nbformat.v4.new_code_cell(cell) for cell in code]
    cells[0].metadata["tags"] = [notebooks.CHECKED]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebooks.path(name))
    return name


IMPORTS = "from genmodels import data, experiments, figures, metrics, report"


@pytest.mark.parametrize(
    ("code", "rests_on"),
    [
        (["x = 1", "y = 2", "report.record('s', x)"], ["x = 1"]),
        (["x = 1", "y = x + 1", "x = 5", "report.record('s', y)"], ["x = 1", "y = x + 1"]),
        (["x = 1", "x = 2", "report.record('s', x)"], ["x = 2"]),
        (["x = {}", "x['a'] = 1", "report.record('s', x)"], ["x = {}", "x['a'] = 1"]),
        (["x = []", "x.b = 2", "x[0].c = 3", "report.record('s', x)"], ["x = []", "x.b = 2", "x[0].c = 3"]),
        (["x = 1", "x += 2", "report.record('s', x)"], ["x = 1", "x += 2"]),
        (["a, b = 1, 2", "report.record('s', b)"], ["(a, b) = (1, 2)"]),
        (["x = 9", "y = [x for x in 'ab']", "report.record('s', y)"], ["y = [x for x in 'ab']"]),
        (["for i in 'ab':\n    x = 2 * i", "report.record('s', x)"], ["for i in 'ab':\n    x = 2 * i"]),
        (["x = [1]", "x = [x for x in x]", "report.record('s', x)"], ["x = [1]", "x = [x for x in x]"]),
        (
            ["import numpy as np", "import os", "x = np.ones(3)", "report.record('s', x)"],
            ["import numpy as np", "x = np.ones(3)"],
        ),
        (["x = 1", "print(x)", "report.save(x, 'a.png')", "report.record('s', x)"], ["x = 1"]),
    ],
)
def test_a_result_rests_on_the_statements_that_set_what_it_uses(checkout, code, rests_on):
    name = small_notebook([IMPORTS, *code])
    assert list(notebooks.results(name)["s"].code[:-1]) == [ast.unparse(ast.parse(text)) for text in rests_on]


def test_a_result_knows_its_cell_its_code_and_runs(checkout):
    name = small_notebook(
        [IMPORTS, "m = experiments.trained('ae').model\nn = metrics.grey_share(m)", "report.record('s', n)"]
    )
    made = notebooks.results(name)["s"]
    assert (made.cell, made.uses, made.runs) == (3, ("metrics:grey_share", "report:record"), ("ae",))


def test_runs_must_be_named_in_plain_strings(checkout):
    name = small_notebook([IMPORTS, "x = experiments.trained(f'cvae_{2}')", "report.record('s', x)"])
    with pytest.raises(report.ReportError, match=r"expected experiments\.trained with a plain string"):
        notebooks.results(name)


@pytest.mark.parametrize(
    "statement",
    [
        "x.append(1)",
        "np.copyto(x, 9)",
        "for row in x:\n    row.fill(9)",
        "if x:\n    x.update(a=1)",
        "y = x",
        "del x[0]",
        "def f(): return 1",
        "from genmodels import metrics as m",
        "from genmodels.metrics import grey_share",
        "import genmodels.metrics",
        "%matplotlib inline",
        "report.record(section='s', numbers=1)",
    ],
)
def test_a_statement_that_cannot_be_followed_is_refused_with_its_cell(checkout, statement):
    name = small_notebook([IMPORTS, "x = [1]", statement, "report.record('s', x)"])
    with pytest.raises(report.ReportError, match=rf"notebooks/{name}\.ipynb(, code cell 3)?: expected .*, got "):
        notebooks.results(name)


def test_what_a_notebook_made_is_fresh_until_something_changes(checkout, monkeypatch):
    name = small_notebook([IMPORTS, "x = 1", "report.record('s', {'x': x})"])
    assert notebooks.stale(name) == {"s": "not made here yet"}
    monkeypatch.setattr(execution, "_execute", lambda _: report.record("s", {"x": 1}))
    execution.run([name], jobs=1)
    assert notebooks.stale(name) == {}
    made = cache.read_json(notebooks.provenance_path())[name]
    assert made["results"]["s"]["cell"] == 3 and made["machine"]["cores"] >= 1 and made["commit"] is None
    replace_in(report.output() / "metrics.json", '"x": 1', '"x": 2')
    assert notebooks.stale(name) == {"s": "s.x changed after the notebook wrote it"}


def test_results_of_another_machine_are_fresh_but_not_made_here(checkout):
    for name in report.NOTEBOOKS:
        assert notebooks.stale(name, here=False) == {}
        assert set(notebooks.stale(name).values()) == {"not made here yet"}


def test_a_changed_cell_makes_stale_what_rests_on_it(checkout):
    name = report.NOTEBOOKS[3]
    notebook = json.loads(notebooks.path(name).read_text(encoding="utf-8"))
    notebook["cells"][1]["source"].append("\n# a comment")
    notebooks.path(name).write_text(json.dumps(notebook), encoding="utf-8")
    assert notebooks.stale(name, here=False) == {}
    replace_in(notebooks.path(name), "gan.generate(rows, seed=4)", "gan.generate(rows, seed=5)")
    stale = notebooks.stale(name, here=False)
    assert set(stale) == {"gan_results.png", "gan_examples.png", "gan_neighbours.png", "zadanie_4"}
    assert stale["gan_results.png"].startswith("the notebook's code changed since commit ")


def test_the_quick_mode_is_another_size_of_run(checkout, smoke):
    made = notebooks.results(report.NOTEBOOKS[0])["zadanie_1"]
    assert notebooks.parts(made)["budget"] == "smoke"
    assert notebooks.provenance_path().parent == checkout / "draft"


# What an edit of all of a module makes stale: runs, and results whose own code uses something of it or whose runs do.
BY_RUNS = {
    "autoencoder": {"ae"},
    "vae": {"vae_mc", "vae_kl", "vae_before"} | CVAES,
    "gan": {"gan", "pupil"},
    "watch": {"gan", "pupil"},
    "judge": {*JUDGES, "pupil"},
    "networks": set(experiments.RUNS),
    "distributions": {"vae_mc", "vae_kl", "vae_before"} | CVAES,
    "checks": set(experiments.RUNS),
    "data": set(experiments.RUNS),
    "training": set(experiments.RUNS),
    "experiments": set(experiments.RUNS),
}
FIGURES_OF_SCORES = {"2_pairs_ae.png", "phase_change_ae.png", "2_pairs_quantized_vae.png", "phase_change_vae.png"}
FIGURES_OF_SCORES |= {"cvae_accuracy_map.png", "cond_representation.png", "cond_rep_all_positions.png"}
SECTIONS = {"zadanie_1", "zadanie_2", "zadanie_3", "zadanie_4"}
BY_CODE = {
    "figures": set(RUNS_BEHIND) - {"zadanie_3", "zadanie_4"},
    "scores": FIGURES_OF_SCORES | SECTIONS,
    "metrics": SECTIONS | {"cvae_accuracy_map.png", "kl_forms.png", "gan_neighbours.png"},
    "report": set(RUNS_BEHIND),
    "cache": set(RUNS_BEHIND),
    "checks": set(RUNS_BEHIND),
    "data": set(RUNS_BEHIND),
    "distributions": {"zadanie_2", "zadanie_3", "kl_forms.png"},
}
MODULES = sorted(path.stem for path in sources.PACKAGE.glob("*.py"))


def state():
    runs = {name: experiments.key(name) for name in experiments.RUNS}
    return runs, {result: cache.short(notebooks.parts(made)) for result, made in all_results().items()}


def changed(before, after):
    return [{name for name in old if old[name] != new[name]} for old, new in zip(before, after)]


@pytest.fixture(scope="module")
def before():
    return state()


@pytest.mark.parametrize("module", MODULES)
def test_a_comment_or_docstring_makes_nothing_stale(package, module, before):
    path = package / f"{module}.py"
    text = path.read_text(encoding="utf-8")
    path.write_text('"""Other words."""\n\n' + text.partition('"""\n')[2].lstrip() + "\n# the end\n", encoding="utf-8")
    assert changed(before, state()) == [set(), set()]


@pytest.mark.parametrize("module", MODULES)
def test_an_edit_makes_stale_exactly_what_depends_on_the_module(package, module, before):
    path = package / f"{module}.py"
    edited = path.read_text(encoding="utf-8") + "\nif True:  # may change anything\n    EDITED = True\n"
    path.write_text(edited, encoding="utf-8")
    runs, results = changed(before, state())
    assert runs == BY_RUNS.get(module, set())
    behind = {result for result, made in all_results().items() if runs & set(made.runs)}
    assert results == behind | BY_CODE.get(module, set())


def test_it_runs_in_its_own_folder_and_checked_outputs_alone_are_stored(checkout):
    name = small_notebook(["import os\nprint(os.path.basename(os.getcwd()))", "print('picture')"])
    execution.run([name], jobs=1)
    execution.store_checked_outputs(name)
    first, second = nbformat.read(notebooks.path(name), as_version=4).cells
    assert first.outputs[0].text == "notebooks\n" and first.execution_count == 1
    assert not second.outputs and second.execution_count is None


def test_a_failing_notebook_is_named_with_its_error_and_leaves_the_record_as_it_was(checkout):
    name = small_notebook(["from genmodels import report", "x = {}['lost']", "report.record('s', x)"])
    before = cache.read_json(notebooks.provenance_path())
    with pytest.raises(report.ReportError, match=rf"notebooks/{name}\.ipynb failed:(.|\n)*KeyError: 'lost'"):
        execution.run([name], jobs=1)
    assert cache.read_json(notebooks.provenance_path()) == before


@pytest.mark.parametrize(
    ("statement", "error", "message"),
    [
        (
            "x = os.kill(os.getpid(), 9)",
            report.ReportError,
            "its process was killed, by the system as a rule: out of memory; free some",
        ),
        (
            "x = cache.write_json('/dev/null/x/y.json', 1)",
            report.ReportError,
            "FaultError: writing /dev/null/x/y.json: ",
        ),
        ("x = [0] * 10**18", report.ReportError, "out of memory; free some, raise its limit, or take --jobs 1"),
        (
            "x = os.write(os.open('/dev/full', os.O_WRONLY), b'x')",
            cache.FaultError,
            "No space left on device; make room, or choose another disk",
        ),
    ],
)
def test_a_fault_of_the_system_in_a_notebook_is_one_line_with_its_name(
    checkout, monkeypatch, statement, error, message
):
    monkeypatch.setenv("HOME", "/dev/null/home")  # there is none
    name = small_notebook(["import os\nfrom genmodels import cache, report", statement, "report.record('s', x)"])
    with pytest.raises(error) as stopped:
        execution.run([name], jobs=1)
    assert str(stopped.value).startswith(f"notebooks/{name}.ipynb: {message}") and "\n" not in str(stopped.value)


def test_a_foreign_record_names_no_files(checkout):
    """Found by benchmarks/fuzz.py: a result with a name that no file can have."""
    assert notebooks.checksums(f"{'9' * 5_000}.png") == {}


def test_the_commit_and_whether_the_tree_is_clean_are_told():
    origin = notebooks.origin()
    assert data.checkout() and len(origin["commit"]) == 40 and origin["clean"] in (True, False)
