"""Numbers, claims and checks of the report's Markdown, without Typst: a text goes in, what a reader sees comes out."""

import json
import re
import shutil

import pytest
from pypdf import PdfReader

from genmodels.pipeline import claims, document, layout, numbers, results, verify
from genmodels.pipeline.language import WORDS, words
from genmodels.pipeline.numbers import Numbers
from genmodels.pipeline.records import Record, ReportError
from genmodels.pipeline.text import Sources, Text
from genmodels.pipeline.tree import nodes, plain

HEAD = "title: Próba\nauthor: Ktoś\nlang: {lang}\ncover-alt: Okładka z cyfr"
MACHINE = dict.fromkeys(("processor", "system", "python", "tensorflow", "keras", "numpy"), "X") | {"cores": 2}
ORIGIN = {"machine": MACHINE, "commit": "9f3c21aa07bb", "clean": True}
STUDY = {
    "test": {
        "ae": {"mse": {"mean": 0.0329412, "deviation": 0.0004231, "values": [0.0331, 0.0327]}},
        "vae": {"loss": {"mean": 130.4, "deviation": 3.2, "values": [130.0, 131.0]}},
    }
}
VALUES = {"a": {"x": 0.5, "y": -0.25, "count": 12345, "share": 0.8425, "name": "tekst"}, "study": STUDY}
RENEW = "9f3c21aa07: `make study`"


@pytest.fixture
def read(checkout):
    """A function that gives the `Text` of a Markdown body."""

    def text(body, values=VALUES, *, lang="pl", draft=False, head=HEAD, papers=("lecun1998",), **marked):
        source = f"---\n{head.format(lang=lang)}\n---\n\n{body}\n"
        folder = checkout / "data" / "report"
        made = {"grid_ae.png": {"cell": 1, "runs": {"ae": [1]}}, "cover.png": {"cell": 2, "runs": {}}}
        notebook = Record({"MNIST": "abc"}, {}, ORIGIN, made)
        bench = Record({}, {}, ORIGIN, {"time_to_quality.png": {"cell": 0, "runs": {}}})
        records = {"zadanie_1": notebook, "benchmark": bench}
        study = folder / "study.json", [Record({}, {}, ORIGIN)]
        sources = Sources(Numbers(values, **marked), {"lost"}, records, (folder, folder), list(papers), *study)
        options = [f"--defaults={checkout / 'report' / 'pandoc.yaml'}"]
        parsed = json.loads(document._pandoc(*options, to="json", content=source))
        return Text(parsed, source, sources, draft=draft)

    return text


def shown(text):
    """What a reader sees, paragraph by paragraph, with plain spaces."""
    kinds = ("Para", "Plain", "Header")
    return "\n".join(plain(of).replace("\u00a0", " ") for of in nodes(text.blocks) if of["t"] in kinds)


@pytest.mark.parametrize(
    ("lang", "expected"),
    [("pl", "12 345; 84,2 %; 0,0329 ± 0,0004; −0,25"), ("en-GB", "12,345; 84.2%; 0.0329 ± 0.0004; −0.25")],
)
def test_numbers_follow_the_language(read, lang, expected):
    body = "{{a.count}}; {{a.share:.1%}}; {{study.test.ae.mse}}; {{a.y}}"
    assert expected in shown(read(body, lang=lang))


@pytest.mark.parametrize("lang", ["de", "", "polski"])
def test_another_language_is_refused_in_one_line(read, lang):
    with pytest.raises(ReportError, match='expected "lang: pl" or "lang: en" in the metadata, got '):
        read("Text.", lang=lang)


def test_both_languages_have_the_same_words():
    assert {*WORDS["pl"]} == {*WORDS["en"]}
    assert words("pl")["region"] == "PL" and words("en-GB")["region"] == "GB" and words("en")["region"] is None
    own = [name for name, word in WORDS["en"].items() if isinstance(word, str) and word == WORDS["pl"][name]]
    assert own == []


def test_quotes_follow_the_language(read):
    assert "„tak”" in shown(read('"tak"')) and "“yes”" in shown(read('"yes"', lang="en"))


# Marks of older numbers.

