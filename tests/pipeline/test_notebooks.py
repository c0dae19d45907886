"""Notebooks as anybody writes them: found, run, recorded, fresh or stale. nbval runs our own four, see `make test`."""

import ast
import json
import re
import shutil
import sys

import nbformat
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from conftest import executed, replace_in
from genmodels.cli import main
from genmodels.experiments import RUNS, find
from genmodels.pipeline import document, files, fingerprint, notebooks, records, results, store, verify

OURS = ("zadanie_1_autoenkoder", "zadanie_2_vae", "zadanie_3_cvae", "zadanie_4_gan")


@pytest.fixture
def kernels(checkout, smoke, monkeypatch):
    """A checkout whose kernels, processes of their own, run its own copy of the package, in the quick mode."""
    shutil.copytree(fingerprint.PACKAGE, checkout / "src" / "genmodels", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "data" / "mnist").symlink_to(fingerprint.PACKAGE.parents[1] / "data" / "mnist")
    (checkout / "pyproject.toml").touch()
    monkeypatch.setenv("PYTHONPATH", str(checkout / "src"))
    return checkout


@pytest.fixture
def workshop(kernels):
    """That checkout without notebooks; returns a function that writes one and gives its name."""
    for path in (kernels / "notebooks").glob("*.ipynb"):
        path.unlink()

    def write(*cells, name="moj_notatnik", **metadata):
        notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=metadata)
        nbformat.write(notebook, notebooks.path(name))
        return name

    return write


def made_by(name):
    return records.provenance()[name]


HEAD = """---
title: Próba
author: A
programme: P
course: C
lang: pl
cover-alt: Okładka
---
"""
TINY = 'Run("tiny", "vae", options={"hidden_units": (4,)}, epochs=1, batch_size=128, learning_rate=1e-3)'
# Cells that people write: what they were refused for, and more.
CELLS = {
    "a model's summary": f"from genmodels import Run, trained\nmodel = trained({TINY}).model\nmodel.summary()",
    "a plot": "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()",
    "a helper": "def double(x):\n    return 2 * x\nfour = double(2)",
    "an expression": "from genmodels import load_mnist\nmnist = load_mnist()\nmnist.test.images.shape",
    "a second name": "grid = [1]\ncopy = grid\ncopy.append(2)",
    "an assertion": "assert 1 + 1 == 2",
    "try": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    print(error)",
    "while": "n = 3\nwhile n:\n    n -= 1",
    "a line magic": "%matplotlib inline",
    "a submodule": "import genmodels.canvas as c\nfrom genmodels.canvas import all_positions\nc.all_positions()",
    "a class": "class Box:\n    def __init__(self, x):\n        self.x = x\nbox = Box(1)",
    "a shell line": "!echo hello",
    "a shell line with a result": "found = !echo hello\nfound[0]",
    "a cell magic": "%%time\nx = 1  # a comment",
    "top-level await": "import asyncio\nawait asyncio.sleep(0)",
    "a generator and a lambda": "squares = (x * x for x in range(3))\nkey = lambda x: -x\nsorted(squares, key=key)",
    "with and in place": "import numpy as np\na = np.zeros(3)\nwith np.errstate(all='ignore'):\n    np.copyto(a, 9)",
    "a star import": "from genmodels.canvas import *",
    "a dynamic import": "import importlib\nmetrics = importlib.import_module('genmodels.canvas')",
    "match, walrus and del": "match [1, 2]:\n    case [x, y] if (z := x + y):\n        pass\ndel z",
    "a question mark": "len?",
    "nothing but a comment": "# nothing",
}


def test_every_kind_of_cell_runs_alone_and_all_together_into_the_report(workshop, checkout):
    names = [
        workshop(cell, f"from genmodels import record\nrecord('kind_{n}', {{'x': {n}}})", name=f"kind_{n:02}")
        for n, cell in enumerate(CELLS.values())
    ]
    last = "from genmodels import record, save\nsave(plt.figure(), 'cover.png')\nrecord('all', {'x': 1.5})"
    names.append(workshop(*CELLS.values(), last, name="whole"))
    quoted = " ".join(f"{{{{kind_{n}.x}}}}" for n in range(len(CELLS)))
    text = f"{HEAD}\n# Zadanie\n\nLiczby: {quoted} i {{{{all.x:.1f}}}}.\n\n::: zrodla\n:::\n"
    (checkout / "report" / "generative_models.md").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(main, ["report"])
    assert done.exit_code == 0, done.output
    assert f" {len(CELLS) - 1} i 1,5." in document.path("html").read_text(encoding="utf-8").replace("\u00a0", " ")
    for n, name in enumerate(names[:-1]):
        runs = {"tiny": [1]} if n == 0 else {}
        assert made_by(name).results == {f"kind_{n}": {"cell": 2, "runs": runs}}
    made = {"cell": len(CELLS) + 1, "runs": {"tiny": [1]}}
    assert made_by("whole").results == {"cover.png": made, "all": made}
    status = CliRunner().invoke(main, ["status"]).output
    assert all(re.search(rf"^notebook +{name}\.ipynb +fresh$", status, re.M) for name in names)


