"""Time to quality: seconds of training until a stated quality on the test set, ours and published recipes side by side.

Each training has a process of its own, one after another and in alternation, so that what else the machine does hits
all alike. Recipes may use all cores, as they do where nothing is set; ours uses one, as in the report. The clock runs
only while the model trains, its first, slow step included; looking at the quality stops it.
"""

import ast
import inspect
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import click

from benchmarks import recipes
from genmodels import cache, data, experiments, notebooks, report
from genmodels.figures import plot_race

SEEDS = 3
LOOKS = 1.25  # the steps at which the quality is looked at grow by this factor


@dataclass(frozen=True)
class Race:
    """ours: a run of the report. recipes: functions of `recipes`. quality: of `measures`; it reaches `target`."""

    name: str
    what: str  # the quality, in Polish
    ours: str
    recipes: tuple
    quality: str
    target: float
    falls: bool  # whether less is better
    overtime: float = float("inf")  # a recipe may stop once it has taken this many times as long as ours

    def reached(self, quality):
        return quality <= self.target if self.falls else quality >= self.target


RACES = (
    Race("vae", "−ELBO, obrazy progowane [naty]", "vae_mc", ("conv_vae",), "negative_elbo", 156.8, True),
    Race(
        "vae_grey",
        "−ELBO, obrazy szare [naty]",
        "vae_kl",
        ("conv_vae_grey",),
        "negative_elbo_grey",
        150.4,
        True,
        overtime=15,
    ),
    Race("gan", "rozpoznane obrazy", "gan", ("conditional_gan",), "label_accuracy", 0.95, False, overtime=10.5),
    Race("gan_distance", "odległość Frécheta", "gan", ("dcgan",), "frechet", 20.0, True, overtime=5),
)
RACE = {race.name: race for race in RACES}


def negative_elbo(model, splits, judge, *, prepare=data.quantise):
    """-ELBO of the test images in nats, one z each, the same noise each time."""
    from genmodels import metrics

    return metrics.negative_elbo(metrics.elbo_terms(model, prepare(splits.test.images), 0))["mean"]


def negative_elbo_grey(model, splits, judge):
    """The same for grey images, as they are."""
    return negative_elbo(model, splits, judge, prepare=lambda images: images)


