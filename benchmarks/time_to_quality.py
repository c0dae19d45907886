"""Time to quality: seconds of training until a stated quality on the test set, ours and published recipes side by side.

Each training has a process of its own, one after another and in alternation, so that other work of the machine hits all
alike. Recipes may use all cores, as by default; ours uses one, as in the report. The clock runs only while the model
trains, its first, slow step included. It stops while the quality is measured.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
import keras
import numpy as np
import psutil
import tensorflow as tf
from matplotlib.figure import Figure

from benchmarks import recipes
from genmodels import config, figures, load_mnist, trained, training
from genmodels.datasets import LABELS, Dataset, binarize
from genmodels.experiments import BUILDERS, find
from genmodels.pipeline import document, files, notebooks, records, results
from genmodels.pipeline.records import Record
from genmodels.pipeline.text import BENCHMARK

SEEDS = 3
GROWTH = 1.25  # of the number of steps from one measurement of the quality to the next
FIGURE = "time_to_quality.png"
CLASSIFIER = "reference"  # the run whose classifier scores the GANs
SCORED = ("label_accuracy", "frechet")  # the qualities that need the classifier


@dataclass(frozen=True)
class Comparison:
    """One of our runs against published recipes.

    Attributes:
        name: Key in `COMPARISONS` and in the record.
        label: The quality, in Polish.
        ours: Name of a run of the report.
        recipes: Names of functions of `recipes`.
        quality: Key of `MEASURES`.
        target: Quality to reach.
        less_is_better: Whether the quality falls while the model learns.
        overtime: A recipe may stop once it has taken this many times as long as ours.
    """

    name: str
    label: str
    ours: str
    recipes: tuple[str, ...]
    quality: str
    target: float
    less_is_better: bool
    overtime: float = float("inf")

    def reached(self, quality: float) -> bool:
        """Return whether a quality reaches the target."""
        return quality <= self.target if self.less_is_better else quality >= self.target


_GREY = ("vae_grey", "−ELBO, obrazy szare [naty]", "vae_kl", ("conv_vae_grey",), "negative_elbo_grey", 150.4, True)
_COMPARISONS = (
    Comparison("vae", "−ELBO, obrazy progowane [naty]", "vae_mc", ("conv_vae",), "negative_elbo", 156.8, True),
    Comparison(*_GREY, overtime=15),
    Comparison("gan", "rozpoznane obrazy", "gan", ("conditional_gan",), "label_accuracy", 0.95, False, overtime=10.5),
    Comparison("gan_distance", "odległość Frécheta", "gan", ("dcgan",), "frechet", 20.0, True, overtime=5),
)
COMPARISONS = {comparison.name: comparison for comparison in _COMPARISONS}


# The measures import `metrics` late, because its libraries would count as memory of the training.


def negative_elbo(
    model: keras.Model, splits: Dataset, classifier: keras.Model | None = None, *, prepare: Callable = binarize
) -> float:
    """Measure -ELBO of the test images in nats, from one z each and the same noise each time.

    Args:
        model: A VAE.
        splits: MNIST.
        classifier: Not used; accepted so that all measures are called alike.
        prepare: Applied to the images first.

    Returns:
        Mean over the images.
    """
    from genmodels import metrics

    return metrics.negative_elbo(metrics.elbo_terms(model, prepare(splits.test.images), 0))["mean"]


def negative_elbo_grey(model: keras.Model, splits: Dataset, classifier: keras.Model | None = None) -> float:
    """Measure -ELBO of the grey test images in nats, see `negative_elbo`."""
    return negative_elbo(model, splits, prepare=lambda images: images)


def _generate(model, labels):
    """Return images (N, 28, 28, 1) in [0, 1] of a ConditionalGAN or of a PlainGAN."""
    if hasattr(model, "generate"):
        return model.generate(labels, seed=0)
    one_hot = np.eye(LABELS, dtype="float32")[labels]
    images = np.concatenate([model.draw(part) for part in np.split(one_hot, len(labels) // 500)])
    return (images - model.low) / (1 - model.low)


def label_accuracy(model: keras.Model, splits: Dataset, classifier: keras.Model) -> float:
    """Measure the share of 2,000 generated images that the classifier gives the requested label."""
    labels = np.arange(2_000) % LABELS
    return float((classifier.classify(_generate(model, labels)) == labels).mean())


def frechet(model: keras.Model, splits: Dataset, classifier: keras.Model) -> float:
    """Measure the Frechet distance of 5,000 generated and 5,000 test images in the classifier's features."""
    from genmodels import metrics

    generated, real = _generate(model, splits.test.labels[:5_000]), splits.test.images[:5_000]
    return metrics.frechet_distance(classifier.features(generated), classifier.features(real))


