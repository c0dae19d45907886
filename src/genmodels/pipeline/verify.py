"""Compare a PDF with the checkout, and new results with committed ones.

On the same kind of processor with the same libraries a run repeats bit for bit. A difference without a changed input is
then a fault. On another kind of processor trainings diverge by rounding. A score must then lie as near to the committed
one as the spread over the study's seeds predicts.
"""

import difflib
import io
import json
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genmodels.pipeline import document, files, notebooks, records, results, study
from genmodels.pipeline.document import BENCHMARK
from genmodels.pipeline.files import differing
from genmodels.pipeline.records import Record, ReportError

# The chance that an unchanged build on another processor raises an alarm.
ALPHA = 0.05
REMEDY = "`git checkout data/report` brings it back, or `make report` makes it again"
# Whole numbers that no training decides.
FIXED = ("count", "epochs", "moved_images", "seed", "test_images")
# If all seeds agree, a score may still move by this share of itself, and a score of few images by one image.
LEAST = 0.01
STEPS = {"endpoint_accuracy": 0.25}  # a share of four images


def differences(pdf: Path) -> Iterator[str]:
    """Find differences between a PDF and this checkout: figures, numbers, claims, text.

    Stale notebooks and results changed by hand count too. An HTML file of the same name beside the PDF is compared.

    Args:
        pdf: The PDF.

    Yields:
        One text for each finding.

    Raises:
        ReportError: The PDF is not readable.
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
    """Return the contents of a PDF: attachments and figures as {name: bytes}, metadata, alternative texts, lines."""
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
    except Exception as error:  # a damaged PDF raises many kinds
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
    """Yield one text for each value that differs between two versions of an attached JSON file."""
    try:
        one, other = (dict(leaves(json.loads(content))) for content in (one, other))
    except ValueError:
        yield f"attachment {name}: expected JSON as in the tree, got something else"
        return
    for key, value, own in differing(one, other, missing="nothing"):
        yield f"{name}, {key}: {value} in the PDF, {own} in the tree"


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values inside a JSON value that are neither dict nor list.

    Args:
        value: A JSON value.
        prefix: Beginning of all keys.

    Yields:
        (key, value), with dots between the parts of a key.
    """
    if not isinstance(value, (dict, list)):
        yield prefix, value
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(inner, f"{prefix}.{name}" if prefix else str(name))


@dataclass
class Change:
    """Changes in the results of one notebook, or of one entry of the study.

    Attributes:
        maker: Name of the notebook or entry.
        inputs: Changed inputs in words.
        figures: {name: change in words}.
        numbers: {name: change in words}.
        unexplained: Names of figures and numbers that changed without a changed input.
    """

    maker: str
    inputs: list[str]
    figures: dict[str, str]
    numbers: dict[str, str]
    unexplained: list[str]


