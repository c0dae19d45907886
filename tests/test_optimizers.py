import keras
import numpy as np
import pytest

from genmodels.optimizers import adam


def test_learning_rate_falls_to_zero_along_a_cosine():
    schedule = adam(2e-3, 100).get_config()["learning_rate"]
    rate = keras.optimizers.schedules.deserialize(schedule)
    assert [float(rate(step)) for step in (0, 50, 100)] == pytest.approx([2e-3, 1e-3, 0], abs=1e-7)


def test_learning_rate_can_be_constant():
    assert adam(2e-3, 100, decay="constant").get_config()["learning_rate"] == pytest.approx(2e-3)
    with pytest.raises(ValueError, match="decay must be one of constant, cosine, constant_then_linear, got 'step'"):
        adam(2e-3, 100, decay="step")


def test_learning_rate_can_be_constant_and_then_fall_linearly():
    schedule = adam(2e-3, 100, decay="constant_then_linear").get_config()["learning_rate"]
    rate = keras.optimizers.schedules.deserialize(schedule)
    assert [float(rate(step)) for step in (0, 50, 75, 100)] == pytest.approx([2e-3, 2e-3, 1e-3, 0], abs=1e-7)


@pytest.mark.parametrize("options", [{}, {"beta_1": 0.5}, {"global_clipnorm": 0.5}, {"amsgrad": True}], ids=str)
def test_fused_adam_gives_the_weights_of_keras_adam(rng, options):
    ways = []
    gradients = rng.normal(size=(30, 40, 5)).astype("float32") * np.geomspace(1e-4, 10, 40, dtype="float32")[:, None]
    for optimizer in (adam(1e-2, 30, **options), keras.optimizers.Adam(adam(1e-2, 30)._learning_rate, **options)):
        weight = keras.Variable(np.ones((40, 5), "float32"))
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        ways.append(weight.numpy())
    assert np.abs(ways[0] - 1).max() > 0.1
    np.testing.assert_allclose(*ways, rtol=1e-5, atol=1e-6)
