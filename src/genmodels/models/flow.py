"""A normalizing flow: an invertible network that turns codes into standard normal noise, and noise into codes."""

import keras
from keras import KerasTensor, layers, ops

from genmodels import validation
from genmodels.layers import Float32, Input

# A coupling stretches or shrinks an axis by at most exp(0.5). Nothing else would hold the scale of the codes of a VAE
# whose prior learns along: code and noise could move apart without a limit.
LARGEST_LOG_SCALE = 0.5


@keras.saving.register_keras_serializable("genmodels")
class RealNVP(Float32, layers.Layer):
    """A stack of affine couplings between a code z and noise e, given a context.

    A coupling keeps one half a of the axes and moves the other half b:

        b' = b * exp(s(a, context)) + t(a, context)

    Its Jacobian is triangular, so that log |det db'/db| is the sum of s. Its inverse needs no inverse of s or t:

        b = (b' - t(a, context)) * exp(-s(a, context))

    Couplings take turns in keeping the first and the second half. One small network a coupling computes s and t. Their
    first values are 0, so that an untrained flow changes nothing. s stays within +-LARGEST_LOG_SCALE, and t does not
    grow with far codes, because the hidden layers end in tanh.

    With noise e = f(z) from N(0, I), the code z has the density log p(z) = log N(f(z); 0, I) + log |det df/dz|. Such a
    density may serve a VAE as the prior p(z).

    Args:
        latent_dim: Axes of z, >= 2.
        context: Length of the context, such as that of a one-hot label, >= 1.
        couplings: Number of couplings, >= 1. From two on, every axis is moved.
        width: Width of the two hidden layers of each network, >= 1.
        **kwargs: Options of keras.layers.Layer.

    Raises:
        ValueError: A number is not allowed.

    Source:
        Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, equations 2 and 6-8; as the prior of a
        VAE: Chen et al., "Variational Lossy Autoencoder", 2017, section 3.2.
    """

    def __init__(self, latent_dim: int, context: int, *, couplings: int = 6, width: int = 128, **kwargs) -> None:
        super().__init__(**kwargs)
        self.latent_dim = validation.number("latent_dim", latent_dim, 2, whole=True)
        self.context = validation.number("context", context, 1, whole=True)
        self.couplings = validation.number("couplings", couplings, 1, whole=True)
        self.width = validation.number("width", width, 1, whole=True)
        sizes = self.latent_dim // 2, self.latent_dim - self.latent_dim // 2
        self.networks = [
            _coupling_network(sizes[turn % 2], sizes[1 - turn % 2], self.context, self.width)
            for turn in range(self.couplings)
        ]
        self.built = True  # the networks have their weights, and the layer has no others

    def call(self, z: KerasTensor, context: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
        """Turn codes into noise.

        Args:
            z: Shape (B, latent_dim).
            context: Shape (B, context).

        Returns:
            The noise f(z), shape (B, latent_dim), and log |det df/dz|, shape (B,).
        """
        halves, log_det = self._halves(z), 0.0
        for turn, network in enumerate(self.networks):
            kept, moved = turn % 2, 1 - turn % 2
            log_scale, shift = self._log_scale_and_shift(network, halves[kept], context)
            halves[moved] = halves[moved] * ops.exp(log_scale) + shift
            log_det += ops.sum(log_scale, axis=1)
        return ops.concatenate(halves, axis=1), log_det

    def inverse(self, noise: KerasTensor, context: KerasTensor) -> KerasTensor:
        """Turn noise into codes: undo the couplings of `call`, the last one first.

        Args:
            noise: Shape (B, latent_dim).
            context: Shape (B, context).

        Returns:
            Codes, shape (B, latent_dim).
        """
        noise, context = (ops.convert_to_tensor(values, "float32") for values in (noise, context))
        halves = self._halves(noise)
        for turn, network in reversed([*enumerate(self.networks)]):
            kept, moved = turn % 2, 1 - turn % 2
            log_scale, shift = self._log_scale_and_shift(network, halves[kept], context)
            halves[moved] = (halves[moved] - shift) * ops.exp(-log_scale)
        return ops.concatenate(halves, axis=1)

    def _halves(self, values):
        return [values[:, : self.latent_dim // 2], values[:, self.latent_dim // 2 :]]

    @staticmethod
    def _log_scale_and_shift(network, kept, context):
        log_scale, shift = ops.split(network([kept, context]), 2, axis=1)
        return LARGEST_LOG_SCALE * ops.tanh(log_scale / LARGEST_LOG_SCALE), shift

    def get_config(self) -> dict:
        """Return the options that rebuild the layer."""
        names = ("latent_dim", "context", "couplings", "width")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _coupling_network(kept, moved, context, width):
    """Build a network [kept half (B, kept), context (B, context)] -> s and t of the other half, side by side."""
    inputs = [Input((kept,)), Input((context,))]
    x = layers.Concatenate(dtype="float32")(inputs)
    for _ in range(2):
        x = layers.Dense(width, "tanh", dtype="float32")(x)
    return keras.Model(inputs, layers.Dense(2 * moved, kernel_initializer="zeros", dtype="float32")(x))
