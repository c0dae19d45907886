import keras
import numpy as np

from genmodels.judge import Judge


def compiled():
    keras.utils.set_random_seed(3)
    model = Judge(seed=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss=loss, metrics=["accuracy"])
    return model


def test_judge_learns_digits_and_classifies_as_it_evaluates(digits):
    judge = compiled()
    judge.fit(digits.images, digits.labels, batch_size=16, epochs=8, verbose=0)
    right = (judge.classify(digits.images) == digits.labels).mean()
    assert right > 0.8
    np.testing.assert_allclose(judge.evaluate(digits.images, digits.labels, verbose=0)[1], right, atol=1e-6)


def test_saved_judge_gives_the_same_verdicts(digits, tmp_path):
    judge = compiled()
    judge.fit(digits.images, digits.labels, verbose=0)
    judge.save(tmp_path / "judge.keras")
    loaded = keras.models.load_model(tmp_path / "judge.keras")
    assert np.array_equal(loaded.predict(digits.images, verbose=0), judge.predict(digits.images, verbose=0))