def test_all_of_a_notebook_counts_and_all_of_it_runs(workshop):
    """Nothing is left out for seeming to have no part in a result."""
    cells = ["x = [1]", "y = x", "y.append(2)", "x.pop(0); from genmodels import record; record('s', {'x': x})"]
    notebooks.run([workshop(*cells)], jobs=1)
    assert results.metrics()["s"] == {"x": [2]}


def test_what_made_a_result_is_recorded_while_it_runs(workshop, checkout):
    other = TINY.replace('"tiny"', '"other"').replace("epochs=1", "seed=5, epochs=1")
    name = workshop(
        f"from genmodels import Run, record, save, trained\nimport matplotlib.pyplot as plt\ntrained({TINY})",
        "figure = plt.figure()\nfor kind in ('first', 'second'):\n    picture = save(figure, f'{kind}.png')\npicture",
        f"trained({other})\nrecord('s', {{'x': 1}})",
    )
    notebooks.run([name], jobs=1)
    tiny, both = {"tiny": [1]}, {"tiny": [1], "other": [5]}
    made = {"first.png": (2, tiny), "second.png": (2, tiny), "s": (3, both)}
    assert made_by(name).results == {result: {"cell": cell, "runs": runs} for result, (cell, runs) in made.items()}
    assert set(made_by(name).outputs) == {"first.png", "first.npz", "second.png", "second.npz", "s.x"}
    shown = nbformat.read(notebooks.executed_path(name), as_version=4).cells[1].outputs
    assert [output.output_type for output in shown] == ["execute_result"]  # once, though the figure was open in pyplot


def test_a_local_module_and_a_file_that_was_read_count(workshop, checkout):
    folder = checkout / "notebooks"
    (folder / "helper.py").write_text(
        "from genmodels import canvas\n\ndef f():\n    return len(canvas.all_positions())\n"
    )
    (folder / "numbers.csv").write_text("1,2")
    (folder / "bystander.py").write_text("x = 1")
    name = workshop(
        "import helper\nfrom genmodels import record\nwith open('numbers.csv') as file:\n    text = file.read()",
        "record('s', {'n': helper.f(), 'text': text})",
    )
    notebooks.run([name], jobs=1)
    assert results.metrics()["s"] == {"n": 9, "text": "1,2"}
    assert {"file notebooks/helper.py", "file notebooks/numbers.csv", "canvas.py"} <= set(made_by(name).inputs)
    for file, same, other in (("helper.py", "# a comment\n", "\nx = 1"), ("numbers.csv", "", "0")):
        text = (folder / file).read_text()
        (folder / file).write_text(same + text)
        (folder / "bystander.py").write_text(f"x = {other!r}")
        assert notebooks.why_stale(name) == ""
        (folder / file).write_text(text + other)
        assert f"file notebooks/{file} changed since " in notebooks.why_stale(name)
        (folder / file).unlink()  # with the module goes the code of the package that it uses
        assert re.search(f"file notebooks/{file}.* changed since ", notebooks.why_stale(name))
        (folder / file).write_text(text)


def test_package_code_that_a_notebook_names_counts_and_other_code_does_not(workshop, package):
    name = workshop("from genmodels import canvas, record", "record('s', {'n': len(canvas.all_positions())})")
    notebooks.run([name], jobs=1)
    replace_in(package / "metrics.py", "values.mean()", "values.sum()")
    replace_in(package / "canvas.py", "Return", "Give back")
    assert notebooks.why_stale(name) == ""
    replace_in(package / "canvas.py", "GRID * GRID", "GRID * GRID * 1")
    assert notebooks.why_stale(name).startswith("canvas.py changed since ")