OLD, SINGLE = {"study.test.vae": RENEW, "benchmark": "aaaa: `make bench`"}, {"study.test.ae.mse": 0.0312345}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{study.test.vae.loss}}", "130 ± 3†"),
        ("{{study.test.vae.loss.mean:.1f}} i {{a.x}}", "130,4† i 0,500"),
        ("{{study.test.ae.mse}}", "0,0312‡"),
        ("{{study.test.ae.mse:%}}", "3,12 %‡"),
        ("{{study.test.ae.mse:.5f}}", "0,03123‡"),
        ("{{study.test.ae.mse.mean:.3f}}", "0,031‡"),
        ("{{study.test.ae.mse.values.0:.3f}}", "0,031"),
        ("{{study.test.ae.mse.values.1:.4f}}", "0,0327†"),
        ("{{study.test.ae.mse.deviation:.4f}}", "0,0004†"),
        ("[$x = {{study.test.vae.loss.mean:.1f}}$]{alt='x'}", "x = 130,4†"),
        ("[$x = {{study.test.ae.mse:.3f}}$]{alt='x'}", "x = 0,031‡"),
        ("{{a.name}}", "tekst"),
    ],
)
def test_older_numbers_are_marked(read, written, expected):
    text = shown(read(f"A {written} B", old=OLD, single=SINGLE))
    assert f"A {expected} B" in text


def test_a_key_is_old_at_a_dot_only():
    of = Numbers({"a": {"x": 1, "xy": 2}}, old={"a.x": "then"})
    assert (of.mark("a.x"), of.mark("a.xy"), of.note("a.x"), of.note("a.xy")) == ("†", "", "then", "")


def test_marks_in_tables_and_alternative_texts(read):
    figure = "![P.](../data/report/grid_ae.png){#fig-a alt='MSE {{study.test.vae.loss.mean:.1f}}.'}"
    text = read(f"| a |\n|---|\n| {{{{study.test.vae.loss}}}} |\n\n{figure}", old=OLD)
    assert "130 ± 3†" in shown(text) and text.figures["fig-a"].alt == "MSE 130,4†."


def test_a_figure_of_a_stale_benchmark_is_marked(read):
    figure = "![Czas.](../data/report/time_to_quality.png){#fig-t alt='Linie.'}"
    old = OLD | {"time_to_quality.png": "aaaa: `make bench`"}
    assert "Czas.†" in shown(read(figure, old=old)) and "aaaa: make bench" in shown(read(figure, old=old))
    assert "†" not in shown(read(figure))


@pytest.mark.parametrize("key", ["study.test.vae.loss.mean", "study.test.ae.mse.mean", "study.test.ae.mse.deviation"])
def test_a_claim_that_rests_on_older_numbers_is_not_checked(read, key):
    text = read(f"Wiadomo, że [jest źle.]{{claim='{key} > 1000'}} [Tak.]{{claim='a.x > 0'}}", old=OLD, single=SINGLE)
    assert "Wiadomo, że jest źle.† Tak." in shown(text)
    assert [claim["checked"] for claim in text.claims] == [False, True]
    assert "nie sprawdzono" in shown(text)
    assert "Sprawdzone zdania: 1; niesprawdzone, bo opierają się na starszych liczbach: 1." in layout.colophon(text)


def test_a_claim_about_the_one_training_of_this_build_is_checked(read):
    with pytest.raises(ReportError, match=r"no longer true: .* \(study.test.ae.mse.values.0 = 0.0312345\)"):
        read("[Duże.]{claim='study.test.ae.mse.values.0 > 1'}", single=SINGLE)


def test_one_note_stands_first_and_only_where_a_mark_is_used(read):
    body = "# Wstęp\n\n{{study.test.vae.loss}} {{study.test.vae.loss.mean:.1f}}"
    first = read(body, old=OLD).blocks[0]
    assert first["c"][0][1] == ["nieaktualne"] and plain(first).count("9f3c21aa07: make study") == 1
    assert "‡" not in plain(first) and "aaaa" not in plain(first)
    english = plain(read("{{study.test.ae.mse}}", lang="en", old=OLD, single=SINGLE).blocks[0])
    assert english == "‡ One training of the present code instead of the mean of several."
    assert read(body).blocks[0]["t"] == "Header"


# Typed results.


@pytest.mark.parametrize(
    "body",
    [
        "Python 3.11. Także Python 3.10–3.13, Keras 3.15.0, TensorFlow 2.21 i wersja 1.25.",
        "Dnia 17.05.2024, czyli 2024-05-17.",
        "Adres https://example.org/v0.84/1,5 albo 127.0.0.1, ktos@example.org.",
        "DOI 10.1145/3386569.3392408, doi:10.48550/arXiv.1312.6114 i arXiv:1312.6114.",
        "[arXiv:1312.6114](https://arxiv.org/abs/1312.6114), [1312.6114](https://arxiv.org/abs/1312.6114)",
        "<https://doi.org/10.1000/0.125>",
        "Wersja [3.11]{.ustalone} i [2.21.0]{.ustalone}, [−1,5]{.ustalone}, [10 000]{.ustalone}, [5 %]{.ustalone}.",
        "Kosztuje \\$5 albo 5\\$.",
        "Przed <!-- uwaga: 0,84 --> po.\n\n<!-- druga\n\nuwaga -->\n\nKoniec.",
        "Zadanie 1.2 i 100 %.",
    ],
)
def test_what_is_no_result_may_be_typed(read, body):
    text = shown(read(body))
    assert "uwaga" not in text and "\\" not in text


