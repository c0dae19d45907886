"""From Markdown, figures and numbers to the PDF and the HTML, and back: whether a PDF is what the tree around it says.

Nothing here needs Keras.
"""

import difflib
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from genmodels import cache, data, notebooks, report, sources, study

STANDARDS = ["a-3a", "ua-1"]  # of the PDF: to be archived, and read aloud
PATIENCE = 120  # seconds for pandoc, which needs two; its time doubles with every bracket that is left open
SOURCES = ("generative_models.md", "pandoc.yaml", "report.lua", "template.typ", "template.html", "references.bib")


def path(kind="pdf"):
    """Where the document goes, "pdf" or "html": report/, or draft/ in the quick mode."""
    folder = report.output() if data.smoke_budget() else report.root() / "report"
    return folder / f"generative_models.{kind}"


def logo():
    """The university's mark, which the project does not own; where it exists it takes the cover picture's place."""
    return report.root() / "data" / "report" / "Znak_graficzny_AGH.svg.png"


def parts():
    """Everything that the documents depend on, {what: value}."""
    files = (
        *(report.root() / "report" / name for name in SOURCES),
        *(report.output() / name for name in (*report.all_figures(), *report.BENCHMARK)),
        *(report.output() / name for name in ("metrics.json", "provenance.json")),
        *(report.study_path(), logo()),
    )
    sums = {file.name: cache.checksum(file) for file in files}
    made_by = {name: version(name) for name in ("pypandoc_binary", "typst")}
    code = sources.code_parts("document:_write_pdf", "document:_write_html")
    return {**sums, **made_by, **code, "standards": STANDARDS, "budget": cache.environment()["budget"]}


def why_stale(kind):
    """Why the document, "pdf" or "html", is not what building it now would make; empty where it is."""
    noted_at = notebooks.stamp_path("document")
    if not (stamp := cache.read_json(noted_at, {})):
        return "not built yet"
    if cache.checksum(path(kind)) != stamp["sums"][kind]:
        return "changed after it was built" if path(kind).is_file() else "not built yet"
    return cache.changes(stamp["parts"], parts(), cache.when(noted_at))


def foreign():
    """What of figures and numbers is not as the notebook or the study left it: one text a finding."""
    recorded = notebooks.provenance_now()
    noted = {result: made for of in recorded.values() for result, made in of.get("results", {}).items()}
    numbers = report.metrics()
    back = "`git checkout data/report` brings it back"
    for result in dict.fromkeys([*report.all_figures(), *noted, *numbers]):
        measured = result in ("benchmark", *report.BENCHMARK)
        maker, remedy = ("benchmark", back) if measured else ("notebook", "`make report` makes it again")
        if result not in noted:
            yield f"{result}: no {maker} is on record as having made it; {remedy}"
        elif changed := notebooks.changed_by_hand(result, noted[result]):
            yield f"{changed}: changed after the {maker} wrote it; {remedy}"
    for name in study.changed_by_hand():
        yield f"study.json, {name}: changed after `make study` wrote it; {back}"


def build():
    """Turns report/generative_models.md into the PDF and the HTML; returns their paths.

    Raises ReportError with file, line and what to write instead, also where a figure or number is not as a notebook
    left it; the last good documents then stay.
    """
    if data.smoke_budget():
        _borrow_benchmark()
    if wrong := list(foreign()):
        raise report.ReportError("\n".join(wrong))
    made_from = parts()
    with cache.replacing(path("pdf")) as pdf, cache.replacing(path("html")) as html:
        _write(pdf, html)
    paths = {kind: path(kind) for kind in ("pdf", "html")}
    sums = {kind: cache.checksum(paths[kind]) for kind in paths}
    cache.write_json(notebooks.stamp_path("document"), {"parts": made_from, "sums": sums})
    return list(paths.values())


def _borrow_benchmark():
    """Gives a draft the committed benchmark, which the quick mode does not run."""
    folder = report.study_path().parent
    for name in ("metrics.json", "provenance.json"):
        if section := cache.read_json(folder / name, {}).get("benchmark"):
            report.put(report.output() / name, "benchmark", section)
    for file in (each for name in report.BENCHMARK for each in (folder / name, (folder / name).with_suffix(".npz"))):
        if file.is_file():
            with cache.replacing(report.output() / file.name) as temporary:
                shutil.copyfile(file, temporary)


def _pandoc(to, *arguments, target=None):
    """What pandoc makes of the report; nothing where it goes to the file `target`."""
    import pypandoc

    folder = report.root() / "report"
    results = Path(os.path.relpath(report.output(), folder)).as_posix()
    options = ["--defaults=pandoc.yaml", "--fail-if-warnings", f"--metadata=results:{results}", *arguments]
    options += [f"--metadata=draft:{str(data.smoke_budget()).lower()}"]
    options += [f"--output={target}"] if target else []
    command = [pypandoc.get_pandoc_path(), "generative_models.md", f"--to={to}", *options]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE, encoding="utf-8", check=True)
    except subprocess.TimeoutExpired as error:
        raise report.ReportError(
            f"report/generative_models.md: expected pandoc to read it within {PATIENCE} s, it did not; brackets that "
            "are opened many times and not closed do that: look at what was written last"
        ) from error
    except subprocess.CalledProcessError as error:
        found = _plain(error.stderr.replace(f"{folder}{os.sep}", ""))
        raise report.ReportError("\n".join(f"report/generative_models.md: {text}" for text in found)) from error
    return done.stdout


