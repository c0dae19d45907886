"""Describe trained Keras networks for the browser: a list of layers, and their weights as float16.

`layers.js` computes what a description says. Values are flat arrays there, so that Flatten and Reshape need no layer.
Batch normalisation behind a dense layer or a convolution is folded into the weights of that layer.
"""

import base64
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from genmodels.canvas import CANVAS_SHAPE, GRID, STRIDE
from genmodels.layers import SETTLED, SHARPNESS
from genmodels.models.flow import LARGEST_LOG_SCALE, RealNVP
from genmodels.pipeline.records import ReportError

ACTIVATIONS = ("gelu", "relu", "sigmoid", "tanh")


class ExportError(ReportError):
    """A network has a part that the explorer cannot draw. The message names it."""


@dataclass
class Layer:
    """One layer of a description.

    Attributes:
        kind: Name of a function in `layers.js`, or "input".
        inputs: Places of the layers whose values it takes.
        shape: Shape of its value for one example.
        settings: Numbers and words that the function reads.
        arrays: {name: float32 array} of weights.
        source: The Keras layer, if it has weights.
        folded: The batch normalisation that is part of `arrays`, or None.
    """

    kind: str
    inputs: list[int]
    shape: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    source: Any = None
    folded: Any = None


@dataclass
class Network:
    """The description of a network.

    Attributes:
        layers: The layers in the order of computation; the inputs first.
        output: Place of the layer whose value is the output.
        shape: Shape of the output for one example.
    """

    layers: list[Layer] = field(default_factory=list)
    output: int = 0
    shape: tuple[int, ...] = ()

    def as_json(self, exact: bool = False) -> dict[str, Any]:
        """Return the description for a JSON file.

        Args:
            exact: Keep the weights as float32. They are rounded to float16 otherwise.

        Returns:
            "layers", "output", "shape", "exact", and "weights": all arrays one after another, see `pack`. A layer names
            its arrays as {name: [first value, number of values]}.

        Raises:
            ExportError: A weight is too large for float16.
        """
        layers, blocks, start = [], [], 0
        for layer in self.layers:
            places = {}
            for name, values in layer.arrays.items():
                places[name] = [start, values.size]
                values = _by_output(layer, values) if name == "kernel" else values
                blocks.append((values.astype("float32") if exact else rounded(values)).ravel())
                start += values.size
            described = {"kind": layer.kind, "inputs": layer.inputs, "shape": layer.shape, **layer.settings}
            layers.append({**described, "arrays": places})
        weights = np.concatenate(blocks) if blocks else np.zeros(0, "float16")
        told = {"layers": layers, "output": self.output, "shape": self.shape, "exact": exact}
        return {**told, "weights": pack(weights)}


def _by_output(layer, kernel):
    """Return a kernel with one row for each output: the browser multiplies by rows, which lie together in memory.

    That of a transposed convolution, (height, width, out, in), already has them so.
    """
    return kernel if layer.kind == "convTranspose" else kernel.reshape(-1, kernel.shape[-1]).T


def pack(values: ArrayLike) -> str:
    """Return the bytes of an array, in its own dtype, deflated and as base64 text.

    The first bytes of all numbers come first, then the second ones: those with the exponents deflate better together.
    """
    values = np.asarray(values)
    found = values.astype(values.dtype.newbyteorder("<")).reshape(-1, 1).view("uint8").T
    return base64.b64encode(zlib.compress(found.tobytes(), 9)).decode("ascii")


def unpack(text: str, dtype: DTypeLike) -> np.ndarray:
    """Return the numbers that `pack` packed, one after another."""
    found = np.frombuffer(zlib.decompress(base64.b64decode(text)), "uint8")
    return found.reshape(np.dtype(dtype).itemsize, -1).T.ravel().view(dtype)


