"""From notebooks to figures and metrics.json, and from those to the PDF. Nothing here needs Keras.

Under GENMODELS_BUDGET=smoke everything goes to the folder draft/ and is marked as a draft.
"""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from genmodels import cache, data

# The figures of the report, in their order, by the notebook that makes them.
FIGURES = {
    "zadanie_1_autoenkoder": ("latent_space_AE.png", "grid_ae.png", "2_pairs_ae.png", "phase_change_ae.png"),
    "zadanie_2_vae": (
        "training_result_vae.png",
        "latent_space_VAE.png",
        "grid_Vae.png",
        "2_pairs_quantized_vae.png",
        "phase_change_vae.png",
        "kld_formulas.png",
        "training_result_vae_special_loss.png",
    ),
    "zadanie_3_cvae": (
        "cond_vae_2.png",
        "cond_vae_25.png",
        "cond_vae_100.png",
        "cond_representation.png",
        "cond_rep_all_positions.png",
        "cond_rep_normal.png",
    ),
    "zadanie_4_gan": ("gan_results.png", "gan_examples.png", "cover.png"),
}
# Further figures, numbered apart: A1, A2, ... in this order.
EXTRA = {
    "zadanie_1_autoenkoder": ("learning_ae.png",),
    "zadanie_2_vae": ("kl_forms.png", "learning_vae.png", "vae_before_after.png"),
    "zadanie_3_cvae": ("learning_cvae.png", "cvae_accuracy_map.png"),
    "zadanie_4_gan": ("gan_progress.png", "gan_neighbours.png"),
}
NOTEBOOKS = tuple(FIGURES)
STANDARDS = ["a-3a", "ua-1"]  # of the PDF: to be archived, and read aloud
SOURCES = ("generative_models.md", "pandoc.yaml", "report.lua", "template.typ", "references.bib")
CHECKED = "nbval-check-output"  # the tag of cells whose outputs nbval compares
CELL_SECONDS = 1800  # a cell may train a model


class ReportError(Exception):
    """The report cannot be made; the message says what to mend."""


class SavedFigure:
    """A figure on disk that a notebook shows as the picture it is."""

    def __init__(self, path):
        self.path = path

    def _repr_png_(self):
        return self.path.read_bytes()

    def __repr__(self):
        return f"SavedFigure({self.path.name!r})"


def root():
    """The checkout. Raises ReportError for an installed package, which has no notebooks and no report."""
    if found := data.checkout():
        return found
    raise ReportError("expected to run from a checkout of genmodels with its notebooks/ and report/ folders")


def output():
    """The folder of figures and metrics.json: data/report/, or draft/ in the quick mode."""
    return root() / "draft" if data.smoke_budget() else root() / "data" / "report"


def pdf_path():
    """Where the PDF goes: report/generative_models.pdf, or draft/ in the quick mode."""
    return (output() if data.smoke_budget() else root() / "report") / "generative_models.pdf"


def figures_of(notebook):
    """File names of all figures that a notebook makes."""
    return FIGURES[notebook] + EXTRA[notebook]


def all_figures():
    """File names of all figures of the report."""
    return [file for notebook in NOTEBOOKS for file in figures_of(notebook)]


def save(figure, name):
    """Saves a figure as a PNG of the report under its name in FIGURES or EXTRA; returns it for the notebook to show."""
    import matplotlib.style

    from genmodels.figures import mark_as_draft

    if name not in all_figures():
        raise ValueError(f"figure must be one of {', '.join(all_figures())}, got {name!r}")
    if data.smoke_budget():
        mark_as_draft(figure)
    with cache.replacing(output() / name) as temporary, matplotlib.style.context("default"):
        figure.savefig(temporary, dpi=200, metadata={"Software": None})
    return SavedFigure(output() / name)


def record(section, numbers):
    """Puts `numbers`, anything that JSON holds, under `section` of metrics.json; other sections stay as they are."""
    path = output() / "metrics.json"
    with cache.lock(f"metrics-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"):
        cache.write_json(path, {**cache.read_json(path, {}), section: numbers})


def notebook_path(name):
    return root() / "notebooks" / f"{name}.ipynb"


def notebook_code(name):
    """The code of a notebook, all cells together."""
    cells = cache.read_json(notebook_path(name))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def notebook_runs(name):
    """Names of the runs that a notebook asks `experiments.trained` for, each written out as a string."""
    calls = [node for node in ast.walk(ast.parse(notebook_code(name))) if isinstance(node, ast.Call)]
    asked = [call.args[0] for call in calls if ast.unparse(call.func) == "experiments.trained"]
    if odd := [ast.unparse(run) for run in asked if not isinstance(run, ast.Constant)]:
        raise ReportError(f"notebooks/{name}.ipynb: expected experiments.trained with a plain string, got {odd[0]}")
    return [run.value for run in asked]


def _notebook_key(name, run_keys):
    code = notebook_code(name)
    library = cache.code_digest(*(module for module in cache.notebook_imports(code) if module != "experiments"))
    used = {run: run_keys[run] for run in notebook_runs(name)}
    return cache.digest([ast.unparse(ast.parse(code)), library, used, cache.environment_digest()])


def _contents(name):
    """Checksums of what a notebook made: its figures and its section of metrics.json."""
    section = cache.read_json(output() / "metrics.json", {}).get(section_of(name))
    return [cache.digest(section), *(_checksum(output() / file) for file in figures_of(name))]


def section_of(name):
    """The section of metrics.json that a notebook writes: zadanie_1 to zadanie_4."""
    return "_".join(name.split("_")[:2])


def _checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _stamp_path(name):
    """Where it is noted what a result was made from; the quick mode has its own notes."""
    return cache.directory() / ("stamps-draft" if data.smoke_budget() else "stamps") / f"{name}.json"


