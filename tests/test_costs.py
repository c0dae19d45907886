"""Costs of a training step and of a start, in counts that do not depend on the machine. benchmarks/ measures times."""

import itertools
import subprocess
import sys
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import recipes, roofline, scaling, time_to_quality
from genmodels import config, datasets, experiments, training
from genmodels.experiments import BUILDERS
from genmodels.models.vae import VAE
from genmodels.optimizers import adam
from genmodels.pipeline import files, records


@lru_cache
def graph_of(name):
    """Return the graph of a run's training step on a full batch."""
    digits = datasets.load_mnist().train
    run = experiments.RUNS[name]
    split = datasets.Split(*(part[: run.batch_size] for part in (digits.images, digits.labels)))
    setup = BUILDERS[run.builder](run.settings(), SimpleNamespace(train=split, validation=split))
    return roofline.graph_of(setup.model, setup.make_batch(np.arange(run.batch_size), np.random.default_rng(0)))


def dense(batch, widths, *, needs_input=False):
    """Count the multiply-adds of dense layers forward, and backward for weights and inputs, except the first input."""
    products = [batch * one * other for one, other in itertools.pairwise(widths)]
    return 3 * sum(products) - (0 if needs_input else products[0])


def test_a_step_of_the_vae_costs_what_its_layers_say():
    encoder = dense(128, (784, 512, 512, 256, 4))
    decoder = dense(128, (2 + 2 * 2 * 5, 256, 512, 512, 784), needs_input=True)
    for name in ("vae_mc", "vae_kl"):
        assert roofline.multiply_adds(graph_of(name)) == encoder + decoder


def test_a_step_of_the_autoencoder_costs_what_its_layers_say():
    encoder = dense(256, (784, 256, 256, 256, 2))
    decoder = dense(256, (2 + 2 * 2 * 6, 256, 256, 256, 784), needs_input=True)
    assert roofline.multiply_adds(graph_of("ae")) == encoder + decoder


@pytest.mark.parametrize(
    ("name", "millions", "nodes"),
    [
        ("ae", 464, 1290),
        ("vae_mc", 562, 1430),
        ("vae_kl", 562, 1400),
        ("vae_before", 259, 590),
        ("ae_plain", 230, 600),
        ("cvae_plain_25", 1140, 900),
        ("cvae_2", 764, 2700),
        ("cvae_25", 578, 2400),
        ("cvae_100", 633, 2400),
        ("gan", 2100, 1630),
        ("reference", 641, 800),
        ("reference_2", 744, 490),
    ],
)
def test_a_step_costs_no_more_than_its_limit(name, millions, nodes):
    graph = graph_of(name)
    assert roofline.multiply_adds(graph) <= millions * 1e6
    assert len(graph.get_operations()) <= nodes


def test_multiply_adds_of_known_operations():
    @tf.function
    def work(images, kernel, matrix):
        return tf.nn.conv2d(images, kernel, 2, "SAME"), tf.matmul(matrix, matrix, transpose_a=True)

    shapes = [tf.TensorSpec(shape) for shape in ((4, 28, 28, 3), (5, 5, 3, 8), (6, 7))]
    graph = work.get_concrete_function(*shapes).graph
    assert roofline.multiply_adds(graph) == 4 * 14 * 14 * 8 * 5 * 5 * 3 + 7 * 7 * 6


def modules_after(code):
    """Return the names of the modules that a Python process has imported after running `code`."""
    done = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True)
    return set(done.stdout.decode().split())


def test_the_command_line_starts_without_what_only_training_needs():
    loaded = modules_after("import genmodels.cli")
    heavy = {"tensorflow", "keras", "matplotlib", "scipy", "sklearn", "PIL", "pypandoc", "typst", "pypdf"}
    assert "genmodels.cli" in loaded and not loaded & heavy
    assert len(loaded) < 800


def test_reading_a_notebook_does_not_wait_for_grammars_that_nothing_uses():
    """Import nbformat without the grammars of jsonschema, which take two seconds in every process with a notebook."""
    loaded = modules_after("import nbformat")
    assert "jsonschema" in loaded and not loaded & {"rfc3987_syntax", "lark"}


