"""Find the notebooks in notebooks/, tell fresh from stale, and run them from top to bottom in this environment.

A notebook is fresh while its inputs are the same. Inputs are its code cells and the package's code that it uses, the
local modules and files that it reads, the runs that it loads, the data and the libraries. Comments and Markdown do not
count. A stale notebook runs again as a whole.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from genmodels import config
from genmodels.datasets import DatasetError
from genmodels.experiments import BUILDERS, RUNS, Run
from genmodels.pipeline import files, fingerprint, parallel, records, results, store, terminal
from genmodels.pipeline.records import Record, ReportError

if TYPE_CHECKING:
    from nbformat import NotebookNode

FILE = "file "  # before the name of a file, in a notebook's inputs
CHECKED = "nbval-check-output"  # the tag of cells whose outputs nbval compares
# Modules left out, because the keys of the runs contain their effect. `results` stays, because `save` draws with it.
_OTHERS = ("pipeline", "experiments")
NOT_FOLLOWED = [name for name in fingerprint.modules(fingerprint.PACKAGE) if name.startswith(_OTHERS)]
NOT_FOLLOWED.remove("pipeline.results")
# Errors whose message says what to mend. Others, such as a mistake in a model, keep their trace.
PLAIN = (
    *(files.FileError, files.ResourceError, DatasetError, config.DeviceError),
    *(store.TrainingError, store.DivergedError, ReportError),
)


def names() -> list[str]:
    """Return the sorted names of the notebooks, without those that begin with a dot, _ or Untitled."""
    found = sorted(path.stem for path in (records.root() / "notebooks").glob("*.ipynb"))
    return [name for name in found if not name.startswith((".", "_", "Untitled"))]


def path(name: str) -> Path:
    """Return the path of a notebook."""
    return records.root() / "notebooks" / f"{name}.ipynb"


def read(name: str) -> "NotebookNode":
    """Return a notebook as nbformat reads it.

    Args:
        name: Name of the notebook, without .ipynb.

    Raises:
        FileError: The file is not a notebook.
    """
    import nbformat

    try:
        notebook = nbformat.read(path(name), as_version=4)
        nbformat.validate(notebook)
        return notebook
    except Exception as error:  # of many kinds
        why = str(error).strip().partition("\n")[0]
        raise files.FileError(
            f"notebooks/{name}.ipynb: expected a notebook, got something else ({why:.200})"
        ) from error


def code(name: str) -> list[str]:
    """Return the code of each code cell that is not empty, without comments, see `fingerprint.normalised`.

    Raises:
        FileError: The file is not a notebook.
    """
    cells = (cell.source for cell in read(name).cells if cell.cell_type == "code")
    return [fingerprint.normalised(source) for source in cells if source.strip()]


def runs_named_in(cells: Iterable[str]) -> list[str]:
    """Return the runs that code asks for by a plain string. They can then be trained side by side.

    Args:
        cells: Code of the cells.

    Returns:
        Names of the report's runs, in the order of RUNS.
    """
    asked = re.findall(r"\btrained\(['\"](\w+)['\"]", "\n".join(cells))
    return [name for name in RUNS if name in asked]


def runs_of(wanted: Iterable[str]) -> list[str]:
    """Return the runs of the report that notebooks ask for, or asked for the last time.

    Args:
        wanted: Names of the notebooks.

    Returns:
        Names of the runs, in the order of RUNS.
    """
    wanted, provenance = list(wanted), records.provenance()
    asked = {run for name in wanted for run in runs_named_in(code(name))}
    asked |= {run["name"] for name in wanted if name in provenance for run in provenance[name].runs.values()}
    return [run for run in RUNS if run in asked]


def inputs(name: str, record: Record | None = None) -> dict:
    """Return everything that the results of a notebook depend on.

    Args:
        name: Name of the notebook.
        record: Record of the notebook's last run, which names the files read and the runs loaded.

    Returns:
        {input: checksum or version}.

    Raises:
        FileError: The file is not a notebook.
    """
    cells, recorded = code(name), record or Record({}, {})
    local, _ = found = files_of(recorded)
    return {
        "the notebook's code": files.short(cells),
        "language": records.language(),
        **surroundings(recorded, fingerprint.used_by([*cells, *local.values()]), found),
    }


def surroundings(record: Record, leads: Iterable[str], found: tuple[dict[str, str], dict[str, str]]) -> dict:
    """Return the inputs of a notebook or of the benchmark beside its own code.

    Args:
        record: Its record, which names the runs.
        leads: Code of the package that it uses.
        found: The files that the record names, see `files_of`.

    Returns:
        {input: checksum or version}.
    """
    local, read = found
    return {
        **fingerprint.code(*leads, but=NOT_FOLLOWED),
        **records.environment(),
        **keys(record),
        **{file: files.short(text) for file, text in local.items()},
        **read,
    }


def files_of(record: Record) -> tuple[dict[str, str], dict[str, str]]:
    """Return the user's files that a record names.

    Args:
        record: Record of a notebook or of the benchmark.

    Returns:
        {"file NAME": code} of modules, and {"file NAME": checksum} of other files.
    """
    names = [name for name in record.inputs if name.startswith(FILE)]
    paths = {name: records.root() / Path(name[len(FILE) :]).expanduser() for name in names}
    modules = {name: path for name, path in paths.items() if path.suffix == ".py" and path.is_file()}
    local = {name: fingerprint.normalised(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    return local, {name: files.checksum(path) for name, path in paths.items() if name not in local}


def keys(record: Record) -> dict:
    """Return the present keys of the runs of a record.

    The key leaves out a builder of the user's own. The builder is part of the notebook, whose code counts by itself.

    Args:
        record: Record of a notebook or of the benchmark.

    Returns:
        {"run ae": key}; None for a run that is gone.
    """
    found = {}
    for label, of in record.runs.items():
        settings, found[f"run {label}"] = of["settings"], None
        with suppress(TypeError, ValueError):  # unknown settings, or a run that is gone
            if settings and settings["builder"] not in BUILDERS:
                found[f"run {label}"] = files.short([settings, fingerprint.code(store.TRAIN)])
            else:
                found[f"run {label}"] = files.short(store.inputs(Run(**settings) if settings else of["name"]))
    return found


def stamp_path(name: str) -> Path:
    """Return the stamp file of a notebook or document. A stamp proves that this machine made the results."""
    return cache_folder("stamps") / f"{name}.json"


def stamp(name: str, record: Record, seconds: float | None = None) -> None:
    """Note that this machine has just made the results of a notebook, and in what time."""
    noted = {"record": record.as_json(), "machine": config.numerics(), "seconds": seconds}
    files.save_json(stamp_path(name), noted)


def usual_seconds(name: str) -> float | None:
    """Return how long a notebook ran here the last time; None if it has not."""
    return (files.load_json(stamp_path(name)) or {}).get("seconds")


def cache_folder(name: str) -> Path:
    """Return a folder of the cache. The quick mode has folders of its own."""
    return config.cache_folder() / (f"{name}-draft" if config.quick_mode() else name)


def why_stale(name: str, *, here: bool = True) -> str:
    """Return why a notebook must run.

    Args:
        name: Name of the notebook.
        here: Count committed results of another machine as stale.

    Returns:
        The reason in words; empty for fresh results.
    """
    if not (record := records.provenance().get(name)):
        return "not made yet"
    moment = records.since(record)
    if here:
        stamp = files.load_json(stamp_path(name)) or {}
        if stamp.get("record") != record.as_json():
            return "not made here yet"
        moment = files.when(stamp_path(name))
        if changed := records.changes(stamp["machine"], config.numerics(), moment):
            return changed
    return record.why_stale(inputs(name, record), results.outputs(record.results), "the notebook", moment)


def numbers() -> dict[str, dict]:
    """Return {section: numbers} of metrics.json that a notebook of notebooks/ is on record as having made."""
    provenance = records.provenance()
    made = {result for name in names() if name in provenance for result in provenance[name].results}
    return {section: of for section, of in results.metrics().items() if section in made}


def leftovers() -> list[str]:
    """Return the figures and sections in the output folder that no notebook makes."""
    provenance, folder = records.provenance(), records.output()
    known = [name for name in (*names(), *results.RESERVED) if name in provenance]
    made = {results.section(result) for name in known for result in provenance[name].results}
    # A picture without its data is not from a notebook.
    figures = [path.name for path in sorted(folder.glob("*.png")) if path.with_suffix(".npz").is_file()]
    noted = [result for record in provenance.values() for result in record.results if results.checksums(result)]
    present = dict.fromkeys([*figures, *results.metrics(), *map(results.section, noted)])
    return [result for result in present if result not in made]


def remove(leftover: Iterable[str]) -> None:
    """Remove results from the output folder, and records of missing notebooks from provenance.json.

    Args:
        leftover: Names of figures and of sections of metrics.json.
    """
    folder, present = records.output(), [*names(), *results.RESERVED]
    for name in leftover:
        if name.endswith(".png"):
            (folder / name).unlink(missing_ok=True)
            results.data_path(name).unlink(missing_ok=True)
    for file, kept in (("metrics.json", lambda name: name not in leftover), ("provenance.json", present.__contains__)):
        if before := files.read_json(folder / file, {}):
            files.write_json(folder / file, {name: value for name, value in before.items() if kept(name)})


def run(wanted: Iterable[str], jobs: int) -> None:
    """Run notebooks from top to bottom, each in a clean kernel and in the folder notebooks/.

    Missing runs that the notebooks ask for are trained first. Executed copies, with all outputs, go to the cache.

    Args:
        wanted: Names of the notebooks.
        jobs: Number of notebooks, or trainings, at the same time.

    Raises:
        ReportError: A notebook fails, its inputs change while it runs, or two make the same figure or section.
        TrainingError: A run cannot be trained.
    """
    wanted, kernels = list(wanted), []
    parallel.train_all(runs_of(wanted), jobs=jobs)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(_run, name, kernels) for name in wanted]
        try:
            for future in waiting:
                future.result()
        except BaseException:  # Ctrl-C too
            pool.shutdown(wait=False, cancel_futures=True)
            for kernel in kernels:
                _kill(kernel)
            raise
    if wrong := conflicts():
        raise ReportError("\n".join(wrong))


def _run(name, kernels):
    start = time.monotonic()
    terminal.say(f"{name}: running")
    origin, before = records.origin(), inputs(name)
    journal = _execute(name, kernels)
    runs = {label: {name: of[name] for name in ("name", "settings", "inputs")} for label, of in journal["runs"].items()}
    made_from = inputs(name, Record({FILE + file: None for file in journal["files"]}, {}, runs=runs))
    ours = {label: of for label, of in runs.items() if "its builder" not in of["inputs"]}  # see `keys`
    loaded = {f"run {label}": files.short(of["inputs"]) for label, of in ours.items()}
    if changed := records.changes(
        {**before, **loaded}, {name: made_from.get(name) for name in (*before, *loaded)}, "then"
    ):
        raise ReportError(f"notebooks/{name}.ipynb was run, but {changed}; start again")
    record = Record(made_from, results.outputs(journal["results"]), origin, journal["results"], runs)
    records.note(name, record)
    seconds = time.monotonic() - start
    stamp(name, record, seconds)
    terminal.say(f"{name}: done in {seconds:.0f} s")


def conflicts() -> list[str]:
    """Return one text for each figure or section that several notebooks make."""
    makers, provenance = {}, records.provenance()
    for maker in (name for name in names() if name in provenance):
        for result in provenance[maker].results:
            makers.setdefault(result, []).append(f"{maker}.ipynb")
    return [
        f"{result}: expected one notebook to make it, found {' and '.join(several)}"
        for result, several in makers.items()
        if len(several) > 1
    ]


def executed_path(name: str) -> Path:
    """Return the path of a notebook's executed copy, in the cache."""
    return cache_folder("notebooks") / f"{name}.ipynb"