def rounded(values: np.ndarray) -> np.ndarray:
    """Return weights as float16.

    Raises:
        ExportError: A weight is too large, or not a number.
    """
    with np.errstate(over="ignore"):
        found = values.astype("float16")
    if not np.isfinite(found).all():
        raise ExportError(f"expected weights within ±65504, as float16 has them, got {np.abs(values).max():.3g}")
    return found


def describe(network: keras.Model) -> Network:
    """Describe a functional Keras network.

    Args:
        network: Network with one output, such as `VAE.decoder`.

    Returns:
        Its description, with float32 weights.

    Raises:
        ExportError: It has a layer that `layers.js` does not know.
    """
    found = Network()
    inputs = [_append(found, Layer("input", [], tuple(shape[1:]))) for shape in _shapes(network.input_shape)]
    found.output, found.shape = _add_network(found, network, [(place, found.layers[place].shape) for place in inputs])
    return found


def describe_flow(flow: RealNVP) -> dict[str, Any]:
    """Describe the learned prior of a ConditionalVAE.

    Args:
        flow: The flow.

    Returns:
        "networks" of the couplings as Network, "latentDim" and "largestLogScale".

    Raises:
        ExportError: A coupling has an unknown layer.
    """
    networks = [describe(network) for network in flow.networks]
    return {"networks": networks, "latentDim": flow.latent_dim, "largestLogScale": LARGEST_LOG_SCALE}


def _shapes(shapes):
    return shapes if isinstance(shapes, list) else [shapes]


def _append(found, layer):
    found.layers.append(layer)
    return len(found.layers) - 1


def _add_network(found, network, inputs):
    """Add the layers of a functional network to a description.

    A value is (place of the layer that computes it, its shape): Flatten and Reshape change the shape alone.
    """
    if not isinstance(network, keras.Model) or "input_layers" not in (config := network.get_config()):
        raise _unknown(network, "no network of Keras's functional API")
    operations = {operation.name: operation for operation in network.operations}
    values = dict(zip(_names(config["input_layers"]), inputs))
    uses = Counter(name for layer in config["layers"] for node in layer["inbound_nodes"] for name in _sources(node))
    uses.update(outputs := _names(config["output_layers"]))
    for layer in config["layers"]:
        if layer["name"] in values:
            continue
        [node] = layer["inbound_nodes"]
        operation, given = operations[layer["name"]], [values[name] for name in _sources(node)]
        alone = all(uses[name] == 1 for name in _sources(node))
        values[layer["name"]] = _add_operation(found, operation, given, node, alone)
    if len(outputs) != 1:
        raise _unknown(network, f"{len(outputs)} outputs")
    return values[outputs[0]]


def _names(places):
    """Return the names in "input_layers" or "output_layers", which are [name, 0, 0] or a list of such."""
    return [place[0] for place in ([places] if isinstance(places[0], str) else places)]


