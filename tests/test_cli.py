import errno
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import matplotlib.image
import pytest
from click.testing import CliRunner

from conftest import replace_in
from genmodels import cache, cli, data, document, drift, experiments, notebooks, report, study, workers

HEAVY = ("tensorflow", "keras", "matplotlib")


def run(*arguments):
    return CliRunner().invoke(cli.main, arguments)


def imported_by(code):
    """Top-level modules that a fresh interpreter has imported after `code`."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "code",
    ["import genmodels", "import genmodels.cli", "from genmodels import document, drift, experiments, notebooks"],
)
def test_nothing_heavy_is_imported_before_a_model_is_needed(code):
    assert imported_by(code).isdisjoint(HEAVY)


def test_listing_runs_needs_no_tensorflow():
    code = "from click.testing import CliRunner; from genmodels.cli import main; CliRunner().invoke(main, ['runs'])"
    assert imported_by(code).isdisjoint(HEAVY)


def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    commands = "train", "sample", "report", "figures", "runs", "notebooks", "study", "status", "verify", "diff"
    assert all(f"  {name} " in result.output for name in commands)


def test_runs_are_listed_with_their_state():
    lines = run("runs").output.splitlines()
    assert [line.split()[0] for line in lines] == list(experiments.RUNS)
    assert all("to train" in line for line in lines)


@pytest.fixture
def untrained(smoke, monkeypatch):
    """Models as they begin, for what only draws them."""

    def train(run, *_, **__):
        return getattr(experiments, run.build)(run.settings(), data.load()).model, {"loss": [1.0]}

    monkeypatch.setattr(experiments, "train", train)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["sample", "gan", "--label", "3", "-n", "5"], (2, 3, 28)),
        (["sample", "vae", "--kl", "mc", "-n", "4"], (2, 2, 28)),
        (["sample", "cvae", "--label", "7", "--position", "2", "0", "--latent-dim", "2", "-n", "1"], (1, 1, 56)),
    ],
)
def test_samples_are_drawn_into_a_picture(arguments, shape, untrained, tmp_path):
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
        (["train", "AE"], "'AE' is not one of"),
        (["train", ""], "'' is not one of"),
        (["train", "../ae"], "'../ae' is not one of"),
        (["train", "--jobs", "two"], "'two' is not a valid integer range"),
        (["train", "--jobs", "1.5"], "'1.5' is not a valid integer range"),
        (["train", "--jobs"], "requires an argument"),
        (["train", "--job"], "No such option"),
        (["figures", "--jobs", "-1"], "-1 is not in the range"),
        (["figures", "ae"], "unexpected extra argument"),
        (["report", "--jobs", "0"], "0 is not in the range"),
        (["report", "draft.pdf"], "unexpected extra argument"),
        (["notebooks", "zadanie_1"], "unexpected extra argument"),
        (["study", "--jobs", "nan"], "'nan' is not a valid integer range"),
        (["runs", "ae"], "unexpected extra argument"),
        (["status", "--all"], "No such option"),
        (["sample"], "Usage:"),
        (["sample", "ae"], "No such command 'ae'"),
        (["sample", "gan", "--label", "-1", "-o", "x.png"], "-1 is not in the range"),
        (["sample", "gan", "--label", "3.0", "-o", "x.png"], "'3.0' is not a valid integer range"),
        (["sample", "gan", "--label", "3", "--seed", "-1", "-o", "x.png"], "-1 is not in the range"),
        (["sample", "gan", "--label", "3", "--seed", str(2**64), "-o", "x.png"], f"{2**64} is not in the range"),
        (["sample", "gan", "--label", "3", "-n", "10001", "-o", "x.png"], "10001 is not in the range"),
        (["sample", "gan", "--label", "3", "--kl", "mc", "-o", "x.png"], "No such option"),
        (["sample", "gan", "--label", "3", "-o", "."], "is a directory"),
        (["sample", "vae", "--kl", "exact", "-o", "x.png"], "'exact' is not one of 'mc', 'kl'"),
        (["sample", "vae", "--label", "3", "-o", "x.png"], "No such option"),
        (["sample", "cvae", "--label", "3", "--position", "1", "-o", "x.png"], "'-o' is not a valid integer"),
        (["sample", "cvae", "--label", "3", "--position", "1", "x", "-o", "x.png"], "'x' is not a valid integer"),
        (["sample", "cvae", "--position", "1", "1", "-o", "x.png"], "Missing option '--label'"),
        (
            ["sample", "cvae", "--label", "3", "--position", "1", "1", "--latent-dim", "3", "-o", "x"],
            "'3' is not one of",
        ),
        (["verify", "."], "is a directory"),
        (["verify", "a.pdf", "b.pdf"], "unexpected extra argument"),
        (["verify", "missing.pdf"], "missing.pdf: expected a PDF to verify, found nothing"),
        (["diff", "--against", "no-such-revision"], "expected a revision with data/report/, got 'no-such-revision'"),
        (["diff", "--against", "--output=x"], "expected a revision with data/report/, got '--output=x'"),
        (["diff", "--against", ""], "expected a revision with data/report/, got ''"),
        (["vanish"], "No such command 'vanish'"),
        (["--budget", "smoke", "runs"], "No such option"),
    ],
)
def test_bad_options_end_with_status_2_and_one_message(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output
    assert len(result.output.partition("Error: ")[2].splitlines()) <= 1 and isinstance(result.exception, SystemExit)


def is_plain(result, message):
    """Whether a command ended with status 2, one line that holds the message, and no trace."""
    lines = result.output.splitlines()
    return (
        result.exit_code == 2 and len(lines) == 1 and message in lines[0] and isinstance(result.exception, SystemExit)
    )


@pytest.mark.parametrize(
    ("command", "file", "content", "message"),
    [
        ("verify", "data/report/metrics.json", b"\xff", "metrics.json: expected JSON, got something else"),
        ("status", "data/report/provenance.json", b"{}[", "provenance.json: expected JSON, got something else"),
        ("status", "data/report/study.json", b"[" * 100_000, "study.json: expected JSON, got something else"),
        ("verify", "data/report/study.json", b"[]", "study.json: expected another structure, got JSON where it is []"),
        ("report", "data/report/provenance.json", b'{"zadanie_2_vae": []}', "where zadanie_2_vae is []; restore or"),
        ("report", "notebooks/zadanie_2_vae.ipynb", b"\xff", "zadanie_2_vae.ipynb: expected JSON"),
        ("report", "notebooks/zadanie_2_vae.ipynb", b"{}", "zadanie_2_vae.ipynb: expected another structure"),
        ("report", "notebooks/zadanie_2_vae.ipynb", None, "zadanie_2_vae.ipynb: expected the notebook, found nothing"),
        (
            "figures",
            "data/report/metrics.json",
            b"7",
            "metrics.json: expected another structure, got JSON where it is 7",
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_one_line(checkout, command, file, content, message):
    document.path().write_bytes(b"%PDF")
    (checkout / file).unlink() if content is None else (checkout / file).write_bytes(content)
    assert is_plain(run(command), message)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "No space left on device (/x); make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied (/x); change the rights to it"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system; change the rights to it, or choose"),
        (OSError("odd"), "odd; mend that and try again"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory; out of memory; free some"),
        (MemoryError(), "out of memory; free some, raise its limit, or take --jobs 1"),
        (BrokenProcessPool("a worker died"), "its process was killed, by the system as a rule: out of memory"),
        (experiments.TrainingError("gan: stopped"), "gan: stopped"),
    ],
)
def test_a_fault_of_the_system_is_one_line_with_a_remedy(monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(workers, "train_all", fail)
    assert is_plain(run("train", "ae"), message)


def test_a_mistake_in_the_code_keeps_its_trace(monkeypatch):
    monkeypatch.setattr(workers, "train_all", lambda *_, **__: {}["lost"])
    assert isinstance(run("train", "ae").exception, KeyError)


def test_a_cache_that_is_no_folder_is_one_line(smoke, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "file"))
    assert is_plain(
        run("sample", "vae", "-o", str(tmp_path / "x.png")), "file/locks); change the rights to it, or choose"
    )


def test_little_memory_is_said_before_tensorflow_meets_it(smoke, monkeypatch, tmp_path):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10**9, 10**9))
    message = "expected at least 3072 MiB of memory, got a limit of 953; raise it with ulimit -v"
    assert is_plain(run("sample", "vae", "-o", str(tmp_path / "x.png")), message)


LONG = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from genmodels import cache, cli, workers

def work():
    with cache.replacing(cache.directory() / "numbers.json"):
        print("at work", flush=True)
        for _ in range(600):  # not one long sleep: a signal that comes as it begins is heard when it ends
            time.sleep(0.1)

def train_all(*_, **__):
    context = multiprocessing.get_context("spawn")
    bars = {"initializer": workers._begin, "initargs": (context.RLock(), context.Value("i"))}
    with ProcessPoolExecutor(1, mp_context=context, **bars) as pool:
        pool.submit(work).result()

if __name__ == "__main__":
    workers.train_all = train_all
    cli.main(["train", "ae"])
"""


