"""Results of notebooks: figures with the data that they show, numbers, and a journal of what made them.

`save` and `record` write only where the pipeline runs the notebook. There the kernel keeps a journal: which results
each cell left, and which runs, files and local modules were used up to there. Anywhere else, as in JupyterLab, they
show and check the result, and leave data/report/ as it is.
"""

import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmodels import config
from genmodels.experiments import RUNS, Run
from genmodels.pipeline.files import checksum, put, read_json, replacing, short
from genmodels.pipeline.records import output, root

if TYPE_CHECKING:
    from IPython.display import Image
    from matplotlib.figure import Figure

RESERVED = ("study", "benchmark")  # sections that no notebook writes
METRICS = {"type": "object", "additionalProperties": {"type": "object"}}  # metrics.json: {section: {name: anything}}
# Of this process; path: set in a kernel of the pipeline alone, cell: the number of the present one.
_journal = {"path": None, "cell": 0, "results": {}, "runs": {}, "files": []}
_read = set()  # paths of files that this process opened for reading
_told = []
_SYSTEM = (
    "/usr/",
    "/lib/",
    "/lib64/",
    "/proc/",
    "/sys/",
    "/dev/",
    "/etc/",
    "/var/",
    "/run/",
)  # no notebook depends on these


def save(figure: "Figure", name: str) -> "Image":
    """Save a figure for the report, with the data that it shows.

    Args:
        figure: a matplotlib Figure.
        name: a plain file name that ends in .png; the report cites it as ../data/report/NAME.

    Returns:
        The picture, an IPython.display.Image, for the notebook to show.

    Raises:
        ValueError: the name is no such file name, or the figure is none.
    """
    from IPython.display import Image
    from matplotlib.figure import Figure

    from genmodels.figures import shown_in

    if not isinstance(figure, Figure):
        raise ValueError(f"figure must be a matplotlib Figure, such as plt.gcf() or axes.figure, got {figure!r:.80}")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]{,200}\.png", name):
        raise ValueError(f"name must be a plain file name that ends in .png, such as my_figure.png, got {name!r:.80}")
    shown, drawn = shown_in(figure), picture(figure)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)  # or the notebook would show it twice
    if _is_recording():
        write_figure(name, drawn, shown)
        _note(name)
    return Image(data=drawn)


def picture(figure: "Figure") -> bytes:
    """Return a figure as PNG; in the quick mode it is marked as a draft."""
    import matplotlib.style

    from genmodels.figures import mark_as_draft

    if config.quick_mode():
        mark_as_draft(figure)
    drawn = io.BytesIO()
    with matplotlib.style.context("default"):
        figure.savefig(drawn, format="png", dpi=200, metadata={"Software": None})
    return drawn.getvalue()


def write_figure(name: str, drawn: bytes, shown: dict[str, np.ndarray]) -> None:
    """Write a figure's picture, and beside it the data that it shows."""
    with replacing(data_path(name)) as temporary:
        np.savez_compressed(temporary, **shown)
    with replacing(output() / name) as temporary:
        temporary.write_bytes(drawn)


def record(section: str, numbers: dict) -> None:
    """Record numbers for the report, which quotes them as {{section.name}}.

    Args:
        section: a word; each is recorded in one place only.
        numbers: {name: anything that JSON holds, or NumPy numbers and arrays}; all numbers finite.

    Raises:
        ValueError: the section is no such word, or the numbers are something else.
    """
    if not isinstance(section, str) or not re.fullmatch(r"[a-zA-Z]\w*", section) or section in RESERVED:
        wrong = f"section must be a word, and neither of {', '.join(RESERVED)}"
        raise ValueError(f"{wrong}, got {section!r:.80}")
    numbers = _plain(section, numbers)
    if _is_recording():
        put(output() / "metrics.json", section, numbers)
        _note(section)


def _plain(section, numbers):
    """Return numbers as JSON holds them."""
    if not isinstance(numbers, dict):
        raise ValueError(f"numbers of {section} must be a dict, got {numbers!r:.80}")
    try:
        plain = json.dumps(numbers, default=lambda value: value.tolist(), allow_nan=False)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"numbers of {section} must be finite and such that JSON holds them, got: {error}") from error
    return json.loads(plain)


