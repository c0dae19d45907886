import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from genmodels import cache, experiments, watch
from genmodels.training import STEPS, Batches, adam, fit, prepare


def batches(seed=0, count=10, batch_size=4):
    return Batches(count, batch_size, lambda chosen, rng: (chosen, rng.random(len(chosen))), seed=seed)


def test_each_epoch_meets_every_example_once_and_keeps_the_short_last_batch():
    given = batches()
    sizes = [len(given[index][0]) for index in range(len(given))]
    assert sizes == [4, 4, 2]
    assert sorted(np.concatenate([given[index][0] for index in range(3)])) == list(range(10))


def test_order_and_noise_follow_from_seed_and_epoch_alone():
    first, second = batches(), batches()
    second[2]  # whatever was asked before does not matter
    for ours, theirs in zip(first[1], second[1]):
        assert np.array_equal(ours, theirs)
    second.begin(1)
    assert not np.array_equal(first.order, second.order)
    assert not np.array_equal(first.order, batches(seed=1).order)


def test_learning_rate_falls_to_zero():
    schedule = adam(2e-3, 100).get_config()["learning_rate"]
    rate = keras.optimizers.schedules.deserialize(schedule)
    assert [float(rate(step)) for step in (0, 50, 100)] == pytest.approx([2e-3, 1e-3, 0], abs=1e-7)


def test_learning_rate_can_stay():
    assert adam(2e-3, 100, decay="constant").get_config()["learning_rate"] == pytest.approx(2e-3)
    with pytest.raises(ValueError, match="decay must be one of constant, cosine, late, got 'step'"):
        adam(2e-3, 100, decay="step")


def test_learning_rate_can_fall_late_and_survives_saving():
    schedule = adam(2e-3, 100, decay="late").get_config()["learning_rate"]
    rate = keras.optimizers.schedules.deserialize(schedule)
    assert [float(rate(step)) for step in (0, 50, 75, 100)] == pytest.approx([2e-3, 2e-3, 1e-3, 0], abs=1e-7)


@pytest.mark.parametrize("options", [{}, {"beta_1": 0.5}, {"global_clipnorm": 0.5}, {"amsgrad": True}], ids=str)
def test_adam_in_one_pass_goes_where_that_of_keras_goes(rng, options):
    ways = []
    gradients = rng.normal(size=(30, 40, 5)).astype("float32") * np.geomspace(1e-4, 10, 40, dtype="float32")[:, None]
    for optimizer in (adam(1e-2, 30, **options), keras.optimizers.Adam(adam(1e-2, 30)._learning_rate, **options)):
        weight = keras.Variable(np.ones((40, 5), "float32"))
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        ways.append(weight.numpy())
    assert np.abs(ways[0] - 1).max() > 0.1
    np.testing.assert_allclose(*ways, rtol=1e-5, atol=1e-6)


def test_a_model_saved_with_its_optimiser_goes_on_where_it_stopped(digits, tmp_path):
    _, model = small_fit(digits)
    model.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    for each in (model, loaded):
        each.train_on_batch(digits.images[:32], digits.labels[:32])
    assert type(loaded.optimizer) is type(model.optimizer)
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), loaded.get_weights(), strict=True))


class Census(keras.Model):
    """Counts how often it was shown each of `count` numbers."""

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
    """Which takes seconds; a step that has to make the optimiser's variables is traced again without that."""
    traced, step = [], keras.Sequential.train_step
    monkeypatch.setattr(keras.Sequential, "train_step", lambda *given: traced.append(1) or step(*given))
    small_fit(digits)
    assert len(traced) == 1


def test_a_model_that_is_built_by_its_first_batch_trains_too(digits, graphs):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(adam(1e-3, 4), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    given = Batches(128, 32, lambda chosen, rng: (digits.images[chosen], digits.labels[chosen]), seed=1)
    assert np.isfinite(fit(model, given, epochs=1, name="late")["loss"]).all()


def test_weights_that_the_last_step_spoils_are_not_kept(digits):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, name="last")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(np.inf), loss=loss)
    given, kept = Batches(128, 128, lambda chosen, rng: (digits.images[chosen], digits.labels[chosen]), seed=1), []
    with pytest.raises(FloatingPointError, match=r"small: stopped in epoch 1, by step 1 of 1: .*/last/kernel; a lower"):
        fit(model, given, epochs=1, name="small", keep=kept.append)
    assert not kept


def test_progress_says_what_how_far_and_how_long_still(digits, capsys):
    small_fit(digits)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("small: epoch 1/6, loss ") and lines[-1].endswith("0 s left")


def small_run(digits, kind, *, kept=None):
    """A run's history and weights, and what it kept after each epoch."""
    prepare(1)
    run = experiments.RUNS[kind]
    options = {name: value for name, value in run.options.items() if name != "hidden_units"}
    small = {} if kind in ("gan", "judge", "judge_2") else {"hidden_units": (8,)}
    settings = {**run.settings(), "epochs": 3, "options": {**options, **small}}
    setup = getattr(experiments, run.build)(settings, SimpleNamespace(train=digits, validation=digits))
    given, states = Batches(setup.count, 32, setup.make_batch, seed=1), []
    watching = [setup.watch] if setup.watch else []
    options = {"validation": setup.validation, "callbacks": watching, "kept": kept, "keep": states.append}
    return fit(setup.model, given, epochs=3, name=kind, **options), setup.model.get_weights(), states


EACH_KIND = ("ae", "vae_mc", "cvae_25", "gan", "judge", "judge_2")
IN_A_GRAPH = ("vae_mc", "cvae_25", "gan")  # they have all that the others keep; making graphs takes most of the time


@pytest.mark.parametrize(("kind", "interruptions"), [(kind, (1, 3) if kind == "gan" else (1,)) for kind in EACH_KIND])
def test_an_interrupted_training_goes_on_to_the_same_bits(digits, tmp_path, monkeypatch, request, kind, interruptions):
    """All that an interrupted one has is what it kept; tests/test_kill.py interrupts real ones."""
    monkeypatch.setattr(watch, "EPOCHS", 9)  # so little trains no GAN
    if kind in IN_A_GRAPH:
        request.getfixturevalue("graphs")
    history, weights, states = small_run(digits, kind)
    for after in interruptions:
        cache.write_arrays(tmp_path / "kept.npz", states[after - 1])
        resumed, same, _ = small_run(digits, kind, kept=cache.read_arrays(tmp_path / "kept.npz"))
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
    kept = []
    with pytest.raises(FloatingPointError) as stopped:
        fit(model, given, epochs=2, name="small", keep=kept.append)
    step = int(re.search(r"by step (\d+) of 64", str(stopped.value))[1])
    bad = int(np.flatnonzero(given.order == 40)[0]) // 2 + 1
    assert bad <= step < bad + STEPS and not kept
    assert "small: stopped in epoch 1, " in str(stopped.value) and "/last/kernel; a lower" in str(stopped.value)
