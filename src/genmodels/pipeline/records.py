"""Records: inputs, outputs and origin of each result, and why it is stale.

Trained runs, notebooks, the study, the benchmark and the documents all keep one. Those of notebooks, study and
benchmark stand in provenance.json, beside the figures, so that a report can be checked elsewhere.
"""

import subprocess
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from genmodels import config, datasets
from genmodels.pipeline.files import FileError, differing, put, read_json, short

LIBRARIES = ("keras", "matplotlib", "numpy", "pillow", "scikit-learn", "scipy", "tensorflow")
SOURCES = (
    "src",
    "notebooks",
    "data/mnist",
    "pyproject.toml",
    "requirements.lock",
)  # paths whose last commit identifies the code


class ReportError(Exception):
    """The report cannot be made; the message says what to mend."""


@dataclass(frozen=True)
class Record:
    """The inputs, outputs and origin of one thing that was made.

    Attributes:
        inputs: {what: value} of everything that it depends on.
        outputs: {what: checksum} of everything that was written.
        origin: machine, commit and whether the tree was clean, see `origin`.
        results: of a notebook, {figure or section: {"cell": number, "runs": {name: seeds}}}.
        runs: of a notebook, {run: {"name", "inputs": what its weights depend on, "settings": None for the report's}}.
    """

    inputs: dict
    outputs: dict
    origin: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)

    def why_stale(self, inputs: dict, outputs: dict, maker: str, since: str) -> str:
        """Return why the thing has to be made anew, given its present inputs and outputs; empty where it is fresh."""
        if changed := ", ".join(what for what, *_ in differing(self.outputs, outputs)):
            return f"{changed} changed after {maker} wrote it"
        return changes(self.inputs, inputs, since)

    def as_json(self) -> dict:
        """Return the record for a JSON file; its key is the digest of the inputs."""
        return {"key": short(self.inputs), **asdict(self)}


_DICT = {"type": "object"}
_RESULT = {**_DICT, "required": ["cell", "runs"], "properties": {"runs": _DICT}}
_SETTINGS = {"type": ["object", "null"], "required": ["name", "builder"]}
_RUN = {**_DICT, "required": ["name", "settings"], "properties": {"settings": _SETTINGS, "inputs": _DICT}}
_PARTS = {"inputs": _DICT, "outputs": _DICT, "origin": {**_DICT, "properties": {"machine": _DICT}}}
_PARTS |= {"results": {**_DICT, "additionalProperties": _RESULT}, "runs": {**_DICT, "additionalProperties": _RUN}}
_RECORD = {**_DICT, "required": ["inputs", "key", "outputs", "origin"], "properties": _PARTS}
SCHEMA = {**_DICT, "additionalProperties": _RECORD}  # of provenance.json


def changes(old: dict, new: dict, since: str) -> str:
    """Return in words which inputs differ between then and now; empty where none does."""
    names = sorted(name for name in {**old, **new} if short(old.get(name)) != short(new.get(name)))
    more = f" and {len(names) - 5} more" if len(names) > 6 else ""
    return f"{', '.join(names[:5] if more else names)}{more} changed since {since}" if names else ""


def environment() -> dict:
    """Return what every result depends on beside code and settings: the data found, quick mode, library versions."""
    return {"MNIST": short(datasets.found()), "budget": "smoke" if config.quick_mode() else "full", **_versions()}


@lru_cache
def _versions():
    return {name: version(name) for name in LIBRARIES}  # a millisecond each, asked for a hundred times


def root() -> Path:
    """Return the checkout. Raises ReportError for an installed package, which has no notebooks and no report."""
    if found := config.checkout():
        return found
    raise ReportError("expected to run from a checkout of genmodels with its notebooks/ and report/ folders")


def language() -> str:
    """Return the language of the report's metadata: "en" for `lang: en` or `lang: en-GB`, "pl" for anything else."""
    import yaml

    path = root() / "report" / "generative_models.md"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    try:
        metadata = next(yaml.safe_load_all(text.removeprefix("\ufeff").lstrip()), None)
    except yaml.YAMLError:
        metadata = None
    lang = metadata.get("lang") if isinstance(metadata, dict) else ""
    return "en" if str(lang).partition("-")[0] == "en" else "pl"


def committed() -> Path:
    """Return the folder of committed results, data/report/."""
    return root() / "data" / "report"


def output() -> Path:
    """Return the folder of figures, metrics.json and provenance.json: data/report/, in the quick mode draft/."""
    return root() / "draft" if config.quick_mode() else committed()


def provenance(folder: Path | None = None) -> dict[str, Record]:
    """Return {maker: Record} of provenance.json in a folder, by default that of `output`.

    Raises:
        FileError: the file holds something else, or was changed by hand.
    """
    path = (folder or output()) / "provenance.json"
    return parse(read_json(path, {}, SCHEMA), path)


def parse(found: dict[str, dict], path: Path) -> dict[str, Record]:
    """Return {maker: Record} of what `Record.as_json` gave.

    Raises:
        FileError: a record of the file was changed by hand.
    """
    for maker, of in found.items():
        if of["key"] != (key := short(of["inputs"])):
            wrong = f"expected {key} as the key of {maker}'s inputs, got {of['key']!r}"
            raise FileError(f"{path.name}: {wrong}; restore or delete {path}")
    names = Record.__dataclass_fields__
    return {maker: Record(**{name: of[name] for name in names if name in of}) for maker, of in found.items()}


def note(maker: str, record: Record, folder: Path | None = None) -> None:
    """Put the record of one maker into provenance.json."""
    put((folder or output()) / "provenance.json", maker, record.as_json())


def since(record: Record) -> str:
    """Return of which commit a committed record is, in words."""
    return f"commit {commit[:10]}" if (commit := record.origin.get("commit")) else "it was made"


def origin(*others: str) -> dict:
    """Return machine, commit (the last one that touched SOURCES) and clean (whether they stand unchanged).

    Args:
        others: folders that count beside SOURCES. Commit and clean are None outside version control.
    """

    def git(*arguments):
        command = ["git", "-C", str(root()), *arguments, "--", *SOURCES, *others]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        last, changed = git("log", "-1", "--format=%H"), git("status", "--porcelain")
    except OSError:  # no git
        last = None
    return {"machine": config.machine(), "commit": last or None, "clean": changed == "" if last else None}
