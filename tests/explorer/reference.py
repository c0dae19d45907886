"""The layers of `layers.js` once more, in NumPy and as plain as possible: what a description means."""

import base64
import zlib
from math import erf

import numpy as np


def unpack(text, dtype):
    data, size = zlib.decompress(base64.b64decode(text)), np.dtype(dtype).itemsize
    count = len(data) // size
    return np.frombuffer(bytes(data[place * count + i] for i in range(count) for place in range(size)), dtype)


def run(network, *inputs):
    """Compute the output of a network, read from `export.Network.as_json`, for a batch of flat examples."""
    dtype = "<f4" if network["exact"] else "<f2"
    weights, values = unpack(network["weights"], dtype).astype("float64"), []
    for place, layer in enumerate(network["layers"]):
        arrays = {name: weights[start : start + count] for name, (start, count) in layer["arrays"].items()}
        if layer["kind"] == "input":
            values.append(np.asarray(inputs[place], "float64").reshape(len(inputs[place]), -1))
        else:
            given = [values[each] for each in layer["inputs"]]
            values.append(KINDS[layer["kind"]](layer, *given, **arrays).reshape(len(given[0]), -1))
    return values[network["output"]].reshape(-1, *network["shape"])


def dense(layer, x, kernel, bias):
    return x @ kernel.reshape(layer["shape"][0], -1).T + bias


def activation(layer, x):
    return {"gelu": lambda: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2, "tanh": lambda: np.tanh(x)}.get(
        layer["name"], lambda: {"relu": np.maximum(x, 0), "sigmoid": 1 / (1 + np.exp(-x))}[layer["name"]]
    )()


def scale(layer, x, scale, shift):
    return x.reshape(len(x), -1, len(scale)) * scale + shift


def _offsets(size, kernel, stride, steps):
    """Return, for each step and each place of the kernel, the pixel that it touches; padding "same"."""
    before = max((steps - 1) * stride + kernel - size, 0) // 2
    return np.arange(steps)[:, None] * stride + np.arange(kernel) - before


def convolution(layer, x, kernel, bias):
    (height, width, channels), (rows, columns, units) = layer["from"], layer["shape"]
    (tall, wide), stride = layer["size"], layer["stride"]
    x, kernel = x.reshape(-1, height, width, channels), kernel.reshape(units, tall, wide, channels)
    y = np.zeros((len(x), rows, columns, units)) + bias
    down, across = _offsets(height, tall, stride, rows), _offsets(width, wide, stride, columns)
    for i, j, u, v in np.ndindex(rows, columns, tall, wide):
        row, column = down[i, u], across[j, v]
        if 0 <= row < height and 0 <= column < width:
            y[:, i, j] += x[:, row, column] @ kernel[:, u, v].T
    return y


def conv_transpose(layer, x, kernel, bias):
    (height, width, channels), (rows, columns, units) = layer["from"], layer["shape"]
    (tall, wide), stride = layer["size"], layer["stride"]
    x, kernel = x.reshape(-1, height, width, channels), kernel.reshape(tall, wide, units, channels)
    y = np.zeros((len(x), rows, columns, units)) + bias
    down, across = _offsets(rows, tall, stride, height), _offsets(columns, wide, stride, width)
    for i, j, u, v in np.ndindex(height, width, tall, wide):
        row, column = down[i, u], across[j, v]
        if 0 <= row < rows and 0 <= column < columns:
            y[:, row, column] += x[:, i, j] @ kernel[u, v].T
    return y


def fourier(layer, z):
    angles = [np.pi / 8 * 2**k * z for k in range(layer["frequencies"])]
    return np.concatenate([z, *map(np.sin, angles), *map(np.cos, angles)], axis=1)


def depth_to_space(layer, x):
    rows, columns, channels = layer["shape"]
    blocks = x.reshape(-1, rows // 2, columns // 2, 2, 2, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5)


def window(layer, digits, positions, columns, rows, background):
    cells, stride, canvas = layer["cells"], layer["stride"], layer["shape"][0]
    side = canvas - (cells - 1) * stride
    y = np.zeros((len(digits), canvas, canvas)) + background
    for e, position in enumerate(positions):
        across = _shares(layer, position[:cells] @ columns.reshape(cells, cells))
        down = _shares(layer, position[cells:] @ rows.reshape(cells, cells))
        for i, j in np.ndindex(cells, cells):
            part = y[e, i * stride : i * stride + side, j * stride : j * stride + side]
            part += down[i] * across[j] * digits[e].reshape(side, side)
    return y


def _shares(layer, logits):
    shares = np.exp(layer["sharpness"] * (logits - logits.max()))
    shares /= shares.sum()
    settled = shares > layer["settled"]
    return settled.astype(float) if settled.any() else shares


KINDS = {
    "dense": dense,
    "activation": activation,
    "scale": scale,
    "convolution": convolution,
    "convTranspose": conv_transpose,
    "fourier": fourier,
    "concatenate": lambda layer, *given: np.concatenate(given, axis=1),
    "slice": lambda layer, x: x[:, layer["start"] : layer["start"] + layer["shape"][0]],
    "depthToSpace": depth_to_space,
    "window": window,
}


def from_noise(flow, noise, context):
    """Turn noise into codes with the description of a flow whose networks were read from `as_json`."""
    half, limit, z = flow["latentDim"] // 2, flow["largestLogScale"], np.array(noise, "float64")
    halves = [z[:, :half], z[:, half:]]
    for turn, network in reversed([*enumerate(flow["networks"])]):
        kept, moved = turn % 2, 1 - turn % 2
        log_scale, shift = np.split(run(network, halves[kept], context), 2, axis=1)
        halves[moved] = (halves[moved] - shift) * np.exp(-limit * np.tanh(log_scale / limit))
    return np.concatenate(halves, axis=1)
