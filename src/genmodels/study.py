"""The study behind the report: every run over several seeds, and runs with one part left out; scores and their spread.

`make study` writes data/report/study.json, which the report quotes. The named runs are scored on the test set, the
changed ones and what they are compared with on the validation set.
"""

import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

from genmodels import cache, data, experiments, notebooks, report, sources, workers

SEEDS = (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A run with one part changed: its model's options, or its other settings. what: in Polish, for the report."""

    name: str
    of: str
    what: str
    options: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def run(self):
        """The changed Run."""
        run = experiments.RUNS[self.of]
        return replace(run, name=self.name, options={**run.options, **self.options}, **self.settings)


CHANGES = (
    Change(name="ae_without_waves", of="ae", what="bez fal na wejściu dekodera", options={"waves": 0}),
    Change(
        name="ae_without_normalisation",
        of="ae",
        what="bez normalizacji w warstwach ukrytych",
        options={"normalise": False},
        settings={"learning_rate": 1e-3},  # without it the rate of the normalised network is too high
    ),
    Change(name="ae_cosine", of="ae", what="krok malejący wzdłuż połówki kosinusa", settings={"decay": "cosine"}),
    Change(name="vae_without_waves", of="vae_kl", what="bez fal na wejściu dekodera", options={"waves": 0}),
    Change(
        name="vae_without_normalisation",
        of="vae_kl",
        what="bez normalizacji w dekoderze",
        options={"normalise": False},
    ),
    Change(name="vae_constant", of="vae_kl", what="stały krok uczenia", settings={"decay": "constant"}),
    Change(name="cvae_without_classifier", of="cvae_25", what="bez klasyfikatora", options={"classifier_weight": 0.0}),
    Change(name="cvae_weight_1", of="cvae_25", what="waga KL równa 1", options={"kl_weight": 1.0}),
    Change(name="gan_without_classifier", of="gan", what="bez klasyfikatora", options={"classifier_weight": 0.0}),
    Change(name="gan_without_image_noise", of="gan", what="bez szumu na obrazach", options={"image_noise": 0.0}),
)


def seeded(run):
    """The run with each of SEEDS; its own seed is the first of them."""
    return [replace(run, seed=run.seed + seed - 1) for seed in SEEDS]


def _code():
    """Parts of the code that computes scores; what trains the models counts by the keys of the runs."""
    return sources.code_parts("scores", "study:compute", "study:floors", but=("experiments",))


def score(run, split):
    """Scores of a run (a Run or a name) on the split of that name, from the cache or computed now; a dict of floats."""
    run = experiments.find(run)
    judges = [experiments.RUNS["judge"], experiments.RUNS["judge_2"]]
    key = cache.digest([_code(), split, [experiments.key(each) for each in (run, *judges)]])
    path = cache.directory() / "scores" / f"{run.name}-{key[:16]}.json"
    if not path.is_file():
        found = compute(run, split)
        experiments.refuse_edited_code(run, "scored")
        cache.write_json(path, found)
    return cache.read_json(path)


def compute(run, split):
    """Scores of a run on the split of that name, with the time its training took: seconds."""
    from genmodels import scores

    splits, done = data.load(), experiments.trained(run)
    images = getattr(splits, split)
    kind = run.build.removeprefix("build_")
    if kind in ("judge", "pupil"):
        return {**scores.judge(done.model, images), "seconds": done.seconds}
    judges = [experiments.trained(name).model for name in ("judge", "judge_2")]
    if kind == "gan":
        found = scores.gan(done.model, judges, images, splits.train)
    elif kind == "ae":
        found = scores.ae(done.model, judges, images)
    elif kind == "vae":
        found = scores.vae(done.model, judges, images, tight=split == "test")
    else:
        found = scores.conditional_vae(done.model, judges, images)
    return {**found, "seconds": done.seconds}


def floors(split):
    """What the GAN's scores are on real images in place of its own, see `scores.floors`."""
    from genmodels import scores

    judges = [experiments.trained(name).model for name in ("judge", "judge_2")]
    splits = data.load()
    return scores.floors(judges, getattr(splits, split), splits.train)


def summary(scores):
    """Scores of one run over its seeds, a list of dicts, as {name: {mean, deviation, values}}.

    Of a training that diverged there are no scores, None in the list: its values are None, and so are then the mean and
    the deviation. Raises TrainingError where none is left.
    """
    if not (names := next(filter(None, scores), None)):
        raise experiments.TrainingError("expected scores of at least one seed, but every training diverged")
    return {name: _spread([found[name] if found else None for found in scores]) for name in names}


def _spread(values):
    if None in values:
        return {"mean": None, "deviation": None, "values": values}
    # These compute with fractions: seeds that agree have a deviation of exactly 0, which `drift` looks for.
    return {"mean": float(statistics.mean(values)), "deviation": float(statistics.stdev(values)), "values": values}


def make(jobs):
    """Trains and scores everything that the cache lacks, `jobs` at once; writes study.json and its provenance."""
    begun, made_from = notebooks.origin(), parts()
    for kept in (cache.directory() / "scores").glob("*.json"):
        cache.read_json(kept, {})  # sets a damaged one aside
    found = train_and_score(jobs)
    cache.write_json(report.study_path(), found)
    report.put(_provenance_path(), "study", {**begun, "parts": made_from, "sums": sums(found)})


def parts():
    """Everything that study.json depends on, {what: value}."""
    runs = [*experiments.RUNS.values(), *(change.run() for change in CHANGES)]
    keys = {f"run {run.name}": experiments.key(each)[:16] for run in runs for each in seeded(run)[:1]}
    return {**keys, "seeds": list(SEEDS), **_code(), **cache.environment()}


def sums(study):
    """{part of study.json: checksum}, down to each run."""
    found = {}
    for name, value in study.items():
        inner = {f"{name}.{part}": each for part, each in value.items()} if isinstance(value, dict) else {name: value}
        found |= {part: cache.short(each) for part, each in inner.items()}
    return found


def _provenance_path():
    return report.study_path().with_name("provenance.json")


def _recorded():
    return cache.read_json(_provenance_path(), {}, notebooks.PROVENANCE).get("study", {})


def changed_by_hand():
    """The parts of study.json that are no longer as `make study` wrote them."""
    recorded = _recorded().get("sums", {})
    return [name for name, *_ in notebooks.differing(recorded, sums(report.study()))]


def why_stale():
    """Why study.json is not what `make study` would write now; empty where it is."""
    if not (recorded := _recorded()):
        return "not made yet"
    if changed := changed_by_hand():
        return f"{', '.join(changed)} changed after `make study` wrote it"
    if data.smoke_budget():  # the study is of full runs
        return ""
    return cache.changes(recorded["parts"], parts(), "the study was made")


def train_and_score(jobs):
    """Trains and scores everything that the cache lacks, `jobs` at once; returns what study.json holds."""
    plain = {name: seeded(run) for name, run in experiments.RUNS.items()}
    changed = {change.name: seeded(change.run()) for change in CHANGES}
    compared = {name: plain[name] for name in dict.fromkeys(change.of for change in CHANGES)} | changed
    everything = [run for runs in (plain | changed).values() for run in runs]
    diverged = workers.train_all(everything, jobs=jobs, tolerant=True)
    for split, of in (("test", plain), ("validation", compared)):
        _score_all([(run, split) for runs in of.values() for run in runs if run not in diverged], jobs)

    def summed_up(of, split):
        return {
            name: summary([None if run in diverged else score(run, split) for run in runs]) for name, runs in of.items()
        }

    return {
        "seeds": list(SEEDS),
        "machine": notebooks.machine(),
        "settings": {name: run.settings() for name, run in experiments.RUNS.items()},
        "test": summed_up(plain, "test"),
        "floors": {"test": floors("test")},
        "validation": summed_up(compared, "validation"),
        "changes": {
            change.name: {
                "of": change.of,
                "what": change.what,
                "diverged": sum(run in diverged for run in changed[change.name]),
            }
            for change in CHANGES
        },
    }


def _score_all(tasks, jobs):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=workers.end_with_parent) as pool:
        for number, (run, split) in enumerate(pool.map(_score_in_worker, tasks), 1):
            print(f"scored {number}/{len(tasks)}: {run.name}, seed {run.seed}, {split}", file=sys.stderr, flush=True)


def _score_in_worker(task):
    from genmodels.training import use_one_thread

    use_one_thread()
    score(*task)
    return task