@pytest.mark.parametrize(
    ("body", "typed"),
    [
        ("Python ma 84 %.", "84 %"),
        ("Model 0.84.", "0.84"),
        ("W wersji 3 jest 0,84.", "0,84"),
        ("[aż 84,2 %](https://example.org)", "84,2 %"),
        ("Z [@lecun1998]: 84,2 %.", "84,2 %"),
        ("Wynik (12 345).", "12 345"),
        ("Jest [$x=0{,}5$]{alt='x'}.", "0,5"),
    ],
)
def test_a_typed_result_is_refused(read, body, typed):
    with pytest.raises(ReportError, match=f'line 8: typed number "{typed}"'):
        read(body)


@pytest.mark.parametrize("typed", ["0.84", "12.5", "84%", "84.2 %", "0,84", "84 percent", "12,345"])
def test_a_typed_result_is_refused_in_english(read, typed):
    with pytest.raises(ReportError, match="typed number"):
        read(f"It is {typed} of them.", lang="en")
    read("Task 1.2, Section 2.1 and 10,000 images, version 3.11, 100%, [0.84]{.ustalone}.", lang="en")


def test_a_stray_dollar_is_still_refused(read):
    with pytest.raises(ReportError, match=r"line 10: formula at .*expected \$ on both sides"):
        read("Tu \\$5 i [$x$]{alt='x'}.\n\nTam $5.")


def test_a_draft_warns_where_the_report_stops(read, capsys):
    body = "MSE 0,84.\n\n![P.](../data/report/grid_ae.png){#fig-a}\n\n::: obk\nTekst.\n:::\n\nWzór $x^2$."
    text = read(body, draft=True)
    warned = capsys.readouterr().err.splitlines()
    parts = ('line 8: typed number "0,84"', "line 10: figure", "line 12: ::: obk", "line 16: formula $x^2$")
    assert all(any(f"warning: report/generative_models.md: {part}" in line for line in warned) for part in parts)
    assert len(warned) == 4 and text.figures["fig-a"].alt == "P." and "MSE 0,84." in shown(text)
    with pytest.raises(ReportError):
        read(body)


def test_another_encoding_is_named_at_once(checkout):
    path = checkout / "report" / "generative_models.md"
    path.write_bytes("---\ntitle: x\n---\n\nJeden.\n\nŻółw.".encode("iso-8859-2"))
    message = r"generative_models.md: line 7, byte \d+: expected UTF-8, got 0xaf; save the file with the encoding UTF-8"
    with pytest.raises(ReportError, match=message):
        document.read()


def test_braces_and_keys_that_are_none_are_named_with_their_line(read):
    with pytest.raises(ReportError, match=r'line 10: no number "a.z" in .*; did you mean "a.[xy]"\?'):
        read("Raz.\n\nDwa {{a.z}}.")
    with pytest.raises(ReportError, match="line 8: no notebook is on record as having made lost"):
        read("Raz {{lost.x}}.")
    with pytest.raises(ReportError, match=r"line 8: \{.dodatkowi\}: expected .dodatkowy or no class, got .dodatkowi"):
        read("![P.](../data/report/grid_ae.png){#fig-a .dodatkowi alt='Opis.'}")


def test_lines_follow_the_text_and_not_its_first_likeness(read):
    same = "Model myli się rzadko, a sędzia go poprawia. " * 3
    body = f"{same}\n\n<!-- {same} -->\n\n::: obok\n{{}}\n:::\n\n{same} [Tak.]{{{{claim='a.x > 1'}}}}\n\n{same}"
    figure = "![Podpis.](../data/report/grid_ae.png){#fig-a alt='Opis.'}"
    with pytest.raises(ReportError, match=r"line 16: „Tak.”"):
        read(body.format(figure))


# Claims.


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("a.x > 0.4 and not (a.y > 0 or a.x == 1)", True),
        ("a.x ~= 0.5", False),
        ("0 < a.x < 1", True),
        ("abs(a.y) * 2 - 0.5 <= a.x / 3", True),
        ("(a.x > 1 or a.y < 0) and -a.x < 0", True),
        ("a.x != 0.5 or a.y >= +1", False),
    ],
)
def test_claims_are_judged(claim, holds):
    assert claims.judge(claim, {"a.x": 0.5, "a.y": -0.25}.__getitem__)[0] is holds