def compare(revision: str = "HEAD") -> Iterator[Change]:
    """Compare the present results with a committed revision.

    Args:
        revision: A revision of git that holds data/report/.

    Yields:
        One Change for each notebook and each entry of the study.

    Raises:
        ReportError: git knows no such revision, or the revision lacks data/report/.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, now = _committed(revision, Path(folder)) / "data" / "report", records.output()
        old, new = records.provenance(before), records.provenance(now)
        numbers = [files.read_json(place / "metrics.json", {}, results.METRICS) for place in (before, now)]
        for maker in sorted({*old, *new} - {BENCHMARK}):
            yield _change(maker, [each.get(maker, Record({}, {})) for each in (old, new)], [before, now], numbers)
        studies = [files.read_json(place / "study.json", {}, study.SCHEMA) for place in (before, now)]
        known = [records.parse(each.get("records", {}), place) for each, place in zip(studies, (before, now))]
        for entry in sorted({*known[0], *known[1]}):
            yield _study_change(entry, [each.get(entry, Record({}, {})) for each in known], studies)


def _change(maker, pair, places, numbers):
    """Compare the results of one notebook, given two records, two folders and two contents of metrics.json."""
    why, machines = input_changes(*pair), [_machine(record) for record in pair]
    same = machines[0] == machines[1] or not pair[0].inputs
    found = Change(maker, why + ([] if same else [_another(*machines)]), {}, {}, [])
    made = {**pair[0].results, **pair[1].results}
    for name in sorted(made):
        if name.endswith(".png"):
            text, weight = figure_change(*(place / name for place in places))
            if text:
                found.figures[name] = text
            trained_elsewhere = not same and made[name]["runs"]
            if not why and (weight == "form" or (weight == "data" and not trained_elsewhere)):
                found.unexplained.append(name)
        else:
            for number, text, far in number_changes(*({name: each.get(name, {})} for each in numbers), same=same):
                found.numbers[number] = text
                found.unexplained += [number] * (far and not why)
    return found


def _study_change(entry, pair, studies):
    """Compare one entry of the study, given two records and two contents of study.json."""
    means = [
        {
            f"study.{split}.{entry}.{name}": spread["mean"]
            for split in ("test", "validation")
            for name, spread in each.get(split, {}).get(entry, {}).items()
        }
        for each in studies
    ]
    numbers = {name: _from_to(one, other) for name, one, other in differing(*means)}
    why = input_changes(*pair)
    elsewhere = pair[0].origin != pair[1].origin
    return Change(f"study, {entry}", why, {}, numbers, [] if why or elsewhere else list(numbers))


def input_changes(old: Record, new: Record) -> list[str]:
    """Return the changed inputs of a record in words, with the settings and code of its runs.

    Args:
        old: Record of the committed results; empty if there are none.
        new: Record of the present results.

    Returns:
        One text for each group of runs that share a change; "new" without committed results.
    """
    if not old.inputs:
        return ["new"]
    found, together = {}, {}
    known = [label for label in old.runs if all("inputs" in each.runs.get(label, {}) for each in (old, new))]
    for name, one, other in differing(_flat(old, known), _flat(new, known)):
        run, _, what = name.rpartition(": ")
        valued = what.startswith("setting ") or what in records.LIBRARIES
        shown = f"{what.removeprefix('setting ')} {_from_to(one, other)}" if valued else what
        found.setdefault((not valued, shown), []).append(run)  # values before files
    for (_, shown), runs in sorted(found.items()):
        together.setdefault(", ".join(filter(None, runs)), []).append(shown)
    return [f"{runs}: {', '.join(whats)}" if runs else ", ".join(whats) for runs, whats in together.items()]


def _flat(record, labels):
    """Return the inputs of a record, with the inputs of some of its runs instead of the runs' keys."""
    flat = dict(record.inputs)
    for label in labels:
        flat.pop(f"run {label}", None)
        own = record.runs[label]["inputs"]
        flat |= {f"{label}: {name}": value for name, value in own.items() if record.inputs.get(name) != value}
    return flat


def _another(old, new):
    changed = [f"{name} {one} → {other}" for name, one, other in differing(old, new)]
    return f"another machine: {', '.join(changed)}"


def _from_to(one, other):
    """Return a change such as "0.0329 → 0.0331", with as many digits as the difference needs."""
    numbers = [value for value in (one, other) if isinstance(value, float)]
    if len(numbers) == 2 and one != other and all(map(math.isfinite, numbers)):
        decimals = max(0, 1 - math.floor(math.log10(abs(one - other))))
        return " → ".join(f"{value:.{decimals}f}" if decimals < 12 else repr(value) for value in numbers)
    return f"{one} → {other}"


