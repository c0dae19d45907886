"""Time to quality: seconds of training until the quality with which a published recipe ends, on the test set.

The recipe trains for its published epochs, then ours trains until it is as good. Each training has a process of its
own. Recipes may use all cores, as by default; ours uses one, as in the report. The clock runs only while the model
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
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import keras
import numpy as np
import psutil
from matplotlib.figure import Figure

from benchmarks import recipes
from genmodels import VAE, config, figures, load_mnist, mnist, training
from genmodels.datasets import binarize
from genmodels.experiments import BUILDERS, RUNS, Run, find
from genmodels.pipeline import document, files, notebooks, records, results
from genmodels.pipeline.records import Record
from genmodels.pipeline.text import BENCHMARK

GROWTH = 1.25  # of the number of steps from one measurement of the quality to the next
FIGURE = "time_to_quality.png"
SEEDS = (1, 2, 3)  # both sides train with each
TORCH = "torch_vae"  # the recipe that needs PyTorch, and its script
LOCK = Path(__file__).with_name("torch.lock")


@dataclass(frozen=True)
class Comparison:
    """One of our runs against a published recipe.

    Attributes:
        name: Key in `COMPARISONS` and in the record.
        label: The loss that measures the quality, in Polish.
        ours: Name of a run of the report, or another run.
        recipe: "conv_vae", or TORCH.
        prepare: Function of images, applied before training and measuring.
    """

    name: str
    label: str
    ours: str | Run
    recipe: str
    prepare: Callable


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
_COMPARISONS = (
    Comparison("vae", "−ELBO, obrazy zbinaryzowane [naty]", "vae_mc", "conv_vae", binarize),
    Comparison("vae_torch", "BCE + KL, obrazy szare [naty]", _VAE_20, TORCH, np.asarray),
)
COMPARISONS = {comparison.name: comparison for comparison in _COMPARISONS}


def test_loss(model: VAE, images: np.ndarray) -> float:
    """Measure -ELBO in nats, from one z for each image and the same noise each time; for grey images BCE plus KL.

    Args:
        model: A VAE.
        images: Shape (N, 28, 28, 1).

    Returns:
        Mean over the images.
    """
    from genmodels import metrics  # late, because its libraries would count as memory of the training

    return metrics.negative_elbo(metrics.elbo_terms(model, images, 0))["mean"]


def set_up(comparison: Comparison, who: str, seed: int) -> tuple[VAE, training.Batches, int]:
    """Set up one side of a comparison.

    Args:
        comparison: The comparison.
        who: "ours", or the name of a recipe.
        seed: Seed of the weights, the batches and the noise.

    Returns:
        Compiled model, training batches, and number of epochs.
    """
    splits = load_mnist()
    images, prepare = splits.train.images, comparison.prepare
    if who == "ours":
        run = find(comparison.ours)
        model = BUILDERS[run.builder]({**run.settings(), "seed": seed}, splits).model
        size, epochs = run.batch_size, run.epochs
    else:
        model, size, epochs = recipes.conv_vae(seed), recipes.BATCH, recipes.EPOCHS
    return model, training.Batches(len(images), size, lambda chosen, rng: (prepare(images[chosen]),), seed=seed), epochs


class Clock(keras.callbacks.Callback):
    """Measure the quality at growing intervals, and stop the training at the target.

    Args:
        name: Name of the training, shown with each measurement.
        measure: Function of the model that returns its quality.
        target: Quality, which falls, at which the training stops.

    Attributes:
        found: seconds, cpu, steps and quality, one value for each measurement; memory: memory of the process before the
            first of them, in MiB.
    """

    def __init__(self, name: str, measure: Callable[[keras.Model], float], target: float) -> None:
        super().__init__()
        self.name, self.measure, self.target = name, measure, target
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
        self.model.stop_training = bool(quality <= self.target)


def train(comparison: Comparison, who: str, seed: int, target: float | None) -> dict:
    """Train one side: a recipe for its published epochs, ours until it reaches the target or its epochs end.

    Args:
        comparison: The comparison.
        who: "ours", or the name of a recipe.
        seed: Seed of the training.
        target: Quality to reach; None for a recipe.

    Returns:
        Measurements, see `Clock.found`.
    """
    if who == "ours":
        training.prepare(seed)
    else:
        keras.utils.set_random_seed(seed)
    model, batches, epochs = set_up(comparison, who, seed)
    images, title = comparison.prepare(load_mnist().test.images), f"{comparison.name}, {who}, seed {seed}"
    clock = Clock(title, lambda model: test_loss(model, images), -np.inf if target is None else target)
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


def _command(comparison, who, seed, target, torch_python):
    """Return the command that trains one side and prints what it found."""
    if who == TORCH:  # isolated from the modules beside the script and in PYTHONPATH
        return [torch_python, "-I", Path(__file__).with_name(f"{TORCH}.py"), mnist.find(), str(seed)]
    command = [sys.executable, "-m", "benchmarks.time_to_quality", comparison.name, who, str(seed)]
    return command if target is None else [*command, str(target)]


def _train_in_own_process(comparison, who, seed, target, torch_python):
    """Return what `train` does; what this code has measured before, here or elsewhere, is not measured again."""
    part = f"{comparison.name}, {who}, seed {seed}"
    key = files.short([inputs([comparison]), target])
    kept = files.read_json(_unfinished(), {}).get(part, {})
    if kept.get("key") == key and kept["machine"] == config.machine():  # both sides on the same machine
        return kept["found"]
    command = _command(comparison, who, seed, target, torch_python)
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    files.put(_unfinished(), part, {"key": key, "found": found, "machine": config.machine()})
    return found


def _runs(comparisons):
    """Return the runs that comparisons use, by name."""
    return {run.name: run for run in (find(comparison.ours) for comparison in comparisons)}


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
        seconds, cpu: Time of training, medians.
        quality: Median of the last measurements.
        memory: Median, in MiB.
        reached: Number of trainings as good as the recipe's with the same seed.
        seeds: Number of trainings.
        ratio: Median of the recipe's seconds as a multiple of ours with the same seed.
        torch, threads: Version of PyTorch and number of its threads, for TORCH.
    """
    found = {}
    for who, each in runs.items():
        last = {name: statistics.median(run[name][-1] for run in each) for name in ("seconds", "cpu", "quality")}
        memory = statistics.median(run["memory"] for run in each)
        targets = [theirs["quality"][-1] for theirs in runs[comparison.recipe]]
        reached = sum(run["quality"][-1] <= target for run, target in zip(each, targets))
        ratio = statistics.median(run["seconds"][-1] / ours["seconds"][-1] for run, ours in zip(each, runs["ours"]))
        about = {name: each[0][name] for name in ("torch", "threads") if name in each[0]}
        found[who] = {**last, "memory": memory, "reached": reached, "seeds": len(each), "ratio": ratio, **about}
    return found


