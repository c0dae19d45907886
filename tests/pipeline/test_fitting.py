import numpy as np
import pytest
from sklearn.datasets import load_digits

from genmodels import load_model
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
    assert "binarized at 0.5" in said[-1]
    assert len(fitting.describe(fitting.plan("vae", data), data)) == 2


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


def test_a_model_that_could_not_be_written_is_not_trained_again(data, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    run = fitting.plan("ae", data, epochs=1, batch_size=128)
    with pytest.raises(files.ResourceError):
        fitting.fit(run, data, tmp_path / "file" / "x.keras")
    history = fitting.fit(run, data, tmp_path / "x.keras")
    said = capfd.readouterr().err
    assert "ae: goes on after epoch 1" in said and said.count("epoch 1/1") == 1
    assert len(history["loss"]) == 1 and load_model(tmp_path / "x.keras").latent_dim == 2


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


def test_the_key_follows_the_code_of_all_models_and_readers():
    found = fingerprint.code(*fitting._LEADS)
    parts = {"models/autoencoder.py", "models/vae.py", "models/gan.py", "models/classifier.py", "optimizers.py"}
    assert parts | {"training.py", "layers.py", "images.py", "readers/arrays.py", "pipeline/fitting.py"} <= set(found)


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