def is_fresh(name, run_keys):
    """Whether a notebook's figures and numbers are those that running it now would make.

    run_keys: {run: key} as `experiments.key` gives them.
    """
    return cache.read_json(_stamp_path(name)) == [_notebook_key(name, run_keys), _contents(name)]


def run_notebooks(names, run_keys, jobs):
    """Runs notebooks top to bottom, `jobs` at once, each from a clean kernel in its own folder.

    The executed copies, with all outputs, go to the cache folder. Raises ReportError with the end of the log of a
    notebook that fails.
    """
    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(_run_notebook, name, run_keys) for name in names]:
            future.result()


def executed_path(name):
    """Where the executed copy of a notebook goes."""
    return cache.directory() / ("notebooks-draft" if data.smoke_budget() else "notebooks") / f"{name}.ipynb"


def _run_notebook(name, run_keys):
    start = time.monotonic()
    print(f"{name}: running", file=sys.stderr, flush=True)
    key, target = _notebook_key(name, run_keys), executed_path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", str(notebook_path(name))]
    command += ["--output-dir", str(target.parent), f"--ExecutePreprocessor.timeout={CELL_SECONDS}"]
    with tempfile.TemporaryDirectory() as sockets:
        if os.name == "posix":  # files instead of TCP, so that it works where there is no network at all
            command += ["--KernelManager.transport=ipc", f"--KernelManager.ip={sockets}/kernel"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
    if done.returncode:
        log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)  # nbconvert colours its errors
        raise ReportError(
            f"notebooks/{name}.ipynb failed:\n{log.rpartition('nbclient.exceptions.')[2].strip()[-3000:]}"
        )
    cache.write_json(_stamp_path(name), [key, _contents(name)])
    print(f"{name}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def store_checked_outputs(name):
    """Copies what the checked cells printed from the executed copy into the notebook; clears all other outputs."""
    notebook, executed = cache.read_json(notebook_path(name)), cache.read_json(executed_path(name))
    for cell, done in zip(notebook["cells"], executed["cells"]):
        if cell["cell_type"] == "code":
            checked = CHECKED in cell["metadata"].get("tags", [])
            printed = [output for output in done["outputs"] if output.get("name") == "stdout"]
            cell["outputs"] = printed if checked else []
            cell["execution_count"] = done["execution_count"] if checked else None  # nbval takes no output without it
    with cache.replacing(notebook_path(name)) as temporary:
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def study_path():
    """Where the study's scores are kept: data/report/study.json, which the quick mode reads but never writes."""
    return root() / "data" / "report" / "study.json"


def compare_with_study():
    """Scores of the runs in metrics.json beside the study's: [(run, score, value, mean, deviation)].

    `outside` tells which of them lie further from the mean than the study's spread allows.
    """
    studied = cache.read_json(study_path(), {}).get("test", {})
    numbers = cache.read_json(output() / "metrics.json", {})
    found = {run: scores for section in numbers.values() for run, scores in section.get("scores", {}).items()}
    return [
        (run, name, value, studied[run][name]["mean"], studied[run][name]["deviation"])
        for run, scores in found.items()
        for name, value in scores.items()
        if name in studied.get(run, {})
    ]


def outside(comparison, *, deviations=3):
    """The rows of a comparison whose value is more than `deviations` standard deviations from the study's mean."""
    return [row for row in comparison if abs(row[2] - row[3]) > deviations * row[4]]


def _pdf_key():
    """Digest of all that the PDF is made from."""
    sources = (root() / "report" / name for name in SOURCES)
    figures = (output() / name for name in all_figures())
    checksums = [_checksum(path) for path in (*sources, output() / "metrics.json", study_path(), *figures, logo())]
    return cache.digest([checksums, STANDARDS, version("pypandoc_binary"), version("typst"), data.smoke_budget()])


def logo():
    """The university's mark, which the project does not own; where it exists it takes the cover picture's place."""
    return root() / "data" / "report" / "Znak_graficzny_AGH.svg.png"


def pdf_is_fresh():
    """Whether the PDF is the one that building it now would make."""
    return cache.read_json(_stamp_path("pdf")) == [_pdf_key(), _checksum(pdf_path())] and pdf_path().is_file()


def build_pdf():
    """Turns report/generative_models.md into the PDF, by way of pandoc and Typst; returns its path.

    Raises ReportError with what pandoc or Typst say; the last good PDF then stays.
    """
    import pypandoc
    import typst

    key, folder = _pdf_key(), root() / "report"
    arguments = ["--defaults=pandoc.yaml", "--template=template.typ"]
    arguments += [f"--metadata=results:{Path(os.path.relpath(output(), folder)).as_posix()}"]
    arguments += ["--metadata=draft:true"] if data.smoke_budget() else []
    source = folder / f".generative_models-{os.getpid()}.typ"  # two builds at once do not share it
    try:
        text = pypandoc.convert_file(
            "generative_models.md", "typst", format="markdown", extra_args=arguments, cworkdir=str(folder)
        )
        source.write_text(text, encoding="utf-8")
        with cache.replacing(pdf_path()) as temporary:
            options = {"ignore_system_fonts": True, "timestamp": 0, "pdf_standards": STANDARDS}
            typst.compile(str(source), output=str(temporary), root=str(root()), **options)
    except (RuntimeError, typst.TypstError) as error:
        ours = re.search(r"report: (.+)", str(error))  # what the filter says, without its stack
        raise ReportError(f"report/generative_models.md: {ours[1] if ours else error}") from error
    finally:
        source.unlink(missing_ok=True)
    cache.write_json(_stamp_path("pdf"), [key, _checksum(pdf_path())])
    return pdf_path()
