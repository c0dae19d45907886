"""What notebooks leave for the report: figures with the data they show, and numbers; with what made them.

`save` and `record` write only where the pipeline runs the notebook: then GENMODELS_JOURNAL names a file, to which the
kernel writes which results each cell left, and which runs, files and local modules it used up to there. Anywhere else,
as in JupyterLab, they show and check the result, and leave data/report/ as it is.
"""

import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from genmodels import config
from genmodels.pipeline.files import checksum, put, read_json, replacing, short
from genmodels.pipeline.records import ReportError, output, root

RESERVED = ("study", "benchmark")  # sections that no notebook writes
_NUMBERS = {"type": "object", "additionalProperties": {"type": "object"}}
METRICS = {  # the structure of metrics.json: {section: {name: anything}}
    "type": "object",
    "additionalProperties": {"type": "object", "properties": {"scores": _NUMBERS}},
}
_journal = {"results": {}, "runs": {}, "files": []}  # of this process, where it is a kernel of the pipeline
_read = set()  # paths of the files that it opened for reading
_told = []
_SYSTEM = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc", "/var", "/run")  # no notebook depends on these


class SavedFigure:
    """A saved figure, which a notebook shows as the picture that it is."""

    def __init__(self, name: str, picture: bytes):
        self.name, self.picture = name, picture

    def _repr_png_(self):
        return self.picture

    def __repr__(self):
        return f"SavedFigure({self.name!r})"


def save(figure, name: str) -> SavedFigure:
    """Save a figure for the report, with the data that it shows, and return it for the notebook to show.

    Args:
        figure: a matplotlib Figure.
        name: a plain file name that ends in .png; the report cites it as ../data/report/NAME.

    Raises:
        ValueError: the name is no such file name, or the figure is none.
    """
    from matplotlib.figure import Figure

    from genmodels.figures import shown_in

    if not isinstance(figure, Figure):
        raise ValueError(f"figure must be a matplotlib Figure, such as plt.gcf() or axes.figure, got {figure!r:.80}")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*\.png", name):
        raise ValueError(f"name must be a plain file name that ends in .png, such as my_figure.png, got {name!r:.80}")
    shown, saved = shown_in(figure), SavedFigure(name, _picture(figure))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)  # or the notebook would show it twice
    if _is_recording():
        write_figure(name, saved.picture, shown)
        _note(name)
    return saved


def _picture(figure):
    """Return a figure as PNG; in the quick mode it is marked as a draft."""
    import matplotlib.style

    from genmodels.figures import mark_as_draft

    if config.quick_mode():
        mark_as_draft(figure)
    picture = io.BytesIO()
    with matplotlib.style.context("default"):
        figure.savefig(picture, format="png", dpi=200, metadata={"Software": None})
    return picture.getvalue()


def write_figure(name: str, picture: bytes, shown: dict[str, np.ndarray]) -> None:
    """Write a figure's picture, and beside it the data that it shows."""
    with replacing(data_path(name)) as temporary:
        np.savez_compressed(temporary, **shown)
    with replacing(output() / name) as temporary:
        temporary.write_bytes(picture)


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
    """Return {what: checksum} of a figure's files or, in metrics.json, of a section's numbers."""
    if result.endswith(".png"):
        if not re.fullmatch(r"\w[\w.-]{,200}", result):  # no path: a foreign record may say anything
            return {}
        return {path.name: checksum(path) for path in (output() / result, data_path(result))}
    return {f"{result}.{name}": short(value) for name, value in metrics().get(result, {}).items()}


def _is_recording():
    """Return whether the pipeline runs this notebook; elsewhere say once that nothing is written."""
    if os.environ.get("GENMODELS_JOURNAL"):
        return True
    if not _told:
        print("shown, not saved: figures and numbers of data/report/ are written by `make report` alone")
        _told.append(True)
    return False


def loaded(run) -> None:
    """Note that this process has loaded a run: it is behind all results that follow."""
    from genmodels.pipeline.experiments import RUNS

    known = RUNS.get(run.name) == run
    label = str(run) if known else f"{run} ({short(run.settings())[:6]})"
    _journal["runs"].setdefault(label, {"name": run.name, "seed": run.seed, "settings": None if known else vars(run)})


def begin() -> None:
    """Start the journal in a kernel of the pipeline; called before its first cell."""
    from IPython import get_ipython

    sys.addaudithook(_note_reading)
    get_ipython().events.register("post_run_cell", lambda result: _write())
    _write()


def _note_reading(event, arguments):
    if event != "open" or not isinstance(arguments[0], str):
        return
    _, mode, flags = arguments
    if "r" in mode if isinstance(mode, str) else flags & 3 in (os.O_RDONLY, os.O_RDWR):
        _read.add(os.path.abspath(arguments[0]))


def _note(result):
    from IPython import get_ipython

    if result in _journal["results"]:
        raise ReportError(f"{result}: expected to be made once in this notebook, it is made twice")
    runs = {}
    for run in _journal["runs"].values():
        runs.setdefault(run["name"], []).append(run["seed"])
    _journal["results"][result] = {"cell": get_ipython().execution_count, "runs": runs}
    _write()


def _write():
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = {*_read, *(os.path.abspath(path) for path in modules if isinstance(path, str) and path.endswith(".py"))}
    _journal["files"] = sorted(filter(None, map(_own_file, paths)))
    path = Path(os.environ["GENMODELS_JOURNAL"])
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_journal), encoding="utf-8")


def _own_file(path):
    """Return the name of a file that a notebook may depend on; None for those of the system, of Python and our own."""
    path = Path(path)
    here, home = root(), Path.home()
    place = next((place for place in (here, home) if path.is_relative_to(place)), None)
    inner = path.relative_to(place) if place else path
    if place == here:
        system = (output(), here / "src")
    else:
        system = (sys.prefix, sys.base_prefix, tempfile.gettempdir(), config.cache_folder(), *_SYSTEM)
    hidden = any(part[0] == "." for part in inner.parts) or path.suffix == ".pyc"
    if hidden or not path.is_file() or any(path.is_relative_to(each) for each in system):
        return None
    return f"~/{inner.as_posix()}" if place == home and place != here else inner.as_posix()
