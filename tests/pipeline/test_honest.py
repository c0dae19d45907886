"""No old number passes for a new one: a small report, made as a user makes it, in the quick mode.

The report has four runs, one ablation and one notebook. Its study and its documents are made by the command line in a
copy of the checkout. Each test then changes one thing there, makes the documents again and reads them.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from pypdf import PdfReader

from conftest import replace_in
from genmodels import config

SMALL = """
_SMALL = ("reference", "reference_2", "vae_kl", "ae")
RUNS = MappingProxyType({name: run for name, run in RUNS.items() if name in _SMALL})
ABLATIONS = tuple(ablation for ablation in ABLATIONS if ablation.name == "vae_constant")
"""
CELL = """from genmodels import evaluation, load_mnist, record, trained
mnist, judges = load_mnist(), [trained(name).model for name in ("reference", "reference_2")]
record("moje", {"scores": {
    "vae_kl": evaluation.vae(trained("vae_kl").model, judges, mnist.test, tight=True),
    "ae": evaluation.ae(trained("ae").model, judges, mnist.test),
}})"""
QUOTED = {
    "vae": "study.test.vae_kl.negative_elbo",
    "vae mean": "study.test.vae_kl.kl.mean:.2f",
    "vae first seed": "study.test.vae_kl.kl.values.0:.2f",
    "vae deviation": "study.test.vae_kl.kl.deviation:.3f",
    "vae on validation": "study.validation.vae_kl.kl.mean:.2f",
    "ablation": "study.validation.vae_constant.negative_elbo",
    "ae": "study.test.ae.mse",
    "ae mean": "study.test.ae.mse.mean:.4f",
    "real": "study.real_baseline.test.frechet:.3f",
    "now": "moje.scores.vae_kl.kl:.2f",
    "rate": "study.settings.vae_kl.learning_rate:.4f",
    "benchmark": "benchmark.vae.ours.seconds:.1f",
}
TEXT = """---
title: Raport
author: Ktoś
lang: {lang}
cover-alt: Cyfry
---

{numbers}

[Zdanie o VAE.]{{claim="study.test.vae_kl.kl.mean > 0"}}
[Zdanie o AE.]{{claim="study.test.ae.mse.mean > 0"}}