def test_a_run_that_was_loaded_counts(workshop, monkeypatch):
    name = workshop(f"from genmodels import Run, record, trained\ntrained({TINY})\nrecord('s', {{}})")
    notebooks.run([name], jobs=1)
    assert notebooks.why_stale(name) == ""
    before = store.inputs
    monkeypatch.setattr(store, "inputs", lambda run: {} if getattr(run, "name", run) == "tiny" else before(run))
    assert re.fullmatch(r"run tiny \(\w{6}\) changed since .*", notebooks.why_stale(name))


def test_a_model_of_ones_own_trains_in_a_notebook_and_is_fresh_elsewhere(workshop):
    cells = (
        "import keras\nfrom genmodels import Run, Setup, model_builder, record, trained",
        "@keras.saving.register_keras_serializable('mine')\nclass Tiny(keras.Sequential):\n    pass",
        "@model_builder('mine')\n"
        "def build(settings, splits):\n"
        "    model = Tiny([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])\n"
        "    model.compile('adam', keras.losses.SparseCategoricalCrossentropy(from_logits=True))\n"
        "    train = splits.train\n"
        "    return Setup(model, len(train), lambda chosen, rng: (train.images[chosen], train.labels[chosen]))",
        "run = Run('own', 'mine', epochs=1, batch_size=128, learning_rate=1e-3)\n"
        "record('s', {'loss': trained(run).history['loss'], 'again': trained(run).seconds})",
    )
    name = workshop(*cells)
    notebooks.run([name], jobs=1)
    assert notebooks.why_stale(name) == "" and made_by(name).results["s"]["runs"] == {"own": [1]}
    (folder,) = (path.name for path in (notebooks.config.cache_folder() / "runs").iterdir())
    notebooks.run([name], jobs=1)
    assert [path.name for path in (notebooks.config.cache_folder() / "runs").iterdir()] == [folder]  # not trained again


@pytest.mark.parametrize(
    "kernelspec", [None, {"name": "conda-env-other-py", "display_name": "Python [conda env:other]"}]
)
def test_this_environments_kernel_runs_whatever_the_notebook_names(workshop, tmp_path, monkeypatch, kernelspec):
    foreign = tmp_path / "share" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "Foreign", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    metadata = {"kernelspec": kernelspec} if kernelspec else {}
    name = workshop("import sys\nfrom genmodels import record\nrecord('s', {'python': sys.executable})", **metadata)
    notebooks.run([name], jobs=1)
    assert results.metrics()["s"]["python"] == sys.executable


def test_notebooks_are_found_in_the_order_of_their_names(workshop):
    for name in ("b", "a", "zadanie_5", "_scratch", "Untitled", "Untitled1", ".hidden"):
        workshop("1", name=name)
    assert notebooks.names() == ["a", "b", "zadanie_5"]


def test_two_notebooks_that_make_the_same_are_named(workshop):
    for name in ("first", "second"):
        workshop("from genmodels import record\nrecord('s', {'x': 1})", name=name)
    with pytest.raises(
        records.ReportError, match=r"s: expected one notebook to make it, found first\.ipynb and second"
    ):
        notebooks.run(["first", "second"], jobs=1)


FIGURE = "import matplotlib.pyplot as plt\nfrom genmodels import record, save\nfigure = plt.figure()"


def test_what_no_notebook_makes_any_more_is_left_over_until_it_is_removed(workshop):
    name = workshop(FIGURE, "save(figure, 'old.png')", "record('old', {'x': 1})\nrecord('kept', {'x': 1})")
    notebooks.run([name], jobs=1)
    workshop(FIGURE, "save(figure, 'new.png')\nrecord('kept', {'x': 1})", name=name)
    assert notebooks.why_stale(name).startswith("the notebook's code changed since ")
    notebooks.run([name], jobs=1)
    assert set(notebooks.leftovers()) == {"old.png", "old"}
    notebooks.remove(notebooks.leftovers())
    assert notebooks.leftovers() == [] and notebooks.why_stale(name) == ""
    assert sorted(path.name for path in records.output().glob("*.[pn][np][gz]")) == ["new.npz", "new.png"]
    notebooks.path(name).unlink()
    assert set(notebooks.leftovers()) == {"new.png", "kept"}
    notebooks.remove(notebooks.leftovers())
    assert results.metrics() == {} and name not in records.provenance()


