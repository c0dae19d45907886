"""Compare a PDF with the checkout, and a new run with the committed one.

On the same kind of processor with the same libraries a run repeats bit for bit, so that anything else is a change. On
another kind trainings diverge by rounding. There a number must lie within the spread between seeds that the study
measured.
"""

import difflib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genmodels.pipeline import document, files, notebooks, records, results, study
from genmodels.pipeline.files import differing
from genmodels.pipeline.records import Record, ReportError

CONFIDENCE = 0.99  # of the interval that a second training with another seed falls into
REMEDY = "`git checkout data/report` brings it back, or `make report` makes it again"
# Whole numbers that no training decides.
FIXED = ("count", "epochs", "moved_images", "seed", "test_images")
# On another machine a fraction of unknown spread may move by FACTOR times its smaller value, taken as LEAST or more.
FACTOR, LEAST = 10, 0.01
STEPS = {"endpoint_accuracy": 0.25}  # a share of four images moves by one of them at least


def differences(pdf: Path) -> Iterator[str]:
    """Yield where a PDF departs from the tree that it stands in: figures, numbers, claims, text; one text a finding.

    A result that the tree's code would no longer make counts too, and an HTML file of that name beside the PDF.
    """
    yield from document.unverified()
    for name in notebooks.names():
        if why := notebooks.why_stale(name, here=False):
            yield f"{name}: stale, {why}"
    with tempfile.TemporaryDirectory() as folder:
        built, html = Path(folder) / "built.pdf", Path(folder) / "built.html"
        try:
            document.write(built, html)
        except ReportError as error:
            yield str(error)
            return
        if Path(pdf).read_bytes() != built.read_bytes():
            rest = "structure, alternative texts or bookmarks differ from the tree's"
            yield from list(_compare(_contents(pdf), _contents(built))) or [rest]
        beside = Path(pdf).with_suffix(".html")
        if beside.is_file() and beside.read_bytes() != html.read_bytes():
            yield f"{beside.name}: differs from what the tree makes"


def _contents(pdf):
    """Return the contents of a PDF: attachments and pictures as {name: bytes}, metadata, alternative texts, lines."""
    from pypdf import PdfReader

    try:
        reader = PdfReader(pdf)
        attached = {name: b"".join(files) for name, files in reader.attachments.items()}
        names = json.loads(attached.get("figures.json", b"[]"))
        objects = [
            each.get_object() for page in reader.pages for each in page["/Resources"].get("/XObject", {}).values()
        ]
        pictures = [each.get_data() for each in objects if each["/Subtype"] == "/Image"]
        lines = [line for page in reader.pages for line in page.extract_text().splitlines()]
        tags = [reader.get_object(number) for number in range(1, reader.trailer["/Size"])]
        metadata = dict(reader.metadata or {})
    except Exception as error:  # what a damaged PDF raises is of many kinds
        raise ReportError(f"{pdf}: expected a readable PDF, got: {error}") from error
    named = dict(zip([*names, *(f"picture {extra}" for extra in range(len(names), len(pictures)))], pictures))
    said = [str(tag["/Alt"]) for tag in tags if isinstance(tag, dict) and "/Alt" in tag]
    return {"attachment": attached, "figure": named, "metadata": metadata, "alternative text": said, "text": lines}


def _compare(pdf, tree):
    for kind in ("attachment", "figure", "metadata"):
        for name, one, other in differing(pdf[kind], tree[kind]):
            if kind == "attachment" and one and other:
                yield from _values(name, one, other)
            else:
                state = "only in the PDF" if other is None else "differs from the tree's"
                yield f"{kind} {name}: {'only in the tree' if one is None else state}"
    for kind in ("alternative text", "text"):
        for line in difflib.unified_diff(tree[kind], pdf[kind], "tree", "PDF", lineterm="", n=0):
            if not line.startswith(("---", "+++", "@@")):
                yield f"{kind}, {'the PDF' if line[0] == '+' else 'the tree'} says: {line[1:]}"


