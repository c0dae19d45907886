"""The study behind the report: every run over several seeds, and its ablations; scores and their spread.

`make study` writes study.json, which the report quotes, one entry after another. An entry is a run, an ablation, or the
real images that the GAN is compared with. Each entry has a record of its own, so that an edit makes only those entries
stale that depend on it. The runs of the report are scored on the test set. Ablations, and the runs that they are
compared with, are scored on the validation set.

The scores of finished trainings wait in unfinished_study.json until their entry is complete. Commit this file to
continue the study on another day or machine.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from genmodels import config, datasets
from genmodels.experiments import ABLATIONS, RUNS, Run
from genmodels.pipeline import files, fingerprint, notebooks, parallel, processes, records, store, terminal
from genmodels.pipeline.records import Record

SEEDS = (1, 2, 3)
REFERENCES = ("reference", "reference_2")  # the classifiers that score what the models generate
REAL = "real_baseline"  # the entry of the real images
COMPARED = (("vae_mc", "vae_kl"), ("vae_before", "vae_kl"))  # runs that the report compares on the test set
LATEST = "latest_"  # before the name of a score: the same score, of the last weights instead of their average
_NUMBER = {"type": ["number", "null"]}
_PARTS = {"mean": _NUMBER, "deviation": _NUMBER, "values": {"type": "array"}}
_SPREAD = {"type": "object", "required": ["mean"], "properties": _PARTS}
_RUNS = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _SPREAD}}
SCHEMA = {"type": "object", "properties": {"test": _RUNS, "validation": _RUNS, "records": records.SCHEMA}}
_PART = {"type": "object", "required": ["key", "checksum", "origin", "scores"]}
_FINISHED = {"type": "object", "additionalProperties": _PART}


def path() -> Path:
    """Return the path of study.json: in data/report/, but in draft/ if the quick mode has made its own."""
    own = records.output() / "study.json"
    return own if own.is_file() else records.committed() / "study.json"


def _unfinished():
    return records.output() / "unfinished_study.json"


def read() -> dict:
    """Return the contents of study.json; empty without the file.

    Raises:
        FileError: The file has another structure.
    """
    found = files.read_json(records.committed() / "study.json", {}, SCHEMA)
    if config.quick_mode():  # what a quick study has not made yet stands as committed
        own = files.read_json(records.output() / "study.json", {}, SCHEMA)
        found = _without(found, own.get("records", ()))
        for section, of in own.items():
            found[section] = {**found.get(section, {}), **of} if isinstance(of, dict) else of
    return found


def _without(study, gone):
    """Return the contents of study.json without some entries."""
    parts = {
        section: {entry: of for entry, of in study.get(section, {}).items() if entry not in gone}
        for section in ("test", "validation", "ablations", "records")
    }
    return {**study, **parts}


def entries() -> dict[str, Run | None]:
    """Return {entry: its run with the first seed}; None for the real images, which have no run."""
    return {**RUNS, **{ablation.name: ablation.run() for ablation in ABLATIONS}, REAL: None}


def splits(entry: str) -> list[str]:
    """Return the splits that an entry is scored on: "test", "validation", or both."""
    compared = {name for ablation in ABLATIONS for name in (ablation.name, ablation.of)}
    return ["test"] * (entry in RUNS or entry == REAL) + ["validation"] * (entry in compared)


def seeded(run: Run) -> list[Run]:
    """Return the run once for each of SEEDS. The run's own seed is the first."""
    return [replace(run, seed=run.seed + seed - 1) for seed in SEEDS]


# Modules left out, because the keys of the runs contain their effect, or because they only move results.
_OTHERS = ("pipeline", "experiments")
_NOT_FOLLOWED = [name for name in fingerprint.modules(fingerprint.PACKAGE) if name.startswith(_OTHERS)]
_NOT_FOLLOWED.remove("pipeline.study")


