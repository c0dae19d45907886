"""How near training comes to what the machine can do: multiply-adds of a step against its time and the measured peak.

The peak is that of a large float32 matrix product through the same TensorFlow, on one thread, as the runs train. It is
measured anew before each measurement of a training, because on a shared machine it changes from minute to minute.
"""

import math
import statistics
import time

import tensorflow as tf

from genmodels import data, experiments, training


def graph_of(model, batch):
    """The graph of one training step of a compiled model on a batch, its shapes all known."""
    shapes = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), batch)
    training.optimizers(model)
    return tf.function(model.train_step).get_concrete_function(shapes).graph


def multiply_adds(graph):
    """Multiply-adds of all matrix products and convolutions of a graph: a multiply and an add count as one."""
    return sum(_COUNTS[op.type](op) for op in graph.get_operations() if op.type in _COUNTS)


def _matmul(op):
    """Elements of the result, times the length of the axis that is summed."""
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    return math.prod(op.outputs[0].shape) * op.inputs[0].shape[-2 if transposed else -1]


def _convolution(images, kernel):
    """images: the smaller ones, after the stride. kernel: (height, width, channels in, channels out)."""
    return math.prod(images) * math.prod(kernel[:3])


_COUNTS = {
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "Conv2D": lambda op: _convolution(op.outputs[0].shape, op.inputs[1].shape),
    "Conv2DBackpropInput": lambda op: _convolution(op.inputs[2].shape, op.inputs[1].shape),
    "Conv2DBackpropFilter": lambda op: _convolution(op.inputs[2].shape, op.outputs[0].shape),
}


def peak(side=4096, times=3):
    """Multiply-adds a second of a product of two matrices of `side` x `side`, the median of `times`."""
    product = tf.function(tf.matmul)
    matrix = tf.random.normal((side, side))
    return side**3 / _median_seconds(lambda: product(matrix, matrix)[0, 0].numpy(), times)


def _median_seconds(action, times):
    action()  # the first time is slow
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def of_run(run, *, steps=100, times=5):
    """Cost of training a run, a dict: multiply_adds and nodes of a step, and medians of `times` measurements.

    These are seconds: of one of `steps` steps, and reached: the share of the peak that was measured just before.
    """
    run = experiments.find(run)
    training.prepare(run.seed)
    models = [experiments.trained(other).model for other in experiments.needed(run)]
    setup = getattr(experiments, run.build)(run.settings(), data.load(), *models)
    batches = training.Batches(setup.count, run.batch_size, setup.make_batch, seed=run.seed)
    graph = graph_of(setup.model, batches[0])
    some = training.Batches(steps * run.batch_size, run.batch_size, setup.make_batch, seed=run.seed)
    training.fit(setup.model, some, epochs=1, name=run.name)  # the first time is slow
    work, seconds, reached = multiply_adds(graph), [], []
    for _ in range(times):
        limit = peak()
        start = time.perf_counter()
        training.fit(setup.model, some, epochs=1, name=run.name)
        seconds.append((time.perf_counter() - start) / steps)
        reached.append(work / seconds[-1] / limit)
    found = {"multiply_adds": work, "nodes": len(graph.get_operations())}
    return {**found, "seconds": statistics.median(seconds), "reached": statistics.median(reached)}


def main():
    """Prints a table of all runs."""
    training.use_one_thread()
    print(f"peak: {peak() / 1e9:.1f} G multiply-adds/s on one thread, at the start", flush=True)
    for run in experiments.RUNS:
        cost = of_run(run)
        print(
            f"{run:10} {cost['multiply_adds'] / 1e6:8.1f} M/step {cost['nodes']} nodes {1e3 * cost['seconds']:6.1f} ms"
            f" {cost['reached']:6.1%} of the peak",
            flush=True,
        )


if __name__ == "__main__":
    main()
