"""Every way into a model: each bad input is refused with one line, and what Keras documents is honoured."""

import subprocess
import sys
import warnings
from functools import lru_cache, partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genmodels.canvas import conditions, place_on_canvas
from genmodels.models.autoencoder import AE
from genmodels.models.classifier import Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.gan import ConditionalGAN
from genmodels.models.vae import VAE
from genmodels.optimizers import FusedAdam
from genmodels.training import Batches

COUNT = 12
SOME = np.random.default_rng(7)
GREY = SOME.random((COUNT, 28, 28, 1)).astype("float32")
BINARY = np.rint(GREY)
LABELS = SOME.integers(0, 10, COUNT)
CONDITIONS = conditions(LABELS, SOME.integers(0, 3, COUNT), SOME.integers(0, 3, COUNT))
CANVASES = place_on_canvas(BINARY, CONDITIONS[:, 1:])
# {model: (x, y) that it learns from}
GOOD = {
    "AE": (GREY, None),
    "VAE": (BINARY, None),
    "ConditionalVAE": ((CANVASES, CONDITIONS), None),
    "ConditionalGAN": (GREY, LABELS),
    "Classifier": (GREY, LABELS),
}


def build(kind, optimizer=keras.optimizers.SGD, rate=1e-3, dtype=None, compiled=None, **options):
    """Return a small compiled model; `optimizer` is a class, called once for each network."""
    keras.utils.set_random_seed(4)
    sizes = {"ConditionalGAN": {"channels": 4, "noise_dim": 3}, "Classifier": {}}.get(kind, {"hidden_units": (8,)})
    classes = AE, VAE, ConditionalVAE, ConditionalGAN, Classifier
    model = {each.__name__: each for each in classes}[kind](dtype=dtype, **{**sizes, **options})
    optimizers = [optimizer(rate) for _ in range(2 if kind == "ConditionalGAN" else 1)]
    loss = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)} if kind == "Classifier" else {}
    model.compile(*optimizers, **loss, **(compiled or {}))
    return model


small = lru_cache(build)


def batches(x, y, weights=None, size=6):
    """Yield batches of examples, as a generator of a user would."""
    for start in range(0, COUNT, size):
        rows = slice(start, start + size)
        part = tuple(each[rows] for each in x) if isinstance(x, tuple) else x[rows]
        rest = [each[rows] for each in (y, weights) if each is not None]
        yield (part, *rest)


class Source(keras.utils.PyDataset):
    """The same batches as a PyDataset."""

    def __init__(self, *data):
        super().__init__()
        self.batches = list(batches(*data))
        self.checks = []  # a name that the dataset of `training.Batches` uses too

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def dataset(x, y, size=6):
    return tf.data.Dataset.from_tensor_slices((x,) if y is None else (x, y)).batch(size)


def shuffled(x, y, size=6):
    """Return the dataset of `training.Batches`, which calls the check of the model itself."""

    def make(chosen, rng):
        return tf.nest.map_structure(lambda part: part[chosen], (x,) if y is None else (x, y))

    return Batches(COUNT, size, make, seed=0).dataset()


WAYS = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "fit, tf.data": lambda model, x, y: model.fit(dataset(x, y), verbose=0),
    "fit, generator": lambda model, x, y: model.fit(batches(x, y), verbose=0),
    "fit, Batches": lambda model, x, y: model.fit(shuffled(x, y), verbose=0),
    "fit, mapped Batches": lambda model, x, y: model.fit(shuffled(x, y).map(lambda *batch: batch), verbose=0),
    "fit, PyDataset": lambda model, x, y: model.fit(Source(x, y), verbose=0),
    "fit, one epoch of two": lambda model, x, y: model.fit(dataset(x, y).repeat(), steps_per_epoch=2, verbose=0),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "evaluate, tf.data": lambda model, x, y: model.evaluate(dataset(x, y), verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
}


