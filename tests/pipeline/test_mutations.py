"""What is false or broken is caught, each corruption with a message that names the culprit: the table is the test."""

import re
import shutil

import pytest
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, NameObject, TextStringObject

from conftest import build_copy, replace_in
from genmodels.pipeline import document, files, records, study, verify

MARKDOWN, METRICS, STUDY = "report/generative_models.md", "data/report/metrics.json", "data/report/study.json"
PROVENANCE = "data/report/provenance.json"
AE = study.read()["test"]["ae"]
MSE = f"{AE['mse']['mean']:.5f}".replace(".", ",")
RECOGNISED = f"{100 * AE['reconstruction_accuracy']['mean']:.1f}".replace(".", ",")


def text(path, old, new):
    """Replace a text in a file."""
    return lambda root: replace_in(root / path, old, new)


def number(path, change):
    """Change the contents of a JSON file."""

    def mutate(root):
        value = files.read_json(root / path)
        change(value)
        files.write_json(root / path, value)

    return mutate


def made_from(record, inputs):
    """Make a record say that its results were made from other inputs."""
    record["inputs"] |= inputs
    record["key"] = files.short(record["inputs"])


def forget(record, figure):
    """Take a figure out of a record, as if its notebook had never made it."""
    del record["results"][f"{figure}.png"], record["outputs"][f"{figure}.png"], record["outputs"][f"{figure}.npz"]


def split(record, section):
    """Take a section out of a record; return a record of it alone."""
    outputs = {name: record["outputs"].pop(name) for name in [*record["outputs"]] if name.startswith(f"{section}.")}
    return {**record, "outputs": outputs, "results": {section: record["results"].pop(section)}}


def file(path, action):
    return lambda root: action(root / path)


def swap(name, other):
    folder = "data/report"
    return lambda root: shutil.copy(root / folder / other, root / folder / name)


