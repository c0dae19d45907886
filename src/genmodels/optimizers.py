"""Adam in one pass over memory, and schedules of its learning rate."""

from typing import Any

import keras
import tensorflow as tf

from genmodels import validation


@keras.saving.register_keras_serializable("genmodels")
class ConstantThenLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is constant in the first half of training and falls linearly to 0 in the second.

    Args:
        learning_rate: Rate in the first half.
        steps: Number of training steps in both halves together.
    """

    def __init__(self, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.learning_rate, self.steps = learning_rate, steps

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """Return the learning rate at a step, counted from 0."""
        left = 1 - keras.ops.cast(step, "float32") / self.steps
        return self.learning_rate * keras.ops.clip(2 * left, 0.0, 1.0)

    def get_config(self) -> dict:
        """Return the options that rebuild the schedule."""
        return {"learning_rate": self.learning_rate, "steps": self.steps}


@keras.saving.register_keras_serializable("genmodels")
class FusedAdam(keras.optimizers.Adam):
    """Adam that passes once over the memory of each weight.

    The Adam of Keras has the same formula and passes a dozen times. On a CPU these passes, and not the arithmetic, take
    most of a step of small dense networks. Arguments are those of keras.optimizers.Adam.
    """

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        """Update one weight and its two moments."""
        if self.amsgrad:  # the fused operation has no AMSGrad
            return super().update_step(gradient, variable, learning_rate)
        place = self._get_variable_index(variable)
        done = self.iterations  # a tensor if gradients accumulate over several steps, otherwise a variable
        step = tf.cast((done.value if isinstance(done, keras.Variable) else done) + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


DECAYS = {
    "constant": lambda rate, steps: rate,
    "cosine": keras.optimizers.schedules.CosineDecay,
    "constant_then_linear": ConstantThenLinearDecay,
}


def adam(learning_rate: float, steps: int, *, decay: str = "cosine", **options: Any) -> FusedAdam:
    """Build Adam with a schedule of its learning rate.

    Args:
        learning_rate: Rate at the start, >= 0.
        steps: Number of training steps, >= 1.
        decay: "constant"; "cosine" falls to 0 along half a cosine; "constant_then_linear" is constant in the first half
            and falls linearly to 0 in the second.
        **options: Other options of keras.optimizers.Adam.

    Returns:
        A new optimizer.

    Raises:
        ValueError: The rate, the number of steps or the decay is not allowed.

    Source:
        Kingma & Ba, "Adam", 2015; Loshchilov & Hutter, "SGDR", 2017, equation 5 without restarts.
    """
    validation.number("learning_rate", learning_rate, 0)
    validation.number("steps", steps, 1, whole=True)
    return FusedAdam(DECAYS[validation.choice("decay", decay, DECAYS)](learning_rate, steps), **options)
