import functools
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

from genmodels import config, load_model
from genmodels.datasets import Dataset, binarize, load_mnist
from genmodels.experiments import RUNS
from genmodels.pipeline import files, fingerprint, fitting, store

DIGITS = load_digits()


def digits(count=240, **options):
    return Dataset.from_arrays(DIGITS.images[:count], DIGITS.target[:count], scale=16, name="digits", **options)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.mark.parametrize("kind", fitting.STARTS)
def test_mnist_gets_the_settings_of_the_reports_run(kind):
    start, run = RUNS[fitting.STARTS[kind]], fitting.plan(kind, load_mnist(), **_likelihood(kind))
    same = ("epochs", "batch_size", "learning_rate", "decay", "builder")
    assert [getattr(run, name) for name in same] == [getattr(start, name) for name in same]
    assert run.options["image_shape"] == (28, 28, 1) and start.options.items() <= run.options.items()


def _likelihood(kind):
    return {"likelihood": "bernoulli"} if kind == "vae" else {}


@pytest.mark.parametrize("kind", fitting.STARTS)
def test_few_images_get_smaller_batches_and_enough_steps(kind, data):
    run = fitting.plan(kind, data)
    steps = run.epochs * -(-len(data.train) // run.batch_size)
    assert run.batch_size == fitting.SMALLEST and steps >= fitting.LEAST_STEPS[kind]


def test_settings_of_the_user_stay(data):
    run = fitting.plan("vae", data, epochs=3, batch_size=7, learning_rate=0.5, seed=4, beta=2.0, latent_dim=5)
    assert (run.epochs, run.batch_size, run.learning_rate, run.seed) == (3, 7, 0.5, 4)
    assert (run.options["beta"], run.options["latent_dim"]) == (2.0, 5)


@pytest.mark.parametrize("side", [8, 14, 28, 32])
def test_layers_of_small_images_are_narrower_and_learn_at_a_higher_rate(side):
    start = RUNS["ae"].learning_rate
    run = fitting.plan("ae", Dataset.from_arrays(np.zeros((50, side, side), "float32")))
    if side >= 28:
        assert "hidden_units" not in run.options and run.learning_rate == start
    else:
        widths = {8: (96, 96, 96), 14: (128, 128, 128)}[side]
        assert run.options["hidden_units"] == widths and start < run.learning_rate < 2 * start


def test_the_likelihood_follows_from_the_pixels(data):
    images = binarize(data.train.images)
    assert fitting.plan("vae", Dataset.from_arrays(images)).options["likelihood"] == "bernoulli"
    assert fitting.plan("vae", data).options["likelihood"] == "continuous_bernoulli"
    assert fitting.plan("vae", data, likelihood="gaussian").options["likelihood"] == "gaussian"


def test_one_grey_pixel_makes_images_grey():
    images = np.zeros((2_500, 4, 4), "float32")
    images[1_700, 2, 2] = 0.5
    assert not fitting.is_binary(Dataset.from_arrays(images)) and fitting.is_binary(Dataset.from_arrays(images[:1_500]))


def test_binarizing_is_said(data):
    said = fitting.describe(fitting.plan("vae", data, likelihood="bernoulli"), data)
    assert "240" not in said[0] and said[0] == repr(data) and "\n" not in said[0]
    assert "binarized at 0.5" in said[-1] and len(said) == 3


def test_the_other_likelihood_of_grey_drawings_is_said(data, rng):
    def said(of, **options):
        return fitting.describe(fitting.plan("vae", of, **options), of)[2:]

    (line,) = said(data)
    assert "which continuous_bernoulli describes" in line and "--likelihood bernoulli binarizes them at 0.5" in line
    colours = Dataset.from_arrays(rng.random((50, 8, 8, 3)))
    assert said(colours) == said(data, likelihood="gaussian") == []
    black_and_white = Dataset.from_arrays(binarize(data.train.images))
    assert said(black_and_white) == said(black_and_white, likelihood="continuous_bernoulli") == []


@pytest.mark.parametrize("kind", fitting.LABELLED)
def test_labels_are_asked_for(kind):
    with pytest.raises(ValueError, match=f"{kind}: expected images with labels, got 'x' without"):
        fitting.plan(kind, Dataset.from_arrays(DIGITS.images[:50], scale=16, name="x"))


def test_the_quick_mode_trains_for_one_epoch(data, smoke):
    assert fitting.plan("ae", data).settings()["epochs"] == 1


class Streamed:
    """A split that gives only batches, not all its images at once."""

    def __init__(self, split):
        self.split, self.labels, self.image_shape = split, split.labels, split.image_shape

    def __len__(self):
        return len(self.split)

    def batch(self, indices):
        return self.split.batch(indices)


@pytest.mark.parametrize("kind", fitting.STARTS)
def test_training_reads_images_in_batches(kind, data, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "SEEN", 20)
    streamed = [Streamed(split) for split in (data.train, data.validation, data.test)]
    of = Dataset("digits", *streamed, class_names=data.class_names, digest=data.digest, values=data.values)
    history = fitting.fit(fitting.plan(kind, of, epochs=1, batch_size=128), of, tmp_path / "x.keras")
    assert all(len(values) == 1 for values in history.values())


def test_colours_and_greys_are_not_binarized_for_a_classifier(data, rng):
    assert fitting._augmentation(data) == {"reach": 1, "border": "edge", "binarized_share": 0.0}
    assert fitting._augmentation(load_mnist()) == {"reach": 2, "border": "edge", "binarized_share": 0.5}
    colours = Dataset.from_arrays(rng.integers(0, 2, (50, 32, 32, 3), "uint8"))
    assert fitting._augmentation(colours)["binarized_share"] == 0.0


def interrupt(monkeypatch, after):
    """Raise KeyboardInterrupt once the checkpoint of an epoch is saved."""
    write, saved = files.save_arrays, []

    def save(path, state):
        write(path, state)
        saved.append(path)
        if len(saved) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "save_arrays", save)
    return saved