def _drawn(model, labels):
    """Images (N, 28, 28, 1) in [0, 1] of a ConditionalGAN or of a PlainGAN."""
    import numpy as np

    if hasattr(model, "generate"):
        return model.generate(labels, seed=0)
    one_hot = np.eye(data.LABELS, dtype="float32")[labels]
    images = np.concatenate([model.draw(part) for part in np.split(one_hot, len(labels) // 500)])
    return (images - model.low) / (1 - model.low)


def label_accuracy(model, splits, judge):
    """Share of 2,000 drawn images that the judge gives the label asked for."""
    import numpy as np

    labels = np.arange(2_000) % data.LABELS
    return float((judge.classify(_drawn(model, labels)) == labels).mean())


def frechet(model, splits, judge):
    """Frechet distance of 5,000 drawn images from 5,000 test images in the judge's features."""
    from genmodels import metrics

    real = splits.test.images[:5_000]
    return metrics.frechet_distance(judge.features(_drawn(model, splits.test.labels[:5_000])), judge.features(real))


MEASURES = {measure.__name__: measure for measure in (negative_elbo, negative_elbo_grey, label_accuracy, frechet)}


def prepared(race, who, seed):
    """Model, training batches and epochs of one side of a race."""
    from genmodels import training

    splits = data.load()
    if who == "ours":
        run = experiments.find(race.ours)
        settings = {**run.settings(), "seed": seed}
        setup = getattr(experiments, run.build)(settings, splits)
        make, grey = setup.make_batch, lambda chosen, rng: (splits.train.images[chosen],)
        make = grey if race.quality == "negative_elbo_grey" else make
        return setup.model, training.Batches(setup.count, run.batch_size, make, seed=seed), run.epochs
    model, images, labels = getattr(recipes, who)(seed), splits.train.images, splits.train.labels
    makes = {
        "negative_elbo": lambda chosen, rng: (data.quantise(images[chosen]),),
        "negative_elbo_grey": lambda chosen, rng: (images[chosen],),
    }
    make = makes.get(race.quality, lambda chosen, rng: (images[chosen], labels[chosen]))
    return model, training.Batches(len(images), recipes.BATCH[who], make, seed=seed), recipes.EPOCHS[who]


def train(race, who, seed, limit):
    """Trains one side until it reaches the target, its published epochs end, or `limit` seconds are over.

    Returns a dict: seconds, cpu, steps and quality, a list each, at every look; memory: of the process before the
    first look, MiB.
    """
    import keras
    import psutil
    import tensorflow as tf

    from genmodels import training

    if who == "ours":
        training.prepare(seed)
    else:
        keras.utils.set_random_seed(seed)
        tf.config.list_logical_devices()  # starts TensorFlow on all cores; the judge would otherwise keep it to one
    judge = experiments.trained("judge").model if race.quality in ("label_accuracy", "frechet") else None
    model, batches, epochs = prepared(race, who, seed)
    found = {"seconds": [], "cpu": [], "steps": [], "quality": []}

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seconds = self.cpu = 0.0
            self.epoch, self.next = 0, 50
            self.go()

        def go(self):
            self.start = time.perf_counter(), time.process_time()

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            step = self.epoch * len(batches) + batch + 1
            if step >= self.next:
                self.look(step)
                self.next = LOOKS * step
                self.go()

        def look(self, step):
            self.seconds += time.perf_counter() - self.start[0]
            self.cpu += time.process_time() - self.start[1]
            found.setdefault("memory", psutil.Process().memory_info().rss / 2**20)
            quality = MEASURES[race.quality](model, splits, judge)
            for name, value in zip(found, (self.seconds, self.cpu, step, quality)):
                found[name].append(value)
            print(
                f"  {race.name}, {who}, seed {seed}: {self.seconds:.1f} s, {quality:.4g}", file=sys.stderr, flush=True
            )
            model.stop_training = race.reached(quality) or self.seconds > limit

        def on_train_end(self, logs=None):
            if not model.stop_training:
                self.look(self.epoch * len(batches) + len(batches))

    splits = data.load()
    if who == "ours":
        training.fit(model, batches, epochs=epochs, name=race.ours, callbacks=[Clock()])
    else:
        begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
        model.fit(batches.dataset(), epochs=epochs, shuffle=False, verbose=0, callbacks=[begin, Clock()])
    return found


def _in_own_process(race, who, seed, limit):
    """What `train` gives, from the cache where this code has run before."""
    parts = [race.name, who, seed, notebooks.parts(_made([race]))]
    path = cache.directory() / "bench" / f"{race.name}-{who}-{seed}-{cache.short(parts)}.json"
    if not path.is_file():
        command = [sys.executable, "-m", "benchmarks.race", race.name, who, str(seed), str(limit)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        cache.write_json(path, json.loads(done.stdout))
    return cache.read_json(path)


def _made(races):
    """What races rest on: this module and the recipes, the measures, our runs and the judge."""
    code = (ast.unparse(ast.parse(inspect.getsource(module))) for module in (sys.modules[__name__], recipes))
    return notebooks.Made(1, tuple(code), ("metrics",), tuple(dict.fromkeys([*(race.ours for race in races), "judge"])))


def summary(race, runs):
    """{who: medians over the seeds of what the last look found, how many reached the target, and the ratio to ours}.

    seconds, cpu: of training until the target, or, where that was not reached, until the end. memory: MiB.
    """
    found = {}
    for who, each in runs.items():
        last = {name: statistics.median(run[name][-1] for run in each) for name in ("seconds", "cpu", "quality")}
        reached = sum(race.reached(run["quality"][-1]) for run in each)
        memory = statistics.median(run["memory"] for run in each)
        found[who] = {**last, "memory": memory, "reached": reached, "seeds": len(each)}
    for who in found:
        found[who]["ratio"] = found[who]["seconds"] / found["ours"]["seconds"]
    return found


def table(numbers):
    """The Markdown table of the README, from what `main` records."""
    yield "| quality | who | seconds | CPU seconds | memory [MiB] | reached | ratio |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for race in (race for race in RACES if race.name in numbers):
        for who in ("ours", *race.recipes):
            of = numbers[race.name][who]
            quality = f"{race.quality.replace('_', ' ')} {'<=' if race.falls else '>='} {race.target:g}"
            reached = f"{of['reached']} of {of['seeds']}"
            ratio = f"{'' if of['reached'] == of['seeds'] else '> '}{of['ratio']:.1f}"
            figures = f"{of['seconds']:.1f} | {of['cpu']:.1f} | {of['memory']:.0f} | {reached} | {ratio}"
            yield f"| {quality} | {who.replace('_', ' ')} | {figures} |"


def compete(races, seeds):
    """Runs races, one seed of all after another; returns {race: {who: [what `train` gives, for each seed]}}."""
    found = {race.name: {who: [] for who in ("ours", *race.recipes)} for race in races}
    for seed in range(1, seeds + 1):
        for race in races:
            limit = float("inf")
            for who, runs in found[race.name].items():
                runs.append(_in_own_process(race, who, seed, limit))
                limit = race.overtime * found[race.name]["ours"][-1]["seconds"][-1]
    return found


@click.command()
@click.argument("name", type=click.Choice(list(RACE)), required=False)
@click.argument("who", required=False)
@click.argument("seed", type=int, required=False)
@click.argument("limit", type=float, required=False)
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, help="How many.")
@click.option("--race", "chosen", type=click.Choice(list(RACE)), multiple=True, default=list(RACE), help="Which races.")
def main(name, who, seed, limit, seeds, chosen):
    """All races, for the report; or one side of one with one seed, as JSON on standard output."""
    if who:
        json.dump(train(RACE[name], who, seed, limit), sys.stdout)
        return
    experiments.trained("judge")
    races = [RACE[name] for name in chosen]
    begun, runs = notebooks.origin("benchmarks"), compete(races, seeds)
    numbers = {race.name: summary(race, runs[race.name]) for race in races}
    print("\n".join(table(numbers)))
    if numbers.keys() != RACE.keys():  # the report quotes them all
        return
    report.record("benchmark", {**numbers, "machine": begun["machine"]})
    report.save(plot_race([_panel(race, runs[race.name]) for race in races]), *report.BENCHMARK)
    made = _made(races)
    noted = notebooks.provenance(dict.fromkeys(("benchmark", *report.BENCHMARK), (made, notebooks.parts(made))), begun)
    report.put(notebooks.provenance_path(), "benchmark", noted)


def _panel(race, runs):
    """What `figures.plot_race` draws of a race."""
    names = {"ours": "nasz model", **recipes.NAMES}
    lines = {names[who]: [(run["seconds"], run["quality"]) for run in each] for who, each in runs.items()}
    return race.what, race.target, lines


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
