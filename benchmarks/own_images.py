"""Other images than MNIST: models of three data sets, trained and scored by the commands that a user would type.

Writes docs/own_images.md with the commands, their seconds, all scores and pictures. The scores are also in
docs/own_images/, as JSON.
"""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click
import matplotlib
import numpy as np
from matplotlib import colors
from PIL import Image, ImageDraw, ImageFont

from genmodels.pipeline import files, records

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = DOCS / "own_images"
WORK = Path("build") / "own_images"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_SIDE = 32
# The fonts of matplotlib that have all capital letters.
FAMILIES = r"DejaVuS(ans|erif)(?!Display).*|STIXGeneral.*|cm(b|r|ss|tt|ti)10"
DEBIAN_FASHION = "/usr/share/datasets/fashion-mnist"


class Proof(NamedTuple):
    """A data set with the commands that train, score and draw its models.

    Attributes:
        title: Heading on the page.
        about: What the images are, and where they come from.
        data: Option --data of the commands: a name, folder or file.
        fits: {kind of model: options of `genmodels fit`}. The classifier comes first.
        pictures: Commands that draw, each with the kind of its model and its options: "sample vae -n 60".
    """

    title: str
    about: str
    data: str
    fits: dict[str, str]
    pictures: tuple[str, ...]


_OF_VAE = ("reconstruct vae -n 8", "sample vae -n 60")
PROOFS = {
    "fashion": Proof(
        "Fashion-MNIST",
        "70,000 grey pictures of clothes, 28x28, ten classes (Xiao et al. 2017). The package "
        "dataset-fashion-mnist of Debian installs its four IDX files.",
        DEBIAN_FASHION,
        {"classifier": "", "ae": "", "vae": "--latent-dim 32", "gan": "--epochs 16"},
        ("grid ae", *_OF_VAE, "grid gan -n 12"),
    ),
    "letters": Proof(
        "Coloured letters",
        "Capital letters, 32x32 with three colour channels, 26 classes: each one in a random colour, size, place and "
        "slant, from one of the fonts that come with matplotlib. The script draws them. A dense network sees each "
        "colour of each letter as another image: with 32 numbers it keeps colours and places, but few letters.",
        "letters.npz",
        {
            "classifier": "",
            "ae": "--latent-dim 32",
            "vae": "--latent-dim 32 --likelihood gaussian",
            "gan": "--epochs 12",
        },
        ("reconstruct ae -n 8", *_OF_VAE, "grid gan -n 12"),
    ),
    "digits": Proof(
        "Digits of 8x8 pixels",
        "1,797 grey digits, ten classes, from scikit-learn. The last 360 are the test images, most of them by other "
        "writers.",
        "digits.npz",
        {"classifier": "", "ae": "", "vae": "", "gan": ""},
        ("grid ae", "grid vae", "grid gan -n 12"),
    ),
}