def unbatched(model, x, y):
    model.fit(dataset(x, y).unbatch(), verbose=0)


def bare_batches(model, x, y):
    model.fit((list(batch) for batch in batches(x, y)), verbose=0)


def of_unknown_shape(model, x, y):
    spec = tf.nest.map_structure(lambda part: tf.TensorSpec((None,) * part.ndim, part.dtype), next(batches(x, y)))
    model.fit(tf.data.Dataset.from_generator(lambda: batches(x, y), output_signature=spec), verbose=0)


def four_parts(model, x, y):
    model.fit(x, y, validation_data=(x, y, None, None), verbose=0)


ODD_WAYS = {
    "fit, not batched": unbatched,
    "fit, bare batches": bare_batches,
    "fit, shape unknown": of_unknown_shape,
    "fit, four parts held out": four_parts,
}


def held_out(way):
    def fit(model, x, y):
        good = GOOD[type(model).__name__]
        other = (x, y) if way == "arrays" else dataset(x, y) if way == "tf.data" else batches(x, y)
        model.fit(*good, validation_data=other, validation_steps=1, verbose=0)

    return fit


WAYS |= {f"validation_data, {way}": held_out(way) for way in ("arrays", "tf.data", "generator")}


def pictures(images):
    """Return {why: value} of values that are no images of that shape."""
    return {
        "bytes to 255": (255 * images).astype("uint8"),
        "grey levels to 255": 255 * images,
        "from -1 to 1": 2 * images - 1,
        "nan": np.where(images == images[0, 14, 14], np.nan, images),
        "infinite": images + np.inf,
        "no channel axis": images[..., 0],
        "channels first": np.moveaxis(images, -1, 1),
        "another side": images[:, 1:],
        "three channels": np.repeat(images, 3, axis=-1),
        "flat": images.reshape(COUNT, -1),
        "complex": images.astype("complex64"),
    }


NOT_LABELS = {
    "from 1 to 26": LABELS + 17,
    "negative": LABELS - 10,
    "fractions": LABELS + 0.7,
    "one column": LABELS[:, None],
    "true and false": LABELS > 4,
}
NOT_CONDITIONS = {
    "label 12": CONDITIONS + np.array([12, 0, 0]),
    "position 3": CONDITIONS + np.array([0, 0, 3]),
    "negative": CONDITIONS - [20, 0, 0],
    "fractions": CONDITIONS + 0.5,
    "without pos_y": CONDITIONS[:, :2],
    "one-hot": np.eye(16, dtype="int32")[:COUNT],
}


def with_images(kind, images):
    x, y = GOOD[kind]
    return ((images, x[1]) if isinstance(x, tuple) else images), y


def images_of(kind):
    return GOOD[kind][0][0] if kind == "ConditionalVAE" else GOOD[kind][0]