def _execute(name, kernels):
    """Execute a notebook in a kernel of its own, and return its journal, see `results`."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    from genmodels.pipeline.kernel import OwnKernel

    notebook, target = read(name), executed_path(name)
    with files.system_errors(f"notebooks/{name}.ipynb"), tempfile.TemporaryDirectory() as folder:
        # Files instead of TCP work on a machine without any network.
        ipc = {"transport": "ipc", "ip": os.path.join(folder, "kernel")} if os.name == "posix" else {}
        kernel = AsyncKernelManager(kernel_spec_manager=OwnKernel(), **ipc)
        begin = "from genmodels.pipeline import results; results.begin()"
        client = NotebookClient(
            notebook,
            km=kernel,
            timeout=None,  # a cell may train a model
            resources={"metadata": {"path": str(path(name).parent)}},
            extra_arguments=[f"--IPKernelApp.exec_lines={begin}", "--InteractiveShell.colors=nocolor"],
        )
        # Jupyter would write to the home directory, which may be missing or read-only.
        own = {"JUPYTER_RUNTIME_DIR": folder, "IPYTHONDIR": folder, "GENMODELS_JOURNAL": f"{folder}/journal.json"}
        kernels.append(kernel)
        try:
            client.execute(cleanup_kc=True, env={**os.environ, **own})
        except DeadKernelError as error:
            raise ReportError(f"notebooks/{name}.ipynb: {files.KILLED}") from error
        except CellExecutionError as error:
            raise _failure(name, notebook, error) from error
        finally:
            kernels.remove(kernel)
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, target)
        return files.read_json(Path(own["GENMODELS_JOURNAL"]))


def _failure(name, notebook, error):
    """Return a ReportError with the failed cell and the reason, in one line if the reason says what to mend."""
    failed = next(
        (cell for cell in notebook.cells if any(each.output_type == "error" for each in cell.get("outputs", ()))), {}
    )
    where = f"notebooks/{name}.ipynb, cell [{failed.get('execution_count')}]"
    if error.ename in [each.__name__ for each in PLAIN]:
        return ReportError(f"{where}: {error.evalue}")
    if error.ename == "MemoryError":
        return ReportError(f"{where}: {files.MEMORY}")
    if error.ename in ("OSError", "PermissionError") and (found := re.match(r"\[Errno (\d+)\] ([^:]+)", error.evalue)):
        with files.system_errors(where):
            raise OSError(int(found[1]), found[2])
    return ReportError(f"{where} failed:\n{error.traceback.strip()[-3000:]}")


def _kill(kernel):
    """Kill the process of a kernel, so that the thread waiting for the kernel ends."""
    if process := getattr(kernel.provisioner, "process", None):
        process.kill()


def store_checked_outputs(name: str) -> None:
    """Copy the outputs that nbval compares from the executed copy into the notebook."""
    import nbformat

    notebook, executed = read(name), nbformat.read(executed_path(name), as_version=4)
    for cell, done in zip(notebook.cells, executed.cells):
        if cell.cell_type == "code":
            cell.outputs = done.outputs
    _write(name, notebook)


def strip(name: str) -> bool:
    """Bring a notebook back to its stored form, without running it.

    The printed outputs of cells tagged for nbval stay, and so do cell ids, tags and other metadata.

    Args:
        name: Name of the notebook.

    Returns:
        Whether the file changed.

    Raises:
        FileError: The file is not a notebook.
    """
    before = path(name).read_bytes()
    _write(name, read(name))
    return path(name).read_bytes() != before


def _write(name, notebook):
    """Write a notebook in its stored form."""
    import nbformat

    number = 0
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        if cell.cell_type == "code":
            number += bool(cell.source.strip())
            checked = CHECKED in cell.metadata.get("tags", [])
            cell.outputs = [each for each in cell.outputs if checked and each.get("name") == "stdout"]
            cell.execution_count = number if checked else None  # nbval ignores outputs without a count
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    with files.replacing(path(name)) as temporary:
        nbformat.write(notebook, temporary)
