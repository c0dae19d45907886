"""Records: inputs, outputs and origin of each result. Comparing them with the present ones tells why it is stale.

Trained runs, notebooks, the study, the benchmark and the documents all keep a record. The records of notebooks and
benchmark stand in provenance.json, those of the study in study.json. A report can therefore be checked elsewhere.
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
    """The report cannot be made. The message says what to mend."""


@dataclass(frozen=True)
class Record:
    """The inputs, outputs and origin of a trained run, notebook, entry of the study, benchmark or document.

    Attributes:
        inputs: {input: value} of everything that the outputs depend on.
        outputs: {output: checksum} of everything written.
        origin: Machine, commit and state of the tree, see `origin`.
        results: {figure or section: {"cell": number, "runs": {name: seeds}}} of a notebook or the benchmark.
        runs: {run: {"name", "settings", "inputs"}} of a notebook or the benchmark. `settings` is None for a run of the
            report. `inputs` are the inputs of the weights.
    """

    inputs: dict
    outputs: dict
    origin: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)

    def why_stale(self, inputs: dict, outputs: dict, maker: str, since: str) -> str:
        """Return why the outputs are stale.

        Args:
            inputs: Present inputs.
            outputs: Present checksums of the outputs.
            maker: Writer of the outputs in words, such as "the notebook".
            since: Time or commit of the record in words.

        Returns:
            The reason in words; empty for fresh outputs.
        """
        if changed := ", ".join(what for what, *_ in differing(self.outputs, outputs)):
            return f"{changed} changed after {maker} wrote it"
        return changes(self.inputs, inputs, since)

    def as_json(self) -> dict:
        """Return the record for a JSON file, with the digest of the inputs as its key."""
        return {"key": short(self.inputs), **asdict(self)}


_DICT = {"type": "object"}
_RESULT = {**_DICT, "required": ["cell", "runs"], "properties": {"runs": _DICT}}
_SETTINGS = {"type": ["object", "null"], "required": ["name", "builder"]}
_RUN = {**_DICT, "required": ["name", "settings"], "properties": {"settings": _SETTINGS, "inputs": _DICT}}
_PARTS = {"inputs": _DICT, "outputs": _DICT, "origin": {**_DICT, "properties": {"machine": _DICT}}}
_PARTS |= {"results": {**_DICT, "additionalProperties": _RESULT}, "runs": {**_DICT, "additionalProperties": _RUN}}
_PARTS |= {"key": {"type": "string"}}
_RECORD = {
    **_DICT,
    "required": ["inputs", "key", "outputs", "origin"],
    "properties": _PARTS,
    "additionalProperties": False,
}
SCHEMA = {**_DICT, "additionalProperties": _RECORD}  # of provenance.json


def changes(old: dict, new: dict, since: str) -> str:
    """Describe the inputs that changed.

    Args:
        old: {input: value} of the record.
        new: Present {input: value}.
        since: Time or commit of the record in words.

    Returns:
        Such as "metrics.py changed since commit 0123456789"; empty if no input changed.
    """
    names = sorted(name for name in {**old, **new} if short(old.get(name)) != short(new.get(name)))
    more = f" and {len(names) - 5} more" if len(names) > 6 else ""
    return f"{', '.join(names[:5] if more else names)}{more} changed since {since}" if names else ""


def environment() -> dict:
    """Return the inputs that all results share: checksum of the data, quick mode or not, versions of libraries."""
    return {"MNIST": short(datasets.found()), "budget": "smoke" if config.quick_mode() else "full", **versions()}


@lru_cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    return {name: version(name) for name in LIBRARIES}  # cached: a millisecond each, asked for a hundred times


def root() -> Path:
    """Return the folder of the checkout.

    Raises:
        ReportError: The package is installed, without notebooks and report.
    """
    if found := config.checkout():
        return found
    raise ReportError(
        "expected to run from a checkout of genmodels, with its notebooks/ and report/ folders, got an installed "
        "package; clone the repository and run this there"
    )


def language() -> str:
    """Return the language of the report's metadata: "en" for `lang: en` or `lang: en-GB`, otherwise "pl"."""
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
    """Return the folder of figures, metrics.json and provenance.json: data/report/, or draft/ in the quick mode."""
    return root() / "draft" if config.quick_mode() else committed()


def provenance(folder: Path | None = None) -> dict[str, Record]:
    """Return the records of provenance.json.

    Args:
        folder: Folder of the file; None for `output`.

    Returns:
        {notebook or benchmark: Record}; empty without the file.

    Raises:
        FileError: The file has another structure, or was changed by hand.
    """
    path = (folder or output()) / "provenance.json"
    return parse(read_json(path, {}, SCHEMA), path)


def parse(found: dict[str, dict], path: Path) -> dict[str, Record]:
    """Return {maker: Record} from {maker: JSON of `Record.as_json`}.

    Args:
        found: Contents of a file that fit SCHEMA.
        path: The file, for messages.

    Raises:
        FileError: A record was changed by hand.
    """
    for maker, of in found.items():
        if of["key"] != (key := short(of["inputs"])):
            wrong = f"expected {key} as the key of {maker}'s inputs, got {of['key']!r}"
            raise FileError(f"{path.name}: {wrong}; restore or delete {path}")
    names = Record.__dataclass_fields__
    return {maker: Record(**{name: of[name] for name in names if name in of}) for maker, of in found.items()}


def note(maker: str, record: Record, folder: Path | None = None) -> None:
    """Write the record of a notebook or of the benchmark into provenance.json of a folder, by default `output`."""
    put((folder or output()) / "provenance.json", maker, record.as_json())


def since(record: Record) -> str:
    """Return the commit of a record in words, such as "commit 0123456789"."""
    return f"commit {commit[:10]}" if (commit := record.origin.get("commit")) else "it was made"


def origin(*others: str) -> dict:
    """Return the origin of a result made now.

    Args:
        others: Folders that count beside SOURCES.

    Returns:
        machine: See `config.machine`.
        commit: Last commit that touched SOURCES; None outside version control.
        clean: Whether SOURCES are unchanged since; None outside version control.
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
