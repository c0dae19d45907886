"""What a training step and a start cost, in counts that do not depend on how busy a machine is. Times: benchmarks/."""

import itertools
import subprocess
import sys
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import growth, limit, race, recipes
from genmodels import data, experiments, training
from genmodels.vae import VAE


@lru_cache
def graph_of(name):
    """The graph of a run's training step, on a full batch."""
    digits = data.load().train
    run = experiments.RUNS[name]
    split = data.Split(*(part[: run.batch_size] for part in (digits.images, digits.labels)))
    models = [experiments.trained(other).model for other in experiments.needed(run)]
    setup = getattr(experiments, run.build)(run.settings(), SimpleNamespace(train=split, validation=split), *models)
    return limit.graph_of(setup.model, setup.make_batch(np.arange(run.batch_size), np.random.default_rng(0)))


def dense(batch, widths, *, needs_input=False):
    """Multiply-adds of dense layers: forward, and backward for weights and inputs, but not for the first input."""
    products = [batch * one * other for one, other in itertools.pairwise(widths)]
    return 3 * sum(products) - (0 if needs_input else products[0])


def test_a_step_of_the_vae_costs_what_its_layers_say():
    encoder = dense(128, (784, 512, 512, 256, 4))
    decoder = dense(128, (2 + 2 * 2 * 5, 256, 512, 512, 784), needs_input=True)
    for name in ("vae_mc", "vae_kl"):
        assert limit.multiply_adds(graph_of(name)) == encoder + decoder


def test_a_step_of_the_autoencoder_costs_what_its_layers_say():
    encoder = dense(256, (784, 512, 512, 512, 256, 2))
    decoder = dense(256, (2 + 2 * 2 * 6, 256, 512, 512, 512, 784), needs_input=True)
    assert limit.multiply_adds(graph_of("ae")) == encoder + decoder


@pytest.mark.parametrize(
    ("name", "millions", "nodes"),
    [
        ("ae", 1526, 1590),
        ("vae_mc", 562, 1190),
        ("vae_kl", 562, 1160),
        ("vae_before", 259, 490),
        ("cvae_2", 757, 1500),
        ("cvae_25", 765, 1500),
        ("cvae_100", 791, 1500),
        ("gan", 1774, 1490),
        ("judge", 641, 800),
        ("judge_2", 744, 490),
    ],
)
def test_a_step_costs_no_more_than_it_did(name, millions, nodes):
    graph = graph_of(name)
    assert limit.multiply_adds(graph) <= millions * 1e6
    assert len(graph.get_operations()) <= nodes


def test_multiply_adds_of_known_operations():
    @tf.function
    def work(images, kernel, matrix):
        return tf.nn.conv2d(images, kernel, 2, "SAME"), tf.matmul(matrix, matrix, transpose_a=True)

    shapes = [tf.TensorSpec(shape) for shape in ((4, 28, 28, 3), (5, 5, 3, 8), (6, 7))]
    graph = work.get_concrete_function(*shapes).graph
    assert limit.multiply_adds(graph) == 4 * 14 * 14 * 8 * 5 * 5 * 3 + 7 * 7 * 6


def modules_after(code):
    """Names of the modules that a Python process has imported after running `code`."""
    done = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True)
    return set(done.stdout.decode().split())


def test_the_command_line_starts_without_what_only_training_needs():
    loaded = modules_after("import genmodels.cli")
    heavy = {"tensorflow", "keras", "matplotlib", "scipy", "sklearn", "PIL", "pypandoc", "typst", "pypdf"}
    assert "genmodels.cli" in loaded and not loaded & heavy
    assert len(loaded) < 800


def test_reading_a_notebook_does_not_wait_for_grammars_that_nothing_uses():
    """They take jsonschema two seconds or more, in every process that runs a notebook or has nbval as a plugin."""
    loaded = modules_after("import nbformat")
    assert "jsonschema" in loaded and not loaded & {"rfc3987_syntax", "lark"}


def test_images_mapped_from_a_file_train_like_images_in_memory(digits, tmp_path):
    """A data set may be larger than memory: only the rows of a batch are read, each once in an epoch."""
    stored = np.memmap(tmp_path / "images", np.uint8, "w+", shape=digits.images.shape)
    stored[:] = np.rint(255 * digits.images)
    read = []

    def trained(images):
        def make(chosen, rng):
            read.append(chosen)
            return (data.quantise(images[chosen] / np.float32(255)),)

        training.prepare(0)
        model = VAE(hidden_units=(8,), seed=0)
        model.compile(training.adam(1e-3, 8))
        training.fit(model, training.Batches(len(images), 32, make, seed=0), epochs=2, name="mapped")
        return model.get_weights()

    mapped, held = trained(stored), trained(np.array(stored))
    assert all(np.array_equal(*pair) for pair in zip(mapped, held, strict=True))
    epochs = np.concatenate(read[1 : len(read) // 2])  # the first batch is asked for its shape alone
    assert sorted(epochs) == sorted([*range(128)] * 2)


def test_digits_for_the_growth_are_moved_digits(tmp_path):
    made = growth.moved_digits(tmp_path / "images", 50)
    assert made.shape == (50, 28, 28, 1) and made.dtype == np.uint8 and made.max() == 255
    assert growth.memory() > 10


@pytest.mark.parametrize("name", ["conv_vae", "conv_vae_grey", "conditional_gan", "dcgan"])
def test_the_published_recipes_learn(digits, name):
    model = getattr(recipes, name)(0)
    example = (digits.images, digits.labels) if name in ("conditional_gan", "dcgan") else (digits.images,)
    found = model.fit(*example, batch_size=64, verbose=0).history
    assert all(np.isfinite(values).all() for values in found.values())


def test_the_readme_says_what_the_benchmark_measured():
    from genmodels import cache, report

    numbers = cache.read_json(report.output() / "metrics.json").get("benchmark")
    text = (report.root() / "README.md").read_text(encoding="utf-8")
    header, *rows = race.table(numbers or {})
    assert (header in text) == bool(numbers)
    assert not numbers or [row for row in rows if row not in text] == []


def test_a_race_is_summed_up_by_medians():
    def run(seconds, quality):
        return {"seconds": [1.0, seconds], "cpu": [1.0, 2 * seconds], "quality": [300.0, quality], "memory": 100.0}

    runs = {
        "ours": [run(10, 150), run(20, 151), run(12, 149)],
        "conv_vae": [run(300, 156.9), run(200, 156), run(400, 155)],
    }
    found = race.summary(race.RACE["vae"], runs)
    assert found["ours"] == {
        "seconds": 12,
        "cpu": 24,
        "quality": 150,
        "memory": 100,
        "reached": 3,
        "seeds": 3,
        "ratio": 1,
    }
    assert (found["conv_vae"]["reached"], found["conv_vae"]["ratio"]) == (2, 25)