def test_images_mapped_from_a_file_train_like_images_in_memory(digits, tmp_path):
    """Read only the rows of a batch, each once in an epoch, so that a data set may be larger than memory."""
    stored = np.memmap(tmp_path / "images", np.uint8, "w+", shape=digits.images.shape)
    stored[:] = np.rint(255 * digits.images)
    read = []

    def trained(images):
        def make(chosen, rng):
            read.append(chosen)
            return (datasets.binarize(images[chosen] / np.float32(255)),)

        training.prepare(0)
        model = VAE(hidden_units=(8,), seed=0)
        model.compile(adam(1e-3, 8))
        training.fit(model, training.Batches(len(images), 32, make, seed=0), epochs=2, name="mapped")
        return model.get_weights()

    mapped, held = trained(stored), trained(np.array(stored))
    assert all(np.array_equal(*pair) for pair in zip(mapped, held, strict=True))
    epochs = np.concatenate(read[1 : len(read) // 2])  # the first batch only gives the shapes
    assert sorted(epochs) == sorted([*range(128)] * 2)


def test_scaling_trains_on_moved_digits(tmp_path):
    made = scaling.moved_digits(tmp_path / "images", 50)
    assert made.shape == (50, 28, 28, 1) and made.dtype == np.uint8 and made.max() == 255


def test_scaling_measures_the_memory_of_this_process():
    assert scaling.memory() > 10


def test_the_published_recipe_learns(digits):
    losses = recipes.conv_vae(0).fit(datasets.binarize(digits.images), epochs=2, batch_size=32, verbose=0).history
    assert losses["loss"][1] < losses["loss"][0] and np.isfinite(losses["loss"]).all()


def test_the_readme_of_benchmarks_has_the_measured_table():
    numbers = files.read_json(records.output() / "metrics.json").get("benchmark")
    text = (config.checkout() / "benchmarks" / "README.md").read_text(encoding="utf-8")
    header, *rows = time_to_quality.table(numbers or {})
    assert (header in text) == bool(numbers)
    assert not numbers or [row for row in rows if row not in text] == []


def found(seconds, quality, **about):
    """Return what a training gave: two measurements, the first after a second."""
    return {"seconds": [1.0, seconds], "cpu": [1.0, 2 * seconds], "quality": [300.0, quality], "memory": 100.0, **about}


def test_a_comparison_is_summed_up_by_medians_of_pairs():
    comparison = time_to_quality.COMPARISONS["vae"]
    ours, theirs = zip(
        (found(10, 150), found(300, 151)), (found(20, 152), found(200, 151)), (found(12, 149), found(480, 155))
    )
    numbers = time_to_quality.summary(comparison, {"ours": ours, "conv_vae": theirs})
    known = {"memory": 100, "seeds": 3}
    assert numbers["ours"] == {"seconds": 12, "cpu": 24, "quality": 150, "reached": 2, "ratio": 1, **known}
    assert numbers["conv_vae"] == {"seconds": 300, "cpu": 600, "quality": 151, "reached": 3, "ratio": 30, **known}


def test_each_seed_of_ours_has_the_last_quality_of_the_recipe_as_its_target(monkeypatch):
    trained, about = [], {"torch": "2.13.0+cpu", "threads": 2}
    last = {("torch_vae", 1): 105.3, ("torch_vae", 2): 105.9, ("torch_vae", 3): 105.1}
    last |= {("ours", 1): 105.2, ("ours", 2): 106.0, ("ours", 3): 105.0}

    def train(comparison, who, seed, target, torch_python):
        trained.append((who, seed, target))
        return found(10, last[who, seed]) if who == "ours" else found(40, last[who, seed], **about)

    monkeypatch.setattr(time_to_quality, "_train_in_own_process", train)
    comparison = time_to_quality.COMPARISONS["vae_torch"]
    runs = time_to_quality.compare([comparison])["vae_torch"]
    assert trained[:4] == [("torch_vae", 1, None), ("ours", 1, 105.3), ("torch_vae", 2, None), ("ours", 2, 105.9)]
    numbers = time_to_quality.summary(comparison, runs)
    assert [*numbers] == ["ours", "torch_vae"]
    assert (numbers["torch_vae"]["torch"], numbers["torch_vae"]["threads"]) == ("2.13.0+cpu", 2)
    assert (numbers["ours"]["reached"], "torch" in numbers["ours"]) == (2, False)
    rows = [*time_to_quality.table({"vae_torch": numbers})][2:]
    assert rows[0] == "| vae torch | torch vae | 105.3 | 40.0 | 80.0 | 100 | 3 of 3 | 4.0 |"


def test_the_run_beside_pytorch_is_recorded_with_its_settings():
    """It is no run of the report, so the record could not find it by its name."""
    with_run, other = (time_to_quality.inputs([time_to_quality.COMPARISONS[name]]) for name in ("vae_torch", "vae"))
    assert with_run["run vae_20"] and "run vae_20" not in other
    assert all(with_run[f"file benchmarks/{name}"] for name in ("torch_vae.py", "torch.lock"))


@pytest.mark.filterwarnings("ignore:VAE. likelihood:UserWarning")  # the example's loss is for grey images
def test_a_side_trains_until_a_target_of_its_own(digits, monkeypatch):
    """Set up our side as the benchmark does, on a few images."""
    few = SimpleNamespace(train=digits, validation=digits, test=digits)
    monkeypatch.setattr(time_to_quality, "load_mnist", lambda: few)
    comparison = time_to_quality.COMPARISONS["vae_torch"]
    trained = time_to_quality.train(comparison, "ours", 1, 1e9)
    assert trained["steps"] == [2] and trained["quality"][0] < 1e9


def test_the_environment_of_pytorch_is_made_once(tmp_path, monkeypatch):
    commands = []

    def run(command, check):
        commands.append([str(part) for part in command])
        (tmp_path / "build" / "torch").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(time_to_quality.records, "root", lambda: tmp_path)
    monkeypatch.setattr(time_to_quality.subprocess, "run", run)
    python = time_to_quality.torch_environment()
    assert time_to_quality.torch_environment() == python and tmp_path in python.parents
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
