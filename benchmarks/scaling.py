"""Scaling of the VAE: time and memory of an epoch by number of images, their side, latent_dim, batch size and threads.

Each point has a process of its own. Its images are MNIST's 55,000, chosen at random and moved by up to two pixels. The
images are bytes in a file that is mapped into memory and read batch by batch. The data may therefore be larger than
memory.
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

from genmodels import datasets

AXES = {
    "images": (1_000, 10_000, 100_000, 1_000_000),
    "side": (28, 56, 84, 112),
    "latent_dim": (2, 10, 100, 1_000),
    "batch_size": (32, 128, 512, 2_048),
    "threads": (1, 2),
}
DEFAULTS = {"images": 20_000, "side": 28, "latent_dim": 2, "batch_size": 128, "threads": 1}
CHUNK = 10_000  # images made at once


def moved_digits(path: str | Path, count: int, *, seed: int = 0) -> np.ndarray:
    """Write training digits, each moved by up to two pixels, to a file and map it into memory.

    Args:
        path: The file to write.
        count: Number of images, >= 1.
        seed: Seed of the choice of digits and of their moves.

    Returns:
        uint8 array of shape (count, 28, 28, 1), read from the file on demand.
    """
    images, rng = datasets.load_mnist().train.images, np.random.default_rng(seed)
    with open(path, "wb") as file:
        for start in range(0, count, CHUNK):
            chosen = rng.integers(0, len(images), min(CHUNK, count - start))
            moved = datasets.translate(images[chosen], *rng.integers(-2, 3, (2, len(chosen))))
            file.write(np.rint(255 * moved).astype(np.uint8))
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):  # without it, each image brings megabytes of neighbours from the disk
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, np.uint8).reshape(count, datasets.SIDE, datasets.SIDE, 1)


def memory() -> float:
    """Return the present memory of this process in MiB, without files mapped into it. Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def measure(*, images: int, side: int, latent_dim: int, batch_size: int, threads: int) -> dict[str, float]:
    """Train the VAE for one epoch, after a short warm-up.

    Args:
        images: Number of images.
        side: Height and width of an image in pixels. MNIST's digits are tiled to fill it.
        latent_dim: Axes of z.
        batch_size: Images in a batch.
        threads: Threads of TensorFlow.

    Returns:
        seconds: Duration of the epoch.
        memory: Memory of the process at its end in MiB, see `memory`.
    """
    import keras
    import tensorflow as tf

    from genmodels import VAE, layers, optimizers, training

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    with mock.patch.multiple(layers, SHAPE=(side, side, 1), PIXELS=side * side):
        model = VAE(latent_dim=latent_dim, seed=0)
    model.compile(optimizers.adam(1e-3, 1, decay="constant"))
    repeats = -(-side // datasets.SIDE)
    with tempfile.TemporaryDirectory() as folder:
        stored = moved_digits(Path(folder) / "images", images)

        def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray]:
            batch = datasets.binarize(stored[chosen] / np.float32(255))
            return (np.tile(batch, (1, repeats, repeats, 1))[:, :side, :side],)

        for count in (min(10 * batch_size, images), images):
            batches = training.Batches(count, batch_size, make, seed=0)
            start = time.perf_counter()
            training.fit(model, batches, epochs=1, name="scaling")
    return {"seconds": time.perf_counter() - start, "memory": memory()}


@click.command()
@click.argument("point", required=False)
def main(point: str | None) -> None:
    """Print all points as a table; or one, given as JSON, as JSON."""
    if point:
        print(json.dumps(measure(**{**DEFAULTS, **json.loads(point)})))
        return
    for axis, values in AXES.items():
        for value in values:
            command = [sys.executable, "-m", "benchmarks.scaling", json.dumps({axis: value})]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            print(f"{axis:10} {value:9} {found['seconds']:8.2f} s {found['memory']:7.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