def metrics() -> dict:
    """Return what metrics.json holds, {section: {name: anything}}.

    Raises:
        FileError: it holds something else.
    """
    return read_json(output() / "metrics.json", {}, METRICS)


def data_path(name: str) -> Path:
    """Return where the data that a figure shows are saved."""
    return (output() / name).with_suffix(".npz")


def checksums(result: str) -> dict:
    """Return {what: checksum} of a figure's files or, in metrics.json, of a section or of one of its numbers."""
    if result.endswith(".png"):
        if not re.fullmatch(r"\w[\w.-]{,200}\.png", result):  # no path: a foreign record may say anything
            return {}
        return {path.name: checksum(path) for path in (output() / result, data_path(result))}
    section, _, part = result.partition(".")
    numbers = metrics().get(section, {})
    return {f"{section}.{name}": short(value) for name, value in numbers.items() if part in ("", name)}


def section(result: str) -> str:
    """Return the section of metrics.json that a result, "benchmark.vae" or "benchmark", belongs to; a figure's name."""
    return result if result.endswith(".png") else result.partition(".")[0]


def outputs(made: Iterable[str]) -> dict:
    """Return the checksums of several results together, as a record has them."""
    return {what: value for result in made for what, value in checksums(result).items()}


def _is_recording():
    """Return whether the pipeline runs this notebook; elsewhere say once that nothing is written."""
    if _journal["path"]:
        return True
    if not _told:
        print("shown, not saved: figures and numbers of data/report/ are written by `make report` alone")
        _told.append(True)
    return False


def loaded(run: Run, inputs: dict) -> None:
    """Note that this process has loaded a run, with its inputs: it is behind all results that follow."""
    known = RUNS.get(run.name) == run
    label = str(run) if known else f"{run} ({short(run.settings())[:6]})"
    settings = {} if known else {"settings": vars(run)}
    of = {"name": run.name, "seed": run.seed, "inputs": inputs, "settings": None, **settings}
    _journal["runs"].setdefault(label, of)


def begin() -> None:
    """Start the journal in a kernel of the pipeline; called before its first cell."""
    from IPython import get_ipython

    _journal["path"] = os.environ.pop("GENMODELS_JOURNAL")  # processes that a cell starts have none
    sys.addaudithook(_note_reading)
    get_ipython().events.register("pre_run_cell", lambda info: _journal.update(cell=_journal["cell"] + 1))
    get_ipython().events.register("post_run_cell", lambda result: _write())
    _write()


def _note_reading(event, arguments):
    if event == "open" and isinstance(path := arguments[0], str):
        _, mode, flags = arguments
        if "r" in mode if isinstance(mode, str) else flags & 3 in (os.O_RDONLY, os.O_RDWR):
            _read.add(os.path.abspath(path))


def _note(result):
    runs = {}
    for run in _journal["runs"].values():
        runs.setdefault(run["name"], []).append(run["seed"])
    _journal["results"][result] = {"cell": _journal["cell"], "runs": runs}


def _write():
    """Write the journal, with the user's files that were read and the local modules that were imported."""
    modules = (vars(module).get("__file__") for module in list(sys.modules.values()) if hasattr(module, "__dict__"))
    paths = _read.union(path for path in modules if isinstance(path, str) and path.endswith(".py"))
    _journal["files"] = sorted(set(map(_own_file, paths)) - {None})
    Path(_journal["path"]).write_text(json.dumps(_journal), encoding="utf-8")


@cache
def _own_file(path):
    """Return the name of a file that a notebook may depend on; None for those of the system, of Python and our own."""
    ours = (output(), root() / "src", root() / "data" / "mnist", sys.prefix, sys.base_prefix, config.cache_folder())
    if path.endswith(".pyc") or path.startswith(tuple(f"{each}{os.sep}" for each in ours)):
        return None
    path = Path(path)
    if path.is_relative_to(root()):
        inner, name = path.relative_to(root()), path.relative_to(root()).as_posix()
    elif path.is_relative_to(Path.home()):
        inner = path.relative_to(Path.home())
        name = f"~/{inner.as_posix()}"
    elif path.is_relative_to(tempfile.gettempdir()) or path.as_posix().startswith(_SYSTEM):
        return None
    else:
        inner, name = path, path.as_posix()
    return name if path.is_file() and not any(part[0] == "." for part in inner.parts) else None