def _plain(message):
    """What an author needs of an error of pandoc's: the filter's own words without its stack, or the warnings."""
    patterns = (r"report: (.+)", r"\[WARNING\] (.+(?:\n +.+)*)", r"((?:Error at|YAML parse).*(?:\n.+)?)", r"(?s)(.+)")
    found = next(filter(None, (re.findall(pattern, message) for pattern in patterns)))
    return [" ".join(text.split()) for text in found]


def _write(pdf, html):
    """Writes both documents at the same time: each waits for a pandoc of its own."""
    with ThreadPoolExecutor() as pool:
        written = pool.submit(_write_html, html)
        _write_pdf(pdf)
        written.result()


def _write_pdf(target):
    import typst

    source = report.root() / "report" / f"{cache.temporary()}report.typ"  # two builds at once do not share it
    cache.sweep(source.parent)
    try:
        source.write_text(_pandoc("typst", "--template=template.typ"), encoding="utf-8")
        options = {"ignore_system_fonts": True, "timestamp": 0, "pdf_standards": STANDARDS}
        typst.compile(str(source), output=str(target), root=str(report.root()), **options)
    except typst.TypstError as error:
        raise report.ReportError(
            f"report/generative_models.md: Typst refuses what pandoc made of it: {error}"
        ) from error
    finally:
        source.unlink(missing_ok=True)


def _write_html(target):
    options = ("--template=template.html", "--mathml", "--embed-resources", "--toc", "--shift-heading-level-by=1")
    _pandoc("html5", *options, target=target)  # the title is the one heading of the first level


def differences(pdf):
    """Yields where a PDF departs from the tree that it stands in: figures, numbers, claims, text; one text a finding.

    A result that the tree's code would no longer make counts too, and an HTML file of that name beside the PDF.
    """
    yield from foreign()
    for name in report.NOTEBOOKS:
        yield from (f"{result}: stale, {why}" for result, why in notebooks.stale(name, here=False).items())
    if why := study.why_stale():
        yield f"study.json: stale, {why}"
    with tempfile.TemporaryDirectory() as folder:
        built, html = Path(folder) / "built.pdf", Path(folder) / "built.html"
        try:
            _write(built, html)
        except report.ReportError as error:
            yield str(error)
            return
        if Path(pdf).read_bytes() != built.read_bytes():
            rest = "structure, alternative texts or bookmarks differ from the tree's"
            yield from list(_compare(_contents(pdf), _contents(built))) or [rest]
        beside = Path(pdf).with_suffix(".html")
        if beside.is_file() and beside.read_bytes() != html.read_bytes():
            yield f"{beside.name}: differs from what the tree makes"


def _contents(pdf):
    """What a PDF holds: attachments {name: bytes}, pictures {file: bytes}, alternative texts, lines, and metadata."""
    from pypdf import PdfReader

    try:
        reader = PdfReader(pdf)
        attached = {name: b"".join(files) for name, files in reader.attachments.items()}
        names = json.loads(attached.get("figures.json", b"[]"))
        objects = [
            each.get_object() for page in reader.pages for each in page["/Resources"].get("/XObject", {}).values()
        ]
        pictures = [each.get_data() for each in objects if each["/Subtype"] == "/Image"]
        lines = [line for page in reader.pages for line in page.extract_text().splitlines()]
        tags = [reader.get_object(number) for number in range(1, reader.trailer["/Size"])]
        metadata = dict(reader.metadata or {})
    except Exception as error:  # what a damaged PDF raises is of many kinds
        raise report.ReportError(f"{pdf}: expected a readable PDF, got: {error}") from error
    named = dict(zip([*names, *(f"picture {extra}" for extra in range(len(names), len(pictures)))], pictures))
    said = [str(tag["/Alt"]) for tag in tags if isinstance(tag, dict) and "/Alt" in tag]
    return {"attachment": attached, "figure": named, "metadata": metadata, "alternative text": said, "text": lines}


def _compare(pdf, tree):
    for kind in ("attachment", "figure", "metadata"):
        for name, one, other in notebooks.differing(pdf[kind], tree[kind]):
            if kind == "attachment" and one and other:
                yield from _values(name, one, other)
            else:
                state = "only in the PDF" if other is None else "differs from the tree's"
                yield f"{kind} {name}: {'only in the tree' if one is None else state}"
    for kind in ("alternative text", "text"):
        for line in difflib.unified_diff(tree[kind], pdf[kind], "tree", "PDF", lineterm="", n=0):
            if not line.startswith(("---", "+++", "@@")):
                yield f"{kind}, {'the PDF' if line[0] == '+' else 'the tree'} says: {line[1:]}"


def _values(name, one, other):
    """The values of an attached JSON that differ."""
    try:
        one, other = (dict(leaves(json.loads(content))) for content in (one, other))
    except ValueError:
        yield f"attachment {name}: expected JSON as in the tree, got something else"
        return
    for key, value, own in notebooks.differing(one, other, missing="nothing"):
        yield f"{name}, {key}: {value} in the PDF, {own} in the tree"


def leaves(value, prefix=""):
    """(key with dots, value) of all that is no dict or list in a JSON value."""
    if not isinstance(value, (dict, list)):
        yield prefix, value
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(inner, f"{prefix}.{name}" if prefix else str(name))