# What is wrong, how it is brought about, and what the build says of it.
CAUGHT_BY_THE_BUILD = (
    (
        "a number of a run",
        number(METRICS, lambda m: m["zadanie_1"]["mse"].update(mean=0.02)),
        "zadanie_1.mse: changed after the notebook wrote it; `make report` makes it again",
    ),
    (
        "a number of the benchmark",
        number(METRICS, lambda m: m["benchmark"]["vae"]["ours"].update(seconds=1.0)),
        "benchmark.vae: changed after the benchmark wrote it; `git checkout data/report` brings it back",
    ),
    (
        "a number taken away",
        number(METRICS, lambda m: m["zadanie_4"].pop("epochs")),
        "zadanie_4.epochs: changed after the notebook wrote it",
    ),
    (
        "a cited section that no notebook wrote",
        lambda root: (
            number(METRICS, lambda m: m.update(zadanie_5={"x": 1}))(root),
            replace_in(root / MARKDOWN, "{{zadanie_4.count}}", "{{zadanie_5.x}}"),
        ),
        "no notebook is on record as having made zadanie_5",
    ),
    ("no numbers", file(METRICS, lambda path: path.unlink()), "zadanie_1.mse"),
    (
        "a number of the study",
        number(STUDY, lambda m: m["test"]["gan"]["label"].update(mean=0.9999)),
        "study.json, test.gan: changed after `make study` wrote it",
    ),
    ("a figure swapped", swap("grid_ae.png", "grid_Vae.png"), "grid_ae.png: changed after the notebook wrote it"),
    (
        "a figure's data swapped",
        swap("grid_ae.npz", "grid_Vae.npz"),
        "grid_ae.npz: changed after the notebook wrote it",
    ),
    ("a figure deleted", file("data/report/cover.png", lambda path: path.unlink()), "cover.png: changed after"),
    (
        "a result taken out of a record",
        number(PROVENANCE, lambda p: p["zadanie_4_gan"]["results"].pop("gan_results.png")),
        "gan_results.npz, gan_results.png: changed after the notebook wrote it",
    ),
    (
        "a figure that no notebook is known to have made",
        number(PROVENANCE, lambda p: forget(p["zadanie_4_gan"], "gan_results")),
        "no notebook is on record as having made ../data/report/gan_results.png",
    ),
    (
        "a cover that no notebook is known to have made",
        number(PROVENANCE, lambda p: forget(p["zadanie_4_gan"], "cover")),
        "no notebook is on record as having made ../data/report/cover.png",
    ),
    (
        "figures of a notebook that is gone",
        file("notebooks/zadanie_2_vae.ipynb", lambda path: path.unlink()),
        "no notebook is on record as having made ../data/report/training_result_vae.png",
    ),
    (
        "numbers of a notebook that is gone",
        number(PROVENANCE, lambda p: p.update(gone=split(p["zadanie_1_autoenkoder"], "zadanie_1"))),
        "no notebook is on record as having made zadanie_1",
    ),
    (
        "no provenance",
        file(PROVENANCE, lambda path: path.unlink()),
        "no notebook is on record as having made ../data/report/models.png",
    ),
    (
        "scores of the study without a record",
        number(STUDY, lambda study: study["records"].pop("gan")),
        "study.json, gan has no record: changed after `make study` wrote it",
    ),
    (
        "inputs of an entry of the study changed by hand",
        number(STUDY, lambda study: study["records"]["gan"]["inputs"].update(keras="3.0")),
        "as the key of gan's inputs",
    ),
    (
        "a record changed by hand",
        number(PROVENANCE, lambda p: p["zadanie_4_gan"]["inputs"].update(keras="3.0")),
        "as the key of zadanie_4_gan's inputs, got",
    ),
    (
        "a claim reversed",
        text(MARKDOWN, "zadanie_2.kl_deviation.monte_carlo > zadanie", "zadanie_2.kl_deviation.monte_carlo < zadanie"),
        "obie postaci różnią się rozrzutem między obrazami” is no longer true: zadanie_2.kl_deviation.monte_carlo < ",
    ),
    (
        "a claim with another threshold",
        text(MARKDOWN, "study.test.gan.nearest.mean > 0.9", "study.test.gan.nearest.mean > 1.9"),
        "is no longer true: study.test.gan.nearest.mean > 1.9 (study.test.gan.nearest.mean = ",
    ),
    (
        "a claim about nothing",
        text(MARKDOWN, 'claim="study.test.gan.nearest.mean >', 'claim="study.test.gan.nearast.mean >'),
        'no number "study.test.gan.nearast.mean" in metrics.json or study.json; did you mean',
    ),
    (
        "a claim that judges nothing",
        text(MARKDOWN, "study.test.gan.nearest.mean > 0.9", "study.test.gan.nearest.mean"),
        "expected comparisons of numbers joined by and, or, not",
    ),
    ("code in a claim", text(MARKDOWN, "study.test.gan.nearest.mean > 0.9", "os.exit(0) > 1"), 'no number "os.exit"'),
    (
        "a claim misspelt",
        text(MARKDOWN, 'claim="study.test.gan.nearest', 'clam="study.test.gan.nearest'),
        '{clam=...}: expected claim="..." or alt="...", got clam',
    ),
    (
        "an unknown number",
        text(MARKDOWN, "{{zadanie_1.epochs}}", "{{zadanie_1.epoch}}"),
        'no number "zadanie_1.epoch" in metrics.json or study.json; did you mean "zadanie_1.epochs"?',
    ),
    (
        "a typed decimal",
        text(MARKDOWN, "{{study.test.ae.mse:.5f}}", MSE),
        f'typed number "{MSE}": a result is written {{{{study.test.ae.mse.mean:.5f}}}}, a constant [{MSE}]'
        "{.ustalone}",
    ),
    (
        "a typed percentage",
        text(MARKDOWN, "{{study.test.ae.reconstruction_accuracy:.1%}}", "84 %"),
        'typed number "84 %": a result is written {{',
    ),
    (
        "a typed count",
        text(MARKDOWN, "{{zadanie_4.count}}", "10 000"),
        'typed number "10 000": a result is written {{zadanie_1.test_images:d}}',
    ),
    (
        "a missing alternative text",
        text(MARKDOWN, '\nalt="Odręczna siódemka na obrazie 56 na 56 pikseli, w zaznaczonej komórce."', ""),
        'figure "fig-przyklad": expected alt="what is to be seen", got none or the caption again',
    ),
    (
        "the caption as alternative text",
        text(
            MARKDOWN,
            "Odręczna siódemka na obrazie 56 na 56 pikseli, w zaznaczonej komórce.",
            "Przykładowy obraz testowy z etykietą i położeniem.",
        ),
        'figure "fig-przyklad": expected alt="what is to be seen", got none or the caption again',
    ),
    (
        "a formula that is not read",
        text(MARKDOWN, '[$q(z \\mid x)$]{alt="rozkład q od z pod warunkiem x"}', "$q(z \\mid x)$"),
        'formula $q(z \\mid x)$: expected [$...$]{alt="how it is read"} once',
    ),
    (
        "a claim without a number",
        text(MARKDOWN, "study.test.gan.nearest.mean > 0.9", "1 < 2"),
        'claim "1 < 2": expected comparisons of numbers joined by and, or, not; got none of metrics.json or study.json',
    ),
    (
        "a claim that may be read in two ways",
        text(MARKDOWN, "study.test.gan.nearest.mean > 0.9", "not study.test.gan.nearest.mean < 0.9"),
        "expected comparisons of numbers joined by and, or, not; got",
    ),
    (
        "a claim at a heading",
        text(MARKDOWN, "# Zestawienie wyników\n", '# Zestawienie wyników {claim="1 > 2"}\n'),
        "{claim=...}: expected none, got claim",
    ),
    (
        "claims switched off",
        lambda root: (
            replace_in(root / MARKDOWN, "lang: pl-PL", 'lang: pl-PL\ndraft: ""'),
            replace_in(root / MARKDOWN, "study.test.gan.nearest.mean > 0.9", "study.test.gan.nearest.mean > 1.9"),
        ),
        "is no longer true: study.test.gan.nearest.mean > 1.9",
    ),
    (
        "a reference with a space in it",
        text(MARKDOWN, "{{zadanie_1.epochs}}", "{{ zadanie_1.epochs }}"),
        "expected {{key}} or {{key:format}}, without spaces",
    ),
    (
        "a format that is none",
        text(MARKDOWN, "{{study.test.ae.mse:.5f}}", "{{study.test.ae.mse:abc}}"),
        "{{study.test.ae.mse:abc}}: expected a format such as .2f, .1%, d for a whole number, or none",
    ),
    (
        "a decimal with a point",
        text(MARKDOWN, "{{study.test.ae.reconstruction_accuracy:.1%}}", "0.8397"),
        'typed number "0.8397": a result is written {{key:format}}',
    ),
    (
        "a percentage in words",
        text(MARKDOWN, "{{study.test.ae.reconstruction_accuracy:.1%}}", "84 procent"),
        'typed number "84 procent": a result is written',
    ),
    (
        "a result in bold type",
        text(MARKDOWN, "{{study.test.ae.reconstruction_accuracy:.1%}}", f"**{RECOGNISED}**\\ %"),
        f'typed number "{RECOGNISED} %": a result is written {{{{study.test.ae.reconstruction_accuracy.mean:.1%}}}}',
    ),
    (
        "a sentence marked as a constant",
        text(MARKDOWN, "[0,5]{.ustalone}", "[0,5, lepiej niż AE]{.ustalone}"),
        "[0,5, lepiej niż AE]{.ustalone}: expected one number, got more",
    ),
    (
        "a picture that no notebook made",
        lambda root: (
            shutil.copy(root / "data/report/cover.png", root / "data/report/other.png"),
            replace_in(root / MARKDOWN, "../data/report/gan_examples.png", "../data/report/other.png"),
        ),
        "no notebook is on record as having made ../data/report/other.png",
    ),
    (
        "two figures in one reference",
        text(MARKDOWN, "[-@fig-siatka-ae] i [-@fig-siatka-vae]", "[-@fig-siatka-ae; -@fig-siatka-vae]"),
        "@fig-siatka-ae: expected a figure by itself, as in @fig-a i @fig-b",
    ),
    (
        "text among figures",
        text(MARKDOWN, "::: obok\n", "::: obok\nZgubione zdanie.\n\n"),
        "::: obok: expected figures only",
    ),
    (
        "a width in pixels",
        text(MARKDOWN, "#fig-wzory ", "#fig-wzory width=70px "),
        "expected a width such as 80%, got 70px",
    ),
    (
        "numbers that can't be read",
        file(METRICS, lambda path: path.write_text("<<<<<<< HEAD")),
        "metrics.json: expected JSON, got something else",
    ),
    ("a brace too few", text(MARKDOWN, "\\frac{1}{2}", "\\frac{1}{2"), "it has 2 { and 1 }"),
    ("a command misspelt", text(MARKDOWN, "\\sum_", "\\summ_"), "is a command misspelt, or a $ missing?"),
    ("a dollar too few", text(MARKDOWN, "[$k = 5$]", "[$k = 5]"), "expected $ on both sides"),
    (
        "a broken reference",
        text(MARKDOWN, "@fig-mapa", "@fig-mapka"),
        'no figure "fig-mapka"; did you mean "fig-mapa"?',
    ),
    ("an unknown paper", text(MARKDOWN, "@sohn2015", "@sohn2014"), 'no paper in references.bib "sohn2014"; did you'),
    (
        "a missing file",
        text(MARKDOWN, "../data/report/learning_ae.png", "../data/report/learning_a.png"),
        'there is no ../data/report/learning_a.png; did you mean "learning_ae.png"?',
    ),
    ("a figure without a name", text(MARKDOWN, "#fig-pary-ae ", ""), "expected a name, {#fig-name"),
    ("a name twice", text(MARKDOWN, "#fig-pary-vae ", "#fig-pary-ae "), 'figure "fig-pary-ae": expected a name of its'),
    ("a region that does not end", text(MARKDOWN, "::: zrodla\n:::", "::: zrodla"), "unclosed"),
    ("a region misspelt", text(MARKDOWN, "::: zrodla", "::: zródla"), "expected ::: obok or ::: zrodla"),
    (
        "a region with a width",
        text(MARKDOWN, "::: obok", "::: {.obok width=45%}"),
        "{width=...}: expected none, got width",
    ),
    ("raw Typst", text(MARKDOWN, "# Wstęp\n", "# Wstęp\n\n`#x`{=typst}\n"), 'raw typst "#x": expected Markdown'),
    ("raw HTML", text(MARKDOWN, "# Wstęp\n", "# Wstęp\n\n<b>x</b>\n"), 'raw html "<b>": expected Markdown'),
    ("metadata that can't be read", text(MARKDOWN, "lang: pl-PL", 'lang: "pl'), "YAML parse exception at line"),
    ("a cover without a text", text(MARKDOWN, "cover-alt:", "cover-al:"), "expected cover-alt: what the cover shows"),
)
# What is wrong with the tree around a good PDF, and what `verify` says of it.
CAUGHT_IN_THE_TREE = (
    (
        "a sentence changed after the build",
        text(MARKDOWN, "Pojedynczych kopii ta miara nie wyklucza.", "Pojedynczych kopii nie ma."),
        "text, the PDF says: ",
    ),
    (
        "a cell changed",
        text("notebooks/zadanie_4_gan.ipynb", "gan.generate(rows, seed=4)", "gan.generate(rows, seed=5)"),
        "zadanie_4_gan: stale, the notebook's code changed since it was made",
    ),
    (
        "a figure of another code",
        number(PROVENANCE, lambda p: made_from(p["zadanie_1_autoenkoder"], {"run ae": "0"})),
        "zadanie_1_autoenkoder: stale, run ae changed since it was made",
    ),
    (
        "a figure of other libraries",
        number(PROVENANCE, lambda p: made_from(p["zadanie_4_gan"], {"keras": "3.0"})),
        "zadanie_4_gan: stale, keras changed since it was made",
    ),
    (
        "another machine claimed",
        number(PROVENANCE, lambda p: p["zadanie_4_gan"]["origin"]["machine"].update(processor="Szybki")),
        "provenance.json, zadanie_4_gan.origin.machine.processor: ",
    ),
    (
        "a record of another cell",
        number(PROVENANCE, lambda p: p["zadanie_4_gan"]["results"]["cover.png"].update(cell=1)),
        "provenance.json, zadanie_4_gan.results.cover.png.cell: ",
    ),
    (
        "another seed claimed",
        number(PROVENANCE, lambda p: p["zadanie_1_autoenkoder"]["results"]["grid_ae.png"]["runs"].update(ae=[7])),
        "provenance.json, zadanie_1_autoenkoder.results.grid_ae.png.runs.ae.0: 1 in the PDF, 7 in the tree",
    ),
    (
        "the HTML edited",
        text("report/generative_models.html", "<h1>", "<h1>Poprawione: "),
        "generative_models.html: differs from what the tree makes",
    ),
    (
        "a claim of the tree that is false",
        text(MARKDOWN, "study.test.gan.nearest.mean > 0.9", "study.test.gan.nearest.mean > 1.9"),
        "is no longer true: study.test.gan.nearest.mean > 1.9",
    ),
    ("a number of the tree", number(METRICS, lambda m: m["zadanie_3"].update(best=2)), "zadanie_3.best: changed after"),
)


