"""Whether a fresh run is the committed one: the data that figures show, their pixels, and the numbers.

On the same kind of processor with the same libraries a run repeats bit for bit, so anything else is a change. On
another the trainings part after the first rounding; then a number has to lie as near as a training with another seed
would, by the spread that the study measured.
"""

import io
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genmodels import cache, document, report

CONFIDENCE = 0.99  # of the interval that a second training with another seed falls into


def compare(revision="HEAD"):
    """Rows (name, what changed, whether it is more than is to be expected) against a committed revision.

    Raises ReportError where there is no such revision with figures in it.
    """
    with TemporaryDirectory() as folder:
        before = _committed(revision, Path(folder)) / "data" / "report"
        now = report.output()
        old, new = (cache.read_json(place / "provenance.json", {}) for place in (before, now))
        same = _machines(old) == _machines(new)
        runs = {result: made["runs"] for of in new.values() for result, made in of.get("results", {}).items()}
        for name in report.all_figures():
            change, serious = figure_change(before / name, now / name)
            yield name, change, serious and (same or not runs.get(name))
        yield from number_changes(*(cache.read_json(place / "metrics.json", {}) for place in (before, now)), same=same)


def _committed(revision, folder):
    command = ["git", "-C", str(report.root()), "archive", "--format=tar", revision, "data/report"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise report.ReportError(f"expected a revision with data/report/, got {revision!r}: {said}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _machines(provenance):
    """What decides the last digits: processors and versions, not cores."""
    of = [section["machine"] for name, section in provenance.items() if name != "study"]
    return {tuple(value for name, value in sorted(machine.items()) if name != "cores") for machine in of}


def figure_change(before, now):
    """What changed between two PNG files with their .npz beside them, and whether the data did: (text, bool)."""
    if missing := [str(path) for path in (before, now) if not path.is_file() or not path.with_suffix(".npz").is_file()]:
        return f"missing: {Path(missing[0]).name} or its data", True
    old, new = (_arrays(path.with_suffix(".npz")) for path in (before, now))
    for name in sorted({*old, *new}):
        if (
            name not in old
            or name not in new
            or old[name].shape != new[name].shape
            or old[name].dtype != new[name].dtype
        ):
            return f"the result changed: {name} has another form", True
        if not np.array_equal(old[name], new[name]):
            return f"the result changed: {name}{_by(old[name], new[name])}", True
    if before.read_bytes() == now.read_bytes():
        return "", False
    return f"only rendering changed: {_pixels(before, now)}, the data are the same", False


def _arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _by(old, new):
    if old.dtype.kind not in "fiu":
        return ""
    gaps = np.abs(old.astype("float64") - new)
    return f", {np.mean(gaps > 0):.1%} of its values, by up to {gaps.max():.3g}"


def _pixels(before, now):
    import matplotlib.image

    old, new = (matplotlib.image.imread(path) for path in (before, now))
    if old.shape != new.shape:
        return f"{old.shape[1]} x {old.shape[0]} pixels are now {new.shape[1]} x {new.shape[0]}"
    return f"{np.mean(np.any(old != new, axis=-1)):.1%} of the pixels"


def number_changes(old, new, *, same):
    """Rows as `compare` gives them for numbers of metrics.json. same: whether both come from one kind of machine."""
    old, new = (dict(document.leaves(numbers)) for numbers in (old, new))
    allowed = tolerances()
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        change = f"{one} -> {other}"
        if same or not all(isinstance(value, (int, float)) for value in (one, other)):
            yield name, change, same or None in (one, other)
        elif name not in allowed:
            yield name, f"{change}; its spread is not known", False
        else:
            within = abs(one - other) <= allowed[name]
            word = "within" if within else "beyond"
            yield name, f"{change}: {word} {allowed[name]:.2g}, where another seed may lead", not within


def beside_the_study():
    """Scores of the runs in metrics.json that the study has too: [(run, score, value, mean, deviation)].

    `outside` tells which of them lie further from the mean than the study's spread allows.
    """
    studied = cache.read_json(document.study_path(), {}).get("test", {})
    numbers = cache.read_json(report.output() / "metrics.json", {})
    found = {run: scores for section in numbers.values() for run, scores in section.get("scores", {}).items()}
    return [
        (run, name, value, studied[run][name]["mean"], studied[run][name]["deviation"])
        for run, scores in found.items()
        for name, value in scores.items()
        if name in studied.get(run, {})
    ]


def outside(comparison, *, deviations=3):
    """The rows of a comparison whose value is more than `deviations` standard deviations from the study's mean."""
    return [row for row in comparison if abs(row[2] - row[3]) > deviations * row[4]]


def tolerances():
    """{number of metrics.json: by how much two trainings with different seeds may differ, at CONFIDENCE}."""
    from scipy.stats import t

    found = {}
    numbers, studied = cache.read_json(report.output() / "metrics.json", {}), cache.read_json(document.study_path(), {})
    for section, of in numbers.items():
        for run, scores in of.get("scores", {}).items():
            for score in scores:
                spread = studied.get("test", {}).get(run, {}).get(score)
                if spread and spread["deviation"] is not None:
                    quantile = t.ppf((1 + CONFIDENCE) / 2, len(spread["values"]) - 1)
                    found[f"{section}.scores.{run}.{score}"] = float(quantile * 2**0.5 * spread["deviation"])
    return found
