"""SIGKILL at random moments, the short version of `make torture`: the next call goes on, to the same bits."""

import json
import random
import sys

import nbformat
import pytest

from genmodels import data

sys.path.insert(0, str(data.checkout()))  # benchmarks/ is no part of the package
from benchmarks import torture

NOTEBOOK = """
from genmodels import execution, notebooks, report
report.NOTEBOOKS = report.NOTEBOOKS[:1]
if notebooks.stale(report.NOTEBOOKS[0]):
    execution.run(report.NOTEBOOKS, jobs=1)
"""
CELLS = (
    "import time\nfrom genmodels import data, figures, report",
    "splits = data.load()\nfigure = figures.plot_digits(splits.test.images[:10, ..., 0])",
    "report.save(figure, 'grid_ae.png')",
    "pause = time.sleep(1)\nreport.record('zadanie_1', {'x': 0.5, 'pause': pause})",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill") / "kopia źródeł"
    torture.copy_to(root)
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "zadanie_1_autoenkoder.ipynb")
    return root


FEWER = torture.Phase("models", ("-c", torture.MODELS, "vae_kl"), torture.PHASES[0].fresh)
PHASES = (
    (FEWER, 3, 2),
    (torture.Phase("notebook", ("-c", NOTEBOOK), ("draft", f"{torture.CACHE}/stamps-draft")), 2, 4),
)


@pytest.mark.parametrize(("phase", "kills", "least"), PHASES, ids=["models", "notebook"])
def test_what_is_killed_is_finished_by_the_next_call(copy, phase, kills, least):
    row, findings = torture.torture(copy, phase, kills, random.Random(5), within=0.5)
    assert findings == [] and row[2] == kills and row[4] >= least
    if phase.name == "notebook":
        assert json.loads((copy / "draft" / "metrics.json").read_text())["zadanie_1"]["x"] == 0.5