def edited(change):
    """A corruption of the PDF itself, by what `change` does to a pypdf writer of it."""

    def mutate(pdf):
        writer = PdfWriter(clone_from=pdf)
        change(writer)
        writer.write(pdf)

    return mutate


def attachment(writer, name, old, new):
    names = writer.root_object["/Names"]["/EmbeddedFiles"]["/Names"]
    entry = next(names[place + 1].get_object() for place in range(0, len(names), 2) if names[place] == name)
    stream = entry["/EF"]["/F"].get_object()
    content = stream.get_data()
    assert old in content
    stream.set_data(content.replace(old, new, 1))


def without_attachments(writer):
    writer.root_object["/Names"]["/EmbeddedFiles"][NameObject("/Names")] = ArrayObject()


def other_picture(writer):
    image = next(image for page in writer.pages[6:] for image in page.images)
    image.replace(Image.new("RGB", image.image.size))


def other_text(writer):
    page = writer.pages[6]
    stream = page["/Contents"].get_object()
    found = stream.get_data()
    blanked = re.sub(rb"\[.*?\]TJ", b"", found, count=3, flags=re.S)
    assert blanked != found
    stream.set_data(blanked)


def other_alternative(writer):
    objects = (writer.get_object(number) for number in range(1, len(writer._objects) + 1))
    tag = next(each for each in objects if isinstance(each, dict) and "/Alt" in each)
    tag[NameObject("/Alt")] = TextStringObject("Coś innego")


