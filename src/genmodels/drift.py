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

from genmodels import cache, document, notebooks, report

CONFIDENCE = 0.99  # of the interval that a second training with another seed falls into
REMEDY = "`git checkout data/report` brings it back, or `make report` makes it again"
# Whole numbers that no training decides.
FIXED = ("count", "epochs", "moved_images", "seed", "test_images")
# On another machine a fraction of unknown spread may move by FACTOR times its smaller value, taken as LEAST or more.
FACTOR, LEAST = 10, 0.01


def compare(revision="HEAD"):
    """Rows (name, what changed, whether it is more than is to be expected) against a committed revision.

    Raises ReportError where there is no such revision with figures in it.
    """
    with TemporaryDirectory() as folder:
        before, now = _committed(revision, Path(folder)) / "data" / "report", report.output()
        old, new = (cache.read_json(place / "provenance.json", {}, notebooks.PROVENANCE) for place in (before, now))
        numbers = [cache.read_json(place / "metrics.json", {}, report.METRICS) for place in (before, now)]
        for notebook in report.NOTEBOOKS:
            made = new.get(notebook, {}).get("results", {})
            same = _machine(old.get(notebook)) == _machine(new.get(notebook))
            for name in report.figures_of(notebook):
                change, weight = figure_change(before / name, now / name)
                trained = made.get(name, {}).get("runs")
                yield name, change, weight == "form" or (weight == "data" and (same or not trained))
            section = report.section_of(notebook)
            yield from number_changes(*({section: each.get(section, {})} for each in numbers), same=same)


def _committed(revision, folder):
    command = ["git", "-C", str(report.root()), "archive", "--format=tar", revision, "data/report"]
    if revision.startswith("-"):  # git would take it for an option
        raise report.ReportError(f"expected a revision with data/report/, got {revision!r}")
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise report.ReportError(f"expected a revision with data/report/, got {revision!r}: {said}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # Python before 3.10.12 and 3.11.4 has no filters; git's own archive needs none.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder


def _machine(section):
    """What decides the last digits: processor and versions, not cores."""
    return {name: value for name, value in (section or {}).get("machine", {}).items() if name != "cores"}


def figure_change(before, now):
    """What changed between two PNG files with their .npz beside them, and how much that weighs.

    Returns ("", "") for nothing, otherwise a text and "rendering", "data", or "form": missing, or of another shape.
    """
    if missing := [path for path in (before, now) if not path.is_file() or not path.with_suffix(".npz").is_file()]:
        return f"missing: {missing[0].name} or its data", "form"
    old, new = (_arrays(path.with_suffix(".npz")) for path in (before, now))
    if formed := notebooks.differing(_forms(old), _forms(new)):
        return f"the result changed: {formed[0][0]} has another form", "form"
    for name in sorted(old):
        if old[name].tobytes() != new[name].tobytes():
            return f"the result changed: {name}{_by(old[name], new[name])}", "data"
    if before.read_bytes() == now.read_bytes():
        return "", ""
    return f"only rendering changed: {_pixels(before, now)}, the data are the same", "rendering"


def _arrays(path):
    try:
        return cache.unpacked(path.read_bytes())
    except ValueError as error:
        raise report.ReportError(f"{path}: {error}; {REMEDY}") from error


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
        raise report.ReportError(f"{before.name}: expected two pictures, got: {error}; {REMEDY}") from error
    if old.shape != new.shape:
        return f"{old.shape[1]} x {old.shape[0]} pixels are now {new.shape[1]} x {new.shape[0]}"
    return f"{np.mean(np.any(old != new, axis=-1)):.1%} of the pixels"


def number_changes(old, new, *, same):
    """Rows as `compare` gives them for numbers of metrics.json. same: whether both come from one kind of machine."""
    old, new = (dict(document.leaves(numbers)) for numbers in (old, new))
    allowed = tolerances()
    for name, one, other in notebooks.differing(old, new):
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
    """The distance of two numbers; None for anything else."""
    return abs(one - other) if all(isinstance(value, (int, float)) for value in (one, other)) else None


def beside_the_study():
    """Scores of the runs in metrics.json that the study has too: [(run, score, value, mean, deviation)].

    `outside` tells which of them lie further from the mean than the study's spread allows.
    """
    return [(run, name, value, spread["mean"], spread["deviation"]) for _, run, name, value, spread in _studied()]


def _studied():
    """(section, run, score, value, spread) of the scores in metrics.json whose spread over seeds the study knows."""
    studied = report.study().get("test", {})
    for section, numbers in report.metrics().items():
        for run, scores in numbers.get("scores", {}).items():
            for name, value in scores.items():
                spread = studied.get(run, {}).get(name)
                if spread and spread.get("deviation") is not None:
                    yield section, run, name, value, spread


def outside(comparison, *, deviations=3):
    """The rows of a comparison whose value is more than `deviations` standard deviations from the study's mean."""
    return [row for row in comparison if abs(row[2] - row[3]) > deviations * row[4]]


def tolerances():
    """{number of metrics.json: by how much two trainings with different seeds may differ, at CONFIDENCE}.

    Three seeds may agree by accident. Of a score that both judges give, or that was taken of the GAN's last weights as
    well, the largest relative spread therefore counts for all; where all seeds agree, as at 100 %, LEAST of the mean. A
    whole number may move by 1.
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
        least = 1.0 if isinstance(value, int) else 0.0
        found[f"{section}.scores.{run}.{score}"] = max(float(share * abs(spread["mean"])), least)
    return found


def _kind(score):
    """What a score measures, whoever judges it and with whichever weights it was drawn."""
    return score.removesuffix("_2").removeprefix("latest_")
