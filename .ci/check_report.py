"""Checks the built report: nineteen figures, all headings, no number left to fill in, the quality it promises."""

import json
import re
import sys
from pathlib import Path

from pypdf import PdfReader

ROOT = Path(__file__).parents[1]
PDF = ROOT / "report" / "generative_models.pdf"
METRICS = ROOT / "data" / "report" / "metrics.json"
HEADINGS = ["Zadanie 1", "Zadanie 2", "Zadanie 3", "Zadanie 4", "Bibliografia"]
HEADINGS += [
    f"Zadanie {task}" for task in ("1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2", "3.3")
]


def missed_bars(metrics):
    """Bars of quality that the numbers miss, one text a finding."""
    elbo = {loss: values["mean"] for loss, values in metrics["zadanie_2"]["negative_elbo"].items()}
    both = metrics["zadanie_3"]["scores"]["25"]["both"]
    worst = min(metrics["zadanie_4"]["recognised"]["by_digit"])
    if max(elbo.values()) > 142 or abs(elbo["mc"] - elbo["kl"]) > 1:
        yield f"expected -ELBO of at most 142 nats for both losses and within 1 nat, got {elbo}"
    if both < 0.9:
        yield f"expected at least 90 % of the 25-D conditional samples right in label and position, got {both:.1%}"
    if worst < 0.9:
        yield f"expected at least 90 % of the GAN's images of each digit recognised, got {worst:.1%} for one"


def problems(pdf):
    """What is wrong with the PDF, one text a finding."""
    reader = PdfReader(pdf)
    text = "\n".join(page.extract_text() for page in reader.pages).replace("\u00a0", " ")
    captions = {int(number) for number in re.findall(r"Rysunek (\d+):", text)}
    images = sum(len(page.images) for page in reader.pages)
    if captions != set(range(1, 20)):
        yield f"expected captions of figures 1 to 19, got {sorted(captions)}"
    if images < 20:
        yield f"expected at least 20 pictures (the cover and 19 figures), got {images}"
    yield from (
        f"expected the heading {heading!r}, got none" for heading in HEADINGS if f"\n{heading}" not in f"\n{text}"
    )
    if "{{" in text:
        yield "expected every number filled in, got {{"


if __name__ == "__main__":
    found = [*problems(PDF), *missed_bars(json.loads(METRICS.read_text(encoding="utf-8")))]
    print(*found or [f"{PDF.name}: 19 figures, all headings, all bars of quality met"], sep="\n")
    sys.exit(bool(found))