def _sources(value):
    """Yield the names of the layers whose outputs occur in the arguments of a call."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _sources(part)


def _add_operation(found, operation, given, node, alone):
    """Add one operation and return its value.

    Args:
        found: The description.
        operation: A Keras layer or operation.
        given: Values that it takes.
        node: Arguments of its call, from the configuration of the network.
        alone: Nothing else takes these values.
    """
    name = type(operation).__name__
    if name == "Functional":
        return _add_network(found, operation, given)
    if name in ("Dropout", "Flatten", "Reshape"):
        return given[0][0], _shape_after(operation, given[0][1])
    if name == "BatchNormalization":
        return _add_normalisation(found, operation, given[0], alone)
    if name not in _KINDS:
        raise _unknown(operation)
    layer = _KINDS[name](operation, [shape for _, shape in given], node)
    layer.inputs = [place for place, _ in given]
    value = _append(found, layer), layer.shape
    activation = keras.activations.serialize(operation.activation) if name in _LINEAR else "linear"
    return value if activation == "linear" else _add_activation(found, operation, activation, value)


def _shape_after(operation, shape):
    return shape if type(operation).__name__ == "Dropout" else tuple(operation.compute_output_shape((1, *shape))[1:])


def _add_activation(found, operation, activation, value):
    layer = _activation(operation, activation, value[1])
    layer.inputs = [value[0]]
    return _append(found, layer), layer.shape


def _add_normalisation(found, operation, value, alone):
    """Fold batch normalisation into the layer before it, or add a scale and a shift of the last axis."""
    place, shape = value
    axis = operation.axis[0] if isinstance(operation.axis, (list, tuple)) else operation.axis
    if axis not in (-1, len(shape)):
        raise _unknown(operation, f"axis {axis}, not the last one")
    ones = np.ones(shape[-1], "float32")
    mean, variance = _array(operation.moving_mean), _array(operation.moving_variance)
    scale = (_array(operation.gamma) if operation.scale else ones) / np.sqrt(variance + operation.epsilon)
    shift = (_array(operation.beta) if operation.center else 0 * ones) - mean * scale
    before = found.layers[place]
    if not alone or "kernel" not in before.arrays:
        arrays = {"scale": scale, "shift": shift}
        return _append(found, Layer("scale", [place], shape, {}, arrays, operation)), shape
    times = before.arrays["bias"].size // len(scale)  # after a Reshape several outputs share a channel
    scale, shift = np.tile(scale, times), np.tile(shift, times)
    along = scale[:, None] if before.kind == "convTranspose" else scale  # its kernel is (height, width, out, in)
    before.arrays = {"kernel": before.arrays["kernel"] * along, "bias": before.arrays["bias"] * scale + shift}
    before.folded = operation
    return value


def _array(weight):
    return keras.ops.convert_to_numpy(weight).astype("float32")


def _unknown(operation, what=""):
    known = ", ".join(sorted([*_KINDS, "BatchNormalization", "Dropout", "Flatten", "Reshape"]))
    has = f" with {what}" if what else ""
    return ExportError(
        f"expected layers that the explorer can draw ({known}), got {type(operation).__name__} {operation.name!r}{has}"
    )


def _weights(operation):
    """Return kernel and bias of a dense layer or a convolution; zeros without a bias."""
    kernel = _array(operation.kernel)
    count = operation.units if hasattr(operation, "units") else operation.filters
    bias = _array(operation.bias) if operation.use_bias else np.zeros(count, "float32")
    return {"kernel": kernel, "bias": bias}


# One function for each class of Keras: the layer, the shapes that it takes and its node give a Layer without inputs.


def _dense(operation, shapes, node):
    if len(shapes[0]) != 1:
        raise _unknown(operation, f"an input of {len(shapes[0])} axes")
    return Layer("dense", [], (operation.units,), {}, _weights(operation), operation)


def _convolution(kind):
    def build(operation, shapes, node):
        plain = operation.dilation_rate == (1, 1) and getattr(operation, "groups", 1) == 1
        if not plain or operation.padding != "same" or operation.data_format != "channels_last":
            raise _unknown(operation, "other options than padding='same' and channels last")
        if (stride := operation.strides[0]) != operation.strides[1]:
            raise _unknown(operation, f"strides {operation.strides}")
        shape = tuple(operation.compute_output_shape((1, *shapes[0]))[1:])
        settings = {"stride": stride, "size": operation.kernel_size, "from": shapes[0]}
        return Layer(kind, [], shape, settings, _weights(operation), operation)

    return build


def _activation(operation, name, shape):
    if name not in ACTIVATIONS:
        raise _unknown(operation, f"the activation {name!r}, not one of {', '.join(ACTIVATIONS)}")
    return Layer("activation", [], shape, {"name": name})


def _fourier(operation, shapes, node):
    count = operation.num_frequencies
    return Layer("fourier", [], (shapes[0][0] * (1 + 2 * count),), {"frequencies": count})


def _concatenate(operation, shapes, node):
    if {len(shape) for shape in shapes} != {1}:
        raise _unknown(operation, "inputs of several axes")
    return Layer("concatenate", [], (sum(size for [size] in shapes),))


def _slice(operation, shapes, node):
    rows, *columns = (part["config"] for part in node["args"][1])
    steps = [part["step"] for part in (rows, *columns)]
    if len(shapes[0]) != 1 or len(columns) != 1 or (rows["start"], rows["stop"], *steps) != (None,) * 4:
        raise _unknown(operation, "other indices than x[:, start:stop]")
    start, stop, _ = slice(columns[0]["start"], columns[0]["stop"]).indices(shapes[0][0])
    return Layer("slice", [], (stop - start,), {"start": start})


def _depth_to_space(operation, shapes, node):
    height, width, channels = shapes[0]
    return Layer("depthToSpace", [], (2 * height, 2 * width, channels // 4))


def _window(operation, shapes, node):
    if not node["kwargs"].get("write"):
        raise _unknown(operation, "reading; it can only write")
    arrays = {name: _array(getattr(operation, name)) for name in ("columns", "rows", "background")}
    settings = {"cells": GRID, "stride": STRIDE, "sharpness": SHARPNESS, "settled": SETTLED}
    return Layer("window", [], CANVAS_SHAPE, settings, arrays, operation)


_LINEAR = ("Conv2D", "Conv2DTranspose", "Dense")
_KINDS: dict[str, Callable[..., Layer]] = {
    "Activation": lambda layer, shapes, node: _activation(
        layer, keras.activations.serialize(layer.activation), shapes[0]
    ),
    "Concatenate": _concatenate,
    "Conv2D": _convolution("convolution"),
    "Conv2DTranspose": _convolution("convTranspose"),
    "Dense": _dense,
    "DepthToSpace": _depth_to_space,
    "FourierFeatures": _fourier,
    "GetItem": _slice,
    "ReadWriteWindow": _window,
}


@contextmanager
def rounded_weights(*descriptions: Network) -> Iterator[None]:
    """Give described Keras networks the weights that the browser has, inside the block.

    A folded batch normalisation then adds the bias and changes nothing else.

    Args:
        *descriptions: Values of `describe`.
    """
    described = [layer for description in descriptions for layer in description.layers]
    changed = [part for layer in described for part in (layer.source, layer.folded) if part is not None]
    before = [part.get_weights() for part in changed]
    try:
        for layer in described:
            if layer.source is not None:
                _round(layer)
        yield
    finally:
        for part, weights in zip(changed, before):
            part.set_weights(weights)


def _round(layer):
    arrays = {name: rounded(values).astype("float32") for name, values in layer.arrays.items()}
    if layer.kind == "scale":
        _normalise_by(layer.source, arrays["scale"], arrays["shift"])
        return
    bias = arrays["bias"] if "bias" in arrays else None
    for name, values in arrays.items():
        if name != "bias":
            getattr(layer.source, name).assign(values)
    if bias is not None and layer.source.use_bias:
        layer.source.bias.assign(0 * bias if layer.folded is not None else bias)
    if layer.folded is not None:
        shift = bias[: layer.folded.moving_mean.shape[0]]
        if not np.array_equal(np.tile(shift, bias.size // shift.size), bias):
            raise ExportError(f"{layer.source.name}: expected the same bias in each place of a channel, got others")
        _normalise_by(layer.folded, np.ones_like(shift), shift)


def _normalise_by(normalisation, scale, shift):
    """Set batch normalisation so that it multiplies by `scale` and adds `shift`."""
    weights = {"moving_mean": -shift / scale, "moving_variance": scale**-2.0 - normalisation.epsilon}
    for name in ("gamma", "beta"):
        if getattr(normalisation, name, None) is not None:
            weights[name] = np.full_like(scale, name == "gamma")
    for name, values in weights.items():
        getattr(normalisation, name).assign(values)