# What is wrong with the PDF, and what `verify` says of it.
CAUGHT_IN_THE_PDF = (
    (
        "an attached number",
        edited(lambda pdf: attachment(pdf, "metrics.json", b'"test_images": 10000', b'"test_images": 99999')),
        "metrics.json, zadanie_1.test_images: 99999 in the PDF, 10000 in the tree",
    ),
    (
        "an attached claim",
        edited(lambda pdf: attachment(pdf, "claims.json", b"grid.largest <= 1", b"grid.largest <= 2")),
        "claims.json, 0.claim: ",
    ),
    (
        "the attached provenance",
        edited(lambda pdf: attachment(pdf, "provenance.json", b'"clean"', b'"dirty"')),
        "provenance.json, ",
    ),
    ("no attachments", edited(without_attachments), "attachment metrics.json: only in the tree"),
    ("another picture", edited(other_picture), "figure "),
    ("text taken out", edited(other_text), "text, the tree says: "),
    ("another author", edited(lambda pdf: pdf.add_metadata({"/Author": "Ktoś inny"})), "metadata /Author: differs"),
    ("another alternative text", edited(other_alternative), "alternative text, the PDF says: Coś innego"),
    (
        "something appended",
        lambda pdf: pdf.write_bytes(pdf.read_bytes() + b"\n% more"),
        "structure, alternative texts or bookmarks differ from the tree's",
    ),
    ("half of it", lambda pdf: pdf.write_bytes(pdf.read_bytes()[:5000]), "expected a readable PDF"),
    ("another file", lambda pdf: pdf.write_bytes(b"%PNG"), "expected a readable PDF"),
    (
        "no metadata where it says",
        lambda pdf: pdf.write_bytes(re.sub(rb"/Info \d+ 0 R", b"/Info /None", pdf.read_bytes())),
        "expected a readable PDF",
    ),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the checkout with its real report built: the folder, with what it holds."""
    with pytest.MonkeyPatch.context() as patch:
        root = build_copy(tmp_path_factory.mktemp("mutations") / "kopia źródeł", patch)
        yield root


READ = verify._contents  # before a test replaces it


@pytest.fixture(scope="module")
def contents(tree):
    """What `verify` reads in the PDF of the tree, which takes a while."""
    return READ(document.path())


@pytest.fixture
def restored(tree):
    """The tree, in which a test may change what it will."""
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    yield tree
    for path, content in before.items():
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    for path in {*(tree / "data" / "report").iterdir()} - {*before}:
        path.unlink()


def test_the_table_is_long_enough():
    names = [name for table in (CAUGHT_BY_THE_BUILD, CAUGHT_IN_THE_TREE, CAUGHT_IN_THE_PDF) for name, *_ in table]
    assert len(names) == len(set(names)) >= 30


def test_nothing_is_found_where_nothing_is_wrong(restored):
    assert list(verify.differences(document.path())) == []


@pytest.mark.parametrize(
    ("mutate", "message"), [row[1:] for row in CAUGHT_BY_THE_BUILD], ids=[row[0] for row in CAUGHT_BY_THE_BUILD]
)
def test_the_build_stops_and_names_the_culprit(restored, monkeypatch, mutate, message):
    monkeypatch.setattr(document, "_write_html", lambda *_: None)  # `read` says it before
    good = document.path().read_bytes()
    mutate(restored)
    with pytest.raises((records.ReportError, files.FileError)) as stopped:
        document.build()
    said = str(stopped.value)
    assert message in said
    if mutate.__qualname__.startswith("text"):
        assert said.startswith("report/generative_models.md: ") and len(said.splitlines()) <= 2 and len(said) < 700
    assert document.path().read_bytes() == good


def test_results_that_nothing_makes_and_nothing_cites_do_not_stop_the_build(restored):
    swap("other.png", "cover.png")(restored)
    number(METRICS, lambda m: m.update(zadanie_5={"x": 1}))(restored)
    assert document.build() == [document.path("pdf"), document.path("html")]


@pytest.mark.parametrize(
    ("mutate", "message"), [row[1:] for row in CAUGHT_IN_THE_TREE], ids=[row[0] for row in CAUGHT_IN_THE_TREE]
)
def test_verify_names_what_changed_in_the_tree(restored, contents, monkeypatch, mutate, message):
    mutate(restored)
    monkeypatch.setattr(verify, "_contents", lambda pdf: contents if pdf == document.path() else READ(pdf))
    assert any(message in found for found in verify.differences(document.path()))


@pytest.mark.parametrize(
    ("mutate", "message"), [row[1:] for row in CAUGHT_IN_THE_PDF], ids=[row[0] for row in CAUGHT_IN_THE_PDF]
)
def test_verify_names_what_is_wrong_with_the_pdf(restored, contents, monkeypatch, mutate, message):
    good = {kind: document.path(kind).read_bytes() for kind in ("pdf", "html")}
    mutate(document.path())
    for kind, content in good.items():  # what the tree makes: see the test where nothing is wrong
        monkeypatch.setattr(document, f"_write_{kind}", lambda target, _, content=content: target.write_bytes(content))
    monkeypatch.setattr(verify, "_contents", lambda pdf: contents if pdf.name == "built.pdf" else READ(pdf))
    try:
        found = list(verify.differences(document.path()))
    except records.ReportError as error:
        found = [str(error)]
    assert any(message in text for text in found)