def test_a_changed_result_is_stale_with_its_reason(workshop):
    name = workshop("from genmodels import record\nrecord('s', {'x': 1})")
    assert notebooks.why_stale(name) == "not made yet"
    notebooks.run([name], jobs=1)
    assert made_by(name).origin["machine"]["cores"] >= 1 and made_by(name).origin["commit"] is None
    replace_in(records.output() / "metrics.json", '"x": 1', '"x": 2')
    assert notebooks.why_stale(name) == "s.x changed after the notebook wrote it"


def test_a_notebook_that_is_edited_while_it_runs_is_not_recorded(workshop, monkeypatch):
    name = workshop("from genmodels import record\nrecord('s', {'x': 1})")
    execute = notebooks._execute

    def edit_meanwhile(*arguments):
        journal = execute(*arguments)
        workshop("x = 2", name=name)
        return journal

    monkeypatch.setattr(notebooks, "_execute", edit_meanwhile)
    with pytest.raises(
        records.ReportError, match=r"was run, but .*the notebook's code changed since then; start again"
    ):
        notebooks.run([name], jobs=1)
    assert name not in records.provenance()


code_lines = st.sampled_from(["x = 1", "y = x + 1", "print('a # b')", "for i in range(3):\n    x += i", "%time x = 2"])
comments = st.text(
    st.characters(exclude_categories=["C"], exclude_characters="\n\r\x0b\x0c\x85\u2028\u2029"), max_size=20
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.lists(st.lists(code_lines, min_size=1, max_size=4), min_size=1, max_size=4), comments)
def test_code_counts_and_comments_and_markdown_do_not(workshop, data, cells, comment):
    def digest(cells, text):
        notebook = new_notebook(
            cells=[new_markdown_cell(text), *map(new_code_cell, ["\n".join(each) for each in cells])]
        )
        nbformat.write(notebook, notebooks.path("edited"))
        return notebooks.inputs("edited")["the notebook's code"]

    before = digest(cells, "Tekst")
    place = data.draw(st.integers(0, len(cells) - 1))
    commented = [*cells[:place], [f"# {comment}", *cells[place], f"# {comment}"], *cells[place + 1 :]]
    assert digest(commented, f"Inny {comment}") == before
    edited = [*cells[:place], [*cells[place], "x = x * 2"], *cells[place + 1 :]]
    assert digest(edited, "Tekst") != before


def test_it_runs_in_its_own_folder_and_checked_outputs_alone_are_stored(workshop):
    name = workshop("import os\nprint(os.path.basename(os.getcwd()))", "", "print('picture')", "print('checked')")
    notebook = notebooks.read(name)
    for place in (0, 3):
        notebook.cells[place].metadata["tags"] = [notebooks.CHECKED]
    nbformat.write(notebook, notebooks.path(name))
    notebooks.run([name], jobs=1)
    notebooks.store_checked_outputs(name)
    first, empty, second, third = notebooks.read(name).cells
    assert first.outputs[0].text == "notebooks\n" and first.execution_count == 1
    assert not second.outputs and second.execution_count is None and empty.execution_count is None
    assert third.outputs[0].text == "checked\n" and third.execution_count == 3


def test_a_failing_notebook_is_named_with_its_cell_and_leaves_the_record_as_it_was(workshop):
    name = workshop("from genmodels import record", "x = {}['lost']", "record('s', x)")
    with pytest.raises(
        records.ReportError, match=rf"notebooks/{name}\.ipynb, cell \[2\] failed:(.|\n)*KeyError: 'lost'"
    ):
        notebooks.run([name], jobs=1)
    assert records.provenance() == {}


@pytest.mark.parametrize(
    ("statement", "error", "message"),
    [
        (
            "os.kill(os.getpid(), 9)",
            records.ReportError,
            ": its process was killed, by the system as a rule: out of memory",
        ),
        ("files.write_json('/dev/null/x/y.json', 1)", records.ReportError, ", cell [2]: writing /dev/null/x/y.json: "),
        (
            "[0] * 10**18",
            records.ReportError,
            ", cell [2]: out of memory; free some, raise its limit, or take --jobs 1",
        ),
        (
            "os.write(os.open('/dev/full', os.O_WRONLY), b'x')",
            files.ResourceError,
            "No space left on device; make room",
        ),
    ],
)
def test_a_fault_of_the_system_in_a_notebook_is_one_line_with_its_name(
    workshop, monkeypatch, statement, error, message
):
    monkeypatch.setenv("HOME", "/dev/null/home")  # there is none
    name = workshop("import os\nfrom genmodels.pipeline import files", statement)
    with pytest.raises(error) as stopped:
        notebooks.run([name], jobs=1)
    said = str(stopped.value)
    assert said.startswith(f"notebooks/{name}.ipynb") and message in said and "\n" not in said


