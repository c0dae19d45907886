"""The conditional VAE: a digit with a given label at a given position on the canvas."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import ArrayLike

from genmodels import validation
from genmodels.canvas import CANVAS, CANVAS_SHAPE, GRID, validate_conditions
from genmodels.datasets import LABELS, validate_images
from genmodels.distributions import gaussian_log_density, kl_monte_carlo, sample_gaussian
from genmodels.layers import Input, ReadWriteWindow, as_floats, dense_decoder, dense_encoder
from genmodels.models.flow import RealNVP
from genmodels.models.inputs import check_examples, check_images
from genmodels.models.vae import VAE, predict_in_batches

CONDITION = LABELS + 2 * GRID  # one-hot label, one-hot pos_x, one-hot pos_y
PRIORS = ("normal", "flow")


def canvas_encoder(window: ReadWriteWindow, outputs: int, hidden_units: Sequence[int]) -> keras.Model:
    """Build an encoder that reads a digit through the window and passes it to a dense encoder.

    Args:
        window: Window to read through.
        outputs: Number of outputs per canvas.
        hidden_units: Widths of the hidden layers.

    Returns:
        A model of [canvas (B, 56, 56, 1), one-hot condition (B, 16)] with outputs (B, outputs).
    """
    canvas, condition = Input((CANVAS, CANVAS, 1)), Input((CONDITION,))
    encode = dense_encoder(outputs, hidden_units, context=LABELS, name="digit_encoder")
    digit = window(canvas, condition[:, LABELS:])
    return keras.Model([canvas, condition], encode([digit, condition[:, :LABELS]]), name="encoder")


def canvas_decoder(
    window: ReadWriteWindow, latent_dim: int, hidden_units: Sequence[int], **options: Any
) -> keras.Model:
    """Build a dense decoder that writes its digit through the window.

    Args:
        window: Window to write through.
        latent_dim: Axes of z.
        hidden_units: Widths of the hidden layers.
        **options: Options of `layers.dense_decoder`.

    Returns:
        A model of [z (B, latent_dim), one-hot condition (B, 16)] with logits (B, 56, 56, 1).
    """
    z, condition = Input((latent_dim,)), Input((CONDITION,))
    decode = dense_decoder(latent_dim, hidden_units, context=LABELS, name="digit_decoder", **options)
    canvas = window(decode([z, condition[:, :LABELS]]), condition[:, LABELS:], write=True)
    return keras.Model([z, condition], canvas, name="decoder")


@keras.saving.register_keras_serializable("genmodels")
class ConditionalVAE(VAE):
    """A VAE on MNIST's 56x56 canvas whose encoder and decoder receive the condition [label, pos_x, pos_y].

    It trains on pairs: binarized canvases (B, 56, 56, 1), and conditions (B, 3) of whole numbers, label 0-9, positions
    0-2. `genmodels.canvas.conditions` builds conditions.

    Sampling starts from noise of N(0, I). With `prior="normal"` the noise is z. With `prior="flow"` a normalizing flow
    f, which learns along with the networks, turns the noise e into z = f^-1(e) under the same condition. Then

        log p(z|condition) = log N(f(z); 0, I) + log |det df/dz|

    has no KL term in closed form, and `kl` is "monte_carlo". `encode` and `decode` speak of z; `from_noise` and
    `to_noise` lead from one to the other.

    Args:
        num_frequencies: Frequencies of z given to the decoder, >= 0, see `layers.FourierFeatures`.
        prior: Distribution of z before an image is seen: "normal" for N(0, I), or "flow", see `flow.RealNVP`, for two
            axes of z or more.
        window: Read and write the digit through a `layers.ReadWriteWindow`, so that all cells share the weights, and
            the networks and the flow see the label alone. False gives whole canvases and conditions to dense networks,
            which learn each cell by itself.
        **options: Other arguments of VAE.

    Raises:
        ValueError: An argument is not allowed.

    Source:
        Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional Generative Models", 2015; the
        flow as a prior: Chen et al., "Variational Lossy Autoencoder", 2017, section 3.2.
    """

    def __init__(self, *, num_frequencies: int = 0, prior: str = "normal", window: bool = True, **options: Any) -> None:
        if tuple(options.setdefault("image_shape", CANVAS_SHAPE)) != CANVAS_SHAPE:
            raise ValueError(f"ConditionalVAE: image_shape must be that of the canvas, {CANVAS_SHAPE}")
        flow = validation.choice("prior", prior, PRIORS) == "flow"
        if flow and options.setdefault("kl", "monte_carlo") != "monte_carlo":
            raise ValueError(
                'ConditionalVAE: kl must be "monte_carlo" with prior="flow", whose KL term has no closed form, '
                f"got {options['kl']!r}"
            )
        self.windowed = validation.flag("window", window)  # super().__init__ builds the networks
        super().__init__(num_frequencies=num_frequencies, **options)
        self.prior = prior
        self.flow = RealNVP(self.latent_dim, LABELS if window else CONDITION, name="flow") if flow else None

    def _networks(self):
        options = {"num_frequencies": self.num_frequencies, "normalise": self.normalise}
        sizes, decoder_sizes = (2 * self.latent_dim, self.hidden_units), (self.latent_dim, self.hidden_units[::-1])
        if not self.windowed:
            self.window, whole = None, {"image_shape": CANVAS_SHAPE, "context": CONDITION}
            return dense_encoder(*sizes, **whole), dense_decoder(*decoder_sizes, **whole, **options)
        self.window = ReadWriteWindow(name="window")
        return canvas_encoder(self.window, *sizes), canvas_decoder(self.window, *decoder_sizes, **options)

    def input_shapes(self) -> list[tuple]:
        """Return the shapes of a canvas and of a condition."""
        return [CANVAS_SHAPE, (3,)]

    def check_inputs(self, x: Any) -> None:
        """Raise ValueError unless `x` is a pair of canvases and as many conditions."""
        if not isinstance(x, (tuple, list)) or len(x) != 2:
            raise ValueError(
                f"{type(self).__name__}: x must be the pair (canvases, conditions), as in fit((canvases, conditions)), "
                f"got {_described(x)}"
            )
        canvases = check_images(self, "canvases", x[0], CANVAS_SHAPE)
        validation.same_length(canvases=canvases, conditions=validate_conditions(x[1]))

    def check_examples(self, x: Any, y: Any) -> None:
        """Raise ValueError unless `x` is such a pair, and `y`, if it is given, as many canvases."""
        self.check_inputs(x)
        check_examples(self, x[0], y, CANVAS_SHAPE)

    def limits(self, x: Any, y: Any) -> list[tuple]:
        """Return the limits of canvases, conditions and targets."""
        return [(x[1], (0, 0, 0), (LABELS - 1, GRID - 1, GRID - 1)), *super().limits(x[0], y)]

    def call(self, inputs: Sequence[KerasTensor], training: bool = False) -> dict[str, KerasTensor]:
        """Encode canvases, sample z and decode it under the same conditions.

        Returns:
            The values of VAE.call, with logits (B, 56, 56, 1). With a flow also log p(z|condition): logpz (B,).
        """
        canvases, condition = as_floats(inputs[0]), one_hot_condition(inputs[1])
        context, position = context_of(condition, self.windowed), condition[:, LABELS:]
        if self.window:
            read = self.window(canvases, position)
            encode, draw = self.encoder.get_layer("digit_encoder"), self.decoder.get_layer("digit_decoder")
        else:
            read, encode, draw = canvases, self.encoder, self.decoder
        z_mean, z_log_var = ops.split(encode([read, context]), 2, axis=-1)
        z = sample_gaussian(z_mean, z_log_var, self.seed_generator)
        found = {"z_mean": z_mean, "z_log_var": z_log_var, "z": z}
        if self.flow:
            found["logpz"] = log_density(self.flow, z, context)
        digits = draw([z, context], training=training)
        return {**found, "logits": self.window(digits, position, write=True) if self.window else digits}

    def _kl(self, y_pred):
        if not self.flow:
            return super()._kl(y_pred)
        return kl_monte_carlo(y_pred["z_mean"], y_pred["z_log_var"], y_pred["z"], y_pred["logpz"])

    def encode(self, canvases: ArrayLike, conditions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the log-variance of q(z|x, condition), in the unit of z and not of the noise.

        Args:
            canvases: Binarized canvases (N, 56, 56, 1).
            conditions: Shape (N, 3).

        Returns:
            Two arrays (N, latent_dim).

        Raises:
            ValueError: The canvases or the conditions are not allowed, or their numbers differ.
        """
        canvases, conditions = validate_images(canvases, CANVAS_SHAPE, name="canvases"), _one_hot(conditions)
        validation.same_length(canvases=canvases, conditions=conditions)
        return self._encode(canvases, conditions)

    def decode_logits(self, z: ArrayLike, conditions: ArrayLike) -> np.ndarray:
        """Return the logits of the pixel probabilities.

        Args:
            z: Shape (N, latent_dim).
            conditions: Shape (N, 3).

        Returns:
            Shape (N, 56, 56, 1).

        Raises:
            ValueError: The codes or the conditions are not allowed, or their numbers differ.
        """
        z, conditions = self._codes(z), _one_hot(conditions)
        validation.same_length(z=z, conditions=conditions)
        return predict_in_batches(self.decoder, z, conditions)

    def sample(self, conditions: ArrayLike, seed: int) -> np.ndarray:
        """Generate one canvas for each condition, from noise drawn from N(0, I) and turned into z by `from_noise`.

        Args:
            conditions: Shape (N, 3).
            seed: Seed of the noise, >= 0.

        Returns:
            Pixel probabilities (N, 56, 56, 1).

        Raises:
            ValueError: The conditions or the seed are not allowed.
        """
        conditions = validate_conditions(conditions)
        return self.decode(self.from_noise(self._noise(len(conditions), seed), conditions), conditions)

    def from_noise(self, noise: ArrayLike, conditions: ArrayLike) -> np.ndarray:
        """Turn noise into codes z as the prior does. Noise drawn from N(0, I) gives samples of p(z|condition).

        Args:
            noise: Shape (N, latent_dim).
            conditions: Shape (N, 3).

        Returns:
            Codes for `decode`, shape (N, latent_dim); the noise itself without a flow.

        Raises:
            ValueError: The noise or the conditions are not allowed, or their numbers differ.
        """
        noise, context = self._with_context("noise", noise, conditions)
        return ops.convert_to_numpy(self.flow.inverse(noise, context)) if self.flow else noise

    def to_noise(self, z: ArrayLike, conditions: ArrayLike) -> np.ndarray:
        """Turn codes into noise: the inverse of `from_noise`.

        Args:
            z: Shape (N, latent_dim).
            conditions: Shape (N, 3).

        Returns:
            Shape (N, latent_dim).

        Raises:
            ValueError: The codes or the conditions are not allowed, or their numbers differ.
        """
        z, context = self._with_context("z", z, conditions)
        return ops.convert_to_numpy(self.flow(z, context)[0]) if self.flow else z

    def log_prior(self, z: ArrayLike, conditions: ArrayLike) -> np.ndarray:
        """Return log p(z|condition), the log-density of the prior.

        Args:
            z: Shape (N, latent_dim).
            conditions: Shape (N, 3).

        Returns:
            Shape (N,), nats.

        Raises:
            ValueError: The codes or the conditions are not allowed, or their numbers differ.
        """
        z, context = self._with_context("z", z, conditions)
        zeros = np.zeros_like(z)
        return ops.convert_to_numpy(
            log_density(self.flow, z, context) if self.flow else gaussian_log_density(z, zeros, zeros)
        )

    def _with_context(self, name, values, conditions):
        """Return codes or noise, validated, and what the flow sees of their conditions."""
        values, conditions = validation.array(name, values, ("N", self.latent_dim)), _one_hot(conditions)
        validation.same_length(**{name: values}, conditions=conditions)
        return values.astype("float32"), context_of(conditions, self.windowed)

    def draw(self, count: int, seed: int, *, label: int, position: Sequence[int]) -> np.ndarray:
        """Return `count` canvases (count, 56, 56, 1) with one label and one position (pos_x, pos_y), see `sample`."""
        validation.number("count", count, 1, whole=True)
        validation.number("label", label, 0, LABELS - 1, whole=True)
        position = validation.array("position", position, (2,), 0, GRID - 1, whole=True)
        return self.sample([[label, *position]] * count, seed)

    def get_config(self) -> dict:
        """Return the options that rebuild the model."""
        return {**super().get_config(), "prior": self.prior, "window": self.windowed}


