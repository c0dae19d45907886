"""SIGKILL at random moments, the short version of `make crash-test`: the next call goes on, to the same bits."""

import json
import random

import nbformat
import pytest

from benchmarks import crash_test

NOTEBOOK = """
from genmodels.pipeline import notebooks
for name in notebooks.names():
    if notebooks.why_stale(name):
        notebooks.run([name], jobs=1)
"""
CELLS = (
    "import time\nimport genmodels\nfrom genmodels import figures",
    "splits = genmodels.load_mnist()\nfigure = figures.plot_digits(splits.test.images[:10, ..., 0])",
    "genmodels.save(figure, 'grid_ae.png')",
    "pause = time.sleep(1)\ngenmodels.record('zadanie_1', {'x': 0.5, 'pause': pause})",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the checkout with one small notebook."""
    root = tmp_path_factory.mktemp("crash") / "kopia źródeł"
    crash_test.copy_to(root)
    for path in (root / "notebooks").glob("*.ipynb"):
        path.unlink()
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "zadanie_1_autoenkoder.ipynb")
    return root


FEWER = crash_test.Phase("models", ("-c", crash_test.MODELS, "vae_kl"), crash_test.PHASES[0].fresh)
ONE = crash_test.Phase("notebook", ("-c", NOTEBOOK), ("draft", f"{crash_test.CACHE}/stamps-draft"))
PHASES = ((FEWER, 3, 2), (ONE, 2, 4))


@pytest.mark.parametrize(("phase", "kills", "least"), PHASES, ids=["models", "notebook"])
def test_what_is_killed_is_finished_by_the_next_call(copy, phase, kills, least):
    row, findings = crash_test.crash_test(copy, phase, kills, random.Random(5), within=0.5)
    assert findings == [] and row[2] == kills and row[4] >= least
    if phase.name == "notebook":
        assert json.loads((copy / "draft" / "metrics.json").read_text())["zadanie_1"]["x"] == 0.5
