"""The study behind the report: every run over several seeds, and its ablations; scores and their spread.

`make study` writes data/report/study.json, which the report quotes. The runs of the report are scored on the test set,
the ablations and what they are compared with on the validation set.
"""

import statistics
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from genmodels import config, datasets
from genmodels.experiments import ABLATIONS, RUNS, Run, find
from genmodels.pipeline import files, fingerprint, parallel, records, store
from genmodels.pipeline.records import Record

SEEDS = (1, 2, 3)
REFERENCES = ("reference", "reference_2")  # the classifiers that score what the models generate
NAME = "study"  # in provenance.json
_NUMBER = {"type": ["number", "null"]}
_PARTS = {"mean": _NUMBER, "deviation": _NUMBER, "values": {"type": "array"}}
_SPREAD = {"type": "object", "required": ["mean"], "properties": _PARTS}
_RUNS = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _SPREAD}}
SCHEMA = {"type": "object", "properties": {"test": _RUNS}}


def path() -> Path:
    """Return where the study's scores are: data/report/study.json, which the quick mode reads but never writes."""
    return records.committed() / "study.json"


def read() -> dict:
    """Return what study.json holds.

    Raises:
        FileError: it holds something else.
    """
    return files.read_json(path(), {}, SCHEMA)


def seeded(run: Run) -> list[Run]:
    """Return the run with each of SEEDS; its own seed is the first of them."""
    return [replace(run, seed=run.seed + seed - 1) for seed in SEEDS]


_LEADS = ("evaluation", "pipeline.study:compute", "pipeline.study:real_baseline")
# These count by the keys of the runs.
_PIPELINE = ("store", "parallel", "records", "files", "fingerprint", "results")
_NOT_FOLLOWED = ["experiments", *(f"pipeline.{name}" for name in _PIPELINE)]


def _code():
    return fingerprint.code(*_LEADS, but=_NOT_FOLLOWED)


def score(run: Run | str, split: str) -> dict:
    """Return the scores of a run on a split, "validation" or "test", from the cache or computed now; floats by name."""
    run = find(run)
    key = files.digest([_code(), split, [store.key(each) for each in (run, *map(find, REFERENCES))]])
    saved = config.cache_folder() / "scores" / f"{run.name}-{key[:16]}.json"
    if (found := files.load_json(saved)) is None:
        found = compute(run, split)
        store.refuse_edited_code(run, _LEADS, _NOT_FOLLOWED, step="scored")
        files.save_json(saved, found)
    return found


def compute(run: Run, split: str) -> dict:
    """Return the scores of a run on a split, with the time that its training took: seconds."""
    from genmodels.evaluation import EVALUATE

    done = store.trained(run)
    classifiers = [store.trained(name).model for name in REFERENCES]
    found = EVALUATE[run.builder](done.model, classifiers, datasets.load_mnist(), split)
    return {**found, "seconds": done.seconds}


def real_baseline(split: str) -> dict:
    """Return the GAN's scores for real images in place of its own, see `evaluation.real_baseline`."""
    from genmodels import evaluation

    splits = datasets.load_mnist()
    classifiers = [store.trained(name).model for name in REFERENCES]
    return evaluation.real_baseline(classifiers, getattr(splits, split), splits.train)


def summary(scores: list[dict | None]) -> dict:
    """Return the scores of one run over its seeds as {name: {mean, deviation, values}}.

    Args:
        scores: one dict a seed; None for a training that diverged, whose values are None, as are then mean and
            deviation.

    Raises:
        TrainingError: every training diverged.
    """
    if not (names := next(filter(None, scores), None)):
        raise store.TrainingError("expected scores of at least one seed, but every training diverged")
    return {name: _spread([found[name] if found else None for found in scores]) for name in names}


def _spread(values):
    if None in values:
        return {"mean": None, "deviation": None, "values": values}
    # `statistics` is exact: equal values give a deviation of 0, which `verify` looks for.
    return {"mean": float(statistics.mean(values)), "deviation": float(statistics.stdev(values)), "values": values}


def make(jobs: int) -> None:
    """Train and score everything that the cache lacks, `jobs` at once; write study.json and its record."""
    config.use_one_thread()  # the real baseline is computed in this process
    origin, made_from = records.origin(), inputs()
    found = train_and_score(jobs)
    files.write_json(path(), found)
    records.note(NAME, Record(made_from, outputs(found), origin), records.committed())


def inputs() -> dict:
    """Return everything that study.json depends on, {what: value}."""
    runs = [*RUNS.values(), *(ablation.run() for ablation in ABLATIONS)]
    keys = {f"run {run.name}": store.key(run)[:16] for run in runs}
    return {**keys, "seeds": list(SEEDS), **_code(), **records.environment()}


def outputs(study: dict) -> dict:
    """Return {part of study.json: checksum}, down to each run."""
    found = {}
    for name, value in study.items():
        inner = {f"{name}.{part}": each for part, each in value.items()} if isinstance(value, dict) else {name: value}
        found |= {part: files.short(each) for part, each in inner.items()}
    return found


def changed_by_hand() -> list[str]:
    """Return the parts of study.json that are not as `make study` wrote them."""
    record = records.provenance(records.committed()).get(NAME, Record({}, {}))
    return [name for name, *_ in files.differing(record.outputs, outputs(read()))]


def why_stale() -> str:
    """Return why study.json is not what `make study` would write now; empty where it is."""
    if not (record := records.provenance(records.committed()).get(NAME)):
        return "not made yet"
    now = record.inputs if config.quick_mode() else inputs()  # the study is of full runs
    return record.why_stale(now, outputs(read()), "`make study`", "the study was made")


def train_and_score(jobs: int) -> dict:
    """Train and score everything that the cache lacks, `jobs` at once; return what study.json holds."""
    plain = {name: seeded(run) for name, run in RUNS.items()}
    changed = {ablation.name: seeded(ablation.run()) for ablation in ABLATIONS}
    compared = {name: plain[name] for name in dict.fromkeys(ablation.of for ablation in ABLATIONS)} | changed
    everything = [run for runs in (plain | changed).values() for run in runs]
    diverged = parallel.train_all(everything, jobs=jobs, tolerant=True)
    for split, of in (("test", plain), ("validation", compared)):
        tasks = [run for runs in of.values() for run in runs if run not in diverged]
        for number, (run, _) in enumerate(parallel.run_all(partial(score, split=split), tasks, jobs=jobs), 1):
            print(f"scored {number}/{len(tasks)}: {run}, {split}", file=sys.stderr, flush=True)

    def summed_up(of, split):
        return {
            name: summary([None if run in diverged else score(run, split) for run in runs]) for name, runs in of.items()
        }

    return {
        "seeds": list(SEEDS),
        "machine": config.machine(),
        "settings": {name: run.settings() for name, run in RUNS.items()},
        "test": summed_up(plain, "test"),
        "real_baseline": {"test": real_baseline("test")},
        "validation": summed_up(compared, "validation"),
        "ablations": {
            ablation.name: {
                "of": ablation.of,
                "what": ablation.what["pl"],
                "diverged": sum(run in diverged for run in changed[ablation.name]),
            }
            for ablation in ABLATIONS
        },
    }