class PriorTuner(keras.Model):
    """Train the learned prior of a ConditionalVAE alone, on codes of its encoder.

    Encoder and decoder stay as they are, so that only log p(z|condition) of the bound changes. A step costs a fraction
    of a step of the whole model. The prior comes closer to the distribution of all codes than when it follows an
    encoder that still moves.

    It trains on z_mean and z_log_var (B, latent_dim) of q(z|x, condition), see `ConditionalVAE.encode`, and conditions
    (B, 3). `save` saves the ConditionalVAE.

    Args:
        vae: A trained ConditionalVAE with `prior="flow"`; its flow is trained in place.

    Raises:
        ValueError: The model has no flow.

    Source:
        van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017 (a prior fitted to the
        codes of a trained encoder).
    """

    def __init__(self, vae: ConditionalVAE) -> None:
        super().__init__(name="prior_tuner")
        if not vae.flow:
            raise ValueError(f'vae must have prior="flow", got prior={vae.prior!r}')
        self.flow, self.windowed, self.save = vae.flow, vae.windowed, vae.save
        self.seed_generator = keras.random.SeedGenerator(vae.seed)
        self.built = True

    def call(self, inputs: Sequence[KerasTensor], training: bool = False) -> KerasTensor:
        """Return log p(z|condition), shape (B,), of one z of q(z|x, condition) for each image."""
        z_mean, z_log_var, conditions = inputs
        z = sample_gaussian(z_mean, z_log_var, self.seed_generator)
        return log_density(self.flow, z, context_of(one_hot_condition(conditions), self.windowed))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> KerasTensor:
        """Return the mean of -log p(z|condition) in nats."""
        return -ops.mean(y_pred)


