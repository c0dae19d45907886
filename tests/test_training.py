import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from genmodels import datasets, experiments, training
from genmodels.experiments import BUILDERS
from genmodels.optimizers import adam
from genmodels.pipeline import files
from genmodels.training import MIN_DIVERSITY, PATIENCE, STEPS, Batches, GANMonitor, diagnose, fit, prepare


def batches(seed=0, count=10, batch_size=4):
    return Batches(count, batch_size, lambda chosen, rng: (chosen, rng.random(len(chosen))), seed=seed)


def test_each_epoch_shows_every_example_once_and_keeps_the_short_last_batch():
    given = batches()
    sizes = [len(given[index][0]) for index in range(len(given))]
    assert sizes == [4, 4, 2]
    assert sorted(np.concatenate([given[index][0] for index in range(3)])) == list(range(10))


def test_order_and_noise_follow_from_seed_and_epoch_alone():
    first, second = batches(), batches()
    second[2]  # earlier requests do not matter
    for ours, theirs in zip(first[1], second[1]):
        assert np.array_equal(ours, theirs)
    second.begin(1)
    assert not np.array_equal(first.order, second.order)
    assert not np.array_equal(first.order, batches(seed=1).order)


def test_a_model_saved_with_its_optimizer_goes_on_where_it_stopped(digits, tmp_path):
    _, model = small_fit(digits)
    model.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    for each in (model, loaded):
        each.train_on_batch(digits.images[:32], digits.labels[:32])
    assert type(loaded.optimizer) is type(model.optimizer)
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), loaded.get_weights(), strict=True))


class Census(keras.Model):
    """Count how often each of `count` numbers is shown."""

    def __init__(self, count):
        super().__init__()
        self.seen = self.add_weight(shape=(count,), initializer="zeros", trainable=False)
        self.built = True

    def train_step(self, data):
        self.seen.assign_add(keras.ops.sum(keras.ops.one_hot(data[0], self.seen.shape[0]), axis=0))
        return {"loss": keras.ops.sum(self.seen.value)}


def test_fit_shows_every_example_once_in_each_epoch(graphs):
    model, given = Census(47), Batches(47, 2, lambda chosen, rng: (chosen,), seed=0)  # 24 steps: no whole rounds
    model.compile()
    fit(model, given, epochs=3, name="census")
    assert np.array_equal(model.seen, np.full(47, 3))


def small_fit(digits):
    prepare(11)
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(adam(1e-3, 24), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    given = Batches(128, 32, lambda chosen, rng: (digits.images[chosen], digits.labels[chosen]), seed=1)
    return fit(model, given, epochs=6, name="small"), model


def test_two_runs_give_the_same_weights_bit_for_bit(digits, graphs):
    (history, first), (_, second) = small_fit(digits), small_fit(digits)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(first.get_weights(), second.get_weights()))
    assert len(history["loss"]) == 6 and history["loss"][-1] < history["loss"][0]


def test_a_step_is_traced_once(digits, graphs, monkeypatch):
    """Build the optimizer's variables first: a step that creates them is traced again, which takes seconds."""
    traced, step = [], keras.Sequential.train_step
    monkeypatch.setattr(keras.Sequential, "train_step", lambda *given: traced.append(1) or step(*given))
    small_fit(digits)
    assert len(traced) == 1


def test_a_model_that_is_built_by_its_first_batch_trains_too(digits, graphs):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(adam(1e-3, 4), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    given = Batches(128, 32, lambda chosen, rng: (digits.images[chosen], digits.labels[chosen]), seed=1)
    assert np.isfinite(fit(model, given, epochs=1, name="late")["loss"]).all()


def test_weights_that_the_last_step_spoils_are_not_saved(digits):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, name="last")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(np.inf), loss=loss)
    given, saved = Batches(128, 128, lambda chosen, rng: (digits.images[chosen], digits.labels[chosen]), seed=1), []
    with pytest.raises(FloatingPointError, match=r"small: stopped in epoch 1, by step 1 of 1: .*/last/kernel; a lower"):
        fit(model, given, epochs=1, name="small", save=saved.append)
    assert not saved


def test_progress_shows_name_epoch_and_time_left(digits, capsys):
    small_fit(digits)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("small: epoch 1/6, loss ") and lines[-1].endswith("0 s left")


def small_run(digits, kind, *, checkpoint=None):
    """Return a run's history, its weights and the states that it saved after each epoch."""
    prepare(1)
    run = experiments.RUNS[kind]
    options = {name: value for name, value in run.options.items() if name != "hidden_units"}
    small = {} if kind in ("gan", "reference", "reference_2") else {"hidden_units": (8,)}
    settings = {**run.settings(), "epochs": 3, "options": {**options, **small}}
    setup = BUILDERS[run.builder](settings, SimpleNamespace(train=digits, validation=digits))
    given, states = Batches(setup.count, 32, setup.make_batch, seed=1), []
    monitors = [setup.monitor] if setup.monitor else []
    options = {"validation": setup.validation, "callbacks": monitors, "checkpoint": checkpoint, "save": states.append}
    return fit(setup.model, given, epochs=3, name=kind, **options), setup.model.get_weights(), states


