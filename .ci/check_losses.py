"""Check that both forms of the KL term train the VAE equally well, by the mean over the seeds.

One pair of trainings cannot show this. In the study -ELBO has a standard deviation of 0.4 to 0.8 nats over seeds. Two
equally good losses are therefore often a nat apart. `check_report` compares the means of a fresh study. Where an edit
has made the study stale, the seeds that the cache lacks are trained here: about five minutes. `--here` always does it.
"""

import statistics
import sys

from check_report import APART, stale_entries

from genmodels import load_mnist, metrics, trained
from genmodels.experiments import find
from genmodels.pipeline import parallel, study

LOSSES = ("vae_mc", "vae_kl")


def negative_elbos(name):
    """Return -ELBO of a run on the test images in nats, one value for each seed."""
    images = load_mnist().test.binarized().images
    models = (trained(run).model for run in study.seeded(find(name)))
    return [metrics.negative_elbo(metrics.elbo_terms(model, images, 0))["mean"] for model in models]


if __name__ == "__main__":
    if sys.argv[1:] != ["--here"] and not set(LOSSES) & set(stale_entries()):
        print("the study of both losses is fresh: check_report has compared it")
        sys.exit()
    parallel.train_all([run for name in LOSSES for run in study.seeded(find(name))])
    found = {name: negative_elbos(name) for name in LOSSES}
    for name, values in found.items():
        print(f"{name}: -ELBO {', '.join(f'{value:.2f}' for value in values)}")
    first, second = map(statistics.mean, found.values())
    print(f"the means are {abs(first - second):.2f} nats apart, {APART} allowed")
    sys.exit(abs(first - second) > APART)
