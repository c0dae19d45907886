import keras
import numpy as np
import pytest

from genmodels import experiments
from genmodels.judge import Judge


def compiled(architecture="pooled"):
    keras.utils.set_random_seed(3)
    model = Judge(architecture=architecture)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss=loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize(("architecture", "epochs"), [("pooled", 8), ("strided", 40)])  # the second's statistics lag
def test_judge_learns_digits_and_classifies_as_it_evaluates(architecture, epochs, digits, graphs):
    judge = compiled(architecture)
    # In one go, because Keras takes long from one epoch to the next.
    images, labels = (np.concatenate([each] * epochs) for each in (digits.images, digits.labels))
    judge.fit(images, labels, batch_size=16, verbose=0)
    right = (judge.classify(digits.images) == digits.labels).mean()
    assert right > 0.8
    np.testing.assert_allclose(judge.evaluate(digits.images, digits.labels, verbose=0)[1], right, atol=1e-6)


def test_saved_judge_gives_the_same_verdicts(digits, tmp_path):
    judge = compiled()
    judge.fit(digits.images, digits.labels, verbose=0)
    judge.save(tmp_path / "judge.keras")
    loaded = keras.models.load_model(tmp_path / "judge.keras")
    assert np.array_equal(loaded.predict(digits.images, verbose=0), judge.predict(digits.images, verbose=0))


def test_features_are_what_the_last_layer_sees(digits):
    judge = compiled()
    logits = judge.predict(digits.images[:5], verbose=0)
    weights, bias = (keras.ops.convert_to_numpy(weight) for weight in judge.head.weights)
    np.testing.assert_allclose(judge.features(digits.images[:5]) @ weights + bias, logits, rtol=1e-4, atol=1e-5)


def test_the_pupil_is_built_like_the_second_judge_with_which_the_report_compares_it():
    pupil, first, second = (Judge(**experiments.RUNS[name].options) for name in ("pupil", "judge", "judge_2"))
    assert pupil.architecture == second.architecture != first.architecture
