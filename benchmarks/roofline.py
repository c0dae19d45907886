"""Roofline of training: multiply-adds of a step against its time and the measured peak of one core.

A large float32 matrix product gives the peak, through the same TensorFlow and on one thread, as the runs train. It is
measured anew before each measurement of a training, because on a shared machine it changes from minute to minute.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import click
import keras
import tensorflow as tf

from genmodels import config, load_mnist, trained, training
from genmodels.experiments import BUILDERS, RUNS, Run, dependencies, find


def graph_of(model: keras.Model, batch: Any) -> tf.Graph:
    """Return the graph of one training step, with all shapes known.

    Args:
        model: A compiled model.
        batch: One training batch, arrays or tuples of arrays.

    Returns:
        The traced graph.
    """
    shapes = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), batch)
    training.built_optimizers(model)
    return tf.function(model.train_step).get_concrete_function(shapes).graph


def multiply_adds(graph: tf.Graph) -> int:
    """Return the multiply-adds of all matrix products and convolutions of a graph.

    A multiply and an add count as one.
    """
    return sum(_COUNTS[op.type](op) for op in graph.get_operations() if op.type in _COUNTS)


def _matmul(op):
    """Return the number of elements of the result, times the length of the summed axis."""
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    return math.prod(op.outputs[0].shape) * op.inputs[0].shape[-2 if transposed else -1]


def _convolution(images, kernel):
    """Count a convolution from the shape of its smaller images and of its kernel (height, width, in, out)."""
    return math.prod(images) * math.prod(kernel[:3])


_COUNTS = {
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "Conv2D": lambda op: _convolution(op.outputs[0].shape, op.inputs[1].shape),
    "Conv2DBackpropInput": lambda op: _convolution(op.inputs[2].shape, op.inputs[1].shape),
    "Conv2DBackpropFilter": lambda op: _convolution(op.inputs[2].shape, op.outputs[0].shape),
}


def peak(side: int = 4096, times: int = 3) -> float:
    """Measure the peak of this core with a product of two square matrices.

    Args:
        side: Rows and columns of the matrices.
        times: Number of measurements; the median counts.

    Returns:
        Multiply-adds a second.
    """
    product = tf.function(tf.matmul)
    matrix = tf.random.normal((side, side))
    return side**3 / _median_seconds(lambda: product(matrix, matrix)[0, 0].numpy(), times)


def _median_seconds(action: Callable, times):
    action()  # a warm-up, because the first call is slow
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measure(run: Run | str, *, steps: int = 100, times: int = 5) -> dict[str, float]:
    """Measure the cost of training a run.

    Args:
        run: A run or its name.
        steps: Training steps in one measurement.
        times: Number of measurements; the medians count.

    Returns:
        multiply_adds: Multiply-adds of one step.
        nodes: Operations in the graph of one step.
        seconds: Duration of one step.
        utilisation: Share of the peak that was measured just before.
    """
    run = find(run)
    training.prepare(run.seed)
    models = [trained(other).model for other in dependencies(run)]
    setup = BUILDERS[run.builder](run.settings(), load_mnist(), *models)
    batches = training.Batches(setup.count, run.batch_size, setup.make_batch, seed=run.seed)
    graph = graph_of(setup.model, batches[0])
    some = training.Batches(steps * run.batch_size, run.batch_size, setup.make_batch, seed=run.seed)
    training.fit(setup.model, some, epochs=1, name=run.name)  # a warm-up, because the first call is slow
    work, seconds, utilisation = multiply_adds(graph), [], []
    for _ in range(times):
        limit = peak()
        start = time.perf_counter()
        training.fit(setup.model, some, epochs=1, name=run.name)
        seconds.append((time.perf_counter() - start) / steps)
        utilisation.append(work / seconds[-1] / limit)
    found = {"multiply_adds": work, "nodes": len(graph.get_operations())}
    return {**found, "seconds": statistics.median(seconds), "utilisation": statistics.median(utilisation)}


@click.command()
@click.argument("names", metavar="[RUN]...", nargs=-1, type=click.Choice(list(RUNS)))
def main(names: Iterable[str]) -> None:
    """Print a table of the named runs, or of all."""
    config.use_one_thread()
    print(f"peak: {peak() / 1e9:.1f} G multiply-adds/s on one thread, at the start", flush=True)
    for run in names or RUNS:
        cost = measure(run)
        print(
            f"{run:11} {cost['multiply_adds'] / 1e6:8.1f} M/step {cost['nodes']} nodes {1e3 * cost['seconds']:6.1f} ms"
            f" {cost['utilisation']:6.1%} of the peak",
            flush=True,
        )


if __name__ == "__main__":
    main()