# Builders that train a model of another builder's kind in another way.
_SCORED_AS = {"tuned_prior": "conditional_vae", "gan_train": "classifier"}


def _scorer(run):
    return f"score_{_SCORED_AS.get(run.builder, run.builder)}"


def _leads(run):
    own = f"evaluation:{_scorer(run)}" if run else f"evaluation:{REAL}"
    return own, *(["pipeline.study:compute", "pipeline.study:summary"] if run else ["pipeline.study:_compute_real"])


def inputs(entry: str) -> dict:
    """Return everything that the scores of an entry depend on.

    Args:
        entry: Name of the entry.

    Returns:
        {input: value or checksum}.

    Raises:
        ValueError: No function of `evaluation` scores this kind of model.
    """
    run = entries()[entry]
    return {**scoring_inputs(run), **({"seeds": list(SEEDS), "splits": splits(entry)} if run else {})}


def scoring_inputs(run: Run | None) -> dict:
    """Return everything that the scores of a run depend on, whatever the split.

    Args:
        run: The run; None for the real images.

    Raises:
        ValueError: No function of `evaluation` scores this kind of model.
    """
    code = fingerprint.code(*_leads(run), but=_NOT_FOLLOWED)
    return {
        **(store.inputs(run) if run else records.environment()),
        **{f"scoring with {file}": checksum for file, checksum in code.items()},
        **{f"run {name}": files.short(store.inputs(name)) for name in REFERENCES},
    }


def outputs(entry: str, study: dict) -> dict:
    """Return the checksums of an entry's scores.

    Args:
        entry: Name of the entry.
        study: Contents of study.json.

    Returns:
        {part of study.json: checksum}.
    """
    found = {f"{part}.{entry}": study.get(part, {}).get(entry) for part in ("test", "validation", "ablations")}
    found["real_baseline"] = study.get(REAL) if entry == REAL else None
    return {part: files.short(scores) for part, scores in found.items() if scores is not None}


def noted() -> dict[str, Record]:
    """Return {entry: Record} of study.json.

    Raises:
        FileError: A record was changed by hand.
    """
    return records.parse(read().get("records", {}), path())


def stale() -> dict[str, str]:
    """Return {entry: reason in words} of the entries that `make study` would make."""
    study, known = read(), noted()

    def why(entry):
        now = inputs(entry)  # first, because it refuses a kind of model that nothing scores
        if not (record := known.get(entry)):
            return "not made yet"
        return record.why_stale(now, outputs(entry, study), "`make study`", records.since(record))

    return {entry: found for entry in entries() if (found := why(entry))}


def quotable(language: str) -> dict:
    """Return the part of the study that the report may quote: scores, and the present settings of all runs.

    Args:
        language: Language of the texts on ablations, a key of `Ablation.what`.

    Returns:
        Contents of study.json without records, with `settings`, `machine`, `differences`, and the texts in `ablations`.
    """
    found, machines = read(), [record.origin["machine"] for record in noted().values()]
    known = found.get("ablations", {})
    about = {each.name: {**known.get(each.name, {}), "what": each.what[language]} for each in ABLATIONS}
    settings = {name: run.settings() for name, run in RUNS.items()}
    processors = "; ".join(dict.fromkeys(machine["processor"] for machine in machines))
    machine = {**machines[-1], "processor": processors} if machines else {}
    scores = {name: found.get(name, {}) for name in ("test", "validation", REAL)}
    gaps = _differences(found)
    about_runs = {"seeds": list(SEEDS), "ablations": about, "settings": settings, "machine": machine}
    return {**scores, **about_runs, "differences": gaps}