def table(numbers: Mapping[str, dict]) -> Iterator[str]:
    """Yield the lines of the Markdown table in benchmarks/README.md.

    Args:
        numbers: {name of a comparison: its `summary`}.
    """
    yield "| comparison | who | loss | seconds | CPU seconds | memory [MiB] | as good | ratio |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for comparison in (each for each in COMPARISONS.values() if each.name in numbers):
        for who in (comparison.recipe, "ours"):
            of = numbers[comparison.name][who]
            measured = f"{of['quality']:.4g} | {of['seconds']:.1f} | {of['cpu']:.1f} | {of['memory']:.0f}"
            names = f"{comparison.name} | {who}".replace("_", " ")
            yield f"| {names} | {measured} | {of['reached']} of {of['seeds']} | {of['ratio']:.1f} |"


def compare(
    comparisons: Iterable[Comparison], torch_python: Path | str | None = None
) -> dict[str, dict[str, list[dict]]]:
    """Run comparisons. With each seed the recipe trains first, and its last quality is the target of ours.

    Args:
        comparisons: The comparisons.
        torch_python: Python that has PyTorch, for the comparison with TORCH.

    Returns:
        {name of the comparison: {who: results of `train`, one a seed}}.
    """
    found = {}
    for comparison in comparisons:
        sides = found[comparison.name] = {"ours": [], comparison.recipe: []}
        for seed in SEEDS:
            theirs = _train_in_own_process(comparison, comparison.recipe, seed, None, torch_python)
            ours = _train_in_own_process(comparison, "ours", seed, theirs["quality"][-1], torch_python)
            sides["ours"].append(ours)
            sides[comparison.recipe].append(theirs)
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
@click.argument("target", type=float, required=False)
@click.option("--only", type=click.Choice(list(COMPARISONS)), multiple=True, help="Run these alone; write nothing.")
@click.option(
    "--torch-python", envvar="TORCH_PYTHON", help="Python with torch, numpy and psutil.  [default: build/torch]"
)
def main(
    name: str | None,
    who: str | None,
    seed: int | None,
    target: float | None,
    only: Sequence[str],
    torch_python: str | None,
) -> None:
    """Run all comparisons, for the report; or train one side of one with one seed, as JSON on standard output."""
    if who:
        json.dump(train(COMPARISONS[name], who, seed, target), sys.stdout)
        return
    comparisons = [COMPARISONS[name] for name in only or COMPARISONS]
    if any(comparison.recipe == TORCH for comparison in comparisons):
        torch_python = torch_python or torch_environment()
    origin, made_from = records.origin("benchmarks"), inputs(comparisons)
    runs = compare(comparisons, torch_python)
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
    names = {"ours": "nasz VAE", "conv_vae": "splotowy VAE", TORCH: "VAE w PyTorch"}
    lines = {names[who]: [(run["seconds"], run["quality"]) for run in each] for who, each in runs.items()}
    return comparison.label, statistics.median(run["quality"][-1] for run in runs[comparison.recipe]), lines


if __name__ == "__main__":
    main()
