import errno
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import click
import matplotlib.image
import nbformat
import pytest
from click.testing import CliRunner

from conftest import replace_in
from genmodels import cli, config
from genmodels.datasets import load_mnist
from genmodels.experiments import BUILDERS, RUNS
from genmodels.pipeline import document, files, notebooks, parallel, records, results, store, study, verify

HEAVY = ("tensorflow", "keras", "matplotlib")


def run(*arguments):
    return CliRunner().invoke(cli.main, arguments)


def imported_by(code):
    """The names of all modules that a fresh interpreter has imported after `code`."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import genmodels",
        "import genmodels.cli",
        "from genmodels.pipeline import document, notebooks, results, study, verify",
        "from genmodels import save, record, trained, load_mnist, Run, Setup, model_builder",
    ],
)
def test_nothing_heavy_is_imported_before_a_model_is_needed(code):
    assert imported_by(code).isdisjoint(HEAVY)


def test_listing_runs_needs_no_tensorflow():
    code = "from click.testing import CliRunner; from genmodels.cli import main; CliRunner().invoke(main, ['runs'])"
    assert imported_by(code).isdisjoint(HEAVY)


def test_help_names_every_command_once():
    said = run("--help").output
    assert sorted(name for names in cli.SECTIONS.values() for name in names) == sorted(cli.main.commands)
    assert all(said.count(f"  {name} ") == 1 for name in cli.main.commands)


@pytest.mark.parametrize("command", ["train", "sample", "explore", "figures", "report", "notebooks", "study"])
def test_commands_that_train_or_draw_take_a_device_and_compute_on_the_cpu_by_default(command):
    said = " ".join(run(command, "--help").output.split())
    assert "--device [auto|cpu|gpu]" in said and "[env var: GENMODELS_DEVICE; default: cpu]" in said


def test_a_device_is_chosen_before_the_command_runs(monkeypatch):
    chosen = []
    monkeypatch.setattr(config, "use_device", chosen.append)
    monkeypatch.setattr(parallel, "train_all", lambda *_, **__: chosen.append("trained"))
    run("train", "ae", "--device", "gpu")
    run("train", "ae")
    monkeypatch.setenv("GENMODELS_DEVICE", "auto")
    run("train", "ae")
    assert chosen == ["gpu", "trained", "cpu", "trained", "auto", "trained"]


def test_a_gpu_that_is_not_there_is_one_line(no_device, monkeypatch):
    monkeypatch.setattr(config, "visible_gpus", list)
    monkeypatch.setattr(parallel, "train_all", lambda *_, **__: pytest.fail("trained"))
    assert is_plain(run("train", "ae", "--device", "gpu"), "expected a GPU that TensorFlow sees, found none; install")


REPORT = "diff explore figures notebooks prune release-check report status strip study verify".split()


def test_help_tells_which_commands_need_a_checkout():
    told = {name for title, names in cli.SECTIONS.items() if title.endswith("in a checkout") for name in names}
    assert told == {*REPORT} == {name for name, of in cli.main.commands.items() if isinstance(of, cli.InCheckout)}


@pytest.mark.parametrize("command", REPORT)
def test_an_installed_package_refuses_the_commands_that_need_a_checkout_in_one_line(command, monkeypatch):
    monkeypatch.setattr(config, "checkout", lambda: None)
    assert is_plain(
        run(command), "expected to run from a checkout of genmodels, with its notebooks/ and report/ folders"
    )


def test_runs_are_listed_with_their_state():
    lines = run("runs").output.splitlines()
    assert [line.split()[0] for line in lines] == list(RUNS)
    assert all("to train" in line for line in lines)


@pytest.fixture
def untrained(smoke, monkeypatch):
    """Models as they begin, for commands that only draw with them."""

    def train(run, *_, **__):
        return BUILDERS[run.builder](run.settings(), load_mnist()).model, {"loss": [1.0]}

    monkeypatch.setattr(store, "train", train)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["sample", "gan", "--label", "3", "-n", "5"], (2, 3, 28)),
        (["sample", "vae_mc", "-n", "4"], (2, 2, 28)),
        (["sample", "cvae_2", "--label", "7", "--position", "2", "0", "-n", "1"], (1, 1, 56)),
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
        (["gan"], "gan needs --label"),
        (["gan", "--label", "3", "--position", "0", "0"], "gan takes no --position"),
        (["vae_kl", "--label", "3"], "vae_kl takes no --label"),
        (["vae_kl", "--position", "0", "0"], "vae_kl takes no --position"),
        (["cvae_2", "--label", "3"], "cvae_2 needs --position"),
        (["cvae_2", "--position", "1", "1"], "cvae_2 needs --label"),
        (["ae"], "ae: expected a run that draws images from noise"),
        (["reference"], "reference: expected a run that draws images from noise"),
    ],
)
def test_sample_says_in_one_line_which_conditions_a_run_takes(arguments, message, untrained, tmp_path):
    result = run("sample", *arguments, "-o", str(tmp_path / "x.png"))
    said = result.output.partition("Error: ")[2]
    assert result.exit_code == 2 and said.startswith(message) and len(said.splitlines()) == 1
    assert not (tmp_path / "x.png").exists() and "Usage: main sample" in result.output


def test_the_same_seed_draws_the_same_picture_and_another_seed_another(untrained, tmp_path):
    drawn = []
    for seed in ("1", "1", "2"):
        run("sample", "vae_kl", "--seed", seed, "-o", str(tmp_path / "x.png"))
        drawn.append((tmp_path / "x.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "gan", "--label", "10", "-o", "x.png"], "10 is not in the range 0<=x<=9"),
        (["sample", "gan", "--label", "3", "-n", "0", "-o", "x.png"], "0 is not in the range"),
        (["sample", "cvae_2", "--label", "3", "--position", "0", "3", "-o", "x.png"], "3 is not in the range 0<=x<=2"),
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
        (["sweep", "vae"], "Missing option '--set'"),
        (["sweep", "vea", "--set", "beta=1"], "'vea' is not one of"),
        (["sweep", "vae", "--set", "beta"], "--set must be OPTION=VALUE,VALUE..., each option once, got 'beta'"),
        (["sweep", "vae", "--set", "beta=1", "--seeds", "0"], "0 is not in the range"),
        (["sweep", "vae", "--set", "beta=1", "-o", "a.png"], "expected a file that ends in .json, got a.png"),
        (["runs", "ae"], "unexpected extra argument"),
        (["status", "--all"], "No such option"),
        (["sample", "cvae", "-o", "x.png"], "'cvae' is not one of"),
        (["sample", "gan", "vae_mc", "-o", "x.png"], "unexpected extra argument"),
        (["sample", "gan", "--label", "-1", "-o", "x.png"], "-1 is not in the range"),
        (["sample", "gan", "--label", "3.0", "-o", "x.png"], "'3.0' is not a valid integer range"),
        (["sample", "gan", "--label", "3", "--seed", "-1", "-o", "x.png"], "-1 is not in the range"),
        (["sample", "gan", "--label", "3", "--seed", str(2**64), "-o", "x.png"], f"{2**64} is not in the range"),
        (["sample", "gan", "--label", "3", "-n", "10001", "-o", "x.png"], "10001 is not in the range"),
        (["sample", "gan", "--label", "3", "--kl", "mc", "-o", "x.png"], "No such option"),
        (["sample", "gan", "--label", "3", "-o", "."], "is a directory"),
        (["sample", "cvae_2", "--label", "3", "--position", "1", "-o", "x.png"], "'-o' is not a valid integer"),
        (["sample", "cvae_2", "--label", "3", "--position", "1", "x", "-o", "x.png"], "'x' is not a valid integer"),
        (["sample", "cvae_2", "--label", "3", "--latent-dim", "3", "-o", "x.png"], "No such option"),
        (["prune", "old.png"], "unexpected extra argument"),
        (["strip", "--all"], "No such option"),
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


def test_sample_without_a_run_lists_the_runs():
    result = run("sample", "-o", "x.png")
    assert result.exit_code == 2 and "Missing argument" in result.output
    assert all(f"\t{name}" in result.output for name in RUNS)


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
        ("verify", "data/report/study.json", b"[]", "study.json: expected another structure, got JSON where data must"),
        ("report", "data/report/provenance.json", b'{"zadanie_2": []}', "where data.zadanie_2 must be object; restore"),
        ("status", "data/report/provenance.json", b'{"a": {}}', "where data.a must contain ['inputs', 'key', "),
        ("report", "notebooks/zadanie_2_vae.ipynb", b"\xff", "notebooks/zadanie_2_vae.ipynb: expected a notebook, got"),
        ("report", "notebooks/zadanie_2_vae.ipynb", b"{}", "notebooks/zadanie_2_vae.ipynb: expected a notebook, got"),
        ("strip", "notebooks/zadanie_2_vae.ipynb", b"[1]", "notebooks/zadanie_2_vae.ipynb: expected a notebook, got"),
        ("figures", "data/report/metrics.json", b"7", "metrics.json: expected another structure, got JSON where data"),
        ("prune", "data/report/metrics.json", b'{"a": 1}', "where data.a must be object; restore or delete"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_one_line(checkout, command, file, content, message):
    document.path().write_bytes(b"%PDF")
    (checkout / file).write_bytes(content)
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
        (store.TrainingError("gan: stopped"), "gan: stopped"),
    ],
)
def test_a_fault_of_the_system_is_one_line_with_a_remedy(monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(parallel, "train_all", fail)
    assert is_plain(run("train", "ae"), message)


def test_a_mistake_in_the_code_keeps_its_trace(monkeypatch):
    monkeypatch.setattr(parallel, "train_all", lambda *_, **__: {}["lost"])
    assert isinstance(run("train", "ae").exception, KeyError)


def test_a_cache_that_is_no_folder_is_one_line(smoke, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "file"))
    result = run("sample", "vae_mc", "-o", str(tmp_path / "x.png"))
    assert is_plain(result, "file/locks); change the rights to it, or choose")


def test_little_memory_is_said_before_tensorflow_meets_it(smoke, monkeypatch, tmp_path):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10**9, 10**9))
    message = "expected at least 3072 MiB of memory, got a limit of 953; raise it with ulimit -v"
    assert is_plain(run("sample", "vae_mc", "-o", str(tmp_path / "x.png")), message)


LONG = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from genmodels import cli, config
from genmodels.pipeline import files, parallel, processes

def work():
    with files.replacing(config.cache_folder() / "numbers.json"):
        print("at work", flush=True)
        for _ in range(600):  # not one long sleep: a signal that comes as it begins is heard when it ends
            time.sleep(0.1)

def train_all(*_, **__):
    context = multiprocessing.get_context("spawn")
    bars = {"initializer": processes._begin, "initargs": (context.RLock(), context.Value("i"))}
    with ProcessPoolExecutor(1, mp_context=context, **bars) as pool:
        pool.submit(work).result()

if __name__ == "__main__":
    parallel.train_all = train_all
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
    assert process.returncode == 1 and time.monotonic() - begun < 20
    assert "The same command goes on" in said and "Aborted!" in said
    assert not list((tmp_path / "cache").glob(".new-*"))


@pytest.fixture
def fresh(monkeypatch):
    """Figures and numbers that are as they should be."""
    monkeypatch.setattr(notebooks, "why_stale", lambda *_, **__: "")


def test_report_says_when_nothing_has_changed(fresh, monkeypatch):
    monkeypatch.setattr(document, "is_stale", lambda: False)
    monkeypatch.setattr(document, "build", lambda: pytest.fail("built again"))
    result = run("report")
    assert result.exit_code == 0 and "Nothing has changed" in result.output


def test_report_says_which_scores_lie_outside_the_study(fresh, checkout, monkeypatch):
    rows = [("gan", "label", 0.9, 0.99, 0.01), ("ae", "mse", 0.033, 0.033, 0.001)]
    monkeypatch.setattr(document, "build", lambda: [document.path("pdf"), document.path("html")])
    monkeypatch.setattr(verify, "beside_the_study", lambda: rows)
    monkeypatch.setattr(verify, "outside", lambda: rows[:1])
    monkeypatch.setattr(study, "stale", dict)
    monkeypatch.setattr(document, "benchmark_stale", dict)
    lines = run("report").output.splitlines()
    assert lines[1] == "1 of 2 scores lie in the 95 % interval that the study predicts for a further training."
    assert lines[2] == "  too far: gan label: 0.9, expected 0.99 ± 0.01"


def test_report_begins_with_what_it_will_do_and_ends_with_where_everything_is(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(notebooks, "why_stale", lambda name: "not made yet" if name == "zadanie_4_gan" else "")
    monkeypatch.setattr(notebooks, "run", lambda *_: click.echo("Training and running ..."))
    monkeypatch.setattr(store, "is_trained", lambda run: run != "gan")
    monkeypatch.setattr(store, "usual_seconds", lambda run: 210.0)
    monkeypatch.setattr(document, "is_stale", lambda: True)
    monkeypatch.setattr(document, "build", lambda: [document.path("pdf"), document.path("html")])
    monkeypatch.setattr(cli, "what_is_stale", list)
    monkeypatch.setattr(verify, "beside_the_study", list)
    assert run("report").output.splitlines() == [
        "To train: gan (about 4 min, as earlier ones took)",
        "To run: zadanie_4_gan",
        "To write: report/generative_models.pdf, report/generative_models.html",
        "Training and running ...",
        "Wrote report/generative_models.pdf and report/generative_models.html. Figures and numbers are in data/report/",
        f"{os.path.relpath(sys.executable)} -m genmodels diff    # what changed since the last commit",
    ]


def test_a_draft_is_compared_with_nothing(fresh, checkout, smoke, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(document, "build", lambda: [document.path("pdf"), document.path("html")])
    written = "draft/generative_models.pdf and draft/generative_models.html"
    said = run("report").output
    assert said.startswith(f"Wrote {written}. Figures and numbers are in draft/\n")
    assert "the study is stale" in said and "scores lie" not in said and "diff" not in said


def test_report_says_what_is_stale_and_goes_on(fresh, checkout, monkeypatch):
    monkeypatch.setattr(document, "build", lambda: [document.path("pdf"), document.path("html")])
    monkeypatch.setattr(study, "stale", lambda: {"ae": "models/vae.py changed since commit 0123456789"})
    monkeypatch.setattr(
        document, "benchmark_stale", lambda: {"benchmark.gan": "run gan changed since commit 0123456789"}
    )
    result = run("report")
    why = f"1 of {len(study.entries())} entries: models/vae.py changed since commit 0123456789; `make study` renews it."
    assert f"the study is stale in {why}" in result.output and result.exit_code == 0
    assert "benchmark is stale: run gan changed since commit 0123456789; `make bench`" in result.output


def test_release_check_insists_on_what_the_report_only_says(checkout, monkeypatch):
    monkeypatch.setattr("genmodels.cli._rows", lambda: [("run", "ae", ""), ("study", "ae", "ae changed since noon")])
    result = run("release-check")
    assert result.exit_code == 1 and "stale: ae changed since noon" in result.output
    monkeypatch.setattr("genmodels.cli._rows", lambda: [("run", "ae", "")])
    assert run("release-check").output == "Everything is fresh.\n" and run("release-check").exit_code == 0


def test_a_failed_report_is_an_error_not_a_trace(fresh, monkeypatch):
    def fail():
        raise records.ReportError("report/generative_models.md: no such figure")

    monkeypatch.setattr(document, "is_stale", lambda: True)
    monkeypatch.setattr(document, "build", fail)
    result = run("report")
    assert result.exit_code == 2 and result.output == "Error: report/generative_models.md: no such figure\n"


def rows_by_kind():
    """(kind, name, the rest of its line) of the status, in order."""
    lines = [line for line in run("status").output.splitlines() if not line.startswith("`")]
    return [tuple(line.split(maxsplit=2)) for line in lines]


def rows_of_status():
    return {name: rest for _, name, rest in rows_by_kind()}


def test_status_names_every_run_notebook_result_and_document_with_the_reason(checkout):
    rows = rows_of_status()
    made = records.provenance()
    names = [name for notebook in notebooks.names() for name in (f"{notebook}.ipynb", *made[notebook].results)]
    documents = ["generative_models.pdf", "generative_models.html"]
    parts = [f"benchmark.{name}" for name in ("machine", "vae", "vae_torch")]
    expected = {*RUNS, *names, *study.entries(), *parts, "time_to_quality.png", *documents}
    assert set(rows) == expected
    assert {why for kind, _, why in rows_by_kind() if kind == "run"} == {"stale: not trained yet"}
    assert {why for kind, _, why in rows_by_kind() if kind == "study"} == {"fresh"}
    assert {rows[name] for name in names} == {"stale: not made here yet"}
    assert {rows[name] for name in documents} == {"stale: not built yet"}


def test_status_says_of_what_kind_each_thing_is(checkout):
    kinds = {name: kind for kind, name, _ in rows_by_kind()}
    expected = {
        "gan_without_classifier": "study",
        "zadanie_4_gan.ipynb": "notebook",
        "gan_results.png": "figure",
        "zadanie_4": "numbers",
    }
    expected |= {"benchmark.vae": "benchmark", "generative_models.pdf": "document"}
    assert {name: kinds[name] for name in expected} == expected


@pytest.fixture
def made_here(checkout):
    """A checkout whose notebooks were run here."""
    for name, record in records.provenance().items():
        if name in notebooks.names():
            notebooks.stamp(name, record)
    return checkout


def test_status_says_why_the_results_of_a_notebook_are_stale(made_here):
    assert {rows_of_status()[name] for name in ("zadanie_4_gan.ipynb", "gan_results.png", "zadanie_4")} == {"fresh"}
    replace_in(made_here / "notebooks" / "zadanie_4_gan.ipynb", "gan.generate(rows, seed=4)", "gan.generate(rows, 5)")
    results.data_path("grid_ae.png").write_bytes(b"")
    rows = rows_of_status()
    for name in ("zadanie_4_gan.ipynb", "gan_results.png", "zadanie_4"):
        assert rows[name].startswith("stale: the notebook's code changed since "), name
    assert rows["grid_ae.png"] == rows["zadanie_1"] == "stale: grid_ae.npz changed after the notebook wrote it"
    assert rows["zadanie_2"] == rows["zadanie_3"] == "fresh"


def test_other_kernels_of_tensorflow_make_results_stale_on_this_machine(made_here, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert rows_of_status()["gan_results.png"].startswith("stale: onednn changed since ")


def test_a_new_notebook_is_listed_before_it_has_made_anything(checkout):
    shutil.copy(notebooks.path("zadanie_4_gan"), notebooks.path("moje"))
    assert rows_of_status()["moje.ipynb"] == "stale: not made yet"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def add_leftovers():
    """Put a figure and a section that no notebook makes among the results."""
    for ending in ("png", "npz"):
        shutil.copy(records.output() / f"grid_ae.{ending}", records.output() / f"old_grid.{ending}")
    files.put(records.output() / "metrics.json", "old", {"x": 1})


def test_leftovers_are_listed_and_prune_removes_these_and_nothing_else(checkout):
    shutil.copy(records.output() / "cover.png", records.output() / "Znak_graficzny_AGH.svg.png")  # not ours: no data
    before = contents(checkout)
    assert "left over" not in run("status").output
    add_leftovers()
    lines = run("status").output.splitlines()
    assert [line.split() for line in lines[-3:-1]] == [
        ["figure", "old_grid.png", "left", "over:", "no", "notebook", "makes", "it"],
        ["numbers", "old", "left", "over:", "no", "notebook", "makes", "it"],
    ]
    assert lines[-1] == "`genmodels prune` removes what is left over."
    assert run("prune").output.splitlines() == ["Removed old_grid.png", "Removed old"]
    assert contents(checkout) == before
    assert run("prune").output == "Nothing is left over.\n" and contents(checkout) == before


def test_results_of_a_notebook_that_is_gone_are_left_over(checkout):
    before, provenance = contents(records.output()), records.provenance()
    made = [*provenance.pop("zadanie_4_gan").results]
    numbers = results.metrics()
    notebooks.path("zadanie_4_gan").unlink()
    rows = rows_of_status()
    assert {name for name, rest in rows.items() if "left over" in rest} == {*made}
    assert run("prune").exit_code == 0
    del numbers["zadanie_4"]
    assert results.metrics() == numbers and records.provenance() == provenance
    pictures = {name for name in made if name.endswith(".png")}
    gone = {Path(name).with_suffix(ending) for name in pictures for ending in (".png", ".npz")}
    assert before.keys() - contents(records.output()).keys() == gone


def test_results_that_a_renamed_notebook_makes_are_not_left_over(checkout):
    shutil.move(notebooks.path("zadanie_4_gan"), notebooks.path("gan"))
    records.note("gan", records.provenance()["zadanie_4_gan"])
    figures = contents(records.output())
    assert run("prune").output == "Nothing is left over.\n"
    assert contents(records.output()).keys() == figures.keys() and "zadanie_4" in results.metrics()


def test_prune_removes_nothing_outside_the_results(checkout):
    """A provenance.json that was handed in may say anything."""
    (checkout / "report" / "mine.png").write_bytes(b"")
    made = {"../../report/mine.png": {"cell": 1, "runs": {}}}
    records.note("gone", records.Record({}, {}, {}, made))
    run("prune")
    assert (checkout / "report" / "mine.png").exists()


def test_a_benchmark_of_other_code_is_stale_in_what_depends_on_it(checkout):
    measured = records.provenance()["benchmark"]
    assert document.benchmark_stale() == {}
    records.note("benchmark", replace(measured, inputs=measured.inputs | {"run vae_mc": "0"}))
    since = f"run vae_mc changed since commit {measured.origin['commit'][:10]}"
    dependent = dict.fromkeys(("benchmark.vae", "time_to_quality.png"), since)
    assert document.benchmark_stale() == dependent
    replace_in(records.output() / "metrics.json", '"seconds": ', '"seconds": 1')
    assert "changed after `make bench` wrote it" in rows_of_status()["benchmark.vae"]


def dirty(name, *, kernel):
    """Leave a notebook as an editor does that ran it: outputs, counts, times, a kernel of its own."""
    notebook = nbformat.read(notebooks.path(name), as_version=4)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
            said = nbformat.v4.new_output("stream", name="stderr", text="a warning")
            cell.outputs = [*cell.outputs, said, picture]
            cell.execution_count = 40 + number
            cell.metadata["execution"] = {"iopub.execute_input": "2025-01-01T00:00:00Z"}
    notebook.metadata |= kernel
    nbformat.write(notebook, notebooks.path(name))


KERNELS = {
    "VS Code": {
        "kernelspec": {"display_name": ".venv (3.11.7)", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "version": "3.11.7", "file_extension": ".py"},
    },
    "Colab": {"kernelspec": {"display_name": "Python 3", "name": "python3"}, "language_info": {"name": "python"}},
    "conda": {"kernelspec": {"display_name": "ml", "language": "python", "name": "conda-env-ml-py"}},
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_strip_brings_notebooks_back_to_their_stored_form(checkout, kernel):
    stored = contents(checkout)
    for name in notebooks.names():
        dirty(name, kernel=kernel)
    lines = run("strip").output.splitlines()
    assert contents(checkout) == stored
    assert [line.rpartition("/")[2] for line in lines] == [f"{name}.ipynb" for name in notebooks.names()]
    assert all(line.startswith("Stripped ") for line in lines)
    assert run("strip").output == ""


@pytest.mark.parametrize("named", ["zadanie_4_gan", "notebooks/zadanie_4_gan.ipynb"])
def test_strip_changes_the_named_notebook_alone(checkout, named):
    stored = contents(checkout)
    dirty("zadanie_4_gan", kernel=KERNELS["conda"])
    dirty("zadanie_2_vae", kernel=KERNELS["conda"])
    kept = notebooks.path("zadanie_2_vae").read_bytes()
    run("strip", named)
    assert contents(checkout) == stored | {Path("notebooks/zadanie_2_vae.ipynb"): kept}


def test_strip_keeps_the_code_the_texts_and_the_tags(checkout):
    replace_in(notebooks.path("zadanie_4_gan"), "gan.generate(rows, seed=4)", "gan.generate(rows, seed=5)")
    edited = notebooks.path("zadanie_4_gan").read_bytes()
    dirty("zadanie_4_gan", kernel=KERNELS["VS Code"])
    run("strip")
    assert notebooks.path("zadanie_4_gan").read_bytes() == edited


def test_an_unknown_notebook_is_one_line(checkout):
    result = run("strip", "zadanie_9")
    assert is_plain(result, "notebooks/zadanie_9.ipynb") and not notebooks.path("zadanie_9").exists()


def test_verify_shows_the_first_differences_and_counts_the_rest(checkout, monkeypatch, tmp_path):
    monkeypatch.setattr(verify, "differences", lambda pdf: (f"difference {number}" for number in range(30)))
    (tmp_path / "some.pdf").touch()
    short, whole = (run("verify", str(tmp_path / "some.pdf"), *option) for option in ([], ["--all"]))
    assert "difference 19\nand 10 more, see --all" in short.output and "difference 20" not in short.output
    assert "difference 29" in whole.output and "see --all" not in whole.output
    assert all(
        "30 differences from this checkout" in result.output and result.exit_code == 1 for result in (short, whole)
    )


def test_verify_says_what_differs_and_fails(checkout, monkeypatch):
    missing = run("verify")
    assert missing.exit_code == 2 and "expected a PDF to verify, found nothing" in missing.output
    document.path().write_bytes(b"%PDF")
    monkeypatch.setattr(verify, "differences", lambda pdf: ["grid_ae.png: stale"])
    result = run("verify", str(document.path()))
    assert result.exit_code == 1 and result.output.splitlines()[0] == "grid_ae.png: stale"
    monkeypatch.setattr(verify, "differences", lambda pdf: [])
    result = run("verify")
    assert result.exit_code == 0 and "holds what is in this checkout" in result.output


def test_a_stale_study_is_said_and_stops_nothing(checkout, monkeypatch):
    document.path().write_bytes(b"%PDF")
    monkeypatch.setattr(verify, "differences", lambda pdf: [])
    monkeypatch.setattr(study, "stale", lambda: {"ae": "epochs changed since noon", "gan": "gan.py changed since noon"})
    result = run("verify")
    some = f"2 of {len(study.entries())} entries"
    assert f"the study is stale in {some}: several inputs changed; `make study` renews it." in result.output
    assert result.exit_code == 0


def test_diff_tells_what_followed_from_what(monkeypatch):
    change = verify.Change(
        "zadanie_2", ["vae_kl: epochs 9 → 10"], {"a.png": "the result changed"}, {"b.c": "1.0 → 2.0"}, []
    )
    monkeypatch.setattr(verify, "compare", lambda against: [verify.Change("zadanie_1", [], {}, {}, []), change])
    result = run("diff")
    wanted = [
        "zadanie_2",
        "  changed:",
        "    vae_kl: epochs 9 → 10",
        "  figures:",
        f"    {'a.png':40} the result changed",
    ]
    wanted += ["  numbers:", f"    {'b.c':40} 1.0 → 2.0", "Every change follows from what it depends on."]
    assert result.output.splitlines() == wanted and result.exit_code == 0


def test_diff_marks_what_nothing_explains_and_shows_it_first(monkeypatch):
    numbers = {f"a.n{number:02}": "1 → 2" for number in range(20)}
    monkeypatch.setattr(verify, "compare", lambda against: [verify.Change("zadanie", [], {}, numbers, ["a.n19"])])
    result = run("diff")
    lines = result.output.splitlines()
    assert (
        result.exit_code == 1
        and lines[1] == "  changed: nothing that it depends on"
        and lines[4].startswith("  ! a.n19")
    )
    assert "    and 12 more, see --all" in lines and "1 figures or numbers, marked with !" in lines[-1]
    assert sum("1 → 2" in line for line in run("diff", "--all").output.splitlines()) == 20


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