def test_sigterm_stops_the_workers_and_leaves_nothing(tmp_path):
    (tmp_path / "long.py").write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "long.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "at work\n"
    assert len(list((tmp_path / "cache").glob(".new-*"))) == 1
    process.terminate()
    begun = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and time.monotonic() - begun < 20 and "Aborted!" in said
    assert not list((tmp_path / "cache").glob(".new-*"))


@pytest.fixture
def fresh(monkeypatch):
    """Figures and numbers that are as they should be."""
    monkeypatch.setattr(notebooks, "stale", lambda *_, **__: {})


def test_report_says_when_nothing_has_changed(fresh, monkeypatch):
    monkeypatch.setattr(document, "why_stale", lambda kind: "")
    monkeypatch.setattr(document, "build", lambda: pytest.fail("built again"))
    result = run("report")
    assert result.exit_code == 0 and "Nothing has changed" in result.output


def test_report_says_which_scores_lie_outside_the_study(fresh, checkout, monkeypatch):
    rows = [("gan", "label", 0.9, 0.99, 0.01), ("ae", "mse", 0.033, 0.033, 0.001)]
    monkeypatch.setattr(document, "build", lambda: [document.path("pdf"), document.path("html")])
    monkeypatch.setattr(drift, "beside_the_study", lambda: rows)
    lines = run("report").output.splitlines()
    assert lines[1] == "1 of 2 scores lie within 3 standard deviations of the study's mean over seeds."
    assert lines[2] == "  gan label: 0.9, in the study 0.99 (standard deviation 0.01)" and len(lines) == 3
    monkeypatch.setattr(study, "why_stale", lambda: "run ae changed since the study was made")
    assert "study.json is stale: run ae changed since the study was made; `make study`" in run("report").output