def _committed(revision, folder):
    command = ["git", "-C", str(records.root()), "archive", "--format=tar", revision, "data/report"]
    if revision.startswith("-"):  # git would take it for an option
        raise ReportError(f"expected a revision with data/report/, got {revision!r}")
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise ReportError(f"expected a revision with data/report/, got {revision!r}: {said}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # Python before 3.10.12 and 3.11.4 has no filters. An archive from git is safe without one.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder


def _machine(record):
    """Return the parts of a record's machine that decide the last digits: processor and versions, not cores."""
    machine = record.origin.get("machine", {}) if record else {}
    return {name: value for name, value in machine.items() if name != "cores"}


def figure_change(before: Path, now: Path) -> tuple[str, str]:
    """Compare two figures and their data.

    Args:
        before: PNG file, with its .npz file beside it.
        now: The same.

    Returns:
        The change in words, and its kind: "rendering", "data", or "form" for new and missing files and other shapes.
        Both are empty for equal figures.

    Raises:
        ReportError: A file is damaged.
    """
    there = [path.is_file() and path.with_suffix(".npz").is_file() for path in (before, now)]
    if not all(there):
        return ("new" if there[1] else f"missing: {now.name} or its data"), "form"
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
    except Exception as error:  # a damaged picture raises many kinds
        raise ReportError(f"{before.name}: expected two pictures, got: {error}; {REMEDY}") from error
    if old.shape != new.shape:
        return f"{old.shape[1]} x {old.shape[0]} pixels are now {new.shape[1]} x {new.shape[0]}"
    return f"{np.mean(np.any(old != new, axis=-1)):.1%} of the pixels"


def number_changes(old: dict, new: dict, *, same: bool) -> Iterator[tuple[str, str, bool]]:
    """Compare two contents of metrics.json.

    Args:
        old: Committed contents.
        new: Present contents.
        same: Both come from one kind of machine, so that no number may change.

    Yields:
        (name, change in words, whether the change is larger than allowed).
    """
    old, new = (dict(leaves(numbers)) for numbers in (old, new))
    allowed = margins()
    for name, one, other in differing(old, new):
        change, gap = _from_to(one, other), _gap(one, other)
        if same or gap is None or name.rpartition(".")[2] in FIXED:
            yield name, change, same or gap is not None or type(one) is not type(other)
        elif name in allowed:
            within = gap <= allowed[name]  # False for NaN
            yield name, f"{change}, {'within' if within else 'beyond'} {allowed[name]:.2g} of it", not within
        else:
            yield name, f"{change}, of unknown spread", not math.isfinite(gap)


def _gap(one, other):
    """Return the distance between two numbers; None for anything else."""
    return abs(one - other) if all(isinstance(value, (int, float)) for value in (one, other)) else None


def beside_the_study() -> list[tuple[str, str, float, float, float]]:
    """Compare each score in metrics.json with the fresh entries of the study.

    Returns:
        [(run, score, value, mean, margin)]. A further training lies within mean ± margin with a chance of 1 - ALPHA.
    """
    stale = study.stale()
    rows = [row for row in _studied() if row[1] not in stale]
    return [(run, name, value, of["mean"], _margin(of, name, value, ALPHA)) for _, run, name, value, of in rows]


def outside(*, alpha: float = ALPHA) -> list[tuple[str, str, float, float, float]]:
    """Return the scores that lie too far from the study, with a margin for all scores together.

    Args:
        alpha: Chance that an unchanged build has any such score.

    Returns:
        Rows as in `beside_the_study`.
    """
    stale = study.stale()
    rows = [row for row in _studied() if row[1] not in stale]
    margin = partial(_margin, alpha=alpha / max(len(rows), 1))
    each = [(run, name, value, of["mean"], margin(of, name, value)) for _, run, name, value, of in rows]
    return [row for row in each if not abs(row[2] - row[3]) <= row[4]]


def _studied():
    """Yield (section, run, score, value, spread) of each score in metrics.json with a spread in the study."""
    studied = study.read().get("test", {})
    for section, numbers in notebooks.numbers().items():
        of = numbers.get("scores")
        for run, scores in of.items() if isinstance(of, dict) else ():
            for name, value in scores.items() if isinstance(scores, dict) else ():
                spread = studied.get(run, {}).get(name)
                if spread and len(spread.get("values", ())) > 1 and spread.get("deviation") is not None:
                    if isinstance(value, (int, float)):
                        yield section, run, name, value, spread


def margins() -> dict[str, float]:
    """Return the margins of scores between two trainings on different machines.

    With a chance of 1 - ALPHA all scores lie within their margins, for any correlation between scores.

    Returns:
        {number of metrics.json: largest allowed difference}.
    """
    rows = list(_studied())
    return {
        f"{section}.scores.{run}.{score}": _margin(spread, score, value, ALPHA / len(rows), others=1)
        for section, run, score, value, spread in rows
    }


def _margin(spread, score, value, alpha, others=None):
    """Return half the width of the interval that holds a further training with a chance of 1 - alpha."""
    # Student's t, because the spread comes from few seeds. The interval's centre is the mean of `others` trainings, by
    # default of all seeds.
    from scipy.stats import t

    seeds = len(spread["values"])
    half = t.ppf(1 - alpha / 2, seeds - 1) * spread["deviation"] * (1 + 1 / (others or seeds)) ** 0.5
    kind = score.removesuffix("_2").removeprefix("latest_")
    least = 1.0 if isinstance(value, int) else STEPS.get(kind, 0.0)
    return max(float(half), LEAST * abs(spread["mean"]), least)