def _values(name, one, other):
    """Yield the values of an attached JSON that differ."""
    try:
        one, other = (dict(leaves(json.loads(content))) for content in (one, other))
    except ValueError:
        yield f"attachment {name}: expected JSON as in the tree, got something else"
        return
    for key, value, own in differing(one, other, missing="nothing"):
        yield f"{name}, {key}: {value} in the PDF, {own} in the tree"


def leaves(value, prefix: str = "") -> Iterator[tuple]:
    """Yield (key with dots, value) of all that is no dict or list in a JSON value."""
    if not isinstance(value, (dict, list)):
        yield prefix, value
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(inner, f"{prefix}.{name}" if prefix else str(name))


def compare(revision: str = "HEAD") -> Iterator[tuple[str, str, bool]]:
    """Yield (name, what changed, whether it is more than is to be expected) against a committed revision.

    Raises:
        ReportError: there is no such revision with figures in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, now = _committed(revision, Path(folder)) / "data" / "report", records.output()
        old, new = records.provenance(before), records.provenance(now)
        numbers = [files.read_json(place / "metrics.json", {}, results.METRICS) for place in (before, now)]
        for maker in (name for name in {**old, **new} if name not in results.RESERVED):
            same = _machine(old.get(maker)) == _machine(new.get(maker))
            made = {**old.get(maker, Record({}, {})).results, **new.get(maker, Record({}, {})).results}
            for name, how in made.items():
                if name.endswith(".png"):
                    change, weight = figure_change(before / name, now / name)
                    yield name, change, weight == "form" or (weight == "data" and (same or not how["runs"]))
                else:
                    yield from number_changes(*({name: each.get(name, {})} for each in numbers), same=same)


def _committed(revision, folder):
    command = ["git", "-C", str(records.root()), "archive", "--format=tar", revision, "data/report"]
    if revision.startswith("-"):  # git would take it for an option
        raise ReportError(f"expected a revision with data/report/, got {revision!r}")
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise ReportError(f"expected a revision with data/report/, got {revision!r}: {said}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # Python before 3.10.12 and 3.11.4 has no filters; git's own archive needs none.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder


def _machine(record):
    """Return what decides the last digits: processor and versions, not cores."""
    machine = record.origin.get("machine", {}) if record else {}
    return {name: value for name, value in machine.items() if name != "cores"}


def figure_change(before: Path, now: Path) -> tuple[str, str]:
    """Return what changed between two PNG files with their .npz beside them, and how much that weighs.

    ("", "") stands for nothing, otherwise a text and "rendering", "data", or "form": missing, or of another shape.
    """
    if missing := [path for path in (before, now) if not path.is_file() or not path.with_suffix(".npz").is_file()]:
        return f"missing: {missing[0].name} or its data", "form"
    old, new = (_arrays(path.with_suffix(".npz")) for path in (before, now))
    if formed := differing(_forms(old), _forms(new)):
        return f"the result changed: {formed[0][0]} has another form", "form"
    for name in sorted(old):
        if old[name].tobytes() != new[name].tobytes():
            return f"the result changed: {name}{_by(old[name], new[name])}", "data"
    if before.read_bytes() == now.read_bytes():
        return "", ""
    return f"only rendering changed: {_pixels(before, now)}, the data are the same", "rendering"


def _arrays(path):
    try:
        return files.arrays_in(path.read_bytes())
    except ValueError as error:
        raise ReportError(f"{path}: {error}; {REMEDY}") from error


def _forms(arrays):
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _by(old, new):
    if old.dtype.kind not in "fiu":
        return ""
    gaps = np.abs(old.astype("float64") - new)
    return f", {np.mean(gaps > 0):.1%} of its values, by up to {gaps.max():.3g}"


def _pixels(before, now):
    import matplotlib.image

    try:
        old, new = (matplotlib.image.imread(path) for path in (before, now))
    except Exception as error:  # Pillow raises many kinds
        raise ReportError(f"{before.name}: expected two pictures, got: {error}; {REMEDY}") from error
    if old.shape != new.shape:
        return f"{old.shape[1]} x {old.shape[0]} pixels are now {new.shape[1]} x {new.shape[0]}"
    return f"{np.mean(np.any(old != new, axis=-1)):.1%} of the pixels"


def number_changes(old: dict, new: dict, *, same: bool) -> Iterator[tuple[str, str, bool]]:
    """Yield rows as `compare` does for numbers of metrics.json. same: whether both come from one kind of machine."""
    old, new = (dict(leaves(numbers)) for numbers in (old, new))
    allowed = tolerances()
    for name, one, other in differing(old, new):
        change, gap = f"{one} -> {other}", _gap(one, other)
        if same or gap is None or name.rpartition(".")[2] in FIXED:
            yield name, change, same or gap is not None or type(one) is not type(other)
        elif name in allowed:
            within = gap <= allowed[name]  # False for what is not a number
            word = "within" if within else "beyond"
            yield name, f"{change}: {word} {allowed[name]:.2g}, where another seed may lead", not within
        else:
            near = gap <= FACTOR * max(min(abs(one), abs(other)), LEAST)
            yield name, f"{change}; its spread is not known", not near and isinstance(one, float)


def _gap(one, other):
    """Return the distance of two numbers; None for anything else."""
    return abs(one - other) if all(isinstance(value, (int, float)) for value in (one, other)) else None


def beside_the_study() -> list[tuple]:
    """Return the scores of the runs in metrics.json that the study has too: [(run, score, value, mean, deviation)].

    `outside` tells which of them lie further from the mean than the study's spread allows.
    """
    return [(run, name, value, spread["mean"], spread["deviation"]) for _, run, name, value, spread in _studied()]


def _studied():
    """Yield (section, run, score, value, spread) of each score in metrics.json whose spread the study knows."""
    studied = study.read().get("test", {})
    for section, numbers in results.metrics().items():
        of = numbers.get("scores")
        for run, scores in of.items() if isinstance(of, dict) else ():
            for name, value in scores.items() if isinstance(scores, dict) else ():
                spread = studied.get(run, {}).get(name)
                if spread and spread.get("deviation") is not None and isinstance(value, (int, float)):
                    yield section, run, name, value, spread


def outside(comparison: list[tuple], *, deviations: float = 3) -> list[tuple]:
    """Return the rows whose value is more than `deviations` standard deviations from the study's mean."""
    return [row for row in comparison if abs(row[2] - row[3]) > deviations * row[4]]