@pytest.mark.parametrize(("name", "run"), [(OURS[0], "ae"), (OURS[1], "vae_mc")])
def test_a_third_latent_dimension_is_one_line_where_the_plane_is_drawn(kernels, monkeypatch, name, run):
    source = kernels / "src" / "genmodels" / "experiments.py"
    small = '{"latent_dim": 3, "hidden_units": (4,)}'
    edited = (
        f"\n_three = replace(RUNS[{run!r}], options={small})\nRUNS = MappingProxyType({{**RUNS, {run!r}: _three}})\n"
    )
    source.write_text(source.read_text(encoding="utf-8") + edited, encoding="utf-8")
    monkeypatch.setattr(notebooks.parallel, "train_all", lambda *_, **__: [])  # the kernel trains what it needs
    with pytest.raises(records.ReportError) as stopped:
        notebooks.run([name], jobs=1)
    said = str(stopped.value)
    assert f"run {run}: expected latent_dim=2" in said and "got 3" in said and "\n" not in said


FIFTH = f"""{HEAD}
# Zadanie 5

Liczba to {{{{moje.liczba:.1f}}}}. [Jest duża.]{{claim="moje.liczba > 40"}} Patrz @fig-moj i @fig-drugi.

![Mój rysunek.](../data/report/moj_rysunek.png){{#fig-moj alt="Krzywa."}}

![Drugi.](../data/report/drugi.png){{#fig-drugi .dodatkowy alt="Nic."}}

::: zrodla
:::
"""


def test_a_fifth_notebook_gets_its_figure_number_and_claim_into_everything(kernels):
    """With no edit of the package: a notebook, and its results cited in the Markdown."""
    for name in OURS:
        notebooks.path(name).unlink()
    cells = [
        FIGURE,
        "figure.subplots().plot([1, 4, 9])\nsave(figure, 'moj_rysunek.png')",
        "save(plt.figure(), 'drugi.png')\nsave(plt.figure(), 'cover.png')\nrecord('moje', {'liczba': 42.5})",
    ]
    nbformat.write(new_notebook(cells=[*map(new_code_cell, cells)]), notebooks.path("zadanie_5_moje"))
    (kernels / "report" / "generative_models.md").write_text(FIFTH, encoding="utf-8")
    done = CliRunner().invoke(main, ["report"])
    assert done.exit_code == 0, done.output
    html = document.path("html").read_text(encoding="utf-8")
    pdf = "\n".join(verify._contents(document.path())["text"]).replace("\u00a0", " ")
    for text in (html.replace("\u00a0", " "), pdf):
        for part in ("Liczba to 42,5. Jest duża.", "Rysunek 1", "Rysunek A1", "zadanie_5_moje"):
            assert part in text
    assert made_by("zadanie_5_moje").results["moj_rysunek.png"] == {"cell": 2, "runs": {}}
    status = CliRunner().invoke(main, ["status"]).output
    assert all(re.search(rf"^\w+ +{name} +fresh$", status, re.M) for name in ("moj_rysunek.png", "drugi.png", "moje"))
    assert CliRunner().invoke(main, ["verify"]).exit_code == 0
    replace_in(records.output() / "metrics.json", "42.5", "39.5")
    assert "moje.liczba: changed after the notebook wrote it" in "\n".join(verify.differences(document.path()))


# Our own notebooks.


@pytest.fixture(params=OURS)
def ours(request):
    return notebooks.read(request.param)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_nbval_has_something_to_compare(ours):
    """nbval passes a notebook without stored outputs, so that each has to store some, and no empty ones."""
    checked = [cell for cell in code_cells(ours) if notebooks.CHECKED in cell.metadata.get("tags", [])]
    assert len(checked) >= 2
    assert all(any(output.get("text", "").strip() for output in cell.outputs) for cell in checked)