@pytest.mark.parametrize(
    ("claim", "got"),
    [
        ("__import__('os').system('x') > a.x", '"__import__"'),
        ("a.x", "something else"),
        ("(a.x > 0) == (a.x > 1)", "something else"),
        ("a.x > (lambda: 0)()", '"lambda"'),
        ("a.x ** 9 > 1", "something else"),
        ("abs(a.x, 1) > 1", "something else"),
        ("not a.x > 1", '"not a.x"'),
        ("a.x > 1 if a.x > 2 else a.x > 3", '"if"'),
        ("a.x / 0 > 1", "a division by zero"),
        ("a.x > True", '"True"'),
        ("a.x > 1j", '"j"'),
        ("a.x > 'a'", '"a"'),
        ("a.x in (1, 2)", '"in"'),
        ("(" * 300 + "a.x" + ")" * 300 + " > 1", "something else"),
        ("1 < 2", "none of metrics.json or study.json"),
    ],
)
def test_what_is_no_claim_is_refused(claim, got):
    with pytest.raises(claims.ClaimError) as refused:
        claims.judge(claim, {"a.x": 0.5}.__getitem__)
    assert str(refused.value) == got


# Authors.


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("author: Jan", [("Jan", "")]),
        ("author: [Anna Nowak, Jan Kowalski]", [("Anna Nowak", ""), ("Jan Kowalski", "")]),
        ("author:\n- name: Anna\n  affiliation: AGH\n- Jan", [("Anna", "AGH"), ("Jan", "")]),
        ("author:\n  name: Anna\n  affiliation: [AGH, UJ]", [("Anna", "AGH, UJ")]),
    ],
)
def test_authors_come_as_people_write_them(read, author, expected):
    text = read("Tekst.", head=HEAD.replace("author: Ktoś", author))
    assert layout.authors(text.meta) == expected


def test_an_author_without_a_name_is_refused(read):
    text = read("Tekst.", head=HEAD.replace("author: Ktoś", "author: [{{nme: A}}]"))
    with pytest.raises(ReportError, match='author: expected a name, or "name" and "affiliation", got nme'):
        layout.authors(text.meta)


def test_two_authors_stand_in_every_document(checkout):
    path = checkout / "report" / "generative_models.md"
    people = "author:\n- name: Anna Nowak\n  affiliation: AGH\n- Jan Kowalski"
    path.write_text(f"---\n{HEAD.format(lang='pl').replace('author: Ktoś', people)}\n---\n\nTekst.\n", encoding="utf-8")
    found = contents(checkout, document.read())
    assert found["metadata"]["/Author"] == "Anna Nowak, Jan Kowalski"
    assert {"Anna Nowak", "AGH", "Jan Kowalski"} <= {line.strip() for line in found["text"]}
    assert "Anna Nowak (AGH), Jan Kowalski" in found["html"] and '["Anna Nowak (AGH)","Jan Kowalski"]' in found["plain"]
    assert found["html"].count('<meta name="author"') == 2


def contents(root, text):
    """What the three documents of a text say."""
    pdf, html, markdown = (root / "report" / f"small.{kind}" for kind in ("pdf", "html", "md"))
    document._write_pdf(pdf, text)
    document._write_html(html, text)
    document._write_markdown(markdown, text)
    html, markdown = (path.read_text(encoding="utf-8") for path in (html, markdown))
    html = re.sub('data:image[^"]*|<style.*?</style>', "", html, flags=re.S)
    return {**verify._contents(pdf), "html": html, "plain": markdown}


def test_a_figure_is_printed_at_its_own_width_and_small_text_is_named(checkout, read, capsys, monkeypatch):
    """Of a page with room for 6.378 inches, or 3.116 for each of two."""
    sizes = {"six_points.png": (5.0, 6), "half.png": (3.11, 8.4), "wide.png": (6.375, 8.25)}
    for name in sizes:
        shutil.copy(checkout / "data" / "report" / "cover.png", checkout / "data" / "report" / name)
    monkeypatch.setattr(Sources, "maker", lambda self, name: "zadanie_1")
    monkeypatch.setattr(results, "size_of", lambda path: sizes.get(path.name, (None, None)))

    def figure(name, file, more=""):
        return f"![Podpis.](../data/report/{file}){{#fig-{name} {more} alt='opis'}}\n\n"

    beside = f"::: obok\n{figure('c', 'half.png')}{figure('d', 'wide.png')}:::\n\n"
    alone = [figure("a", "six_points.png"), figure("b", "wide.png"), figure("e", "half.png"), figure("f", "cover.png")]
    text = read("".join([*alone, beside, figure("g", "wide.png", "width=80%")]))
    found = {of.name[-1]: (of.inches, of.points) for of in text.figures.values()}
    assert found == {
        "a": (5.0, 6),
        "b": pytest.approx((6.378, 8.25), rel=1e-3),
        "e": (3.11, 8.4),
        "f": (6.378, None),
        "c": pytest.approx((3.116, 8.42), rel=1e-3),
        "d": pytest.approx((3.116, 4.03), rel=1e-3),
        "g": pytest.approx((5.102, 6.60), rel=1e-3),
    }
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and 'figure "fig-a": its smallest text has 6.0 points in print' in said[0]
    written = contents(checkout, text)["html"]
    assert written.count('class="szeroki" role="region" tabindex="0"') == 4  # a, b, f and g
    assert 'style="width:299px"' in written and 'data-points-per-inch="1.294"' in written


