"""The notebooks: what each figure and number in them rests on, whether it is fresh and why not, and running them.

A result is a figure (`report.save`) or a section of metrics.json (`report.record`). provenance.json, beside the
figures, tells of each result what made it. Nothing here needs Keras.
"""

import ast
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from genmodels import cache, data, experiments, report

CHECKED = "nbval-check-output"  # the tag of cells whose outputs nbval compares
CELL_SECONDS = 1800  # a cell may train a model
SOURCES = ("src", "notebooks", "data/mnist", "pyproject.toml", "requirements.lock")  # of every result


class Made(NamedTuple):
    """How a notebook makes a result.

    cell: its number among the code cells, from 1. code: the statements that the result rests on. modules: of this
    package, that they use. runs: names of the trained runs that they ask for.
    """

    cell: int
    code: tuple
    modules: tuple
    runs: tuple


def path(name):
    """The notebook of that name, a key of report.FIGURES."""
    return report.root() / "notebooks" / f"{name}.ipynb"


def results(name):
    """{result: Made} of a notebook: a figure's file name, or a section of metrics.json.

    Raises ReportError where it is written so that this can't be told.
    """
    cells = [cell["source"] for cell in cache.read_json(path(name))["cells"] if cell["cell_type"] == "code"]
    statements = [(cell, node) for cell, code in enumerate(cells, 1) for node in ast.parse("".join(code)).body]
    imports = [node for _, node in statements if isinstance(node, ast.ImportFrom) and node.module == "genmodels"]
    modules = {alias.name for node in imports for alias in node.names}
    found = {}
    for place, (cell, statement) in enumerate(statements):
        for function, argument in (("report.save", 1), ("report.record", 0)):
            for result in _asked(name, statement, function, argument):
                kept = _rests_on([node for _, node in statements[: place + 1]])
                runs = [run for node in kept for run in _asked(name, node, "experiments.trained", 0)]
                used = {word for node in kept for word in _names(node)[0]} & modules - {"experiments"}
                code = tuple(ast.unparse(node) for node in kept)
                found[result] = Made(cell, code, tuple(sorted(used)), tuple(sorted(set(runs))))
    return found


def _asked(notebook, statement, function, argument):
    """The plain strings that a statement calls a function with, at the place of one argument."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call) and ast.unparse(node.func) == function]
    given = [call.args[argument] for call in calls]
    if odd := [ast.unparse(node) for node in given if not isinstance(node, ast.Constant)]:
        raise report.ReportError(f"notebooks/{notebook}.ipynb: expected {function} with a plain string, got {odd[0]}")
    return [node.value for node in given]


def _rests_on(statements):
    """Of statements in their order, those that the last one needs: a backward slice by the names that they set."""
    imports = (ast.Import, ast.ImportFrom)
    imported = {alias.asname or alias.name for node in statements if isinstance(node, imports) for alias in node.names}
    *earlier, last = (node for node in statements if not isinstance(node, imports))
    needed, kept = _names(last)[0] - imported, [last]
    for statement in reversed(earlier):
        used, changed, replaced = _names(statement)
        if needed & (changed | replaced):
            needed = needed - replaced | used - imported  # what was replaced does not matter before
            kept.insert(0, statement)
    return kept


def _names(statement):
    """Names that a statement uses, that it may change, and that it sets anew; not those that comprehensions bind."""
    nodes = list(ast.walk(statement))
    loops = [node.target for node in nodes if isinstance(node, ast.comprehension)]
    bound = {node.id for target in loops for node in ast.walk(target) if isinstance(node, ast.Name)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} - bound
    targets = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        targets.append(statement.value.func)  # a method called for what it does to its object
    changed = {_base(node) for node in targets if not isinstance(node, ast.Tuple)} - bound
    return used, changed, changed if isinstance(statement, ast.Assign) and all(map(_plain, targets)) else set()


def _base(node):
    """`a` of a, a.b and a["b"]; None for anything else."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _plain(target):
    return isinstance(target, (ast.Name, ast.Tuple))


def parts(made):
    """Everything that a result depends on, {what: value}."""
    return {
        "the notebook's code": cache.short(made.code),
        **cache.code_parts(*made.modules),
        **cache.environment(),
        **{f"run {run}": experiments.key(run)[:16] for run in made.runs},
    }


def provenance_path():
    """provenance.json, beside the figures."""
    return report.output() / "provenance.json"


def _stamp_path(name):
    """Where it is noted what was made here, which a copied or committed provenance.json does not prove."""
    return cache.directory() / ("stamps-draft" if data.smoke_budget() else "stamps") / f"{name}.json"


def stale(name, *, here=True):
    """{result of a notebook: why it is not what running the notebook now would make}; empty where all are fresh.

    here: whether results that were made elsewhere and committed count as stale.
    """
    recorded, stamp = cache.read_json(provenance_path(), {}).get(name), _stamp_path(name)
    if not recorded or (here and cache.read_json(stamp) != recorded):
        reason = "not made here yet" if recorded else "not made yet"
        return dict.fromkeys(results(name), reason)
    since = cache.when(stamp) if here else f"commit {str(recorded['commit'])[:10]}"
    found = {
        result: _why_stale(result, made, recorded["results"].get(result), since)
        for result, made in results(name).items()
    }
    return {result: reason for result, reason in found.items() if reason}