def bookkeeping(cell):
    """Return whether a cell is folded, because it only records numbers for the report."""
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def test_cells_are_short_and_ordinary_python(ours):
    for cell in code_cells(ours):
        assert bookkeeping(cell) or len(cell.source.splitlines()) <= 15
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.While)) for node in nodes)
        assert not any(isinstance(node, ast.Attribute) and node.attr == "train_step" for node in nodes)


def test_a_fit_that_a_reader_waits_for_sees_a_few_thousand_images_a_few_times(ours):
    nodes = [node for cell in code_cells(ours) for node in ast.walk(ast.parse(cell.source))]
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".fit")]
    assert len(calls) <= 3
    for call in calls:
        images = [node.upper.value for node in ast.walk(call) if isinstance(node, ast.Slice)]
        epochs = [each.value.value for each in call.keywords if each.arg == "epochs"]
        assert images and max(images) <= 5_000 and epochs and max(epochs) <= 5


def test_bookkeeping_stands_in_the_last_cell_alone(ours):
    *cells, last = code_cells(ours)
    if bookkeeping(last):
        assert not any(bookkeeping(cell) or "record(" in cell.source for cell in cells)
        assert "record(" in last.source and len(ours.cells[-2].source.splitlines()) == 1


def test_tasks_are_told_in_polish_between_the_cells(ours):
    prose = "\n".join(cell.source for cell in ours.cells if cell.cell_type == "markdown")
    assert prose.startswith("# Zadanie ") and "**Zadanie.**" in prose
    assert len(prose) > 1000


def test_a_reader_of_a_stored_notebook_sees_every_figure_below_its_cell(ours):
    for cell, below in zip(ours.cells, [*ours.cells[1:], new_markdown_cell()]):
        saved = re.findall(r'"(\w+\.png)"', cell.source) if cell.cell_type == "code" else []
        assert all(re.search(rf"!\[[^\]]+\]\(\.\./data/report/{name}\)", below.source) for name in saved)
        assert all((records.output() / name).is_file() for name in saved)


def test_every_run_of_the_report_is_named_by_some_notebook():
    asked = {run for name in OURS for run in notebooks.runs_named_in(notebooks.code(name))}
    assert asked == set(RUNS) - {"gan_train"}


def test_the_commit_and_whether_the_tree_is_clean_are_told():
    origin = records.origin()
    assert records.root() and len(origin["commit"]) == 40 and origin["clean"] in (True, False)


def test_a_foreign_record_names_no_files(checkout):
    assert results.checksums(f"{'9' * 5_000}.png") == {} == results.checksums("../cover.png")


def test_results_of_another_machine_are_fresh_but_not_made_here(checkout):
    for name in OURS:
        assert notebooks.why_stale(name, here=False) == "" and notebooks.why_stale(name) == "not made here yet"


def test_a_changed_cell_makes_a_notebook_stale_and_a_comment_does_not(checkout):
    path = notebooks.path(OURS[3])
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][1]["source"].append("\n# a comment")
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert notebooks.why_stale(OURS[3], here=False) == ""
    replace_in(path, "gan.generate(rows, seed=4)", "gan.generate(rows, seed=5)")
    assert notebooks.why_stale(OURS[3], here=False).startswith("the notebook's code changed since it was made")


@pytest.mark.parametrize("name", OURS)
def test_every_function_of_the_package_that_a_notebook_executes_counts(name, smoke, graphs, monkeypatch):
    """By a trace, with the models that `make test` has trained for nbval."""
    monkeypatch.delenv("GENMODELS_CACHE")
    cells, shared = notebooks.code(name), {}
    _, ran = executed(lambda: [exec(cell, shared) for cell in cells])
    counted = fingerprint.reached(*fingerprint.used_by(cells), but=notebooks.NOT_FOLLOWED).keys()
    counted |= {
        lead for run in notebooks.runs_named_in(cells) for lead in fingerprint.reached(*store._leads(find(run)))
    }
    # These find and load what counts by the keys of the runs, and say how to start TensorFlow.
    finding = {"config:cache_folder", "config:memory_shortage", "config:quiet_start", "pipeline.results:loaded"}
    finding |= {"config:numerics", "config:device", "config:gpus", "config:visible_gpus", "mnist:found"}
    left = {lead for lead in ran - counted if lead.split(":")[0] not in notebooks.NOT_FOLLOWED}
    assert len(ran & counted) > 30 and left - finding == set()