@pytest.mark.parametrize("kind", fitting.STARTS)
def test_an_interrupted_training_ends_with_the_same_weights(kind, data, tmp_path, monkeypatch, capfd):
    run = fitting.plan(kind, data, epochs=3, batch_size=64)
    whole = fitting.fit(run, data, tmp_path / "whole.keras")
    saved = interrupt(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(run, data, tmp_path / "resumed.keras")
    assert saved[-1].exists() and not (tmp_path / "resumed.keras").exists()
    resumed = fitting.fit(run, data, tmp_path / "resumed.keras")
    assert f"{kind}: goes on after epoch 2" in capfd.readouterr().err
    assert not saved[-1].exists() and len(saved) == 3
    assert str(whole) == str(resumed)
    pair = [load_model(tmp_path / name).get_weights() for name in ("whole.keras", "resumed.keras")]
    assert all(np.array_equal(*each) for each in zip(*pair)) and pair[0]


ON_CORES = """
import sys
from tests.pipeline.test_fitting import digits
from genmodels.pipeline import fitting
kind, cores, output = sys.argv[1:]
run = fitting.plan(kind, digits(), epochs=2, batch_size=64)
fitting.fit(run, digits(), output, cores=int(cores))
import tensorflow as tf
print(tf.config.threading.get_inter_op_parallelism_threads(), tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_the_weights_do_not_depend_on_the_number_of_cores(kind, tmp_path):
    for cores in ("1", "3"):
        command = [sys.executable, "-c", ON_CORES, kind, cores, str(tmp_path / f"{cores}.keras")]
        environment = {**os.environ, "GENMODELS_CACHE": str(tmp_path / cores)}
        said = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment)
        assert said.stdout.split() == [cores, "1"]
    pair = [load_model(tmp_path / name).get_weights() for name in ("1.keras", "3.keras")]
    assert all(np.array_equal(*each) for each in zip(*pair)) and pair[0]


def test_a_model_that_could_not_be_written_is_not_trained_again(data, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    run = fitting.plan("ae", data, epochs=1, batch_size=128)
    with pytest.raises(files.ResourceError):
        fitting.fit(run, data, tmp_path / "file" / "x.keras")
    history = fitting.fit(run, data, tmp_path / "x.keras")
    said = capfd.readouterr().err
    assert "ae: goes on after epoch 1" in said and said.count("epoch 1/1") == 1
    assert len(history["loss"]) == 1 and load_model(tmp_path / "x.keras").latent_dim == 2


def aged(path, days):
    """Write a file, or leave it as it is, and make it some days old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()
    os.utime(path, (then := time.time() - days * 86_400, then))
    return path


def test_checkpoints_that_nobody_goes_on_from_are_removed_after_a_month(data, tmp_path):
    unfinished = config.cache_folder() / "unfinished"
    young, old = (aged(unfinished / f"vae-{days}.npz", days) for days in (29, 31))
    fitting.fit(fitting.plan("ae", data, epochs=1, batch_size=128), data, tmp_path / "x.keras")
    assert young.exists() and not old.exists()


def test_an_old_checkpoint_is_gone_on_from(data, tmp_path, monkeypatch, capfd):
    run = fitting.plan("ae", data, epochs=2, batch_size=128)
    saved = interrupt(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(run, data, tmp_path / "x.keras")
    aged(saved[0], 300)
    monkeypatch.setattr(store, "train_on", lambda *_, **__: pytest.fail("stopped once more"))
    with pytest.raises(pytest.fail.Exception):
        fitting.fit(run, data, tmp_path / "x.keras")
    assert "ae: goes on after epoch 1" in capfd.readouterr().err and saved[0].exists()


class Painter:
    """A GAN that draws real images of the labels below `able`, and noise for the others."""

    image_shape, num_classes = (8, 8, 1), 10

    def __init__(self, split, able=10):
        self.split, self.able = split, able

    def generate(self, labels, seed):
        rng = np.random.default_rng(seed)
        drawn = [self.split.images[rng.choice(np.flatnonzero(self.split.labels == label))] for label in labels]
        return np.where(np.reshape(labels < self.able, (-1, 1, 1, 1)), drawn, rng.random((len(labels), 8, 8, 1)))


def test_a_classifier_learns_the_classes_that_a_gan_can_draw(graphs, monkeypatch):
    monkeypatch.setitem(fitting.LEAST_STEPS, "classifier", 400)
    data = digits(1_000)
    found = fitting.classification_accuracy(Painter(data.train, able=5), data)
    score = found["classification_accuracy_score"]
    assert 0.4 < score["value"] < 0.6 and score["real"] > 0.9
    assert found.keys() == {"classification_accuracy_score"} and (score["error"], score["better"]) == (None, "higher")


@pytest.mark.parametrize("most", [None, 100])
def test_both_classifiers_learn_from_as_many_images_with_the_same_labels(data, smoke, monkeypatch, most):
    if most:
        monkeypatch.setattr(fitting, "DRAWN", 64 * most + 63)
    build, given = fitting._BUILDERS["classifier"], []
    noting = functools.wraps(build)(lambda *both: given.append(both) or build(*both))
    monkeypatch.setitem(fitting._BUILDERS, "classifier", noting)
    fitting.classification_accuracy(Painter(data.train), data)
    (first, drawn), (second, real) = given
    assert {**first, "name": None} == {**second, "name": None}
    assert np.array_equal(drawn.train.labels, real.train.labels) and len(real.train) == (most or len(data.train))
    assert not np.array_equal(drawn.train.images, real.train.images)
    assert drawn.digest != real.digest == data.digest and drawn.validation is real.validation is data.validation


def test_interrupted_trainings_of_both_classifiers_go_on(data, smoke, monkeypatch, capfd):
    saved = interrupt(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        fitting.classification_accuracy(Painter(data.train), data)
    fitting.classification_accuracy(Painter(data.train), data)
    said = capfd.readouterr().err
    assert "classifier_of_generated: goes on after epoch 1" in said
    assert "classifier_of_real: goes on after epoch 1" in said
    assert len(saved) == 2 and not any(path.exists() for path in saved)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (object(), {}, "expected a ConditionalGAN to train a classifier on its images, got object"),
        (Painter(None), {"size": 7}, r"expected a GAN of 10 classes of images of shape \(7, 7, 1\), .* \(8, 8, 1\)"),
        (Painter(None), {"labels": None}, "expected data with labels to train a classifier, got 'arrays' without"),
    ],
)
def test_a_classifier_learns_only_from_a_gan_of_such_images(model, options, message):
    images, labels = np.zeros((50, *[options.get("size", 8)] * 2)), options.get("labels", np.arange(50) % 10)
    with pytest.raises(ValueError, match=message):
        fitting.classification_accuracy(model, Dataset.from_arrays(images, labels))


def test_other_settings_or_data_do_not_go_on_from_a_checkpoint(data):
    run = fitting.plan("ae", data)
    keys = [
        fitting.identity(run, data),
        fitting.identity(fitting.plan("ae", data, seed=2), data),
        fitting.identity(fitting.plan("ae", data, latent_dim=3), data),
        fitting.identity(run, digits(230)),
        fitting.identity(run, digits(test_share=0.2)),
    ]
    assert len(set(map(files.short, keys))) == 5 and fitting.identity(run, digits()) == keys[0]


MODULES = {"ae": "autoencoder", "vae": "vae", "gan": "gan", "classifier": "classifier"}


@pytest.mark.parametrize("kind", MODULES)
def test_the_key_follows_the_code_of_the_model_and_of_no_other(kind, data):
    found = {name for name in fitting.identity(fitting.plan(kind, data), data) if name.endswith(".py")}
    parts = {"optimizers.py", "training.py", "layers.py", "images.py", "readers/arrays.py", "pipeline/fitting.py"}
    assert parts <= found
    assert {f"models/{module}.py" for module in MODULES.values()} & found == {f"models/{MODULES[kind]}.py"}


def test_a_gan_without_hope_is_stopped_with_its_reason(data, tmp_path, monkeypatch):
    from genmodels import training

    monkeypatch.setattr(training, "PATIENCE", 1)
    monkeypatch.setattr(training, "PATIENCE_STEPS", 1)
    monkeypatch.setattr(training, "MIN_DIVERSITY", 99)
    saved = interrupt(monkeypatch, 0)
    with pytest.raises(store.DivergedError, match="gan: stopped after epoch 1: the generator has collapsed"):
        fitting.fit(fitting.plan("gan", data, epochs=2, batch_size=128), data, tmp_path / "x.keras")
    assert not any(path.exists() for path in saved) and not (tmp_path / "x.keras").exists()


def test_numbers_that_are_not_finite_end_a_training(data, tmp_path):
    run = fitting.plan("ae", data, epochs=1, batch_size=64, learning_rate=1e30)
    with pytest.raises(store.DivergedError, match="a lower learning rate usually helps"):
        fitting.fit(run, data, tmp_path / "x.keras")


def test_edited_code_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "edited", lambda *_: ["models/vae.py"])
    with pytest.raises(store.TrainingError, match=r"models/vae\.py changed while vae was trained; start again"):
        fitting.fit(fitting.plan("vae", data, epochs=1, batch_size=128), data, tmp_path / "x.keras")


def test_three_images_train(tmp_path):
    data = Dataset.from_arrays(DIGITS.images[:3], scale=16)
    fitting.fit(fitting.plan("ae", data, epochs=1), data, tmp_path / "x.keras")
