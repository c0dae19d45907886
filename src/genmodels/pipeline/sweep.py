"""`sweep`: train a run with every combination of some options, over several seeds; score them on the validation set.

Scores go to one JSON file as they come. The next call with the same file computes only those that it lacks.
"""

import inspect
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genmodels import config, datasets
from genmodels.experiments import BUILDERS, RUNS, Run
from genmodels.pipeline import files, fitting, forecast, parallel, study

SPLIT = ["validation"]  # a sweep chooses settings, and nothing is chosen on the test set
SETTINGS = ("epochs", "batch_size", "learning_rate", "decay")  # of a run; every other option is the model's
BASES = {**{name: name for name, run in RUNS.items() if not run.depends_on}, **fitting.STARTS}
MAIN = {"autoencoder": "mse", "gan": "frechet", "classifier": "accuracy"}  # the score that is shown
SHOWN = "negative_elbo"  # of all others
_MACHINE = {"type": "object", "required": ["processor"]}
_PARTS = {"type": "object", "required": ["key", "checksum", "machine", "scores"], "properties": {"machine": _MACHINE}}
_SCHEMA = {"type": "object", "properties": {"parts": {"type": "object", "additionalProperties": _PARTS}}}


@dataclass(frozen=True)
class Sweep:
    """A run, the options that change, and the number of seeds.

    Attributes:
        base: The run, without dependencies.
        options: {option: its values}.
        seeds: Number of seeds of each combination. The run's own is the first.
    """

    base: Run
    options: dict[str, list]
    seeds: int

    def combinations(self) -> list[dict[str, Any]]:
        """Return {option: value} of each combination."""
        return [dict(zip(self.options, values)) for values in itertools.product(*self.options.values())]

    def runs(self, chosen: dict[str, Any]) -> list[Run]:
        """Return the runs of one combination, one for each seed."""
        own = {name: value for name, value in chosen.items() if name in SETTINGS}
        options = {name: value for name, value in chosen.items() if name not in SETTINGS}
        words = [f"{name}={re.sub(r'[^-+.=a-zA-Z0-9]+', '_', str(value))}" for name, value in chosen.items()]
        run = replace(self.base, name="-".join([self.base.name, *words]), **own)
        run = replace(run, options={**self.base.options, **options})
        return [replace(run, seed=run.seed + number) for number in range(self.seeds)]

    def all_runs(self) -> list[Run]:
        """Return the runs of all combinations."""
        return [run for chosen in self.combinations() for run in self.runs(chosen)]


def parse(texts: Iterable[str]) -> dict[str, list]:
    """Return {option: values} of texts such as "latent_dim=2,8,32" or "hidden_units=[64],[512,256]".

    Values are JSON, or else words. A list becomes a tuple.

    Raises:
        ValueError: A text has another form, or names an option or a value twice.
    """
    found: dict[str, list] = {}
    for text in texts:
        name, _, given = text.partition("=")
        name = name.strip().replace("-", "_")
        if not name.isidentifier() or not given.strip() or name in found:
            raise ValueError(f"--set must be OPTION=VALUE,VALUE..., each option once, got {text!r}")
        found[name] = [tuple(value) if isinstance(value, list) else value for value in _values(given)]
        if any(one == other for one, other in itertools.combinations(found[name], 2)):
            raise ValueError(f"--set {name}: expected different values, got {given}")
    return found


def _values(text):
    try:
        return json.loads(f"[{text}]")
    except ValueError:
        return [_value(word.strip()) for word in text.split(",")]


def _value(word):
    try:
        return json.loads(word)
    except ValueError:
        return word


def check(sweep: Sweep, score: str) -> None:
    """Refuse a wrong option or score before any training. The model of each combination is built for that.

    Args:
        sweep: The sweep.
        score: The score that shall be shown.

    Raises:
        ValueError: The model or the training refuses an option or a value, or runs of this kind have no such score.
    """
    if (known := _scores_of(sweep.base)) and score not in known:
        raise _unknown(score, known)
    with config.quiet_start():
        known = _taken(sweep.base)
    import tensorflow as tf

    for name in sweep.options:
        if name not in known:
            raise ValueError(f"--set {name}: expected an option of {sweep.base.name}, one of {', '.join(known)}")
    for chosen in sweep.combinations():
        told = ", ".join(f"{name}={value}" for name, value in chosen.items())
        try:
            _build(sweep.runs(chosen)[0])
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ValueError(f"--set {told}: {error}") from error
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise ValueError(f"--set {told}: expected a model that fits into memory; take smaller values") from error


def _taken(run):
    model = type(_build(run).model)
    return [
        *SETTINGS,
        *(name for name in inspect.signature(model).parameters if name not in ("seed", "kwargs", "name")),
    ]


def _scores_of(base):
    """Return the scores that the committed study has of runs of the same kind; empty without a study."""
    made = study.read().get(SPLIT[0], {}) if config.checkout() else {}
    alike = [of for entry, of in made.items() if entry in RUNS and RUNS[entry].builder == base.builder]
    return sorted({name for of in alike for name in of})


