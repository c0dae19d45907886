"""Checks that the built PDF holds the nineteen figures, the headings of all tasks, and no number left to fill in."""

import re
import sys
from pathlib import Path

from pypdf import PdfReader

PDF = Path(__file__).parents[1] / "report" / "generative_models.pdf"
HEADINGS = ["Zadanie 1", "Zadanie 2", "Zadanie 3", "Zadanie 4", "Bibliografia"]
HEADINGS += [
    f"Zadanie {task}" for task in ("1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2", "3.3")
]


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
    found = list(problems(PDF))
    print(*found or [f"{PDF.name}: 19 figures, all headings"], sep="\n")
    sys.exit(bool(found))