def letters(count: int = 800, test_count: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw coloured capital letters.

    Args:
        count: Training images of each letter.
        test_count: Test images of each letter.
        seed: Seed of fonts, colours, sizes, places and slants.

    Returns:
        {"x_train": uint8 of shape (N, 32, 32, 3), "y_train": letters as texts of shape (N,), "x_test", "y_test"}.
    """
    rng, found = np.random.default_rng(seed), {}
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = sorted(str(path) for path in folder.glob("*.ttf") if re.fullmatch(FAMILIES, path.stem))
    for part, each in (("train", count), ("test", test_count)):
        labels = np.repeat(list(LETTERS), each)
        found[f"x_{part}"] = np.stack([_letter(letter, fonts, rng) for letter in labels])
        found[f"y_{part}"] = labels
    return found


def _letter(letter, fonts, rng):
    """Draw one letter, slanted by at most 12 degrees, in a bright colour on a dark ground."""
    side = 2 * LETTER_SIDE  # drawn large, then halved
    ground, ink = (
        tuple(int(255 * part) for part in colors.hsv_to_rgb((rng.random(), *rng.uniform(low, high))))
        for low, high in (((0.3, 0.05), (0.9, 0.3)), ((0.3, 0.75), (0.9, 1)))
    )
    picture = Image.new("RGB", (side, side), ground)
    font = ImageFont.truetype(str(rng.choice(fonts)), int(rng.integers(36, 49)))
    place = tuple(side / 2 + rng.uniform(-5, 5, 2))
    ImageDraw.Draw(picture).text(place, letter, fill=ink, font=font, anchor="mm")
    turned = picture.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=ground)
    return np.asarray(turned.resize((LETTER_SIDE, LETTER_SIDE), Image.Resampling.BOX))


def digits() -> dict[str, np.ndarray]:
    """Return scikit-learn's digits with values 0-255; the last 360 of them are the test images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype("uint8")
    return {"x_train": images[:-360], "y_train": labels[:-360], "x_test": images[-360:], "y_test": labels[-360:]}


def prove(name: str, fashion: str = DEBIAN_FASHION) -> dict:
    """Train, score and draw all models of a data set.

    Args:
        name: A key of PROOFS.
        fashion: Folder of Fashion-MNIST's IDX files.

    Returns:
        commands: [[command, seconds], ...].
        scores: {kind of model: scores of `genmodels evaluate`}.
        pictures: {command that drew it: name of a PNG file}.
    """
    proof = PROOFS[name]
    PICTURES.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    if name != "fashion":
        np.savez(WORK / proof.data, **{"letters": letters, "digits": digits}[name]())
    commands, scores, pictures = [], {}, {}

    def run(command: str) -> None:
        asked = [fashion if word == DEBIAN_FASHION else word for word in shlex.split(command)]
        print(f"{name}: genmodels {command}", file=sys.stderr, flush=True)
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "genmodels", *asked], cwd=WORK, check=True)
        commands.append([f"genmodels {command}", round(time.monotonic() - start, 1)])

    for kind, options in proof.fits.items():
        run(_words("fit", kind, "--data", proof.data, options, "-o", f"{name}_{kind}.keras"))
    for kind in proof.fits:
        judge = "" if kind == "classifier" else f"--classifier {name}_classifier.keras"
        output = f"{name}_{kind}.json"
        run(_words("evaluate", f"{name}_{kind}.keras", "--data", proof.data, judge, "--json", output))
        scores[kind] = json.loads((WORK / output).read_text(encoding="utf-8"))["scores"]
    for drawn in proof.pictures:
        command, kind, *rest = drawn.split()
        pictures[drawn] = picture = f"{name}_{kind}_{command}.png"
        source = ["--data", proof.data] if command == "reconstruct" else []
        run(_words(command, f"{name}_{kind}.keras", *source, *rest, "-o", picture))
        with files.replacing(PICTURES / picture) as new:
            new.write_bytes((WORK / picture).read_bytes())
    return {"commands": commands, "scores": scores, "pictures": pictures}


def _words(*words):
    return " ".join(word for word in words if word)


def page() -> str:
    """Return the page of all data sets that were measured, as Markdown."""
    from genmodels.evaluation import as_table

    parts = [
        "# Other images than MNIST\n",
        "Each model below was trained, scored and drawn by the commands beside it, one after another, on a machine "
        "with two cores that did nothing else. Scores are those of the test images, with one seed. "
        "`python -m benchmarks.own_images` does all of it again and writes this page.\n",
    ]
    for name, proof in PROOFS.items():
        path = PICTURES / f"{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        listed = "\n".join(f"{command:<100} # {seconds:.0f} s" for command, seconds in found["commands"])
        version = f"commit {found['commit']:.7}{'' if found['clean'] else ', edited,'}"
        measured = f"Measured with {version} on {found['machine']['processor']}."
        parts += [f"## {proof.title}\n", f"{proof.about} {measured}\n", f"```sh\n{listed}\n```\n"]
        for kind in filter(found["scores"].get, proof.fits):
            parts.append(f"`{name}_{kind}.keras`\n\n```text\n{as_table(found['scores'][kind])}\n```\n")
            for drawn, picture in found["pictures"].items():
                if drawn.split()[1] == kind:
                    parts.append(f"![{proof.title}: {drawn}](own_images/{picture})\n")
    return "\n".join(parts)


@click.command()
@click.argument("names", metavar="[DATA]...", nargs=-1, type=click.Choice(list(PROOFS)))
@click.option("--fashion", default=DEBIAN_FASHION, show_default=True, help="Folder of Fashion-MNIST's IDX files.")
def main(names: Iterable[str], fashion: str) -> None:
    """Measure the named data sets, or all, and write docs/own_images.md."""
    for name in names or PROOFS:
        found = {**records.origin(), **prove(name, fashion)}
        files.write_json(PICTURES / f"{name}.json", found)
    with files.replacing(DOCS / "own_images.md") as new:
        new.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