def _unknown(score, known):
    return ValueError(f"--score must be one of {', '.join(known)}, got {score!r}")


def _build(run):
    """Build the model of a run, for a few images of noise."""
    images = np.random.default_rng(0).random((20, *datasets.SHAPE), "float32")
    split = datasets.Split(images, np.arange(20) % datasets.LABELS)
    return BUILDERS[run.builder](run.settings(), datasets.Dataset("noise", split, split, split))


def estimate(sweep: Sweep, at_once: int) -> str:
    """Return the number of runs of a sweep and how long they take, in words.

    Args:
        sweep: The sweep.
        at_once: Number of trainings at the same time.
    """
    runs = sweep.all_runs()
    told, known = f"{len(runs)} runs, {at_once} at once", forecast.training(sweep.base.name)
    if known is None:
        return f"{told}; nobody has measured how long {sweep.base.name} trains"
    share = sum(run.settings()["epochs"] for run in runs) / sweep.base.settings()["epochs"]
    return f"{told}: {forecast.about(known * share / at_once)}, as long as {sweep.base.name} trains for the same epochs"


def make(sweep: Sweep, path: Path, jobs: int | None = None) -> list[dict]:
    """Train and score all runs that a file lacks, and write it.

    Args:
        sweep: The sweep.
        path: The JSON file.
        jobs: See `parallel.run_all`.

    Returns:
        A row for each combination: {"options", "seeds", "scores": see `study.summary`, "processors"}. A combination of
        which every training diverged has no scores.

    Raises:
        TrainingError: A run cannot be trained.
        FileError: The file has another structure.
    """
    with files.lock(f"{Path(path).name}-{files.short(str(Path(path).resolve()))}-sweep"):
        parts = files.read_json(path, {}, _SCHEMA).get("parts", {})
        missing = [run for run in sweep.all_runs() if not _is_fresh(parts.get(str(run)), run)]
        if missing:
            files.put(path, "parts", parts)  # a place where we may not write stops the sweep here, not after a training
            parallel.train_all(study.REFERENCES, jobs=jobs)
        say = study.progress(len(missing))
        for run, scored in parallel.run_all(score, missing, jobs=jobs, uses=study.REFERENCES):
            parts[str(run)] = scored
            files.put(path, "parts", parts)
            say(str(run))
        rows = [_row(chosen, [parts[str(run)] for run in sweep.runs(chosen)]) for chosen in sweep.combinations()]
        about = {"run": sweep.base.name, "set": sweep.options, "seeds": sweep.seeds, "split": SPLIT[0], "rows": rows}
        files.update(path, about)
        return rows


def score(run: Run) -> dict:
    """Train and score one run, see `study.score_run`."""
    return study.score_run(run, SPLIT, str(run), _key(run))


def _key(run):
    return files.short(study.scoring_inputs(run))


def _is_fresh(part, run):
    return part and part["key"] == _key(run) and part["checksum"] == files.short([str(run), part["scores"]])


def _row(chosen, parts):
    scores = [part["scores"] and part["scores"][SPLIT[0]] for part in parts]
    processors = sorted({part["machine"]["processor"] for part in parts})
    return {
        "options": chosen,
        "seeds": len(scores),
        "scores": _summary(scores) if any(scores) else {},
        "processors": processors,
    }


def _summary(scores):
    if len(scores) > 1:
        return study.summary(scores)
    return {name: {"mean": value, "deviation": None, "values": [value]} for name, value in scores[0].items()}


def table(rows: Sequence[dict], score: str) -> list[str]:
    """Return lines of text: options, mean, deviation and values of a score, a line for each combination.

    Raises:
        ValueError: Runs have scores, but no such one. Where every run diverged, there are none.
    """
    known = sorted({name for row in rows for name in row["scores"]})
    if known and score not in known:
        raise _unknown(score, known)
    names = list(rows[0]["options"])
    cells = [[*names, score, "±", "values"]]
    for row in rows:
        of = row["scores"].get(score, {"mean": None, "deviation": None, "values": []})
        deviation = "–" if of["deviation"] is None else _number(of["deviation"])
        values = " ".join(map(_number, of["values"]))
        cells.append([*map(str, row["options"].values()), _number(of["mean"]), deviation, values])
    widths = [max(map(len, column)) for column in zip(*cells)]
    kinds = {processor for row in rows for processor in row["processors"]}
    note = [f"From several kinds of processor: {', '.join(sorted(kinds))}."] if len(kinds) > 1 else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells] + note


def draw(rows: Sequence[dict], score: str, path: Path) -> None:
    """Draw a score against each option into a PNG file, see `figures.plot_sweep`."""
    from genmodels import figures  # imports Matplotlib

    panels: dict[str, dict[str, list[float]]] = {name: {} for name in rows[0]["options"]}
    for row in rows:
        values = [value for value in row["scores"].get(score, {"values": []})["values"] if value is not None]
        for name, value in row["options"].items():
            panels[name].setdefault(str(value), []).extend(values)
    with files.replacing(path) as new:
        figures.plot_sweep(panels, score).savefig(new, format="png", dpi=200)


def _number(value):
    return "diverged" if value is None else f"{value:.4g}"
