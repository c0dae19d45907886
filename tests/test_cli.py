import subprocess
import sys

import matplotlib.image
import pytest
from click.testing import CliRunner

from genmodels import cache, cli, experiments, report

HEAVY = ("tensorflow", "keras", "matplotlib")


def run(*arguments):
    return CliRunner().invoke(cli.main, arguments)


def imported_by(code):
    """Top-level modules that a fresh interpreter has imported after `code`."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "code", ["import genmodels", "import genmodels.cli", "from genmodels import experiments, report"]
)
def test_nothing_heavy_is_imported_before_a_model_is_needed(code):
    assert imported_by(code).isdisjoint(HEAVY)


def test_listing_runs_needs_no_tensorflow():
    code = "from click.testing import CliRunner; from genmodels.cli import main; CliRunner().invoke(main, ['runs'])"
    assert imported_by(code).isdisjoint(HEAVY)


def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in ("train", "sample", "report", "figures", "runs", "notebooks", "study"))


def test_runs_are_listed_with_their_state():
    lines = run("runs").output.splitlines()
    assert [line.split()[0] for line in lines] == list(experiments.RUNS)
    assert all("to train" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["sample", "gan", "--label", "3", "-n", "5"], (2, 3, 28)),
        (["sample", "vae", "--kl", "mc", "-n", "4"], (2, 2, 28)),
        (["sample", "cvae", "--label", "7", "--position", "2", "0", "--latent-dim", "2", "-n", "1"], (1, 1, 56)),
    ],
)
def test_samples_are_drawn_into_a_picture(arguments, shape, smoke, tmp_path):
    path = tmp_path / "drawn.png"
    result = run(*arguments, "-o", str(path))
    assert result.exit_code == 0, result.output
    height, width = matplotlib.image.imread(path).shape[:2]
    rows, columns, _ = shape
    assert width / height == pytest.approx(columns / rows, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "gan", "--label", "10", "-o", "x.png"], "10 is not in the range 0<=x<=9"),
        (["sample", "gan", "--label", "3", "-n", "0", "-o", "x.png"], "0 is not in the range"),
        (["sample", "cvae", "--label", "3", "--position", "0", "3", "-o", "x.png"], "3 is not in the range 0<=x<=2"),
        (["sample", "cvae", "--label", "3", "-o", "x.png"], "Missing option '--position'"),
        (["sample", "gan", "--label", "3"], "Missing option '-o'"),
        (["train", "--jobs", "0"], "0 is not in the range"),
        (["train", "gam"], "'gam' is not one of 'gan',"),
    ],
)
def test_bad_options_end_with_status_2_and_one_message(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output


def test_report_says_when_nothing_has_changed(monkeypatch):
    monkeypatch.setattr(report, "is_fresh", lambda *_: True)
    monkeypatch.setattr(report, "pdf_is_fresh", lambda: True)
    monkeypatch.setattr(report, "build_pdf", lambda: pytest.fail("built again"))
    result = run("report")
    assert result.exit_code == 0 and "Nothing has changed" in result.output


def test_report_says_which_scores_lie_outside_the_study(monkeypatch, tmp_path):
    rows = [("gan", "label", 0.9, 0.99, 0.01), ("ae", "mse", 0.033, 0.033, 0.001)]
    monkeypatch.setattr(report, "is_fresh", lambda *_: True)
    monkeypatch.setattr(report, "pdf_is_fresh", lambda: False)
    monkeypatch.setattr(report, "build_pdf", lambda: tmp_path / "a.pdf")
    monkeypatch.setattr(report, "compare_with_study", lambda: rows)
    monkeypatch.setattr(report, "study_path", lambda: tmp_path / "study.json")
    keys = {name: [experiments.key(name)] for name in experiments.RUNS}
    cache.write_json(report.study_path(), {"keys": keys})
    lines = run("report").output.splitlines()
    assert lines[1] == "1 of 2 scores lie within 3 standard deviations of the study's mean over seeds."
    assert lines[2] == "  gan label: 0.9, in the study 0.99 (standard deviation 0.01)" and len(lines) == 3
    cache.write_json(report.study_path(), {"keys": {**keys, "ae": ["of another time"]}})
    assert "The study is of other code, settings or libraries for ae: `make study`" in run("report").output


def test_a_failed_report_is_an_error_not_a_trace(monkeypatch):
    def fail():
        raise report.ReportError("report/generative_models.md: no such figure")

    monkeypatch.setattr(report, "is_fresh", lambda *_: True)
    monkeypatch.setattr(report, "pdf_is_fresh", lambda: False)
    monkeypatch.setattr(report, "build_pdf", fail)
    result = run("report")
    assert result.exit_code == 1 and result.output == "Error: report/generative_models.md: no such figure\n"


def test_an_unknown_budget_is_one_line(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "tiny")
    result = run("runs")
    assert result.exit_code == 2 and "GENMODELS_BUDGET must be 'full' or 'smoke', got 'tiny'" in result.output


def test_the_quick_mode_does_not_store_outputs_in_the_notebooks(smoke):
    result = run("notebooks")
    assert result.exit_code == 1 and "expected a full run to store outputs from" in result.output