ENGLISH = """---
title: Generative models
author: Ann
programme: Data Science
course: Machine learning
lang: en-GB
cover-alt: Digits.
---

# Task 1

The error is {{study.test.ae.mse}} over {{zadanie_1.test_images}} images. See @fig-a and @fig-b. "Well", [it is
so.]{claim="zadanie_1.test_images > 0"} [$x$]{alt="x"}

![Digits.](../data/report/grid_ae.png){#fig-a width=20% alt="A grid."}

![Curves.](../data/report/learning_ae.png){#fig-b .dodatkowy width=20% alt="A curve."}

| a |
|---|
| 1 |

: A table.

::: zrodla
:::
"""


def test_an_english_document_reads_english_throughout(checkout, smoke):
    """But for what the document cites: names of notebooks, files and numbers."""
    shutil.copytree(checkout / "data" / "report", checkout / "draft")
    (checkout / "report" / "generative_models.md").write_text(ENGLISH, encoding="utf-8")
    text = document.read()
    found = contents(checkout, text)
    seen = "\n".join([*found["text"], found["html"], found["plain"]])
    polish = [word for word in WORDS["pl"].values() if isinstance(word, str)]
    named = re.compile(r"\{.*?\}|[`:;.()|]")
    left = {part.strip() for word in polish for part in named.split(word) if len(part.strip()) > 2}
    english = {part.strip() for word in WORDS["en"].values() if isinstance(word, str) for part in named.split(word)}
    assert [part for part in sorted(left - english) if part.replace("\u00a0", " ") in seen.replace("\u00a0", " ")] == []
    assert not re.search("[ąćęłńóśźżĄĆĘŁŃÓŚŹŻ]", seen)
    expected = ("Figure 1", "Figure A1", "Table 1", "Contents", "List of figures", "Further figures", "DRAFT", "10,000")
    for part in expected:
        assert part in seen.replace("\u00a0", " "), part
    assert '<html lang="en-GB">' in found["html"] and "“Well”" in seen
    assert PdfReader(checkout / "report" / "small.pdf").trailer["/Root"]["/Lang"] == "en-GB"


def test_the_plain_markdown_needs_nothing_of_ours(checkout):
    """It holds no reference, citation, claim or region of ours; every picture is where it says."""
    document.build()
    path = checkout / "report" / "build" / "generative_models.md"
    written = path.read_text(encoding="utf-8")
    assert not re.search(r"\{\{|claim=|\[@|\[-@|\.ustalone|::: (obok|zrodla)", written)
    pictures = re.findall(r"\]\(([^)]+\.png)\)", written)
    assert len(pictures) == 35 and all((path.parent / picture).is_file() for picture in pictures)
    assert "![Rysunek\u00a03: " in written and "![Rysunek\u00a0A15: " in written
    assert numbers.OLD not in written
    parsed = json.loads(document._pandoc(to="json", content=written))
    figures = [of for of in nodes(parsed["blocks"]) if of["t"] == "Figure"]
    assert len(figures) == 34
    assert "\\label{fig-wzory}" in document._pandoc(to="latex", content=written)


def test_marks_stand_in_every_document(checkout, monkeypatch):
    whole = Numbers

    def marked(values, *_):
        return whole(values, old={"study.test.vae_kl": RENEW, "benchmark": "aaaa: `make bench`"})

    monkeypatch.setattr(document, "Numbers", marked)
    found = contents(checkout, document.read())
    for said in ("\n".join(found["text"]), found["html"], found["plain"]):
        assert said.count("†") > 20 and "9f3c21aa07" in said and "‡" not in said
    claimed = json.loads(found["attachment"]["claims.json"])
    assert {claim["checked"] for claim in claimed} == {True, False}
