import json
import shutil

import nbformat
import pytest
from pypdf import PdfReader

from genmodels import cache, data, experiments, figures, report

KEYS = {name: "key" for name in experiments.RUNS}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own, in a folder with a space and a Polish letter: report/, notebooks/ and data/report/."""
    root = tmp_path / "kopia źródeł"
    for folder in ("report", "notebooks", "data/report"):
        shutil.copytree(data.checkout() / folder, root / folder, ignore=shutil.ignore_patterns("*.pdf", ".*"))
    monkeypatch.setattr(data, "checkout", lambda: root)
    return root


@pytest.fixture
def source(checkout):
    """Replaces the text of the report; returns a function that builds it and gives the text of the PDF."""

    def build(body):
        head = "title: Próba\nauthor: Ktoś\nprogramme: P\ncourse: C\nlang: pl\ncover-alt: Okładka z cyfr"
        text = f"---\n{head}\n---\n\n{body}\n"
        (checkout / "report" / "generative_models.md").write_text(text, encoding="utf-8")
        return text_of(report.build_pdf())

    return build


def text_of(pdf):
    """The text of a PDF, with plain spaces."""
    return "\n".join(page.extract_text() for page in PdfReader(pdf).pages).replace("\u00a0", " ")


def numbers(checkout, **sections):
    cache.write_json(checkout / "data" / "report" / "metrics.json", sections)


def test_the_real_report_builds_with_nineteen_figures_in_their_order(checkout):
    text = text_of(report.build_pdf())
    assert all(f"Rysunek {number}:" in text for number in range(1, 20)) and "Rysunek 20" not in text
    assert all(f"Rysunek A{number}:" in text for number in range(1, 9)) and "Rysunek A9" not in text
    markdown = (checkout / "report" / "generative_models.md").read_text(encoding="utf-8")
    names = [name for files in report.FIGURES.values() for name in files][:-1]
    extra = [name for files in report.EXTRA.values() for name in files]
    for group in (names, extra):
        places = [markdown.index(f"../data/report/{name}") for name in group]
        assert places == sorted(places)
    assert "{{" not in text and "Zadanie 3.3" in text and "Bibliografia" in text


def test_the_same_inputs_give_the_same_bytes(checkout):
    first = report.build_pdf().read_bytes()
    assert report.build_pdf().read_bytes() == first


def test_numbers_are_written_in_polish(checkout, source):
    numbers(checkout, a={"big": 12345.678, "share": 0.98765, "count": 10000, "list": [1.5, -2.25], "25": {"x": 3.0}})
    text = source(
        "A{{a.big:.1f}}B {{a.share:.1%}}C {{a.count}}D {{a.list.1:.2f}}E {{a.25.x}}F, [$x = {{a.list.0:.1f}}$]{alt='x'}"
    )
    assert all(part in text for part in ("A12 345,7B", "98,8 %C", "10 000D", "−2,25E", "3F"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{{a.nothing}}", 'line 10: no number "a.nothing"'),
        ("\n\n[Nie.]{claim='a.nothing > 1'}", 'line 12: no number "a.nothing"'),
        ("![x](../data/report/cover.png){#fig-x}", 'line 10: figure "fig-x": expected alt='),
        ("![x](../data/report/no.png){#fig-x alt='y'}", "no.png"),
        ("@fig-none", "fig-none"),
        ("[$a$]{alt='a'}, $a$ i $b$", r"line 10: formula \$b\$: expected .* once"),
        ("Ma [0,5]{.ustalone}.\n\nMa MSE 0,5.", 'line 12: typed number "0,5.": a result is written'),
        ("Rozpoznaje 84 % cyfr.", 'line 10: typed number "84 %"'),
        ("Rozpoznaje (*84%*) cyfr.", 'typed number "84%"'),
    ],
)
def test_a_mistake_in_the_text_is_named_and_the_last_good_pdf_stays(checkout, source, body, message):
    source("Dobry tekst.")
    good = report.pdf_path().read_bytes()
    with pytest.raises(report.ReportError, match=message):
        source(body)
    assert report.pdf_path().read_bytes() == good
    assert not report.pdf_is_fresh()
    assert not list((checkout / "report").glob(".*"))


def test_constants_of_the_task_may_be_typed(source):
    text = source("Próg [0,5]{.ustalone}, czyli [50 %]{.ustalone}; 100 % z 10 000 obrazów 28 × 28, `0,5`.")
    assert "Próg 0,5, czyli 50 %; 100 % z 10 000 obrazów" in text


def test_a_true_claim_leaves_no_trace(checkout, source):
    numbers(checkout, a={"x": 0.5, "y": -0.25, "list": [1.0, 2.0]})
    claim = "a.x > a.y and not (abs(a.y) > 0.3) or a.list.1 == 3 * a.list.0"
    assert "Większe jest x (0,5), a y nie." in source(
        f"Większe [jest *x* ({{{{a.x:.1f}}}}), a]{{claim='{claim}'}} y nie."
    )


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("a.x < a.y", r"line 12: „To prawda o 0,5.” is no longer true: a.x < a.y \(a.x = 0.5, a.y = -0.25\)"),
        ("a.x > 0.4 and a.y > 0", r"is no longer true: .* \(a.x = 0.5, a.y = -0.25\)"),
        ("a.x + a.y", "expected comparisons of numbers joined by and, or, not; got something else"),
        ("a.x <", "expected comparisons of numbers"),
        ("os.execute() == 1", 'no number "os.execute"'),
        ("a.x > (function() return 0 end)()", 'got "function"'),
        ("a.name > 1", "got a.name = tekst"),
    ],
)
def test_a_false_or_unreadable_claim_stops_the_build(checkout, source, claim, message):
    numbers(checkout, a={"x": 0.5, "y": -0.25, "name": "tekst"})
    with pytest.raises(report.ReportError, match=message):
        source(f"Wstęp.\n\n[To prawda o {{{{a.x:.1f}}}}.]{{claim='{claim}'}}")


def test_missing_numbers_are_named(checkout):
    (checkout / "data" / "report" / "metrics.json").unlink()
    with pytest.raises(report.ReportError, match=r"there is no \.\./data/report/metrics\.json; the notebooks write it"):
        report.build_pdf()


def test_a_picture_carries_its_alternative_text_not_its_caption(source):
    source("![Podpis.](../data/report/cover.png){#fig-x width=30% alt='Co widać.'}")
    reader = PdfReader(report.pdf_path())
    objects = (reader.get_object(number) for number in range(1, reader.trailer["/Size"]))
    alternatives = [found["/Alt"] for found in objects if isinstance(found, dict) and "/Alt" in found]
    assert [text.replace("\u00a0", " ") for text in alternatives] == ["Okładka z cyfr", "Co widać."]


def test_the_pdf_is_for_archives_and_for_reading_aloud(source):
    source("Dla [$x$]{alt='litera x'} i $x$.\n\n[$$x^2$$]{alt='kwadrat x'}")
    reader = PdfReader(report.pdf_path())
    metadata = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    assert all(f"<pdf{tag}<" in metadata for tag in ("aid:part>3", "aid:conformance>A", "uaid:part>1"))
    objects = (reader.get_object(number) for number in range(1, reader.trailer["/Size"]))
    formulas = [found["/Alt"] for found in objects if isinstance(found, dict) and found.get("/S") == "/Formula"]
    assert formulas == ["litera x", "litera x", "kwadrat x"]


def test_references_and_page_breaks(source):
    figure = "![Podpis.](../data/report/cover.png){#fig-okladka width=30% alt='opis'}"
    text = source(f"@fig-okladka, numer [-@fig-okladka].\n\n\\newpage\n\n{figure}")
    assert "Rysunek 1, numer 1." in text and "Rysunek 1: Podpis." in text


def test_further_figures_are_numbered_apart(source):
    figures = [
        f"![P{index}](../data/report/cover.png){{#fig-{index} {kind} width=10% alt='opis'}}"
        for index, kind in enumerate(("", ".dodatkowy", "", ".dodatkowy"))
    ]
    text = source("\n\n".join([*figures, "Patrz [-@fig-3] i @fig-2."]))
    captions = ("Rysunek 1: P0", "Rysunek A1: P1", "Rysunek 2: P2", "Rysunek A2: P3", "Patrz A2 i Rysunek 2.")
    assert all(caption in text for caption in captions)


def test_numbers_of_the_study_are_quoted_beside_those_of_the_run(checkout, source):
    numbers(checkout, a={"x": 1.5})
    study = {"test": {"gan": {"label": {"mean": 0.99651}}}, "machine": {"processor": "Szybki 3000"}}
    cache.write_json(report.study_path(), study)
    text = source("A{{a.x:.1f}}B {{study.test.gan.label.mean:.2%}}C {{study.machine.processor}}D")
    assert "A1,5B" in text and "99,65 %C" in text and "Szybki 3000D" in text


def test_scores_of_a_run_are_compared_with_the_study(checkout):
    numbers(
        checkout,
        zadanie_1={"scores": {"ae": {"mse": 0.04, "new": 1.0}}},
        zadanie_4={"scores": {"gan": {"label": 0.995}}},
    )
    spread = {"mean": 0.03, "deviation": 0.001, "values": []}
    cache.write_json(
        report.study_path(), {"test": {"ae": {"mse": spread}, "gan": {"label": {**spread, "mean": 0.996}}}}
    )
    comparison = report.compare_with_study()
    assert comparison == [("ae", "mse", 0.04, 0.03, 0.001), ("gan", "label", 0.995, 0.996, 0.001)]
    assert report.outside(comparison) == comparison[:1]


def test_the_universitys_mark_takes_the_cover_where_it_exists(checkout):
    plain = report.build_pdf().read_bytes()
    shutil.copy(report.output() / "2_pairs_ae.png", report.logo())
    assert not report.pdf_is_fresh()
    assert report.build_pdf().read_bytes() != plain


def test_pdf_is_stale_after_any_of_its_sources_changes(checkout):
    report.build_pdf()
    assert report.pdf_is_fresh()
    for path in ("report/generative_models.md", "report/template.typ", "report/references.bib", "report/report.lua"):
        original = (checkout / path).read_text(encoding="utf-8")
        (checkout / path).write_text(original + "\n\n", encoding="utf-8")
        assert not report.pdf_is_fresh(), path
        (checkout / path).write_text(original, encoding="utf-8")
        assert report.pdf_is_fresh()
    report.pdf_path().write_bytes(b"broken")
    assert not report.pdf_is_fresh()


def test_save_knows_the_figures_and_marks_drafts(checkout, monkeypatch):
    saved = report.save(figures.plot_kl_formulas(), "kld_formulas.png")
    assert saved.path == checkout / "data" / "report" / "kld_formulas.png"
    final = saved._repr_png_()
    assert final.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"figure must be one of latent_space_AE\.png.*got 'other\.png'"):
        report.save(figures.plot_kl_formulas(), "other.png")
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    draft = report.save(figures.plot_kl_formulas(), "kld_formulas.png")
    assert draft.path == checkout / "draft" / "kld_formulas.png" and draft._repr_png_() != final
    assert saved._repr_png_() == final


def test_draft_pdf_goes_to_its_own_folder_and_says_so(checkout, smoke):
    shutil.copytree(checkout / "data" / "report", checkout / "draft")
    path = report.build_pdf()
    assert path == checkout / "draft" / "generative_models.pdf"
    assert "SZKIC" in PdfReader(path).pages[2].extract_text()


def test_record_keeps_the_other_sections(checkout):
    numbers(checkout, first={"x": 1})
    report.record("second", {"y": [0.5]})
    assert cache.read_json(report.output() / "metrics.json") == {"first": {"x": 1}, "second": {"y": [0.5]}}


def small_notebook(checkout, code):
    """Puts a small notebook in the place of the first one; returns its name."""
    name = report.NOTEBOOKS[0]
    cells = [nbformat.v4.new_code_cell(cell) for cell in code]
    cells[0].metadata["tags"] = [report.CHECKED]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), report.notebook_path(name))
    return name


def test_a_notebook_runs_in_its_own_folder_and_is_fresh_until_something_changes(checkout):
    name = small_notebook(checkout, ["import os\nprint(os.path.basename(os.getcwd()))", "1 + 1"])
    assert not report.is_fresh(name, KEYS)
    report.run_notebooks([name], KEYS, jobs=1)
    assert "notebooks" in report.executed_path(name).read_text()
    assert report.is_fresh(name, KEYS)
    (report.output() / "grid_ae.png").write_bytes(b"another picture")
    assert not report.is_fresh(name, KEYS)


def test_checked_outputs_alone_are_stored(checkout):
    name = small_notebook(checkout, ["print('fact')", "print('picture')"])
    report.run_notebooks([name], KEYS, jobs=1)
    report.store_checked_outputs(name)
    first, second = nbformat.read(report.notebook_path(name), as_version=4).cells
    assert first.outputs[0].text == "fact\n" and first.execution_count == 1
    assert not second.outputs and second.execution_count is None


def test_a_failing_notebook_is_named_with_its_error(checkout):
    name = small_notebook(checkout, ["x = 1", "raise KeyError('lost')"])
    with pytest.raises(report.ReportError, match=rf"notebooks/{name}\.ipynb failed:(.|\n)*KeyError: 'lost'"):
        report.run_notebooks([name], KEYS, jobs=1)
    assert not report.is_fresh(name, KEYS)


def test_a_notebook_depends_on_its_runs_and_its_code_but_not_on_comments(checkout):
    name = report.NOTEBOOKS[3]
    before = report._notebook_key(name, KEYS)
    assert report._notebook_key(name, {**KEYS, "ae": "other"}) == before
    assert report._notebook_key(name, {**KEYS, "gan": "other"}) != before
    notebook = json.loads(report.notebook_path(name).read_text(encoding="utf-8"))
    notebook["cells"][1]["source"].append("\n# a comment")
    report.notebook_path(name).write_text(json.dumps(notebook), encoding="utf-8")
    assert report._notebook_key(name, KEYS) == before


def test_runs_must_be_named_in_plain_strings(checkout):
    name = small_notebook(checkout, ["experiments.trained(f'cvae_{2}')"])
    with pytest.raises(report.ReportError, match="plain string"):
        report.notebook_runs(name)


def test_an_installed_package_has_no_report(monkeypatch):
    monkeypatch.setattr(data, "checkout", lambda: None)
    with pytest.raises(report.ReportError, match="expected to run from a checkout"):
        report.output()
