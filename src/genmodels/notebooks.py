"""The notebooks: what each figure and number in them rests on, whether it is fresh, and if not, why.

A result is a figure (`report.save`) or a section of metrics.json (`report.record`). provenance.json, beside the
figures, tells of each result what made it. Nothing here needs Keras.
"""

import ast
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from genmodels import cache, data, experiments, report, sources

CHECKED = "nbval-check-output"  # the tag of cells whose outputs nbval compares
# The structure of provenance.json and of a notebook, see `cache.misfit`.
_MADE = {"cell": int, "runs": dict, "key": str, "parts": dict, "sums": dict}
_SECTION = {"machine": dict, "commit": (str, type(None)), "results": {...: _MADE}}
PROVENANCE = {"study?": {"machine": dict, "parts": dict, "sums": dict}, ...: _SECTION}
_NOTEBOOK = {"cells": [{"cell_type": str, "source": (str, [str]), "metadata": dict}]}
SOURCES = ("src", "notebooks", "data/mnist", "pyproject.toml", "requirements.lock")  # of every result


class Made(NamedTuple):
    """How a notebook makes a result.

    cell: its number among the code cells, from 1. code: the statements that the result rests on. uses: what of this
    package they name, as `sources.code_parts` takes it. runs: names of the trained runs that they ask for.
    """

    cell: int
    code: tuple
    uses: tuple
    runs: tuple


def path(name):
    """The notebook of that name, a key of report.FIGURES."""
    return report.root() / "notebooks" / f"{name}.ipynb"


def results(name):
    """{result: Made} of a notebook: a figure's file name, or a section of metrics.json.

    Raises ReportError where it is written so that this can't be told.
    """
    found, statements = {}, _statements(name)
    known = sources.imports(node for _, node in statements)
    for place, (cell, statement) in enumerate(statements):
        for function, argument in (("report.save", 1), ("report.record", 0)):
            for result in _asked(name, statement, function, argument):
                kept = _rests_on([node for _, node in statements[: place + 1]])
                runs = [run for node in kept for run in _asked(name, node, "experiments.trained", 0)]
                code = tuple(ast.unparse(node) for node in kept)
                uses = tuple(sorted(each for each in sources.uses(kept, known) if not each.startswith("experiments:")))
                found[result] = Made(cell, code, uses, tuple(sorted(set(runs))))
    return found


def _statements(name):
    """(number of the cell, statement) of all code cells."""
    if (notebook := cache.read_json(path(name), None, _NOTEBOOK)) is None:
        raise report.ReportError(f"notebooks/{name}.ipynb: expected the notebook, found nothing")
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = []
    for number, code in enumerate(cells, 1):
        where = f"notebooks/{name}.ipynb, code cell {number}"
        try:
            body = ast.parse(code).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last ones of mad nesting
            got = (getattr(error, "text", None) or str(error)).strip()
            raise report.ReportError(f"{where}: expected Python, got {got!r:.100}") from error
        for node in body:
            _followed(where, node)
            found.append((number, node))
    return found


def _is_import(node):
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _followed(where, node):
    """Refuses a statement that may change something without saying what: the slice would miss it."""
    expected = ""
    if _is_import(node):
        module = getattr(node, "module", None) or node.names[0].name
        if module.startswith("genmodels") and (module != "genmodels" or any(alias.asname for alias in node.names)):
            expected = "`from genmodels import data, ...`"
    elif isinstance(node, (ast.For, ast.If, ast.With)):
        for inner in [*node.body, *getattr(node, "orelse", [])]:
            _followed(where, inner)
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
        expected = "no second name for the same thing"
    elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
        function = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        if function not in ("print", "report.save", "report.record"):
            expected = "an assignment, print, report.save or report.record"
    elif not isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr)):
        expected = "an assignment, print or a loop over them"
    if expected:
        shown = ast.unparse(node).partition("\n")[0]
        raise report.ReportError(f"{where}: expected {expected}, got `{shown}`")