def rows():
    """Return {name: (model, way, x, y)}: each bad image by two ways, one by every way, and the rest."""
    found = {}
    for kind in GOOD:
        bad = pictures(images_of(kind))
        for why, images in bad.items():
            for way in ("fit", "fit, tf.data"):
                found[f"{kind}, {way}, {why}"] = (kind, way, *with_images(kind, images))
        late = images_of(kind).copy()
        late[-1] *= 255  # in the second batch only
        for way in WAYS:
            found[f"{kind}, {way}, bytes to 255"] = (kind, way, *with_images(kind, bad["bytes to 255"]))
            if not way.startswith("validation_data"):  # one step of validation
                found[f"{kind}, {way}, second batch to 255"] = (kind, way, *with_images(kind, late))
    some_ways = ("fit", "fit, tf.data", "fit, generator", "evaluate", "train_on_batch")
    for kind in ("ConditionalGAN", "Classifier"):
        for why, labels in NOT_LABELS.items():
            for way in some_ways:
                found[f"{kind}, {way}, labels {why}"] = (kind, way, GREY, labels)
        found[f"{kind}, fit, no labels"] = (kind, "fit", GREY, None)
        found[f"{kind}, fit, few labels"] = (kind, "fit", GREY, LABELS[1:])
    found["ConditionalGAN, fit, one-hot labels"] = ("ConditionalGAN", "fit", GREY, np.eye(10)[LABELS])
    found["Classifier, fit, one-hot of 12"] = ("Classifier", "fit", GREY, np.eye(12)[LABELS])
    for why, given in NOT_CONDITIONS.items():
        for way in some_ways:
            found[f"ConditionalVAE, {way}, conditions {why}"] = ("ConditionalVAE", way, (CANVASES, given), None)
    found["ConditionalVAE, fit, few conditions"] = ("ConditionalVAE", "fit", (CANVASES, CONDITIONS[1:]), None)
    found["ConditionalVAE, fit, conditions as y"] = ("ConditionalVAE", "fit", CANVASES, CONDITIONS)
    found["ConditionalVAE, fit, digits"] = ("ConditionalVAE", "fit", (BINARY, CONDITIONS), None)
    for kind in ("AE", "VAE", "ConditionalVAE"):
        x, images = GOOD[kind][0], images_of(kind)
        targets = {"labels": LABELS, "to 255": 255 * images, "few": images[1:], "another shape": images[:, 2:]}
        for why, y in targets.items():
            found[f"{kind}, fit, targets {why}"] = (kind, "fit", x, y)
    for kind in GOOD:
        found[f"{kind}, fit, nothing"] = (kind, "fit", None, None)
        found[f"{kind}, fit, an iterator"] = (kind, "fit", iter([images_of(kind)]), None)
        found[f"{kind}, fit, a list of images"] = (kind, "fit", list(images_of(kind)), GOOD[kind][1])
        found[f"{kind}, no batches"] = (kind, "fit, not batched", *GOOD[kind])
        found[f"{kind}, no tuples"] = (kind, "fit, bare batches", *GOOD[kind])
        found[f"{kind}, unknown shape"] = (kind, "fit, shape unknown", *GOOD[kind])
        found[f"{kind}, four parts"] = (kind, "fit, four parts held out", *GOOD[kind])
    return found


ROWS = rows()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS)
def test_refused_in_one_line(row):
    kind, way, x, y = ROWS[row]
    model = small(kind)
    ways = {**WAYS, **ODD_WAYS}
    before = model.get_weights()
    if "second batch" in row and way in ("train_on_batch", "test_on_batch"):
        way = "evaluate"
    with pytest.raises(ValueError, match=r"(must|expected) .*|add the axis") as refused:
        ways[way](model, x, y)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    if not any(late in row for late in ("second batch", "generator", "PyDataset", "validation_data", "mapped Batches")):
        assert all(map(np.array_equal, before, model.get_weights()))


def test_the_table_is_long():
    assert len(ROWS) >= 120


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("way", WAYS)
def test_good_data_are_taken_by_every_way(kind, way):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        WAYS[way](small(kind), *GOOD[kind])


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # of a generator, at its end
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
@pytest.mark.parametrize("way", ["fit", "fit, tf.data", "fit, generator", "evaluate"])
def test_binary_images_may_have_any_dtype(way, dtype):
    WAYS[way](small("VAE"), BINARY.astype(dtype), None)


def test_lists_of_numbers_are_arrays():
    small("ConditionalGAN").fit(GREY, LABELS.tolist(), verbose=0)
    small("ConditionalVAE").fit([CANVASES, CONDITIONS.tolist()], sample_weight=[1.0] * COUNT, verbose=0)


PREDICTED = {
    "AE": GREY,
    "VAE": BINARY,
    "ConditionalVAE": (CANVASES, CONDITIONS),
    "ConditionalGAN": (np.zeros((COUNT, 3), "float32"), np.eye(10, dtype="float32")[LABELS]),
    "Classifier": GREY,
}