def tolerances() -> dict[str, float]:
    """Return {number of metrics.json: by how much two trainings with different seeds may differ, at CONFIDENCE}.

    Three seeds may agree by accident. The largest relative spread of a measure therefore counts for both classifiers
    and for the GAN's last weights too; where all seeds agree, as at 100 %, LEAST of the mean counts. A whole number
    may move by 1, and a share of few images by one of STEPS.
    """
    from scipy.stats import t

    found, largest = {}, {}
    studied = [row for row in _studied() if len(row[-1].get("values", ())) > 1]
    for _, run, score, _, spread in studied:
        relative = spread["deviation"] / abs(spread["mean"]) if spread["mean"] else 0
        largest[run, _kind(score)] = max(relative, largest.get((run, _kind(score)), 0))
    for section, run, score, value, spread in studied:
        quantile = t.ppf((1 + CONFIDENCE) / 2, len(spread["values"]) - 1)
        share = quantile * 2**0.5 * largest[run, _kind(score)] or LEAST
        least = 1.0 if isinstance(value, int) else STEPS.get(_kind(score), 0.0)
        found[f"{section}.scores.{run}.{score}"] = max(float(share * abs(spread["mean"])), least)
    return found


def _kind(score):
    """Return what a score measures, whichever classifier and whichever weights of the GAN it was taken with."""
    return score.removesuffix("_2").removeprefix("latest_")
