"""The explorer's HTML file: scripts, style and data in one file, which asks for nothing else.

The browser runs no script but ours, by its checksum in the page's Content-Security-Policy. The first picture needs the
parts that come first; a browser draws it while it still reads the others.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genmodels import config
from genmodels.datasets import Dataset
from genmodels.explorer.scores import RUNS
from genmodels.pipeline import files, fingerprint, records, store, study
from genmodels.pipeline.records import Record

HERE = Path(__file__).parent
SHARED = ("words.js", "layers.js", "plane.js", "controls.js")
SCRIPTS = {"page.html": (*SHARED, "app.js", "studio.js"), "own.html": (*SHARED, "one.js", "own.js")}  # of each page
WEB = (*SCRIPTS["page.html"], "style.css", "page.html")
LARGEST = 16 * 2**20  # bytes of a page: one that is sent by mail or opened on a phone
_RECORD = re.compile(rb'<script type="application/json" id="record">(.*?)</script>', re.DOTALL)
_START = 65_536  # bytes at the page's start, which hold the record


def path() -> Path:
    """Return the path of the page in report/, or in draft/ in the quick mode."""
    folder = records.output() if config.quick_mode() else records.root() / "report"
    return folder / "explorer.html"


def inputs() -> dict[str, Any]:
    """Return everything that the page depends on: {input: checksum, key or setting}."""
    runs = {f"run {name}": store.key(name)[:16] for name in RUNS}
    code = fingerprint.code("explorer.contents:collect", "explorer.page:write", but=_NOT_FOLLOWED)
    web = {name: files.checksum(HERE / name) for name in WEB}
    scores = {"numbers of the study": files.short([study.read(), sorted(study.stale())])}
    return {**runs, **code, **web, **scores, **records.environment()}


# Modules left out: the keys of the runs contain their effect, or the page quotes their files.
_NOT_FOLLOWED = [name for name in fingerprint.modules(fingerprint.PACKAGE) if not name.startswith("explorer")]


def why_stale(page: Path | None = None) -> str:
    """Return why the page must be written again.

    Args:
        page: The file; None for `path`.

    Returns:
        The reason in words; empty for a fresh page.
    """
    page = page or path()
    if not page.is_file():
        return "not written yet"
    with page.open("rb") as file:
        found = _RECORD.search(file.read(_START))
    if not found:
        return "it has no record of what it was made from"
    return Record(json.loads(found[1]), {}).why_stale(inputs(), {}, "`genmodels explore`", files.when(page))


def write(page: Path) -> int:
    """Write the explorer. Missing runs are trained.

    Args:
        page: HTML file to write.

    Returns:
        Its size in bytes.

    Raises:
        ExportError: A model has a layer that the page cannot draw.
        TrainingError: A missing run cannot be trained.
        ReportError: The page would be too large.
    """
    from genmodels.explorer import contents  # imports TensorFlow

    made_from = inputs()
    first, later = contents.collect()
    return _write(page, assemble({"record": made_from, **first}, later))


def write_own(page: Path, model: Path, data: Dataset, *, ink: bool = False) -> int:
    """Write the explorer of one's own AE or VAE.

    Args:
        page: HTML file to write.
        model: The .keras file.
        data: Data set with images of the model's shape; the page shows its test images.
        ink: Draw grey images as dark ink on white.

    Returns:
        Its size in bytes.

    Raises:
        ExportError: The decoder has a layer that the page cannot draw.
        ReportError: The page would be too large.
        ValueError: The file holds another kind of model, or the images have another shape.
    """
    from genmodels.explorer import own
    from genmodels.models.loading import load_model

    first, later = own.collect(load_model(model), data, model.stem, ink=ink)
    return _write(page, assemble({"record": own.record(model, data), **first}, later, "own.html"))


def _write(page, html):
    """Write a page, unless it is too large, and return its size in bytes."""
    if len(html) > LARGEST:
        raise records.ReportError(
            f"{page}: expected at most {LARGEST // 2**20} MB, got {len(html) / 2**20:.1f}; make the models smaller"
        )
    with files.replacing(page) as new:
        new.write_bytes(html)
    return len(html)


def assemble(first: dict[str, Any], later: dict[str, Any], template: str = "page.html") -> bytes:
    """Return a page with its scripts, style and data.

    Args:
        first: {id of an element: value for JSON} of what the first picture needs.
        later: The same of what may come later.
        template: A key of SCRIPTS.

    Returns:
        HTML in ASCII.
    """
    style, code = read("style.css"), script(SCRIPTS[template])
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_checksum(code)}'",
            f"style-src '{_checksum(style)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {
        "policy": f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        "style": f"<style>{style}</style>",
        "first": "\n".join(_data(*each) for each in first.items()),
        "script": f"<script>{code}</script>",
        "later": "\n".join(_data(*each) for each in later.items()),
    }
    return re.sub(r"<!-- put (\w+) -->", lambda found: parts[found[1]], read(template)).encode("ascii")


def script(names: Sequence[str]) -> str:
    """Return JavaScript files as one, with other letters than those of ASCII escaped.

    A browser takes 50 ms to read 15 MB of ASCII, 100 ms for other text, and answers to nothing meanwhile.
    """
    return "\n".join(map(read, names)).encode("ascii", "backslashreplace").decode("ascii")


def read(name: str) -> str:
    """Return the text of one of the explorer's web files."""
    return (HERE / name).read_text(encoding="utf-8")


def _checksum(text):
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def _data(name, value):
    text = json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
    return f'<script type="application/json" id="{name}">{text}</script>'