def difference(first: list[float | None], second: list[float | None]) -> dict[str, float] | None:
    """Return the mean difference of two runs' scores, paired by seed, and half the width of its 95 % interval.

    Args:
        first: Score of the first run for each seed; None for a diverged training.
        second: Score of the second run, with the same seeds.

    Returns:
        {"mean": first minus second, "error": half the width}, by Student's t. None without two complete pairs.
    """
    if len(first) != len(second) or len(first) < 2 or None in [*first, *second]:
        return None
    from scipy.stats import t

    gaps = [left - right for left, right in zip(first, second)]
    half = float(t.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return {"mean": float(statistics.mean(gaps)), "error": half}


def _compared():
    """Return (run, the run that it is compared with, split) of the runs of COMPARED and of all ablations."""
    pairs = [(*pair, "test") for pair in COMPARED if {*pair} <= RUNS.keys()]
    return [*pairs, *((ablation.name, ablation.of, "validation") for ablation in ABLATIONS)]


def _differences(study):
    """Return {first run of a pair: {score: difference}}, and as "gan_latest" that of the GAN's last weights."""

    def values(split, run):
        return {name: of.get("values", []) for name, of in study.get(split, {}).get(run, {}).items()}

    found = {}
    for first, second, split in _compared():
        pair = values(split, first), values(split, second)
        found[first] = {name: difference(pair[0][name], pair[1][name]) for name in pair[0] if name in pair[1]}
    gan = values("validation", "gan")
    latest = [name for name in gan if name.startswith(LATEST)]
    found["gan_latest"] = {name[len(LATEST) :]: difference(gan[name], gan[name[len(LATEST) :]]) for name in latest}
    return {run: {name: of for name, of in scores.items() if of} for run, scores in found.items()}


def outdated() -> tuple[dict[str, str], dict[str, float]]:
    """Return the stale numbers of the study, and the values that this build measured in their place.

    Returns:
        {beginning of the keys: commit of the numbers}, and {key of a mean over the seeds: present value}.
    """
    old, single, known = {}, {}, noted()
    present = [numbers.get("scores") for numbers in notebooks.numbers().values()]
    for entry in {**stale(), **dict.fromkeys(left_over())}:
        commit = (known[entry].origin.get("commit") or "?")[:10] if entry in known else "?"
        prefixes = [REAL] if entry == REAL else [f"{part}.{entry}" for part in ("test", "validation", "ablations")]
        prefixes += [f"differences.{first}" for first, second, _ in _compared() if entry in (first, second)]
        prefixes += ["differences.gan_latest"] if entry == "gan" else []
        old |= {f"study.{prefix}": commit for prefix in prefixes}
        for scores in (of[entry] for of in present if isinstance(of, dict) and isinstance(of.get(entry), dict)):
            single |= {f"study.test.{entry}.{name}": value for name, value in scores.items()}
    commits = ", ".join(dict.fromkeys(old.values()))
    return old | ({"study.machine": commits, "study.seeds": commits} if old else {}), single


def left_over() -> list[str]:
    """Return the entries of study.json that are no run, ablation or real images of the present code."""
    study = read()
    parts = {part for section in ("test", "validation", "ablations") for part in study.get(section, {})}
    return sorted(({*study.get("records", {})} | parts) - entries().keys())


def changed_by_hand() -> list[str]:
    """Return the parts of study.json that were changed after `make study` had written them."""
    study, known = read(), noted()
    changed = [files.differing(record.outputs, outputs(entry, study)) for entry, record in known.items()]
    parts = {part for section in ("test", "validation") for part in study.get(section, {})}
    unknown = [f"{entry} has no record" for entry in sorted(parts - known.keys())]
    return [name for found in changed for name, *_ in found] + unknown


def _evaluation(name):
    """Return a function of `evaluation`, imported late because of Keras. `_leads` names the one that counts."""
    return getattr(import_module("genmodels.evaluation"), name)


def compute(run: Run, split: str) -> dict[str, float]:
    """Score a run on a split; train it first if the cache lacks it.

    Args:
        run: The run.
        split: "test" or "validation".

    Returns:
        {score: value}, with the duration of the training as `seconds`.

    Raises:
        TrainingError: The run cannot be trained.
    """
    done = store.trained(run, position=processes.line())
    classifiers = [store.trained(name).model for name in REFERENCES]
    found = _evaluation(_scorer(run))(done.model, classifiers, datasets.load_mnist(), split)
    return {**found, "seconds": done.seconds}


def _compute_real(split):
    """Return the GAN's scores for real images in place of its own, see `evaluation.real_baseline`."""
    data = datasets.load_mnist()
    classifiers = [store.trained(name).model for name in REFERENCES]
    return _evaluation(REAL)(classifiers, getattr(data, split), data.train)


def parts(entry: str) -> dict[str, Run | None]:
    """Return the parts of an entry, one for each training.

    Args:
        entry: Name of the entry.

    Returns:
        {part: its run}. The real images are one part, without a run.
    """
    run = entries()[entry]
    return {str(each): each for each in seeded(run)} if run else {entry: None}


def finished(part: str, key: str) -> dict | None:
    """Return the scores of a part that unfinished_study.json holds.

    Args:
        part: Such as "ae, seed 2".
        key: Digest of the inputs of the part's entry.

    Returns:
        {"key", "checksum", "origin", "scores"}; None if the part is missing, of other inputs, or changed by hand.
    """
    found = files.read_json(_unfinished(), {}, _FINISHED).get(part)
    return (
        found if found and found["key"] == key and found["checksum"] == files.short([part, found["scores"]]) else None
    )


def score(task: tuple[str, str]) -> dict:
    """Train and score one part of an entry, see `score_run`.

    Args:
        task: Entry and part, such as ("ae", "ae, seed 2").
    """
    entry, part = task
    return score_run(parts(entry)[part], splits(entry), part, files.short(inputs(entry)))


def score_run(run: Run | None, splits: Collection[str], part: str, key: str) -> dict:
    """Train a run and score it.

    Args:
        run: The run; None for the real images.
        splits: Splits to score it on.
        part: Name of the result.
        key: Digest of everything that the scores depend on.

    Returns:
        {"key", "checksum", "machine", "scores"}, see `finished` and `config.machine`. A diverged training has no
        scores: None.

    Raises:
        TrainingError: A run cannot be used, or its code was edited meanwhile.
    """
    found: dict | None = {}
    try:
        for split in splits:
            found[split] = compute(run, split) if run else _compute_real(split)
    except store.DivergedError as error:
        terminal.say(str(error))
        found = None
    store.refuse_edited_code(run or RUNS[REFERENCES[0]], _leads(run), _NOT_FOLLOWED, step="scored")
    parallel.forget()
    return {"key": key, "checksum": files.short([part, found]), "machine": config.machine(), "scores": found}


def _keep(part, scored, origin):
    """Write the scores of a part into unfinished_study.json."""
    about = {name: value for name, value in scored.items() if name != "machine"}
    files.update(_unfinished(), {part: {**about, "origin": {**origin, "machine": scored["machine"]}}})


def make(jobs: int, wanted: Collection[str] = ()) -> None:
    """Train and score every stale entry, and write it into study.json when it is done.

    Parts that unfinished_study.json holds are not computed again.

    Args:
        jobs: Number of trainings at the same time.
        wanted: Names of the entries; empty for all.

    Raises:
        TrainingError: A training failed, or every seed of an entry diverged.
    """
    with files.lock("study"):  # a second process waits
        _make(jobs, wanted)


def _make(jobs, wanted):
    _remove(left_over())
    keys = {entry: files.short(inputs(entry)) for entry in stale() if not wanted or entry in wanted}
    parallel.train_all(REFERENCES, jobs=jobs)
    tasks = [(entry, part) for entry in keys for part in parts(entry) if not finished(part, keys[entry])]
    tasks.sort(key=lambda task: task[0] in RUNS and bool(RUNS[task[0]].depends_on))  # after the runs that they need
    for entry in keys:
        _sum_up(entry, keys[entry])
    origin, many, say = records.origin(), {"jobs": jobs, "run": run_of, "uses": REFERENCES}, progress(len(tasks))
    for task, scored in parallel.run_all(score, tasks, **many):
        if scored["key"] != keys[task[0]]:
            raise store.TrainingError(f"{task[1]}: its code or settings changed while the study ran; start again")
        _keep(task[1], scored, origin)
        say(task[1])
        _sum_up(task[0], keys[task[0]])
    kinds = {each for record in noted().values() for each in record.origin["machine"]["processor"].split("; ")}
    if len(kinds) > 1:
        terminal.say(f"The study comes from several kinds of processor: {', '.join(sorted(kinds))}; see its records.")


def progress(count: int) -> Callable[[str], None]:
    """Return a function to call with the name of each of `count` results: it says how many are left, and how long."""
    start, number = time.monotonic(), itertools.count(1)

    def say(name: str) -> None:
        done = next(number)
        left = (time.monotonic() - start) / done * (count - done) / 60
        terminal.say(f"scored {done}/{count}: {name}; about {left:.0f} min left")

    return say


def run_of(task: tuple[str, str]) -> Run | None:
    """Return the run of an entry and part, see `score`; None for the real images."""
    return parts(task[0])[task[1]]


def _remove(gone):
    """Take entries out of study.json that are of no use any more."""
    target = records.output() / "study.json"
    if gone and target.is_file():
        files.write_json(target, _without(files.read_json(target, {}, SCHEMA), gone))


def _sum_up(entry, key):
    """Write an entry into study.json, if all its parts are finished."""
    found = [finished(part, key) for part in parts(entry)]
    if not all(found):
        return
    made_from = inputs(entry)
    if files.short(made_from) != key:
        raise store.TrainingError(f"{entry}: its code or settings changed while the study ran; start again")
    scores = [each["scores"] for each in found]
    if not any(scores):
        raise store.TrainingError(f"{entry}: expected scores of at least one seed, but every training diverged")
    _remove([entry])  # also from a split that it is no longer scored on
    target = records.output() / "study.json"
    study = {**files.read_json(target, {}, SCHEMA), "seeds": list(SEEDS)}
    if entry == REAL:
        study[REAL] = scores[0]
    else:
        for split in splits(entry):
            study.setdefault(split, {})[entry] = summary([each and each[split] for each in scores])
    for ablation in (each for each in ABLATIONS if each.name == entry):
        study.setdefault("ablations", {})[entry] = {"of": ablation.of, "diverged": scores.count(None)}
    record = Record(made_from, outputs(entry, study), _origin([each["origin"] for each in found]))
    study.setdefault("records", {})[entry] = record.as_json()
    files.write_json(target, study)
    files.update(_unfinished(), dict.fromkeys(parts(entry)))


def _origin(origins):
    """Join the origins of an entry's parts, which may come from several days and machines."""
    machines = {origin["machine"]["processor"]: origin["machine"] for origin in origins}
    clean = all(origin["clean"] for origin in origins)
    return {**origins[-1], "clean": clean, "machine": {**origins[-1]["machine"], "processor": "; ".join(machines)}}


def summary(scores: list[dict | None]) -> dict[str, dict]:
    """Sum up the scores of one run over its seeds.

    Args:
        scores: One dict for each seed; None for a diverged training. At least one is a dict.

    Returns:
        {score: {"mean", "deviation", "values"}}. If a training diverged, its value, mean and deviation are None.
    """
    names = next(filter(None, scores))
    return {name: _spread([found[name] if found else None for found in scores]) for name in names}


def _spread(values):
    if None in values:
        return {"mean": None, "deviation": None, "values": values}
    # `statistics` is exact: equal values give a deviation of 0, which `verify` looks for.
    return {"mean": float(statistics.mean(values)), "deviation": float(statistics.stdev(values)), "values": values}