MEASURES = {measure.__name__: measure for measure in (negative_elbo, negative_elbo_grey, label_accuracy, frechet)}


def set_up(comparison: Comparison, who: str, seed: int) -> tuple[keras.Model, training.Batches, int]:
    """Set up one side of a comparison.

    Args:
        comparison: The comparison.
        who: "ours", or the name of a recipe.
        seed: Seed of the weights, the batches and the noise.

    Returns:
        Compiled model, training batches, and number of epochs.
    """
    splits = load_mnist()
    images, labels = splits.train.images, splits.train.labels
    if who == "ours":
        run = find(comparison.ours)
        setup = BUILDERS[run.builder]({**run.settings(), "seed": seed}, splits)
        make = (lambda chosen, rng: (images[chosen],)) if "grey" in comparison.quality else setup.make_batch
        return setup.model, training.Batches(setup.count, run.batch_size, make, seed=seed), run.epochs
    makes = {
        "negative_elbo": lambda chosen, rng: (binarize(images[chosen]),),
        "negative_elbo_grey": lambda chosen, rng: (images[chosen],),
    }
    make = makes.get(comparison.quality, lambda chosen, rng: (images[chosen], labels[chosen]))
    batches = training.Batches(len(images), recipes.BATCH[who], make, seed=seed)
    return getattr(recipes, who)(seed), batches, recipes.EPOCHS[who]