EACH_KIND = ("ae", "vae_mc", "cvae_25", "gan", "reference", "reference_2")
IN_A_GRAPH = ("vae_mc", "cvae_25", "gan")  # together they save every kind of state; making graphs is slow


@pytest.mark.parametrize(("kind", "interruptions"), [(kind, (1, 3) if kind == "gan" else (1,)) for kind in EACH_KIND])
def test_an_interrupted_training_goes_on_to_the_same_bits(digits, tmp_path, monkeypatch, request, kind, interruptions):
    """Resume from a saved state alone. tests/pipeline/test_kill.py interrupts real trainings."""
    monkeypatch.setattr(training, "PATIENCE", 9)  # so little trains no GAN
    if kind in IN_A_GRAPH:
        request.getfixturevalue("graphs")
    history, weights, states = small_run(digits, kind)
    for after in interruptions:
        files.save_arrays(tmp_path / "saved.npz", states[after - 1])
        resumed, same, _ = small_run(digits, kind, checkpoint=files.load_arrays(tmp_path / "saved.npz"))
        assert resumed == history
        assert all(np.array_equal(*pair) for pair in zip(weights, same, strict=True))


def test_a_number_that_is_not_finite_stops_the_training_at_once(digits, graphs):
    prepare(1)
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, name="last")])
    model.compile(adam(1e-3, 100), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def make(chosen, rng):
        images = digits.images[chosen]
        return (images * np.nan if 40 in chosen else images), digits.labels[chosen]

    given = Batches(len(digits), 2, make, seed=1)
    saved = []
    with pytest.raises(FloatingPointError) as stopped:
        fit(model, given, epochs=2, name="small", save=saved.append)
    step = int(re.search(r"by step (\d+) of 64", str(stopped.value))[1])
    bad = int(np.flatnonzero(given.order == 40)[0]) // 2 + 1
    assert bad <= step < bad + STEPS and not saved
    assert "small: stopped in epoch 1, " in str(stopped.value) and "/last/kernel; a lower" in str(stopped.value)


class Generator:
    """A GAN whose images come from the function `draw` of the labels."""

    stop_training = False

    def __init__(self, draw):
        self.draw, self.history = draw, SimpleNamespace(history={})

    def generate(self, labels, seed, averaged):
        return self.draw(labels)


def monitored(digits, draw, accuracy=0.7, epochs=PATIENCE, **options):
    monitor = GANMonitor(digits, count=5, **options)
    monitor.set_model(Generator(draw))
    for epoch in range(epochs):
        logs = {"discriminator_accuracy": accuracy}
        monitor.on_epoch_end(epoch, logs)
        monitor.model.history.history.setdefault("failing", []).append(logs["failing"])
    return monitor, logs


def real(digits):
    """Return a function that draws real digits of the requested labels, a different one each time."""

    def draw(labels):
        places = [np.flatnonzero(digits.labels == label) for label in labels]
        return np.stack([digits.images[place[index // 10 % len(place)]] for index, place in enumerate(places)])

    return draw


def test_real_digits_pass_the_monitor(digits):
    monitor, logs = monitored(digits, real(digits))
    assert monitor.failure_reason is None and not monitor.model.stop_training
    assert logs["label_accuracy"] > 0.8 and 0.7 < logs["diversity"] < 1.3
    assert logs["drawn"].shape == (10, 28, 28) and logs["drawn"].max() == 255


def partly(digits, collapsed):
    """Return a function that draws one image of each collapsed class, and real digits of all others."""
    drawn = real(digits)
    typical = {label: digits.typical(label) for label in collapsed}

    def draw(labels):
        pairs = zip(labels, drawn(labels))
        return np.stack([typical[label] if label in collapsed else image for label, image in pairs])

    return draw


def test_six_of_ten_classes_that_draw_one_image_each_are_named(digits, capsys):
    """The mean over classes hides them: it stays above the smallest diversity."""
    monitor, logs = monitored(digits, partly(digits, (1, 3, 4, 5, 8, 9)))
    assert logs["diversity"] > MIN_DIVERSITY and logs["label_accuracy"] > 0.8
    assert [share == 0 for share in logs["class_diversity"]] == [label in (1, 3, 4, 5, 8, 9) for label in range(10)]
    assert monitor.model.stop_training
    assert "classes 1, 3, 4, 5, 8, 9 have collapsed: their images differ by at most 0%" in monitor.failure_reason


def test_a_single_collapsed_class_is_called_by_its_name(digits):
    names = "zero one two three four five six seven eight nine".split()
    monitor, _ = monitored(digits, partly(digits, (7,)), class_names=names)
    assert "class seven has collapsed: its images differ by 0% of what real ones do" in monitor.failure_reason
    with pytest.raises(ValueError, match="class_names must name 10 classes, got 2 names"):
        GANMonitor(digits, class_names=names[:2])


def blocks(labels, rng, shape=(4, 6, 3)):
    """Return colour images whose first pixels say the label, with noise elsewhere."""
    images = rng.random((len(labels), *shape)).astype("float32") / 2
    for image, label in zip(images, labels):
        image.reshape(-1)[2 * label : 2 * label + 2] = 1
    return images


@pytest.mark.parametrize("sizes", [[2, 3, 40], [1, 9, 9], [6000, 30, 2]])
def test_colour_images_of_few_or_sorted_classes_pass_the_monitor(rng, sizes):
    labels = np.repeat(np.arange(3), sizes)
    train = datasets.Split(blocks(labels, rng), labels)
    monitor, logs = monitored(train, lambda wanted: blocks(wanted, np.random.default_rng(0)))
    assert monitor.failure_reason is None and logs["drawn"].shape == (3, 4, 6, 3)
    assert logs["class_label_accuracy"] == [1, 1, 1]
    assert [share is None for share in logs["class_diversity"]] == [size == 1 for size in sizes]
    assert 0.5 < logs["diversity"] < 1.5


def test_classes_that_do_not_occur_are_not_drawn(digits):
    odd = digits.labels % 2 == 1
    monitor, logs = monitored(datasets.Split(digits.images[odd], digits.labels[odd]), real(digits))
    assert monitor.names == ["1", "3", "5", "7", "9"] and len(logs["drawn"]) == len(logs["class_diversity"]) == 5


def test_images_without_labels_or_without_differences_are_refused(digits):
    with pytest.raises(ValueError, match="real must have labels, got None"):
        GANMonitor(datasets.Split(digits.images, None))
    with pytest.raises(ValueError, match="real must hold a class with two different images, got none"):
        GANMonitor(datasets.Split(digits.images[:1].repeat(9, axis=0), np.zeros(9, int)))


def test_a_model_of_another_image_shape_is_refused(digits):
    monitor = GANMonitor(digits)
    monitor.set_model(SimpleNamespace(image_shape=(32, 32, 3)))
    with pytest.raises(ValueError, match=r"got \(28, 28, 1\), and a model of \(32, 32, 3\)"):
        monitor.on_train_begin()


def test_short_epochs_are_given_as_many_steps_as_long_ones(digits, capsys):
    """A hundred steps have taught a generator little; ten epochs of a hundred are another matter."""
    stopped = []
    for epochs in (9, 10):
        monitor = GANMonitor(digits, count=5)
        monitor.set_params({"steps": 100})
        monitor.set_model(Generator(lambda labels: np.zeros((len(labels), 28, 28, 1))))
        monitor.model.history.history["failing"] = [epochs - 1]
        monitor.on_epoch_end(epochs - 1, {"discriminator_accuracy": 0.7})
        stopped.append(monitor.model.stop_training)
    assert stopped == [False, True]


def test_label_accuracy_is_judged_by_what_real_images_reach():
    assert "ignores its labels" in diagnose(0.75, 0.2, 0.95)
    assert diagnose(0.75, 0.2, 0.95, real_label_accuracy=0.4) is None


def test_monitoring_leaves_the_random_streams_alone(digits):
    keras.utils.set_random_seed(5)
    expected = np.random.random(), keras.random.uniform(()).numpy()
    keras.utils.set_random_seed(5)
    monitored(digits, real(digits))
    assert (np.random.random(), keras.random.uniform(()).numpy()) == expected


@pytest.mark.parametrize(
    ("draw", "accuracy", "message"),
    [
        (lambda digits: lambda labels: np.stack([digits.typical(label) for label in labels]), 0.7, "has collapsed"),
        (lambda digits: lambda labels: real(digits)((labels + 1) % 10), 0.99, "the discriminator wins"),
        (lambda digits: lambda labels: real(digits)((labels + 1) % 10), 0.6, "ignores its labels"),
    ],
)
def test_a_failed_training_is_stopped_with_advice(digits, capsys, draw, accuracy, message):
    monitor, _ = monitored(digits, draw(digits), accuracy)
    assert monitor.model.stop_training
    assert message in monitor.failure_reason and f"after epoch {PATIENCE}" in monitor.failure_reason
    assert capsys.readouterr().err.count(message) == PATIENCE


def test_one_failing_epoch_is_only_reported(digits, capsys):
    monitor, _ = monitored(digits, lambda labels: np.zeros((len(labels), 28, 28, 1)), epochs=PATIENCE - 1)
    assert monitor.failure_reason is None and "collapsed" in capsys.readouterr().err


def test_diagnose_finds_nothing_in_a_good_epoch():
    assert diagnose(0.75, 0.93, 0.95) is None