def _why_stale(result, made, recorded, since):
    if recorded is None:
        return "not made yet"
    if changed := changed_by_hand(result, recorded):
        return f"{changed} changed after the notebook wrote it"
    return cache.changes(recorded["parts"], parts(made), since)


def changed_by_hand(result, recorded):
    """What of a result is no longer as the notebook left it; empty where all is."""
    now = checksums(result)
    return ", ".join(what for what in {**recorded["sums"], **now} if recorded["sums"].get(what) != now.get(what))


def checksums(result):
    """{what: checksum} of a result's files or, in metrics.json, of its numbers."""
    if result.endswith(".png"):
        files = (report.output() / result, report.data_path(result))
        return {file.name: cache.checksum(file) for file in files}
    numbers = cache.read_json(report.output() / "metrics.json", {}).get(result, {})
    return {f"{result}.{name}": cache.short(value) for name, value in numbers.items()}


def provenance(made_from):
    """What provenance.json says of the results of one notebook. made_from: {result: (Made, parts)}."""
    return {
        **origin(),
        "data": cache.short(data.SHA256),
        "results": {
            result: {
                "cell": made.cell,
                "runs": {run: experiments.find(run).seed for run in made.runs},
                "key": cache.short(before),
                "parts": before,
                "sums": checksums(result),
            }
            for result, (made, before) in made_from.items()
        },
    }


def origin():
    """machine; commit: the last one that touched what results are made from; clean: whether that stands unchanged.

    The last two are None outside version control.
    """

    def git(*arguments):
        command = ["git", "-C", str(report.root()), *arguments, "--", *SOURCES]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        last, changed = git("log", "-1", "--format=%H"), git("status", "--porcelain")
    except OSError:  # no git
        last = None
    return {"machine": machine(), "commit": last or None, "clean": changed == "" if last else None}


def machine():
    """Processor, cores, system and versions, for the reader of a time or a number.

    blas: the kind of processor that NumPy and SciPy take this one for, which decides the last digits of their sums.
    """
    import scipy.linalg  # noqa: F401 (loads the library that is asked)
    import threadpoolctl

    return {
        "processor": _processor(),
        "blas": ", ".join(
            sorted({pool["architecture"] for pool in threadpoolctl.threadpool_info() if "architecture" in pool})
        ),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("keras", "numpy", "tensorflow")},
    }


def _processor():
    """Its name and, as several kinds share a name, its numbers."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return platform.processor()
    found = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.+)$", text, re.MULTILINE))
    numbers = [f"{name} {found[name]}" for name in ("cpu family", "model", "stepping") if name in found]
    return f"{found.get('model name', platform.processor())} ({', '.join(numbers)})"


def run(names, jobs):
    """Runs notebooks top to bottom, `jobs` at once, each from a clean kernel in its own folder.

    The executed copies, with all outputs, go to the cache folder. Raises ReportError with the end of the log of a
    notebook that fails.
    """
    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(_run, name) for name in names]:
            future.result()


def executed_path(name):
    """Where the executed copy of a notebook goes."""
    return cache.directory() / ("notebooks-draft" if data.smoke_budget() else "notebooks") / f"{name}.ipynb"


def _run(name):
    start = time.monotonic()
    print(f"{name}: running", file=sys.stderr, flush=True)
    made_from = {result: (made, parts(made)) for result, made in results(name).items()}
    _execute(name)
    noted = provenance(made_from)
    report.put(provenance_path(), name, noted)
    cache.write_json(_stamp_path(name), noted)
    print(f"{name}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def _execute(name):
    target = executed_path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", str(path(name))]
    command += ["--output-dir", str(target.parent), f"--ExecutePreprocessor.timeout={CELL_SECONDS}"]
    with tempfile.TemporaryDirectory() as sockets:
        if os.name == "posix":  # files instead of TCP, so that it works where there is no network at all
            command += ["--KernelManager.transport=ipc", f"--KernelManager.ip={sockets}/kernel"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
    if done.returncode:
        log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)  # nbconvert colours its errors
        raise report.ReportError(
            f"notebooks/{name}.ipynb failed:\n{log.rpartition('nbclient.exceptions.')[2].strip()[-3000:]}"
        )


def store_checked_outputs(name):
    """Copies what the checked cells printed from the executed copy into the notebook; clears all other outputs."""
    notebook, executed = cache.read_json(path(name)), cache.read_json(executed_path(name))
    for cell, done in zip(notebook["cells"], executed["cells"]):
        if cell["cell_type"] == "code":
            checked = CHECKED in cell["metadata"].get("tags", [])
            printed = [output for output in done["outputs"] if output.get("name") == "stdout"]
            cell["outputs"] = printed if checked else []
            cell["execution_count"] = done["execution_count"] if checked else None  # nbval takes no output without it
    with cache.replacing(path(name)) as temporary:
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