def context_of(condition: KerasTensor, windowed: bool) -> KerasTensor:
    """Return the part of one-hot conditions (B, 16) that the networks and the flow see: with a window the label."""
    return condition[:, :LABELS] if windowed else condition


def log_density(flow: RealNVP, z: KerasTensor, context: KerasTensor) -> KerasTensor:
    """Return the log-density (B,) of codes (B, latent_dim) whose noise `flow(z, context)` is standard normal."""
    noise, log_det = flow(z, context)
    zeros = ops.zeros_like(noise)
    return gaussian_log_density(noise, zeros, zeros) + log_det


def one_hot_condition(conditions: KerasTensor) -> KerasTensor:
    """Return conditions [label, pos_x, pos_y] as one-hot vectors side by side: (B, 3) -> (B, 16)."""
    label, pos_x, pos_y = ops.unstack(ops.cast(conditions, "int32"), 3, axis=1)
    parts = ((label, LABELS), (pos_x, GRID), (pos_y, GRID))
    return ops.concatenate([ops.one_hot(part, count, dtype="float32") for part, count in parts], axis=1)


def _one_hot(conditions):
    """Validate conditions and return `one_hot_condition` as an array: one_hot would turn invalid ones into zeros."""
    return ops.convert_to_numpy(one_hot_condition(validate_conditions(conditions)))


def _described(x):
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, (tuple, list, dict)) else f"shape {np.shape(x)}"