@pytest.mark.parametrize("kind", PREDICTED)
def test_predict_takes_arrays_and_datasets_alike(kind):
    model, x = small(kind), PREDICTED[kind]
    given = dataset(x, None)
    found = model.predict(x, verbose=0), model.predict(given, verbose=0), model.predict_on_batch(x)
    if kind in ("AE", "ConditionalGAN", "Classifier"):  # VAEs draw z
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[0], found[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", PREDICTED)
@pytest.mark.parametrize("way", ["predict", "predict_on_batch"])
def test_predict_refuses_what_it_cannot_mean(kind, way):
    bad = PREDICTED[kind][:1] if isinstance(PREDICTED[kind], tuple) else 255 * PREDICTED[kind]
    with pytest.raises(ValueError, match=r"must be|divide them by 255"):
        getattr(small(kind), way)(bad)


@pytest.mark.parametrize(
    ("weights", "why"),
    [(-np.ones(COUNT), "from|>= 0"), (np.full(COUNT, np.nan), "got nan"), (np.ones(3), "12, got 3"), (GREY, "shape")],
)
@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalVAE", "Classifier"])
def test_bad_weights_are_refused(kind, weights, why):
    x, y = GOOD[kind]
    with pytest.raises(ValueError, match=why):
        small(kind).fit(x, y, sample_weight=weights, verbose=0)


def test_a_gan_takes_no_weights():
    for given in ({"sample_weight": np.ones(COUNT)}, {"class_weight": {0: 1.0}}):
        with pytest.raises(ValueError, match=r"expected no (sample|class)_weight"):
            small("ConditionalGAN").fit(GREY, LABELS, **given, verbose=0)


@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalVAE"])
def test_class_weights_need_labels(kind):
    with pytest.raises(ValueError, match="expected no class_weight"):
        small(kind).fit(GOOD[kind][0], class_weight={0: 2.0}, verbose=0)


@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalVAE", "ConditionalGAN"])
@pytest.mark.parametrize("extra", [{"loss": "mse"}, {"loss_weights": [2.0]}])
def test_a_loss_beside_the_own_one_is_refused(kind, extra):
    optimizers = ["adam"] * (2 if kind == "ConditionalGAN" else 1)
    with pytest.raises(ValueError, match="expected no loss"):
        build(kind).compile(*optimizers, **extra)


def test_the_optimizers_of_a_gan_may_be_names_but_not_one_object():
    model = build("ConditionalGAN")
    model.compile("adam", "sgd")
    assert isinstance(model.generator_optimizer, keras.optimizers.Adam) and model.discriminator_optimizer.built
    one = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="expected two optimizers"):
        model.compile(one, one)


# What Keras documents, by numbers.


def still(monkeypatch):
    """Take the noise out of the VAEs, so that one loss can be compared with another."""
    from genmodels.models import conditional_vae, vae

    for module in (conditional_vae, vae):
        monkeypatch.setattr(module, "sample_gaussian", lambda mean, log_var, seed: mean)


def losses_of(model, x):
    """Return the loss of each example alone."""
    one = [
        tuple(part[row : row + 1] for part in x) if isinstance(x, tuple) else x[row : row + 1] for row in range(COUNT)
    ]
    return np.array([model.test_on_batch(each, return_dict=True)["loss"] for each in one])