def test_a_failed_report_is_an_error_not_a_trace(fresh, monkeypatch):
    def fail():
        raise report.ReportError("report/generative_models.md: no such figure")

    monkeypatch.setattr(document, "why_stale", lambda kind: "not built yet")
    monkeypatch.setattr(document, "build", fail)
    result = run("report")
    assert result.exit_code == 2 and result.output == "Error: report/generative_models.md: no such figure\n"


def test_status_names_every_run_result_and_document_with_the_reason(checkout):
    lines = run("status").output.splitlines()
    names = [line.split()[1] for line in lines]
    results = [result for name in report.NOTEBOOKS for result in notebooks.results(name)]
    documents = ["generative_models.pdf", "generative_models.html"]
    assert names == [*experiments.RUNS, *results, "study", "benchmark", *documents]
    assert "stale: not trained yet" in lines[0] and "stale: not made here yet" in lines[-5] and "fresh" in lines[-4]
    assert "stale: not built yet" in lines[-1]


def test_a_benchmark_of_other_code_is_said_to_be_stale(checkout):
    def benchmark():
        return next(line for line in run("status").output.splitlines() if line.split()[1] == "benchmark")

    noted = notebooks.provenance_now()
    measured = noted["benchmark"]["results"]["benchmark"]
    measured["parts"] = notebooks.parts(notebooks.Made(1, (), (), tuple(measured["runs"])))
    cache.write_json(notebooks.provenance_path(), noted)
    assert benchmark().endswith("fresh")
    measured["parts"]["run gan"] = "0"
    cache.write_json(notebooks.provenance_path(), noted)
    assert f"stale: run gan changed since commit {noted['benchmark']['commit'][:10]}" in benchmark()
    replace_in(report.output() / "metrics.json", '"seconds": ', '"seconds": 1')
    assert "changed after `make bench` wrote it" in benchmark()


def test_verify_says_what_differs_and_fails(checkout, monkeypatch):
    missing = run("verify")
    assert missing.exit_code == 2 and "expected a PDF to verify, found nothing" in missing.output
    document.path().write_bytes(b"%PDF")
    monkeypatch.setattr(document, "differences", lambda pdf: ["grid_ae.png: stale"])
    result = run("verify", str(document.path()))
    assert result.exit_code == 1 and result.output.splitlines()[0] == "grid_ae.png: stale"
    monkeypatch.setattr(document, "differences", lambda pdf: [])
    result = run("verify")
    assert result.exit_code == 0 and "holds what is in this checkout" in result.output


def test_diff_marks_what_was_not_to_be_expected(monkeypatch):
    rows = [("a.png", "", False), ("b.png", "only rendering changed", False), ("c.png", "the result changed", True)]
    monkeypatch.setattr(drift, "compare", lambda against: rows)
    result = run("diff")
    assert result.exit_code == 1 and [line[0] for line in result.output.splitlines()] == [" ", "!", "1"]
    monkeypatch.setattr(drift, "compare", lambda against: rows[:2])
    assert run("diff").exit_code == 0


def test_an_unknown_budget_is_one_line(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "tiny")
    result = run("runs")
    assert result.exit_code == 2 and "GENMODELS_BUDGET must be 'full' or 'smoke', got 'tiny'" in result.output


def test_the_quick_mode_is_not_compared_with_full_results(smoke):
    result = run("diff")
    assert result.exit_code == 2 and "expected a full run to compare" in result.output


def test_the_quick_mode_does_not_store_outputs_in_the_notebooks(smoke):
    result = run("notebooks")
    assert result.exit_code == 2 and "expected a full run to store outputs from" in result.output


def test_the_sources_of_another_checkout_are_refused(tmp_path, monkeypatch):
    """A checkout that was copied with its environment runs those of the first one, where PYTHONPATH is not set."""
    (tmp_path / "src" / "genmodels").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    result = run("runs")
    assert result.exit_code == 2
    assert (
        f"expected to run {tmp_path / 'src' / 'genmodels'}, got " in result.output and "PYTHONPATH=src" in result.output
    )
