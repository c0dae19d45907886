"""Checks the built report: its figures, headings and numbers; the quality of this run and of the committed study."""

import json
import re
import sys
from pathlib import Path

from pypdf import PdfReader

ROOT = Path(__file__).parents[1]
PDF = ROOT / "report" / "generative_models.pdf"
METRICS = ROOT / "data" / "report" / "metrics.json"
STUDY = ROOT / "data" / "report" / "study.json"
EXTRA = 8
HEADINGS = ["Zadanie 1", "Zadanie 2", "Zadanie 3", "Zadanie 4", "Bibliografia"]
HEADINGS += [
    f"Zadanie {task}" for task in ("1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2", "3.3")
]


# What the study promises on the test set, mean over its seeds: run, score, at least or at most, value.
BARS = (
    ("judge", "accuracy", ">=", 0.993),
    ("judge_2", "accuracy", ">=", 0.992),
    ("ae", "mse", "<=", 0.033),
    ("ae", "recognised", ">=", 0.83),
    ("vae_mc", "recognised", ">=", 0.78),
    ("vae_kl", "recognised", ">=", 0.78),
    ("vae_mc", "negative_elbo", "<=", 135),
    ("vae_kl", "negative_elbo", "<=", 135),
    *((run, "ends", ">=", 4) for run in ("ae", "vae_mc", "vae_kl")),
    ("cvae_25", "label", ">=", 0.98),
    ("cvae_25", "position", ">=", 0.999),
    ("cvae_25", "diversity", ">=", 0.8),
    ("cvae_25", "moved_label", ">=", 0.99),
    ("cvae_2", "label", ">=", 0.97),
    ("cvae_100", "label", ">=", 0.97),
    *((f"cvae_{size}", "probe_position", "<=", 0.131) for size in (2, 25, 100)),
    ("gan", "label", ">=", 0.995),
    ("gan", "worst", ">=", 0.99),
    ("pupil", "accuracy", ">=", 0.975),
)
# Seconds of a training on the machine that made the study, which may be slower than most.
TIMES = (
    ("gan", "seconds", "<=", 300),
    *((run, "seconds", "<=", 180) for run in ("ae", "vae_mc", "vae_kl", "cvae_2", "cvae_25", "cvae_100")),
)
# What one run with one seed, perhaps on another kind of processor, has to reach.
ONE_RUN = (
    ("vae_mc", "negative_elbo", "<=", 137),
    ("vae_kl", "negative_elbo", "<=", 137),
    ("cvae_25", "label", ">=", 0.97),
    ("cvae_25", "position", ">=", 0.998),
    ("gan", "label", ">=", 0.99),
    ("gan", "worst", ">=", 0.97),
)


def missed(bars, values):
    """Bars that values, a function of run and score, miss: one text a finding."""
    for run, score, sign, bar in bars:
        if not (values(run, score) >= bar if sign == ">=" else values(run, score) <= bar):
            yield f"{run}: expected {score} {sign} {bar}, got {values(run, score):.4g}"


def means(study):
    """The study's test scores, {run: {score: mean over the seeds}}."""
    return {run: {name: spread["mean"] for name, spread in scores.items()} for run, scores in study["test"].items()}


def missed_by_the_study(study):
    """Bars of quality that the committed study misses, those that compare two numbers included."""
    mean = means(study)
    yield from missed(BARS, lambda run, score: mean[run][score])
    gan, floor = mean["gan"], study["floors"]["test"]
    if (gap := abs(mean["vae_mc"]["negative_elbo"] - mean["vae_kl"]["negative_elbo"])) > 0.5:
        yield f"expected the -ELBO of the two losses within 0.5 nats, got {gap:.2f}"
    if (ratio := gan["frechet"] / floor["frechet"]) > 2:
        yield f"gan: expected a Frechet distance of at most twice the floor, got {ratio:.2f} times"
    for score in ("coverage", "recall"):
        if (ratio := gan[score] / floor[score]) < 0.9:
            yield f"gan: expected a {score} of at least 90 % of the floor, got {ratio:.1%}"


def missed_by_this_run(metrics):
    """Bars that the freshly made numbers miss."""
    scores = {run: found for section in metrics.values() for run, found in section["scores"].items()}
    yield from missed(ONE_RUN, lambda run, score: scores[run][score])
    if (gap := metrics["zadanie_2"]["loss_gap"]) > 1:
        yield f"expected the -ELBO of the two losses within 1 nat, got {gap:.2f}"


def problems(pdf):
    """What is wrong with the PDF, one text a finding."""
    reader = PdfReader(pdf)
    text = "\n".join(page.extract_text() for page in reader.pages).replace("\u00a0", " ")
    captions = {int(number) for number in re.findall(r"Rysunek (\d+):", text)}
    extra = {int(number) for number in re.findall(r"Rysunek A(\d+):", text)}
    images = sum(len(page.images) for page in reader.pages)
    if captions != set(range(1, 20)):
        yield f"expected captions of figures 1 to 19, got {sorted(captions)}"
    if extra != set(range(1, EXTRA + 1)):
        yield f"expected captions of further figures A1 to A{EXTRA}, got {sorted(extra)}"
    if images < 20 + EXTRA:
        yield f"expected at least {20 + EXTRA} pictures (the cover and the figures), got {images}"
    yield from (
        f"expected the heading {heading!r}, got none" for heading in HEADINGS if f"\n{heading}" not in f"\n{text}"
    )
    if "{{" in text:
        yield "expected every number filled in, got {{"


if __name__ == "__main__":
    metrics, study = (json.loads(path.read_text(encoding="utf-8")) for path in (METRICS, STUDY))
    found = [*problems(PDF), *missed_by_this_run(metrics), *(f"study: {text}" for text in missed_by_the_study(study))]
    print(*found or [f"{PDF.name}: all figures and headings, the quality of this run and of the study"], sep="\n")
    print(*(f"slow: {text}" for text in missed(TIMES, lambda run, score: means(study)[run][score])), sep="\n")
    sys.exit(bool(found))