class Clock(keras.callbacks.Callback):
    """Measure the quality at growing intervals, and stop the training at the target or at a limit.

    Args:
        name: Name of the training, shown with each measurement.
        measure: Function of the model that returns its quality.
        reached: Function of the quality that tells whether the target is reached.
        limit: Seconds after which the training stops at the next measurement.

    Attributes:
        found: seconds, cpu, steps and quality, one value for each measurement; memory: memory of the process before the
            first of them, in MiB.
    """

    def __init__(
        self, name: str, measure: Callable[[keras.Model], float], reached: Callable[[float], bool], limit: float
    ) -> None:
        super().__init__()
        self.name, self.measure, self.reached, self.limit = name, measure, reached, limit
        self.found = {"seconds": [], "cpu": [], "steps": [], "quality": []}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the clock."""
        self.seconds = self.cpu = 0.0
        self.epoch, self.next = 0, 50
        self._start()

    def _start(self):
        self.start = time.perf_counter(), time.process_time()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch, from which steps are counted."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Measure, if it is time to."""
        step = self.epoch * self.params["steps"] + batch + 1
        if step >= self.next:
            self._measure(step)
            self.next = GROWTH * step
            self._start()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Measure once more, unless the last measurement stopped the training."""
        if not self.model.stop_training:
            self._measure((self.epoch + 1) * self.params["steps"])

    def _measure(self, step):
        self.seconds += time.perf_counter() - self.start[0]
        self.cpu += time.process_time() - self.start[1]
        self.found.setdefault("memory", psutil.Process().memory_info().rss / 2**20)
        quality = self.measure(self.model)
        for name, value in zip(self.found, (self.seconds, self.cpu, step, quality)):
            self.found[name].append(value)
        print(f"  {self.name}: {self.seconds:.1f} s, {quality:.4g}", file=sys.stderr, flush=True)
        self.model.stop_training = self.reached(quality) or self.seconds > self.limit


def train(comparison: Comparison, who: str, seed: int, limit: float) -> dict:
    """Train one side until it reaches the target, its published epochs end, or `limit` seconds are over.

    Args:
        comparison: The comparison.
        who: "ours", or the name of a recipe.
        seed: Seed of the training.
        limit: Seconds.

    Returns:
        Measurements, see `Clock.found`.
    """
    if who == "ours":
        training.prepare(seed)
    else:
        keras.utils.set_random_seed(seed)
        tf.config.list_logical_devices()  # starts TensorFlow on all cores; `trained` would otherwise keep it to one
    scored = comparison.quality in SCORED
    classifier = trained(CLASSIFIER).model if scored else None
    model, batches, epochs = set_up(comparison, who, seed)
    splits, measure, title = load_mnist(), MEASURES[comparison.quality], f"{comparison.name}, {who}, seed {seed}"
    clock = Clock(title, lambda model: measure(model, splits, classifier), comparison.reached, limit)
    if who == "ours":
        training.fit(model, batches, epochs=epochs, name=comparison.ours, callbacks=[clock])
    else:
        begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
        model.fit(batches.dataset(), epochs=epochs, shuffle=False, verbose=0, callbacks=[begin, clock])
    return clock.found


def _unfinished():
    """Return where finished trainings stand until all are done. Committed, it lets the benchmark go on another day."""
    return records.output() / "unfinished_benchmark.json"


def _train_in_own_process(comparison, who, seed, limit):
    """Return what `train` does; what this code has measured before, here or elsewhere, is not measured again."""
    part, key = f"{comparison.name}, {who}, seed {seed}", files.short(inputs([comparison]))
    kept = files.read_json(_unfinished(), {}).get(part, {})
    if kept.get("key") == key and kept["machine"] == config.machine():  # both sides on the same machine
        return kept["found"]
    command = [sys.executable, "-m", "benchmarks.time_to_quality", comparison.name, who, str(seed), str(limit)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    files.put(_unfinished(), part, {"key": key, "found": found, "machine": config.machine()})
    return found


def _runs(comparisons):
    """Return {run: its seeds} of the runs that comparisons use."""
    scored = any(comparison.quality in SCORED for comparison in comparisons)
    names = [*(comparison.ours for comparison in comparisons), *([CLASSIFIER] if scored else [])]
    return {name: [find(name).seed] for name in names}


def inputs(comparisons: Iterable[Comparison]) -> dict:
    """Return everything that comparisons depend on, {what: value}: code, our runs, data and libraries."""
    runs = {name: {"name": name, "settings": None} for name in _runs(comparisons)}
    own = [f"{notebooks.FILE}benchmarks/{name}.py" for name in ("time_to_quality", "recipes")]
    return document.benchmark_inputs(Record(dict.fromkeys(own), {}, runs=runs))


def summary(comparison: Comparison, runs: Mapping[str, Sequence[Mapping]]) -> dict[str, dict]:
    """Sum up the trainings of a comparison over the seeds.

    Args:
        comparison: The comparison.
        runs: {who: results of `train`, one a seed}.

    Returns:
        For each side:
        seconds, cpu: Time of training until the target or, where that was not reached, until the end; medians.
        quality: Median of the last measurements.
        memory: Median, in MiB.
        reached: Number of trainings that reached the target.
        seeds: Number of trainings.
        ratio: Seconds as a multiple of ours.
    """
    found = {}
    for who, each in runs.items():
        last = {name: statistics.median(run[name][-1] for run in each) for name in ("seconds", "cpu", "quality")}
        reached = sum(comparison.reached(run["quality"][-1]) for run in each)
        memory = statistics.median(run["memory"] for run in each)
        found[who] = {**last, "memory": memory, "reached": reached, "seeds": len(each)}
    for who in found:
        found[who]["ratio"] = found[who]["seconds"] / found["ours"]["seconds"]
    return found


def table(numbers: Mapping[str, dict]) -> Iterator[str]:
    """Yield the lines of the Markdown table in benchmarks/README.md.

    Args:
        numbers: {name of a comparison: its `summary`}.
    """
    yield "| quality | who | seconds | CPU seconds | memory [MiB] | reached | ratio |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for comparison in (each for each in COMPARISONS.values() if each.name in numbers):
        for who in ("ours", *comparison.recipes):
            of = numbers[comparison.name][who]
            sign = "<=" if comparison.less_is_better else ">="
            quality = f"{comparison.quality.replace('_', ' ')} {sign} {comparison.target:g}"
            reached = f"{of['reached']} of {of['seeds']}"
            ratio = f"{'' if of['reached'] == of['seeds'] else '> '}{of['ratio']:.1f}"
            measured = f"{of['seconds']:.1f} | {of['cpu']:.1f} | {of['memory']:.0f} | {reached} | {ratio}"
            yield f"| {quality} | {who.replace('_', ' ')} | {measured} |"


def compare(comparisons: Sequence[Comparison], seeds: int) -> dict[str, dict[str, list[dict]]]:
    """Run comparisons, one seed of all after another.

    Args:
        comparisons: The comparisons.
        seeds: Number of seeds.

    Returns:
        {name of the comparison: {who: results of `train`, one a seed}}.
    """
    found = {comparison.name: {who: [] for who in ("ours", *comparison.recipes)} for comparison in comparisons}
    for seed in range(1, seeds + 1):
        for comparison in comparisons:
            limit = float("inf")
            for who, runs in found[comparison.name].items():
                runs.append(_train_in_own_process(comparison, who, seed, limit))
                limit = comparison.overtime * found[comparison.name]["ours"][-1]["seconds"][-1]
    return found


def write(numbers: dict, figure: Figure, made_from: dict, origin: dict) -> None:
    """Write the benchmark's numbers and figure for the report, and their record.

    Args:
        numbers: {name of a comparison: its `summary`}, and the machine.
        figure: A matplotlib Figure.
        made_from: Inputs of all comparisons, see `inputs`.
        origin: Machine and commit before the first training, see `records.origin`.
    """
    shown = figures.shown_in(figure)
    files.put(records.output() / "metrics.json", BENCHMARK, numbers)
    results.write_figure(FIGURE, results.picture(figure), shown)
    made = {f"{BENCHMARK}.{name}": {"cell": 0, "runs": _runs([each])} for name, each in COMPARISONS.items()}
    made |= {f"{BENCHMARK}.machine": {"cell": 0, "runs": {}}, FIGURE: {"cell": 0, "runs": _runs(COMPARISONS.values())}}
    runs = {name: {"name": name, "settings": None} for name in made[FIGURE]["runs"]}
    records.note(BENCHMARK, Record(made_from, results.outputs(made), origin, made, runs))
    _unfinished().unlink(missing_ok=True)


@click.command()
@click.argument("name", type=click.Choice(list(COMPARISONS)), required=False)
@click.argument("who", required=False)
@click.argument("seed", type=int, required=False)
@click.argument("limit", type=float, required=False)
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True, help="How many.")
@click.option("--only", type=click.Choice(list(COMPARISONS)), multiple=True, help="Run these alone; write nothing.")
def main(
    name: str | None, who: str | None, seed: int | None, limit: float | None, seeds: int, only: Sequence[str]
) -> None:
    """Run all comparisons, for the report; or train one side of one with one seed, as JSON on standard output."""
    if who:
        json.dump(train(COMPARISONS[name], who, seed, limit), sys.stdout)
        return
    trained(CLASSIFIER)
    comparisons = [COMPARISONS[name] for name in only or COMPARISONS]
    origin, made_from = records.origin("benchmarks"), inputs(comparisons)
    runs = compare(comparisons, seeds)
    numbers = {comparison.name: summary(comparison, runs[comparison.name]) for comparison in comparisons}
    print("\n".join(table(numbers)))
    if numbers.keys() == COMPARISONS.keys():  # the report quotes them all
        panels = [_panel(comparison, runs[comparison.name]) for comparison in comparisons]
        numbers |= {"machine": origin["machine"]}
        write(numbers, figures.plot_time_to_quality(panels), made_from, origin)


def _panel(comparison, runs):
    """Return what `figures.plot_time_to_quality` draws of a comparison."""
    names = {"ours": "nasz model", **recipes.NAMES}
    lines = {names[who]: [(run["seconds"], run["quality"]) for run in each] for who, each in runs.items()}
    return comparison.label, comparison.target, lines


if __name__ == "__main__":
    main()
