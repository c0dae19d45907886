"""Results of notebooks: figures with the data that they show, numbers, and a journal of their origin.

`save` and `record` write only if the pipeline runs the notebook. The kernel then keeps a journal: the results of each
cell, and the runs, files and local modules used up to there. In JupyterLab, `save` and `record` check the result and
show it, and data/report/ stays as it is.
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
SMALLEST_TEXT = "Smallest text"  # a field of our PNG files
# Of this process. `path` is set only in a kernel of the pipeline; `cell` is the number of the present code cell.
_journal = {"path": None, "cell": 0, "results": {}, "runs": {}, "files": []}
_read = set()  # paths of the files that this process opened for reading
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
        figure: A matplotlib Figure.
        name: File name that ends in .png. The report cites it as ../data/report/NAME.

    Returns:
        The picture, for the notebook to show.

    Raises:
        ValueError: The figure is not a matplotlib Figure, or the name is not allowed.
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
    """Draw a figure as PNG. The quick mode marks the figure as a draft.

    The file says how many points its smallest text has, so that a document can tell its size in print.

    Args:
        figure: A matplotlib Figure.

    Returns:
        Bytes of the PNG file, the same for the same figure.
    """
    import matplotlib.style

    from genmodels.figures import mark_as_draft, text_sizes

    if config.quick_mode():
        mark_as_draft(figure)
    drawn = io.BytesIO()
    with matplotlib.style.context("default"):
        sizes = text_sizes(figure).values()
        noted = {SMALLEST_TEXT: f"{min(sizes):.2f} pt"} if sizes else {}
        figure.savefig(drawn, format="png", dpi=200, metadata={"Software": None, **noted})
    return drawn.getvalue()


def size_of(picture: Path) -> tuple[float | None, float | None]:
    """Return the size of a picture and of its text, as `picture` wrote them.

    Args:
        picture: A PNG file.

    Returns:
        Its width in inches, and the points of its smallest text; None for what the file does not say.
    """
    from PIL import Image

    try:
        with Image.open(picture) as opened:
            dots, noted = opened.info.get("dpi"), opened.info.get(SMALLEST_TEXT)
            inches = round(opened.width / dots[0], 3) if dots and dots[0] > 0 else None
        return inches, float(noted.partition(" ")[0]) if noted and inches else None
    except (OSError, ValueError, Image.DecompressionBombError):  # the typesetter will say what is wrong
        return None, None


def write_figure(name: str, drawn: bytes, shown: dict[str, np.ndarray]) -> None:
    """Write a figure's picture into the output folder, and its data beside it.

    Args:
        name: File name that ends in .png.
        drawn: The picture, see `picture`.
        shown: The figure's data, see `figures.shown_in`.
    """
    with replacing(data_path(name)) as temporary:
        np.savez_compressed(temporary, **shown)
    with replacing(output() / name) as temporary:
        temporary.write_bytes(drawn)


def record(section: str, numbers: dict) -> None:
    """Record numbers for the report, which quotes them as {{section.name}}.

    Args:
        section: A word, recorded by one notebook only.
        numbers: {name: value} of JSON values, NumPy numbers and arrays. All numbers are finite.

    Raises:
        ValueError: The section or the numbers are not allowed.
    """
    if not isinstance(section, str) or not re.fullmatch(r"[a-zA-Z]\w*", section) or section in RESERVED:
        wrong = f"section must be a word, and neither of {', '.join(RESERVED)}"
        raise ValueError(f"{wrong}, got {section!r:.80}")
    numbers = _plain(section, numbers)
    if _is_recording():
        put(output() / "metrics.json", section, numbers)
        _note(section)


def _plain(section, numbers):
    """Return numbers as plain JSON values."""
    if not isinstance(numbers, dict):
        raise ValueError(f"numbers of {section} must be a dict, got {numbers!r:.80}")
    try:
        plain = json.dumps(numbers, default=lambda value: value.tolist(), allow_nan=False)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"numbers of {section} must be finite and such that JSON holds them, got: {error}") from error
    return json.loads(plain)


def metrics() -> dict:
    """Return {section: {name: value}} of metrics.json; empty without the file.

    Raises:
        FileError: The file has another structure.
    """
    return read_json(output() / "metrics.json", {}, METRICS)


def data_path(name: str) -> Path:
    """Return the path of a figure's data, an .npz file.

    Args:
        name: File name of the figure.
    """
    return (output() / name).with_suffix(".npz")


def checksums(result: str) -> dict:
    """Return the present checksums of a result.

    Args:
        result: File name of a figure, a section of metrics.json such as "benchmark", or a part such as "benchmark.vae".

    Returns:
        {file, or "section.name": checksum}. The checksum of a missing file is None.
    """
    if result.endswith(".png"):
        if not re.fullmatch(r"\w[\w.-]{,200}\.png", result):  # a foreign record may hold a path to another folder
            return {}
        return {path.name: checksum(path) for path in (output() / result, data_path(result))}
    section, _, part = result.partition(".")
    numbers = metrics().get(section, {})
    return {f"{section}.{name}": short(value) for name, value in numbers.items() if part in ("", name)}


def section(result: str) -> str:
    """Return the section of metrics.json that a result belongs to.

    Args:
        result: See `checksums`.

    Returns:
        "benchmark" for "benchmark.vae"; the file name itself for a figure.
    """
    return result if result.endswith(".png") else result.partition(".")[0]


def outputs(made: Iterable[str]) -> dict:
    """Return the checksums of several results, for a record.

    Args:
        made: Results, see `checksums`.

    Returns:
        {output: checksum}.
    """
    return {what: value for result in made for what, value in checksums(result).items()}


def _is_recording():
    """Return whether the pipeline runs this notebook; if not, say once that nothing is written."""
    if _journal["path"]:
        return True
    if not _told:
        print("shown, not saved: figures and numbers of data/report/ are written by `make report` alone")
        _told.append(True)
    return False


def loaded(run: Run, inputs: dict) -> None:
    """Note in the journal that all further results may depend on a run.

    Args:
        run: The loaded run.
        inputs: Inputs of its weights, see `store.inputs`.
    """
    known = RUNS.get(run.name) == run
    label = str(run) if known else f"{run} ({short(run.settings())[:6]})"
    settings = {} if known else {"settings": vars(run)}
    of = {"name": run.name, "seed": run.seed, "inputs": inputs, "settings": None, **settings}
    _journal["runs"].setdefault(label, of)


def begin() -> None:
    """Start the journal of a kernel of the pipeline, before its first cell."""
    from IPython import get_ipython

    _journal["path"] = os.environ.pop("GENMODELS_JOURNAL")  # so that processes started by a cell write no journal
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
    """Write the journal, with the user's files that were read and the local modules imported."""
    modules = (vars(module).get("__file__") for module in list(sys.modules.values()) if hasattr(module, "__dict__"))
    paths = _read.union(path for path in modules if isinstance(path, str) and path.endswith(".py"))
    _journal["files"] = sorted(set(map(_own_file, paths)) - {None})
    Path(_journal["path"]).write_text(json.dumps(_journal), encoding="utf-8")


@cache
def _own_file(path):
    """Return the name of a file that a notebook may depend on; None for files of the system, of Python and our own."""
    ours = (root() / "src", root() / "data" / "mnist", sys.prefix, sys.base_prefix, config.cache_folder())
    # Skip the files that notebooks write, but not study.json, which they only read.
    written = path.startswith(f"{output()}{os.sep}") and not path.endswith(f"{os.sep}study.json")
    if written or path.endswith(".pyc") or path.startswith(tuple(f"{each}{os.sep}" for each in ours)):
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