@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalVAE"])
def test_sample_weights_multiply_the_losses_of_examples(kind, monkeypatch):
    still(monkeypatch)
    model, x = build(kind), GOOD[kind][0]
    weights = SOME.random(COUNT)
    expected = (weights * losses_of(model, x)).mean()
    found = model.evaluate(x, sample_weight=weights, batch_size=COUNT, return_dict=True, verbose=0)["loss"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_class_weights_of_a_classifier_are_sample_weights():
    found = []
    for given in ({"class_weight": {label: label / 9 for label in range(10)}}, {"sample_weight": LABELS / 9}):
        model = build("Classifier")
        model.dropout.rate = 0.0
        found.append(model.fit(GREY, LABELS, batch_size=COUNT, verbose=0, **given).history["loss"])
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalVAE"])
def test_targets_replace_the_images(kind, monkeypatch):
    """-ELBO against other images differs from that against the own ones by the reconstruction term alone."""
    still(monkeypatch)
    model, x = build(kind), GOOD[kind][0]
    images = images_of(kind)
    own = model.evaluate(x, return_dict=True, verbose=0)["loss"]
    assert model.evaluate(x, images, return_dict=True, verbose=0)["loss"] == pytest.approx(own, rel=1e-6)
    clean = 1 - images
    other = model.evaluate(x, clean, return_dict=True, verbose=0)["loss"]
    drawn = model.predict(x, verbose=0)
    if kind == "AE":
        expected = np.square(clean - drawn).sum(axis=(1, 2, 3)).mean()
    else:
        logits = drawn["logits"].astype("float64")
        expected = own + ((images - clean) * logits).sum(axis=(1, 2, 3)).mean()
    assert other == pytest.approx(expected, rel=1e-4)


def test_denoising_learns_to_remove_noise(graphs):
    noisy = np.clip(GREY + 0.3 * SOME.standard_normal(GREY.shape), 0, 1).astype("float32")
    model = build("AE", FusedAdam, 1e-2)
    history = model.fit(noisy, BINARY, epochs=30, batch_size=COUNT, verbose=0).history
    assert history["mse"][-1] < 0.8 * history["mse"][0]


@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalVAE"])
def test_metrics_compare_targets_with_reconstructions(kind, monkeypatch):
    still(monkeypatch)
    model, x = build(kind, compiled={"metrics": ["mae"]}), GOOD[kind][0]
    drawn = model.predict(x, verbose=0)
    drawn = drawn if kind == "AE" else 1 / (1 + np.exp(-drawn["logits"]))
    found = model.evaluate(x, return_dict=True, verbose=0)["mae"]
    assert found == pytest.approx(np.abs(images_of(kind) - drawn).mean(), rel=1e-4)


@pytest.mark.parametrize("kind", GOOD)
def test_validation_split_holds_the_last_examples_out(kind):
    """With a learning rate of 0, the validation loss is that of the last quarter."""
    model, (x, y) = build(kind, rate=0.0), GOOD[kind]
    name = "discriminator_loss" if kind == "ConditionalGAN" else "loss"
    history = model.fit(x, y, validation_split=0.25, batch_size=COUNT, verbose=0).history
    rows = slice(-COUNT // 4, None)
    last = tuple(part[rows] for part in x) if isinstance(x, tuple) else x[rows]
    expected = model.evaluate(last, y if y is None else y[rows], return_dict=True, verbose=0)[name]
    noisy = kind in ("VAE", "ConditionalVAE", "ConditionalGAN")
    assert history[f"val_{name}"][0] == pytest.approx(expected, rel=0.1 if noisy else 1e-4)


@pytest.mark.parametrize("kind", GOOD)
def test_steps_in_one_execution_give_the_same_weights(kind, graphs):
    found = []
    for steps in (1, 2):
        model = build(kind, compiled={"steps_per_execution": steps})
        if kind == "Classifier":
            model.dropout.rate = 0.0
        model.fit(*GOOD[kind], batch_size=3, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for first, second in zip(*found):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


without_xla = pytest.mark.filterwarnings("ignore:Model doesn't support .jit_compile=True.:UserWarning")


@without_xla
@pytest.mark.parametrize("compiled", [{"run_eagerly": True}, {"jit_compile": True}])
@pytest.mark.parametrize("kind", ["AE", "Classifier"])
def test_eager_and_compiled_steps_give_the_same_losses(kind, compiled, graphs):
    found = []
    for options in ({"jit_compile": False}, compiled):
        model = build(kind, compiled=options)
        if kind == "Classifier":
            model.dropout.rate = 0.0
        found.append(model.fit(*GOOD[kind], batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*found, rtol=1e-4)


@without_xla
@pytest.mark.parametrize("kind", ["VAE", "ConditionalVAE", "ConditionalGAN"])
def test_a_jit_compiled_step_gives_finite_losses(kind, graphs):
    history = build(kind, compiled={"jit_compile": True}).fit(*GOOD[kind], verbose=0).history
    assert np.isfinite([value[-1] for value in history.values()]).all()


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, FusedAdam])
def test_gradients_accumulate_to_those_of_the_whole_batch(optimizer):
    found = []
    for size, steps in ((COUNT, None), (COUNT // 3, 3)):
        model = build("AE", partial(optimizer, gradient_accumulation_steps=steps), normalise=False)
        model.encoder.layers[-1].trainable = False  # batch normalisation sees the batch
        model.fit(GREY, batch_size=size, epochs=3, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for first, second in zip(*found):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_mixed_policy_trains_and_keeps_weights_in_float32(kind, policy, tmp_path):
    model = build(kind, dtype=policy)
    history = model.fit(*GOOD[kind], verbose=0).history
    assert np.isfinite([value[-1] for value in history.values()]).all()
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    dense = [each for each in model._flatten_layers() if isinstance(each, (keras.layers.Dense, keras.layers.Conv2D))]
    assert policy[6:] in {each.compute_dtype for each in dense}
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").dtype_policy.name == policy


@pytest.mark.parametrize("kind", ["AE", "VAE"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_mixed_policy_costs_less_than_three_per_cent(kind, policy, digits, graphs):
    found = []
    for dtype in (None, policy):
        model = build(kind, FusedAdam, dtype=dtype)
        images = digits.images if kind == "AE" else np.rint(digits.images)
        found.append(model.fit(images, epochs=8, batch_size=16, verbose=0).history["loss"][-1])
    assert found[1] == pytest.approx(found[0], rel=0.03)


def test_a_global_mixed_policy_is_followed_and_another_floatx_is_not():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert AE().dtype_policy.name == "mixed_bfloat16"
        keras.config.set_dtype_policy("float64")
        assert AE().dtype_policy.name == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="dtype must be one of float32, mixed_float16, mixed_bfloat16"):
        VAE(dtype="float64")


@pytest.mark.parametrize("kind", GOOD)
def test_early_stopping_stops(kind):
    name = "generator_loss" if kind == "ConditionalGAN" else "loss"
    stop = keras.callbacks.EarlyStopping(name, min_delta=1e9, patience=0, mode="min", restore_best_weights=True)
    history = build(kind).fit(*GOOD[kind], epochs=5, callbacks=[stop], verbose=0).history
    assert len(history[name]) == 2


@pytest.mark.parametrize("kind", GOOD)
def test_a_checkpointed_model_is_the_trained_one_and_goes_on(kind, tmp_path):
    model, path = build(kind, keras.optimizers.Adam), tmp_path / "model.keras"
    model.fit(*GOOD[kind], epochs=2, callbacks=[keras.callbacks.ModelCheckpoint(path)], verbose=0)
    saved = keras.models.load_model(path)
    assert all(map(np.array_equal, saved.get_weights(), model.get_weights()))
    for each in (model, saved):
        each.fit(*GOOD[kind], shuffle=False, verbose=0)
    if kind == "AE":  # Keras does not save where a random generator stands
        for first, second in zip(saved.trainable_weights, model.trainable_weights):
            np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", GOOD)
def test_a_backed_up_training_goes_on_where_it_stopped(kind, tmp_path):
    backup = partial(keras.callbacks.BackupAndRestore, tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        build(kind).fit(*GOOD[kind], epochs=4, callbacks=[backup(), Interrupt()], verbose=0)
    model = build(kind)
    assert model.fit(*GOOD[kind], epochs=4, callbacks=[backup()], verbose=0).epoch == [2, 3]
    optimizer = model.generator_optimizer if kind == "ConditionalGAN" else model.optimizer
    assert int(optimizer.iterations) == 4  # one batch an epoch, those before the stop included


@pytest.mark.parametrize("kind", GOOD)
def test_tensorboard_reads_the_losses_of_every_epoch(kind, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, histogram_freq=1)
    history = build(kind).fit(*GOOD[kind], epochs=3, callbacks=[board], verbose=0).history
    read = EventAccumulator(str(tmp_path / "train")).Reload()
    for name, losses in history.items():
        logged = [float(tf.make_ndarray(event.tensor_proto)) for event in read.Tensors(f"epoch_{name}")]
        np.testing.assert_allclose(logged, losses, rtol=1e-6)


@pytest.mark.parametrize("kind", GOOD)
def test_the_size_is_known_before_a_fit_and_costs_no_noise(kind, tmp_path):
    found = []
    for look in (False, True):
        model = build(kind)
        if look:
            assert model.count_params() > 0
            model.summary(print_fn=lambda *args, **options: None)
        model.fit(*GOOD[kind], shuffle=False, verbose=0)
        found.append(model.get_weights())
    assert all(map(np.array_equal, *found))


@pytest.mark.parametrize("kind", GOOD)
def test_an_exported_model_gives_the_same(kind, tmp_path, graphs):
    model, x = build(kind), PREDICTED[kind]
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    x = [np.asarray(part, "float32") for part in x] if isinstance(x, tuple) else x
    found, expected = served.serve(x), model.predict(PREDICTED[kind], verbose=0)
    if isinstance(found, dict):  # z is drawn anew, its mean is not
        found, expected = found["z_mean"], expected["z_mean"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["AE", "VAE", "ConditionalGAN"])
def test_numbers_of_numpy_are_options(kind, tmp_path):
    name = "noise_dim" if kind == "ConditionalGAN" else "latent_dim"
    model = build(kind, **{name: np.int64(3)})
    model.save(tmp_path / "model.keras")
    assert getattr(keras.models.load_model(tmp_path / "model.keras"), name) == 3


def test_bernoulli_pixels_warn_of_grey_levels_once():
    model = build("VAE")
    for given in (GREY, dataset(GREY, None)):
        with warnings.catch_warnings(record=True) as seen:  # Keras warns of other things
            warnings.simplefilter("always")
            model.fit(given, epochs=2, verbose=0)
        assert sum("continuous_bernoulli" in str(each.message) for each in seen) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*continuous_bernoulli")
        build("VAE", likelihood="gaussian").fit(GREY, verbose=0)
        model.fit(BINARY, verbose=0)


REPLICAS = """
import sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
import test_inputs as t
from genmodels.models import conditional_vae, vae
for module in (conditional_vae, vae):
    module.sample_gaussian = lambda mean, log_var, seed: mean
t.ConditionalGAN._draw = lambda self, label, training: keras.ops.sigmoid(
    self.generator([keras.ops.zeros((keras.ops.shape(label)[0], 3)), label], training=training))
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice())
for kind, (x, y) in t.GOOD.items():
    found = []
    for strategy in (tf.distribute.get_strategy(), two):
        with strategy.scope():
            options = {"image_noise": 0.0} if kind == "ConditionalGAN" else {}
            model = t.build(kind, **options)
            for layer in model._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
                if isinstance(layer, keras.layers.Dropout):
                    layer.rate = 0.0
        history = model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0).history
        found.append([value for name, values in sorted(history.items()) for value in values])
    np.testing.assert_allclose(*found, rtol=1e-5, err_msg=kind)
print("equal")
"""


def test_two_replicas_have_the_losses_of_one():
    run = subprocess.run(
        [sys.executable, "-c", REPLICAS, str(Path(__file__).parent)], capture_output=True, text=True, timeout=600
    )
    assert run.stdout.strip().endswith("equal"), run.stderr[-2000:]
