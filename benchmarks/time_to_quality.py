"""Time to quality: seconds of training until a stated quality on the test set, ours and published recipes side by side.

Each training has a process of its own, one after another and in alternation, so that other work of the machine hits all
alike. Recipes may use all cores, as by default; ours uses one, as in the report. The clock runs only while the model
trains, its first, slow step included. It stops while the quality is measured. One recipe needs PyTorch, which has an
environment of its own.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import keras
import numpy as np
import psutil
import tensorflow as tf
from matplotlib.figure import Figure

from benchmarks import recipes
from genmodels import config, figures, load_mnist, mnist, trained, training
from genmodels.datasets import LABELS, Dataset, binarize
from genmodels.experiments import BUILDERS, RUNS, Run, find
from genmodels.pipeline import document, files, notebooks, records, results
from genmodels.pipeline.records import Record
from genmodels.pipeline.text import BENCHMARK

SEEDS = 3
GROWTH = 1.25  # of the number of steps from one measurement of the quality to the next
FIGURE = "time_to_quality.png"
CLASSIFIER = "reference"  # the run whose classifier scores the GANs
SCORED = ("label_accuracy", "frechet")  # the qualities that need the classifier
TORCH = "torch_vae"  # the recipe that needs PyTorch, and its script
LOCK = Path(__file__).with_name("torch.lock")


@dataclass(frozen=True)
class Comparison:
    """One of our runs against published recipes.

    Attributes:
        name: Key in `COMPARISONS` and in the record.
        label: The quality, in Polish.
        ours: Name of a run of the report, or another run.
        recipes: Names of functions of `recipes`, or TORCH.
        quality: Key of `MEASURES`.
        target: Quality to reach; None for the last quality of the recipe, which then trains before ours.
        less_is_better: Whether the quality falls while the model learns.
        overtime: A recipe may stop once it has taken this many times as long as ours.
    """

    name: str
    label: str
    ours: str | Run
    recipes: tuple[str, ...]
    quality: str
    target: float | None
    less_is_better: bool
    overtime: float = float("inf")

    def reached(self, quality: float) -> bool:
        """Return whether a quality reaches the target."""
        return quality <= self.target if self.less_is_better else quality >= self.target

    def met_by(self, found: Mapping) -> bool:
        """Return whether a training, see `compare`, reached its target."""
        return replace(self, target=found.get("target", self.target)).reached(found["quality"][-1])


# Chosen on the validation images. Many dimensions need no Fourier features: the loss falls faster without.
_VAE_20 = Run(
    "vae_20",
    "vae",
    options={"latent_dim": 20, "hidden_units": (512, 256), "num_frequencies": 0},
    epochs=2,
    batch_size=128,
    learning_rate=3e-3,
    decay="constant_then_linear",
)
_GREY = ("vae_grey", "−ELBO, obrazy szare [naty]", "vae_kl", ("conv_vae_grey",), "negative_elbo_grey", 150.4, True)
_COMPARISONS = (
    Comparison("vae", "−ELBO, obrazy progowane [naty]", "vae_mc", ("conv_vae",), "negative_elbo", 156.8, True),
    Comparison(*_GREY, overtime=15),
    Comparison("gan", "rozpoznane obrazy", "gan", ("conditional_gan",), "label_accuracy", 0.95, False, overtime=10.5),
    Comparison("gan_distance", "odległość Frécheta", "gan", ("dcgan",), "frechet", 20.0, True, overtime=5),
    Comparison("vae_torch", "BCE + KL, 20 wymiarów [naty]", _VAE_20, (TORCH,), "negative_elbo_grey", None, True),
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
        training.fit(model, batches, epochs=epochs, name=title, callbacks=[clock])
    else:
        begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
        model.fit(batches.dataset(), epochs=epochs, shuffle=False, verbose=0, callbacks=[begin, clock])
    return clock.found


def _unfinished():
    """Return where finished trainings stand until all are done. Committed, it lets the benchmark go on another day."""
    return records.output() / "unfinished_benchmark.json"


def torch_environment() -> Path:
    """Return the Python of build/torch, the environment with PyTorch; set it up from torch.lock if necessary.

    Raises:
        click.ClickException: pip could not install the lock.
    """
    folder = records.root() / "build" / "torch"
    python, made_from = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), folder / LOCK.name
    if not made_from.exists() or made_from.read_bytes() != LOCK.read_bytes():
        print(f"Setting up {folder} for PyTorch; 1 GB, a few minutes", file=sys.stderr, flush=True)
        install = "-m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement".split()
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([python, *install, LOCK], check=True)
        except subprocess.CalledProcessError as error:
            raise click.ClickException(
                "expected pip to find the files of benchmarks/torch.lock, among them a CPU build of PyTorch for Python "
                "3.11 on Linux, but it failed, see above; give another Python that has torch, numpy and psutil: "
                "--torch-python PATH"
            ) from error
        shutil.copy(LOCK, made_from)
    return python


def _command(comparison, who, seed, limit, torch_python):
    """Return the command that trains one side and prints what it found."""
    if who == TORCH:  # isolated from the modules beside the script and in PYTHONPATH
        return [torch_python, "-I", Path(__file__).with_name(f"{TORCH}.py"), mnist.find(), str(seed)]
    command = [sys.executable, "-m", "benchmarks.time_to_quality", comparison.name, who, str(seed), str(limit)]
    return [*command, str(comparison.target)]


def _train_in_own_process(comparison, who, seed, limit, torch_python):
    """Return what `train` does; what this code has measured before, here or elsewhere, is not measured again."""
    part = f"{comparison.name}, {who}, seed {seed}"
    key = files.short([inputs([comparison]), comparison.target])
    kept = files.read_json(_unfinished(), {}).get(part, {})
    if kept.get("key") == key and kept["machine"] == config.machine():  # both sides on the same machine
        return kept["found"]
    command = _command(comparison, who, seed, limit, torch_python)
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    files.put(_unfinished(), part, {"key": key, "found": found, "machine": config.machine()})
    return found


def _runs(comparisons):
    """Return the runs that comparisons use, by name."""
    used = [*(comparison.ours for comparison in comparisons), *([CLASSIFIER] if _scored(comparisons) else [])]
    return {run.name: run for run in map(find, used)}


def _scored(comparisons):
    return any(comparison.quality in SCORED for comparison in comparisons)


def _in_record(runs):
    """Return runs for a record, {name: its name and settings}. Those of the report have their settings there."""
    return {name: {"name": name, "settings": None if name in RUNS else asdict(run)} for name, run in runs.items()}


def inputs(comparisons: Iterable[Comparison]) -> dict:
    """Return everything that comparisons depend on, {what: value}: code, our runs, data and libraries."""
    names = ("time_to_quality.py", "recipes.py", f"{TORCH}.py", LOCK.name)
    own = [f"{notebooks.FILE}benchmarks/{name}" for name in names]
    return document.benchmark_inputs(Record(dict.fromkeys(own), {}, runs=_in_record(_runs(comparisons))))


def summary(comparison: Comparison, runs: Mapping[str, Sequence[Mapping]]) -> dict[str, dict]:
    """Sum up the trainings of a comparison over the seeds.

    Args:
        comparison: The comparison.
        runs: {who: results, one a seed}, see `compare`.

    Returns:
        For each side:
        seconds, cpu: Time of training until the target or, where that was not reached, until the end; medians.
        quality: Median of the last measurements.
        memory: Median, in MiB.
        reached: Number of trainings that reached the target.
        seeds: Number of trainings.
        ratio: Seconds as a multiple of ours.
        target: Median of the targets, where each seed has one of its own.
        torch, threads: Version of PyTorch and number of its threads, for TORCH.
    """
    found = {}
    for who, each in runs.items():
        last = {name: statistics.median(run[name][-1] for run in each) for name in ("seconds", "cpu", "quality")}
        reached = sum(comparison.met_by(run) for run in each)
        memory = statistics.median(run["memory"] for run in each)
        about = {name: each[0][name] for name in ("torch", "threads") if name in each[0]}
        if comparison.target is None:
            about["target"] = statistics.median(run["target"] for run in each)
        found[who] = {**last, "memory": memory, "reached": reached, "seeds": len(each), **about}
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
            quality = f"{comparison.quality.replace('_', ' ')} {sign} {of.get('target', comparison.target):.4g}"
            reached = f"{of['reached']} of {of['seeds']}"
            ratio = f"{'' if of['reached'] == of['seeds'] else '> '}{of['ratio']:.1f}"
            measured = f"{of['seconds']:.1f} | {of['cpu']:.1f} | {of['memory']:.0f} | {reached} | {ratio}"
            yield f"| {quality} | {who.replace('_', ' ')} | {measured} |"


def compare(
    comparisons: Sequence[Comparison], seeds: int, torch_python: Path | str | None = None
) -> dict[str, dict[str, list[dict]]]:
    """Run comparisons, one seed of all after another.

    Args:
        comparisons: The comparisons.
        seeds: Number of seeds.
        torch_python: Python that has PyTorch, for the comparison with TORCH.

    Returns:
        {name of the comparison: {who: results of `train`, one a seed, each with its target}}.
    """
    found = {comparison.name: {who: [] for who in ("ours", *comparison.recipes)} for comparison in comparisons}
    for seed in range(1, seeds + 1):
        for comparison in comparisons:
            limit, target, runs = float("inf"), comparison.target, found[comparison.name]
            for who in [*reversed(runs)] if target is None else [*runs]:
                done = _train_in_own_process(replace(comparison, target=target), who, seed, limit, torch_python)
                target = done["quality"][-1] if target is None else target
                runs[who].append({**done, "target": target})
                if who == "ours":
                    limit = comparison.overtime * done["seconds"][-1]
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
    used = {f"{BENCHMARK}.{name}": _runs([each]) for name, each in COMPARISONS.items()}
    used |= {f"{BENCHMARK}.machine": {}, FIGURE: _runs(COMPARISONS.values())}
    made = {what: {"cell": 0, "runs": {name: [run.seed] for name, run in of.items()}} for what, of in used.items()}
    records.note(BENCHMARK, Record(made_from, results.outputs(made), origin, made, _in_record(used[FIGURE])))
    _unfinished().unlink(missing_ok=True)


@click.command()
@click.argument("name", type=click.Choice(list(COMPARISONS)), required=False)
@click.argument("who", required=False)
@click.argument("seed", type=int, required=False)
@click.argument("limit", type=float, required=False)
@click.argument("target", type=float, required=False)
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True, help="How many.")
@click.option("--only", type=click.Choice(list(COMPARISONS)), multiple=True, help="Run these alone; write nothing.")
@click.option(
    "--torch-python", envvar="TORCH_PYTHON", help="Python with torch, numpy and psutil.  [default: build/torch]"
)
def main(
    name: str | None,
    who: str | None,
    seed: int | None,
    limit: float | None,
    target: float | None,
    seeds: int,
    only: Sequence[str],
    torch_python: str | None,
) -> None:
    """Run all comparisons, for the report; or train one side of one with one seed, as JSON on standard output."""
    if who:
        json.dump(train(replace(COMPARISONS[name], target=target), who, seed, limit), sys.stdout)
        return
    comparisons = [COMPARISONS[name] for name in only or COMPARISONS]
    if any(TORCH in comparison.recipes for comparison in comparisons):
        torch_python = torch_python or torch_environment()
    if _scored(comparisons):
        trained(CLASSIFIER)
    origin, made_from = records.origin("benchmarks"), inputs(comparisons)
    runs = compare(comparisons, seeds, torch_python)
    numbers = {comparison.name: summary(comparison, runs[comparison.name]) for comparison in comparisons}
    print("\n".join(table(numbers)))
    numbers |= {"machine": origin["machine"]}
    if only:
        print(json.dumps(numbers, indent=1))
    else:  # the report quotes them all
        panels = [_panel(comparison, runs[comparison.name]) for comparison in comparisons]
        write(numbers, figures.plot_time_to_quality(panels), made_from, origin)


def _panel(comparison, runs):
    """Return what `figures.plot_time_to_quality` draws of a comparison."""
    names = {"ours": "nasz model", **recipes.NAMES}
    lines = {names[who]: [(run["seconds"], run["quality"]) for run in each] for who, each in runs.items()}
    return comparison.label, statistics.median(run["target"] for run in runs["ours"]), lines


if __name__ == "__main__":
    main()
