"""The best-known VAE in PyTorch, written anew from its published description, to be timed beside the package's VAE.

`time_to_quality` runs this file as a script, with the Python of an environment that has PyTorch. The script imports
nothing of the package, and prints its measurements as JSON in the form of `time_to_quality.Clock.found`.
"""

import argparse
import json
import os
import sys
import time

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

EPOCHS, BATCH, RATE = 10, 128, 1e-3  # as published
TRAINING_IMAGES = 55_000  # the first ones, as for all models of the race; the example has all 60,000


class VAE(nn.Module):
    """A dense VAE with one hidden layer of 400 units on each side and 20 latent dimensions.

    Source:
        The variational autoencoder among PyTorch's examples, after Kingma & Welling, "Auto-Encoding Variational Bayes".
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * 20))
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())

    def loss(self, images: Tensor) -> Tensor:
        """Return binary cross-entropy plus KL in closed form, from one z for each image, summed over the batch.

        Args:
            images: Shape (B, 784), values in [0, 1].

        Returns:
            A scalar, in nats.
        """
        mean, log_var = self.encoder(images).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        kl = -0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp())
        return functional.binary_cross_entropy(self.decoder(z), images, reduction="sum") + kl


def load(path: str) -> tuple[Tensor, Tensor]:
    """Return training and test images (N, 784) in [0, 1] of an mnist.npz.

    They stay in memory as floats. The published example decodes them one by one in each epoch, which takes longer.
    """
    with np.load(path) as arrays:
        parts = arrays["x_train"][:TRAINING_IMAGES], arrays["x_test"]
    return tuple(torch.from_numpy(part.reshape(len(part), -1)).float() / 255 for part in parts)


@torch.no_grad()
def test_loss(model: VAE, images: Tensor) -> float:
    """Return the mean loss of an image, in nats."""
    return sum(model.loss(batch).item() for batch in images.split(BATCH)) / len(images)


def train(images: Tensor, test_images: Tensor, seed: int, epochs: int) -> dict:
    """Train the VAE. The clock stops while the test loss is measured, after each epoch.

    Args:
        images: Training images (N, 784) in [0, 1].
        test_images: Test images, likewise.
        seed: Seed of weights, order and noise.
        epochs: Number of epochs.

    Returns:
        seconds, cpu, steps and quality after each epoch; memory of the process before the first measurement, in MiB.
    """
    torch.manual_seed(seed)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    found = {"seconds": [], "cpu": [], "steps": [], "quality": []}
    seconds = cpu = steps = 0
    for _ in range(epochs):
        start = time.perf_counter(), time.process_time()
        for chosen in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            model.loss(images[chosen]).backward()
            optimizer.step()
            steps += 1
        seconds += time.perf_counter() - start[0]
        cpu += time.process_time() - start[1]
        found.setdefault("memory", psutil.Process().memory_info().rss / 2**20)
        quality = test_loss(model, test_images)
        for name, value in zip(found, (seconds, cpu, steps, quality)):
            found[name].append(value)
        print(f"  torch_vae, seed {seed}: {seconds:.1f} s, {quality:.4g}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Train with one seed, and print the measurements, the version of PyTorch and the number of threads."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", help="path of mnist.npz")
    parser.add_argument("seed", type=int)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores by default")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)  # whatever OMP_NUM_THREADS says
    found = train(*load(options.data), options.seed, options.epochs)
    json.dump({**found, "torch": torch.__version__, "threads": torch.get_num_threads()}, sys.stdout)


if __name__ == "__main__":
    main()
