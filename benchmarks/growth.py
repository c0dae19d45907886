"""How time and memory of training the VAE grow with the number of images, their side, latent_dim, batch size, threads.

Each point has a process of its own. Images beyond MNIST's 55,000 are MNIST's, moved by up to two pixels, in a file of
bytes that is mapped into memory and read batch by batch, so that the data may be larger than memory.
"""

import json
import mmap
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import click
import numpy as np

from genmodels import data

AXES = {
    "images": (1_000, 10_000, 100_000, 1_000_000),
    "side": (28, 56, 84, 112),
    "latent_dim": (2, 10, 100, 1_000),
    "batch_size": (32, 128, 512, 2_048),
    "threads": (1, 2),
}
USUAL = {"images": 20_000, "side": 28, "latent_dim": 2, "batch_size": 128, "threads": 1}
CHUNK = 10_000  # images that are made at once


def moved_digits(path, count, *, seed=0):
    """Writes `count` training digits, each moved by up to two pixels, as bytes; returns them as a memory map."""
    images, rng = data.load().train.images, np.random.default_rng(seed)
    with open(path, "wb") as file:
        for start in range(0, count, CHUNK):
            chosen = rng.integers(0, len(images), min(CHUNK, count - start))
            moved = data.shift(images[chosen], *rng.integers(-2, 3, (2, len(chosen))))
            file.write(np.rint(255 * moved).astype(np.uint8))
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):  # else each image brings its neighbours, megabytes, from a disk
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, np.uint8).reshape(count, data.SIDE, data.SIDE, 1)


def memory():
    """Own memory of this process now, without files that are mapped into it, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def epoch(*, images, side, latent_dim, batch_size, threads):
    """Seconds of one epoch of the VAE, after the first steps, and memory at its end in MiB."""
    import keras
    import tensorflow as tf

    from genmodels import networks, training
    from genmodels.vae import VAE

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    with mock.patch.multiple(networks, SHAPE=(side, side, 1), PIXELS=side * side):
        model = VAE(latent_dim=latent_dim, seed=0)
    model.compile(training.adam(1e-3, 1, decay="constant"))
    repeats = -(-side // data.SIDE)
    with tempfile.TemporaryDirectory() as folder:
        stored = moved_digits(Path(folder) / "images", images)

        def make(chosen, rng):
            batch = data.quantise(stored[chosen] / np.float32(255))
            return (np.tile(batch, (1, repeats, repeats, 1))[:, :side, :side],)

        for count in (min(10 * batch_size, images), images):
            batches = training.Batches(count, batch_size, make, seed=0)
            start = time.perf_counter()
            training.fit(model, batches, epochs=1, name="growth")
    return {"seconds": time.perf_counter() - start, "memory": memory()}


@click.command()
@click.argument("point", required=False)
def main(point):
    """All points as a table, or one, given as JSON, as JSON."""
    if point:
        print(json.dumps(epoch(**json.loads(point))))
        return
    for axis, values in AXES.items():
        for value in values:
            command = [sys.executable, "-m", "benchmarks.growth", json.dumps({**USUAL, axis: value})]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            print(f"{axis:10} {value:9} {found['seconds']:8.2f} s {found['memory']:7.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