::: zrodla
:::
"""


class Copy:
    """A copy of the checkout, with the command line in the quick mode."""

    def __init__(self, root):
        self.root = root

    def genmodels(self, *arguments, status=0):
        """What a command prints."""
        own = {"PYTHONPATH": str(self.root / "src"), "GENMODELS_BUDGET": "smoke", "GENMODELS_CACHE": ""}
        command = [sys.executable, "-m", "genmodels", *arguments]
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
        done = subprocess.run(command, cwd=self.root, env={**os.environ, **own}, **told)
        assert done.returncode == status, done.stdout
        return done.stdout

    def write(self, lang="pl"):
        """Write the report's text."""
        numbers = "\n\n".join(f"{name}: {{{{{key}}}}} koniec" for name, key in QUOTED.items())
        text = TEXT.format(lang=lang, numbers=numbers)
        (self.root / "report" / "generative_models.md").write_text(text, encoding="utf-8")

    def numbers(self):
        """{name of QUOTED: how both documents print it}."""
        pages = PdfReader(self.root / "draft" / "generative_models.pdf").pages
        pdf = " ".join("\n".join(page.extract_text() for page in pages).split())
        html = (self.root / "draft" / "generative_models.html").read_text(encoding="utf-8")
        html = " ".join(re.sub("<[^>]+>", " ", html).split())
        found = [
            {name: text for name in QUOTED for text in re.findall(rf"(?<!\w){name}: ([^:]*?) ?koniec", document)}
            for document in (pdf, html)
        ]
        assert {name: text.replace(" ", "") for name, text in found[0].items()} == {
            name: text.replace(" ", "") for name, text in found[1].items()
        }
        self.pdf = pdf
        return found[0]

    def checked(self):
        """{sentence with a claim: whether it was checked}, as the PDF carries it."""
        (attached,) = PdfReader(self.root / "draft" / "generative_models.pdf").attachments["claims.json"]
        return {claim["sentence"]: claim["checked"] for claim in json.loads(attached)}

    def study(self):
        return json.loads((self.root / "draft" / "study.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A small report, built with a fresh study: the copy, and what it prints."""
    root, source = tmp_path_factory.mktemp("first") / "kopia źródeł", config.checkout()
    for folder in ("src", "report", "data/report"):
        built = shutil.ignore_patterns("generative_models.*", "build", "__pycache__", ".*", "unfinished*")
        shutil.copytree(source / folder, root / folder, ignore=built)
    for file in ("pyproject.toml", "requirements.lock", "data/mnist/mnist.npz"):
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(source / file, root / file)
    with (root / "src" / "genmodels" / "experiments.py").open("a", encoding="utf-8") as file:
        file.write(SMALL)
    (root / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, root / "notebooks" / "moje.ipynb")
    copy = Copy(root)
    copy.write()
    shutil.copy(root / "data" / "report" / "cover.png", root / "data" / "report" / "Znak_graficzny_AGH.svg.png")
    copy.genmodels("study")
    copy.genmodels("report")
    return copy, copy.numbers()


@pytest.fixture
def changed(first, tmp_path):
    """The small report in a copy of its own, to be changed, and what it printed before."""
    copy = Copy(tmp_path / "zmieniona kopia")
    shutil.copytree(first[0].root, copy.root)
    return copy, first[1]


def test_with_a_fresh_study_no_number_of_it_is_marked_and_every_claim_is_checked(first):
    copy, numbers = first
    assert set(numbers) == set(QUOTED)
    assert {name for name, text in numbers.items() if "†" in text or "‡" in text} == {"benchmark"}
    assert "±" in numbers["vae"] and "±" in numbers["ablation"]
    assert copy.checked() == {"Zdanie o VAE.": True, "Zdanie o AE.": True}


MARKED = {"vae": "‡", "vae mean": "‡", "vae deviation": "†", "vae on validation": "†", "ablation": "†"}


def assert_no_old_number_is_unmarked(copy, before):
    """Every number that the VAE decides is of the present build, or marked; no other one changed."""
    numbers, value = copy.numbers(), copy.study()["test"]["vae_kl"]
    for name, text in numbers.items():
        if name in MARKED:
            assert text.endswith(MARKED[name]), name
        elif name in ("vae first seed", "now", "rate"):
            assert "†" not in text and "‡" not in text, name
        else:
            assert text == before[name], name
    assert numbers["vae first seed"] == numbers["vae mean"].rstrip("‡") == numbers["now"] != before["vae mean"]
    assert all(f"{old:.2f}".replace(".", ",") != numbers["vae mean"].rstrip("‡") for old in value["kl"]["values"])
    assert copy.checked() == {"Zdanie o VAE.": False, "Zdanie o AE.": True}
    assert "Zdanie o VAE.†" in copy.pdf and "Zdanie o AE.†" not in copy.pdf
    assert "make study" in copy.pdf.partition("vae:")[0], "the note stands first"


def test_after_a_change_of_a_setting(changed):
    copy, before = changed
    replace_in(copy.root / "src" / "genmodels" / "experiments.py", '"learning_rate": 1.5e-3', '"learning_rate": 2.5e-3')
    output = copy.genmodels("report")
    assert "the study is stale in 2 of 6 entries" in output
    assert_no_old_number_is_unmarked(copy, before)
    assert copy.numbers()["rate"] == "0,0025"
    assert "holds what is in this checkout" in copy.genmodels("verify", "draft/generative_models.pdf")


def test_after_a_change_of_a_line_of_model_code(changed):
    copy, before = changed
    replace_in(copy.root / "src" / "genmodels" / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    copy.genmodels("report")
    assert_no_old_number_is_unmarked(copy, before)
    assert "holds what is in this checkout" in copy.genmodels("verify", "draft/generative_models.pdf")
    copy.genmodels("study")
    copy.genmodels("report")
    numbers = copy.numbers()
    assert {name for name, text in numbers.items() if "†" in text or "‡" in text} == {"benchmark"}
    assert numbers["vae"] != before["vae"] and numbers["ae"] == before["ae"]


def test_after_a_change_of_the_data(changed):
    import numpy as np

    copy, _ = changed
    path = copy.root / "data" / "mnist" / "mnist.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **{**arrays, "y_train": arrays["y_train"][::-1]})
    before = (copy.root / "draft" / "generative_models.pdf").read_bytes()
    for command in (["report"], ["sample", "vae_kl", "-o", "samples.png"]):
        output = copy.genmodels(*command, status=2)
        assert re.match(
            r"Error: .*mnist\.npz: y_train expected SHA-256 1feba77c.*git checkout", output.splitlines()[-1]
        )
    assert (copy.root / "draft" / "generative_models.pdf").read_bytes() == before
    status = [line for line in copy.genmodels("status").splitlines() if line.startswith(("run", "notebook", "study"))]
    # The committed study has entries of runs that this small report lacks.
    assert all("stale: MNIST" in line or "no run or ablation has this name" in line for line in status)
    assert sum("stale: MNIST" in line for line in status) == 4 + 1 + 6