def _asked(notebook, statement, function, argument):
    """The plain strings that a statement calls a function with, at the place of one argument."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call) and ast.unparse(node.func) == function]
    for call in calls:
        if len(call.args) <= argument or not isinstance(call.args[argument], ast.Constant):
            got = ast.unparse(call)
            raise report.ReportError(f"notebooks/{notebook}.ipynb: expected {function} with a plain string, got {got}")
    return [call.args[argument].value for call in calls]


def _rests_on(statements):
    """Of statements in their order, those that the last one needs: a backward slice by the names that they set.

    An import counts where one of its names is needed, but for those of this package, whose code counts by itself.
    """
    *earlier, last = statements
    needed, kept = _names(last)[0], [last]
    for statement in reversed(earlier):
        used, changed, replaced = _names(statement)
        if needed & changed:
            needed = needed - replaced | used  # what was replaced does not matter before
            kept.insert(0, statement)
    return [node for node in kept if not (isinstance(node, ast.ImportFrom) and node.module == "genmodels")]


def _names(statement):
    """Names that a statement uses, that it sets or changes, and of the latter those that it sets anew."""
    if _is_import(statement):
        names = {alias.asname or alias.name for alias in statement.names}
        return set(), names, set()
    nodes = list(ast.walk(statement))
    loops = [node for node in nodes if isinstance(node, ast.comprehension)]
    inside = {id(node) for loop in loops for node in ast.walk(loop.target)}
    bound = {node.id for node in nodes if id(node) in inside and isinstance(node, ast.Name)}
    first = {node.id for loop in loops for node in ast.walk(loop.iter) if isinstance(node, ast.Name)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    targets = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store) and id(node) not in inside]
    changed = {_base(node) for node in targets if not isinstance(node, ast.Tuple)}
    plain = isinstance(statement, ast.Assign) and all(isinstance(node, (ast.Name, ast.Tuple)) for node in targets)
    return used - bound | used & first, changed, changed if plain else set()


def _base(node):
    """`a` of a, a.b and a["b"]; None for anything else."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def parts(made):
    """Everything that a result depends on, {what: value}."""
    return {
        "the notebook's code": cache.short(made.code),
        **sources.code_parts(*made.uses, but=("experiments",)),
        **cache.environment(),
        **{f"run {run}": experiments.key(run)[:16] for run in made.runs},
    }


def provenance_path():
    """provenance.json, beside the figures."""
    return report.output() / "provenance.json"


def provenance_now():
    """What provenance.json holds. Raises CacheError where it is something else."""
    return cache.read_json(provenance_path(), {}, PROVENANCE)


def stamp_path(name):
    """Where it is noted what was made here, which a copied or committed provenance.json does not prove."""
    return cache_folder("stamps") / f"{name}.json"


def cache_folder(name):
    """A folder of the cache; the quick mode has its own."""
    return cache.directory() / (f"{name}-draft" if data.smoke_budget() else name)


def stale(name, *, here=True):
    """{result of a notebook: why it is not what running the notebook now would make}; empty where all are fresh.

    here: whether results that were made elsewhere and committed count as stale.
    """
    recorded, stamp = provenance_now().get(name), stamp_path(name)
    if not recorded or (here and cache.read_json(stamp, {}) != recorded):
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
    if why := cache.changes(recorded["parts"], parts(made), since):
        return why
    odd = [name for name, value in _how(made, recorded["parts"]).items() if recorded[name] != value]
    return f"{', '.join(odd)} in provenance.json is not what the notebook says" if odd else ""


def benchmark_stale():
    """Why the benchmark, which `make bench` alone measures, is not one of the present code; empty where it is."""
    if data.smoke_budget():  # the benchmark is of full runs
        return ""
    if not (recorded := provenance_now().get("benchmark")):
        return "not measured yet"
    before = recorded["results"]["benchmark"]
    if changed := changed_by_hand("benchmark", before):
        return f"{changed} changed after `make bench` wrote it"
    runs = {f"run {run}": experiments.key(run)[:16] for run in before["runs"]}
    now = {**before["parts"], **cache.environment(), **runs}
    return cache.changes(before["parts"], now, f"commit {str(recorded['commit'])[:10]}")


def _how(made, made_from):
    """How a result was made, from those parts: its cell, its runs with their seeds, and the parts with their key."""
    runs = {run: experiments.find(run).seed for run in made.runs}
    return {"cell": made.cell, "runs": runs, "key": cache.short(made_from), "parts": made_from}


def changed_by_hand(result, recorded):
    """What of a result is no longer as the notebook left it; empty where all is."""
    return ", ".join(what for what, *_ in differing(recorded["sums"], checksums(result)))


def differing(old, new, missing=None):
    """[(name, old value, new value)] where two dicts differ; `missing` stands for what one of them has not."""
    pairs = [(name, old.get(name, missing), new.get(name, missing)) for name in sorted({*old, *new})]
    return [(name, one, other) for name, one, other in pairs if one != other]


def checksums(result):
    """{what: checksum} of a result's files or, in metrics.json, of its numbers."""
    if result in (*report.all_figures(), *report.BENCHMARK):  # other names, which a foreign record has, are no paths
        files = (report.output() / result, report.data_path(result))
        return {file.name: cache.checksum(file) for file in files}
    numbers = report.metrics().get(result, {})
    return {f"{result}.{name}": cache.short(value) for name, value in numbers.items()}


def provenance(made_from, begun):
    """What provenance.json says of the results of one notebook. made_from: {result: (Made, parts)}; begun: `origin`."""
    return {
        **begun,
        "data": cache.short(data.SHA256),
        "results": {
            result: {**_how(made, before), "sums": checksums(result)} for result, (made, before) in made_from.items()
        },
    }


def origin(*others):
    """machine; commit: the last one that touched what results are made from; clean: whether that stands unchanged.

    others: folders that count beside SOURCES. The last two are None outside version control.
    """

    def git(*arguments):
        command = ["git", "-C", str(report.root()), *arguments, "--", *SOURCES, *others]
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
    numbers = "/".join(found.get(name, "") for name in ("cpu family", "model", "stepping"))
    return f"{found.get('model name', platform.processor())} ({numbers})"
