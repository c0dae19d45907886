"""Files that users hand us, damaged at random: each is taken, or refused in plain words, and nothing else."""

import io
import re
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import copy_checkout
from genmodels import datasets, mnist
from genmodels.pipeline import document, files, notebooks, records, study, verify

PLAIN = (files.FileError, records.ReportError, datasets.DatasetError)
SLOW = timedelta(seconds=30)  # no reader may take longer
# Readers stumble over these: numbers, nesting, formats, code.
FRAGMENTS = (
    *(b"1e999", b"-0", b"NaN", b"null", b"{}", b"[]", b'""', b'"\\ud800"', b"9" * 5_000, b"[" * 3_000, b"{" * 3_000),
    *(b"\xff\xfe", b"\x00", b"{{a.b}}", b"{{", b"---\n", b"::: obok\n", b"[@", b"{.ustalone}", b"$\\frac{$"),
    *(b'```{=typst}\n#read("/etc/passwd")\n```', b"<script>", b"![](/etc/passwd)", b'{claim="os.exit()"}'),
    *(b"(99999999999,)", b"'|O'", b"<<", b">>", b"endobj", b"stream\n", b"%%time", b"!ls", b"PK\x05\x06"),
)
WORDS = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+')  # such as a string or a number of JSON
MARKDOWN = """---
title: Próba
author: Ktoś
programme: P
course: C
lang: pl
cover-alt: Okładka z cyfr
---

Liczba {{zadanie_1.mse.mean:.4f}} i [$x$]{alt="iks"}, [0,5]{.ustalone}. [Tak.]{claim="zadanie_1.mse.mean > 0"}

![Podpis.](../data/report/grid_ae.png){#fig-siatka alt="Siatka cyfr."}

Patrz @fig-siatka.
"""


@st.composite
def damaged(draw, content):
    """Bytes after one to four changes: at any place, or at a whole word, something else, the same twice, or nothing."""
    for _ in range(draw(st.integers(1, 4))):
        words = [word.span() for word in WORDS.finditer(content)]
        start = draw(st.integers(0, len(content)))
        place = start, start + draw(st.sampled_from((0, 1, 4, 40, 400)))
        start, end = draw(st.sampled_from(words)) if words and draw(st.booleans()) else place
        new = draw(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=40)))
        content = content[:start] + draw(st.sampled_from((new, b"", 2 * content[start:end]))) + content[end:]
    return content[: draw(st.sampled_from((None, len(content) // 2)))]


def is_taken_or_refused(read, path, content):
    """Read a file with this content, and put back the one that was there."""
    before = path.read_bytes()
    try:
        path.write_bytes(content)
        read()
    except PLAIN as error:
        assert str(error)
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the checkout, which is the checkout for all tests of this file: its folder."""
    with pytest.MonkeyPatch.context() as patch:
        yield copy_checkout(tmp_path_factory.mktemp("hostile") / "kopia źródeł", patch)


def compare_with_records():
    list(document.unverified()), notebooks.leftovers()


def compare_with_study():
    study.changed_by_hand(), verify.beside_the_study()


READERS = {
    "metrics.json": compare_with_records,
    "provenance.json": compare_with_records,
    "study.json": compare_with_study,
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=SLOW)
@given(st.data())
def test_a_damaged_table_is_taken_or_refused(copy, name, data):
    path = copy / "data" / "report" / name
    is_taken_or_refused(READERS[name], path, data.draw(damaged(path.read_bytes())))


@settings(max_examples=40, deadline=SLOW)
@given(st.data())
def test_a_damaged_notebook_is_taken_or_refused(copy, data):
    path = notebooks.path("zadanie_1_autoenkoder")
    is_taken_or_refused(lambda: notebooks.inputs(path.stem), path, data.draw(damaged(path.read_bytes())))


def arrays(**content):
    stored = io.BytesIO()
    np.savez(stored, **content)
    return stored.getvalue()


@settings(max_examples=100, deadline=SLOW)
@given(damaged(arrays(a=np.zeros((3, 2)), b=np.array(1.5), c=np.array(["x", "yy"]))))
def test_damaged_data_of_a_figure_are_taken_or_refused(content):
    try:
        files.arrays_in(content)
    except ValueError as error:
        assert str(error)


@settings(max_examples=100, deadline=SLOW)
@given(damaged(arrays(**{name: np.zeros((3, 28, 28), "uint8") for name in datasets.SHA256})))
def test_a_damaged_archive_of_mnist_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(datasets.DatasetError, match=r"mnist\.npz: "):
        mnist.read(path)


@pytest.fixture(scope="module")
def pdf(copy):
    """A small PDF with a picture and a formula: its path."""
    import typst

    image = '#image("data/report/cover.png", width: 10%, alt: "cover")'
    (copy / "small.typ").write_text(f'#set document(title: "x")\n= Title\nText $x^2$.\n{image}', encoding="utf-8")
    typst.compile(str(copy / "small.typ"), output=str(copy / "small.pdf"), root=str(copy))
    return copy / "small.pdf"


@settings(max_examples=40, deadline=SLOW)
@given(st.data())
def test_a_damaged_pdf_is_taken_or_refused(pdf, data):
    is_taken_or_refused(lambda: verify._contents(pdf), pdf, data.draw(damaged(pdf.read_bytes())))


@settings(max_examples=5, deadline=SLOW)
@given(damaged(MARKDOWN.encode()))
def test_a_damaged_text_of_the_report_is_taken_or_refused(copy, content):
    path = copy / "report" / "generative_models.md"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "PATIENCE", 3)  # seconds
        is_taken_or_refused(
            lambda: document._write_pdf(copy / "report" / "hostile.pdf", document.read()), path, content
        )
