"""Build the PDF and the HTML from Markdown, figures and numbers. Nothing here needs Keras."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from genmodels import config
from genmodels.pipeline import files, fingerprint, layout, notebooks, records, results, study
from genmodels.pipeline.numbers import Numbers
from genmodels.pipeline.records import Record, ReportError
from genmodels.pipeline.text import BENCHMARK, SOURCE, Sources, Text
from genmodels.pipeline.tree import attributes, nodes

STANDARDS = ["a-3a", "ua-1"]  # PDF/A for archives, PDF/UA for screen readers
PATIENCE = 120  # seconds for pandoc, which needs two; each unclosed bracket doubles its time
SOURCES = (
    *("generative_models.md", "pandoc.yaml", "template.typ", "template.html"),
    *("references.bib", "citations.lua"),
)
BENCHMARK_LEADS = ("metrics",)  # code that the benchmark's numbers depend on, beside its runs


def path(kind: str = "pdf") -> Path:
    """Return the path of a document in report/, or in draft/ in the quick mode.

    Args:
        kind: "pdf" or "html".

    Returns:
        The path, whether or not the file exists.
    """
    folder = records.output() if config.quick_mode() else records.root() / "report"
    return folder / f"generative_models.{kind}"


def plain_path() -> Path:
    """Return the path of the Markdown with every number filled in, for plain pandoc: build/ beside the PDF."""
    return path("md").parent / "build" / path("md").name


def inputs() -> dict:
    """Return everything that the documents depend on.

    Returns:
        {input: checksum, version or setting}.
    """
    sources = [records.root() / "report" / name for name in SOURCES]
    pictures = {file.name: file for folder in (records.committed(), records.output()) for file in folder.glob("*.png")}
    tables = [records.output() / name for name in ("metrics.json", "provenance.json")]
    sums = {file.name: files.checksum(file) for file in (*sources, *pictures.values(), *tables, study.path())}
    made_by = {name: version(name) for name in ("pypandoc_binary", "typst")}
    code = fingerprint.code("pipeline.document:write", but=_NOT_FOLLOWED)
    settings = {"standards": STANDARDS, "budget": records.environment()["budget"]}
    quoted = files.short([study.quotable(records.language()), _stale_numbers()])
    names = notebooks.names()
    return {**sums, **made_by, **code, **settings, "the list of notebooks": names, "numbers of the study": quoted}


# Modules left out: the files that they write are inputs already.
_NOT_FOLLOWED = [f"pipeline.{name}" for name in ("files", "records", "results", "notebooks", "study")]


def _outputs():
    return {kind: files.checksum(path(kind)) for kind in ("pdf", "html")}


def is_stale() -> bool:
    """Return whether a document must be built again."""
    now = inputs()  # once for both
    return any(why_stale(kind, now) for kind in ("pdf", "html"))


def why_stale(kind: str, now: dict | None = None) -> str:
    """Return why a document must be built again.

    Args:
        kind: "pdf" or "html".
        now: Present `inputs`, if they are known.

    Returns:
        The reason in words; empty for a fresh document.
    """
    stamp = notebooks.stamp_path("document")
    if not (noted := files.load_json(stamp)) or not path(kind).is_file():
        return "not built yet"
    written = {name: value if name == kind else noted["outputs"][name] for name, value in _outputs().items()}
    record = Record(noted["inputs"], noted["outputs"])
    return record.why_stale(now or inputs(), written, "the build", files.when(stamp))


def unverified() -> Iterator[str]:
    """Find recorded results that were changed by hand or removed, or that two notebooks make.

    Yields:
        One text for each finding.
    """
    back = "`git checkout data/report` brings it back"
    for maker, record in records.provenance().items():
        changed = files.differing(record.outputs, results.outputs(record.results))
        if changed and maker in (BENCHMARK, *notebooks.names()):
            measured = maker == BENCHMARK
            by, remedy = ("benchmark", back) if measured else ("notebook", "`make report` makes it again")
            yield f"{', '.join(what for what, *_ in changed)}: changed after the {by} wrote it; {remedy}"
    yield from notebooks.conflicts()
    for name in study.changed_by_hand():
        yield f"study.json, {name}: changed after `make study` wrote it; {back}"


def benchmark_inputs(record: Record) -> dict:
    """Return the present inputs of the benchmark.

    Args:
        record: The benchmark's record, which names its files and runs.

    Returns:
        {input: checksum or version}.
    """
    return notebooks.surroundings(record, BENCHMARK_LEADS, notebooks.files_of(record))


def benchmark_stale(*, all_results: bool = False) -> dict[str, str]:
    """Return the results of the benchmark that `make bench` must measure.

    A comparison depends on its own runs, and on the code of all comparisons.

    Args:
        all_results: Include fresh results, with an empty reason.

    Returns:
        {number of metrics.json or figure: the reason in words}.
    """
    record = records.provenance(records.committed()).get(BENCHMARK)
    if not record:
        return {BENCHMARK: "not measured yet"}
    now = benchmark_inputs(record)

    def why(result, how):
        others = {f"run {name}" for name in record.runs if name not in how["runs"]}
        old, new = ({name: of for name, of in each.items() if name not in others} for each in (record.inputs, now))
        written = results.checksums(result)
        part = Record(old, {name: record.outputs.get(name) for name in written})
        return part.why_stale(new, written, "`make bench`", records.since(record))

    return {result: found for result, how in record.results.items() if (found := why(result, how)) or all_results}


def build() -> list[Path]:
    """Build the PDF, the HTML and the plain Markdown from report/generative_models.md.

    After a failure the last good documents stay.

    Returns:
        Paths of the PDF and the HTML.

    Raises:
        ReportError: The Markdown has a fault, or a result was changed by hand. The message gives place and remedy.
    """
    if wrong := list(unverified()):
        raise ReportError("\n".join(wrong))
    made_from = inputs()
    with (
        files.replacing(path("pdf")) as pdf,
        files.replacing(path("html")) as html,
        files.replacing(plain_path()) as markdown,
    ):
        write(pdf, html, markdown)
    files.save_json(notebooks.stamp_path("document"), {"inputs": made_from, "outputs": _outputs()})
    return [path("pdf"), path("html")]


def read() -> Text:
    """Return the report's text, checked and with every number filled in.

    Raises:
        ReportError: The Markdown has a fault. The message gives file, line and the expected markup.
    """
    source = _utf8(_folder() / "generative_models.md")
    with ThreadPoolExecutor() as pool:  # both tasks wait for a pandoc of their own
        papers = pool.submit(_papers)
        parsed = _pandoc(f"--defaults={_folder() / 'pandoc.yaml'}", to="json", file="generative_models.md")
        sources = _sources(papers.result())
    try:
        text = Text(json.loads(parsed), source, sources, draft=config.quick_mode())
    except RecursionError as error:
        raise ReportError(f"{SOURCE}: expected lists and quotes within each other, got thousands") from error
    for div in [of for of in nodes(text.blocks) if of["t"] == "Div" and attributes(of)[1] == ["zrodla"]]:
        div["c"] = [["kolofon", [], []], json.loads(_pandoc(to="json", content=layout.colophon(text)))["blocks"]]
    return text


def _folder():
    return records.root() / "report"


def _utf8(file):
    content = file.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"line {content.count(b'%c' % 10, 0, error.start) + 1}, byte {error.start + 1}"
        got = f"got 0x{content[error.start]:02x}; save the file with the encoding UTF-8 in your editor"
        raise ReportError(f"report/{file.name}: {place}: expected UTF-8, {got}") from error


def _papers():
    """Return the names of the papers that may be cited."""
    _utf8(_folder() / "references.bib")
    return [paper["id"] for paper in json.loads(_pandoc(to="csljson", file="references.bib", source="biblatex"))]


def _sources(papers):
    numbers = files.read_json(records.output() / "metrics.json", {}, results.METRICS)
    committed, made = records.provenance(records.committed()), records.provenance()
    if config.quick_mode():  # drafts have no benchmark of their own
        measured = files.read_json(records.committed() / "metrics.json", {}, results.METRICS)
        numbers |= {BENCHMARK: measured[BENCHMARK]} if BENCHMARK in measured else {}
    there = {name: record for name, record in made.items() if name in notebooks.names()}
    there |= {BENCHMARK: committed[BENCHMARK]} if BENCHMARK in committed else {}
    known = {results.section(result) for record in there.values() for result in record.results}
    values = {section: of for section, of in numbers.items() if section in known}
    if BENCHMARK in values:  # what somebody added to it by hand is on no record
        measured = {result.partition(".")[2] for result in there[BENCHMARK].results}
        values[BENCHMARK] = {name: of for name, of in values[BENCHMARK].items() if name in measured}
    values["study"] = study.quotable(records.language())
    old, single = _stale_numbers()
    unmade, folders = {*numbers} - known, (records.output(), records.committed())
    entries = list(study.noted().values())
    return Sources(Numbers(values, old, single), unmade, there, folders, papers, study.path(), entries)


def _stale_numbers():
    """Return the stale numbers of study and benchmark, as the arguments `old` and `single` of `Numbers`."""
    old, single = study.outdated()
    old = {key: f"{commit}, make study" for key, commit in old.items()}
    record = records.provenance(records.committed()).get(BENCHMARK, Record({}, {}))
    measured = f"{(record.origin.get('commit') or '?')[:10]}, make bench"
    return old | dict.fromkeys(benchmark_stale(), measured), single


class _Impatient(subprocess.Popen):
    """A process that is killed after PATIENCE seconds, because pypandoc has no time limit.

    With LC_ALL=C pandoc could not open files in folders whose names are not ASCII.
    """

    def __init__(self, *arguments: Any, env: dict[str, str] | None = None, **options: Any) -> None:
        env = dict(os.environ if env is None else env)
        if env.get("LC_ALL") in ("C", "POSIX"):
            env["LC_ALL"] = "C.UTF-8"
        super().__init__(*arguments, env=env, **options)

    def communicate(self, *arguments: Any, **options: Any) -> tuple:
        try:
            return super().communicate(*arguments, timeout=PATIENCE, **options)
        except subprocess.TimeoutExpired:
            self.kill()
            super().communicate()
            raise


@lru_cache
def _pypandoc():
    """Return pypandoc, which starts pandoc as an `_Impatient` process."""
    import pypandoc

    pypandoc.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _Impatient})
    return pypandoc


def _pandoc(*options, to, file=None, content=None, source="markdown", target=None, text=None):
    """Return pandoc's output for a file in report/ or for some content; with a `target` it goes to that file."""
    pypandoc = _pypandoc()
    extra = ["--fail-if-warnings", f"--resource-path={_folder()}", *options]
    how = {"format": source, "extra_args": extra, "outputfile": target and str(target), "verify_format": False}
    try:
        if file:
            return pypandoc.convert_file(str(_folder() / file), to, **how)
        return pypandoc.convert_text(content, to, **how)
    except subprocess.TimeoutExpired as error:
        raise ReportError(
            f"{SOURCE}: expected pandoc to read it within {PATIENCE} s, it did not; brackets that "
            "are opened many times and not closed cause this: check the latest edits"
        ) from error
    except RuntimeError as error:
        message = str(error).partition("during conversion: ")[2].replace(f"{_folder()}{os.sep}", "")
        if text and (tex := re.search(r"Could not convert TeX math (.+?), rendering as TeX", message, re.S)):
            raise ReportError(text.unreadable(tex[1])) from error
        raise ReportError("\n".join(f"report/{file or SOURCE[7:]}: {found}" for found in _plain(message))) from error


def _plain(message):
    """Return the lines of a pandoc error that help an author."""
    patterns = (r"\[WARNING\] (.+(?:\n +.+)*)", r"((?:Error at|YAML parse).*(?:\n.+)?)", r"(?s)(.+)")
    found = next(filter(None, (re.findall(pattern, message) for pattern in patterns)), ["pandoc said nothing"])
    return [" ".join(text.split()) for text in found]


def write(pdf: Path, html: Path, markdown: Path | None = None) -> None:
    """Write the documents, side by side.

    Args:
        pdf: File to write.
        html: File to write.
        markdown: File to write, with every number filled in, for plain pandoc and LaTeX; None for none.

    Raises:
        ReportError: The Markdown has a fault, or pandoc or Typst refuses it.
    """
    text = read()
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(_write_html, html, text)]
        others += [pool.submit(_write_markdown, markdown, text)] if markdown else []
        _write_pdf(pdf, text)
        for other in others:
            other.result()


def _write_pdf(target, text):
    import typst

    source = _folder() / ".new-report.typ"  # beside the files that it names; builds at the same time take turns
    with files.lock("report.typ"):
        try:
            code = _set(text, layout.typst(text, _folder()), "typst", f"--template={_folder() / 'template.typ'}")
            source.write_text(code, encoding="utf-8")
            options = {"ignore_system_fonts": True, "timestamp": 0, "pdf_standards": STANDARDS}
            typst.compile(str(source), output=str(target), root=str(records.root()), **options)
        except typst.TypstError as error:
            raise ReportError(f"{SOURCE}: Typst refuses what pandoc made of it: {error}") from error
        finally:
            source.unlink(missing_ok=True)


def _write_html(target, text):
    template = f"--template={_folder() / 'template.html'}"
    options = ("--mathml", "--embed-resources", "--toc", "--shift-heading-level-by=1")  # the title is the one h1
    _set(text, layout.html(text, _folder()), "html5", template, *options, target=target)


def _write_markdown(target, text):
    options = ("--standalone=false", "--columns=120")
    body = _set(text, layout.markdown(text, plain_path().parent), "markdown-citations-smart", *options)
    target.write_text(layout.header(text) + body, encoding="utf-8")


def _set(text, tree, to, *options, target=None):
    after = f"--lua-filter={_folder() / 'citations.lua'}"  # after citeproc, whose citations it changes
    options = (f"--defaults={_folder() / 'pandoc.yaml'}", "--citeproc", after, *options)
    return _pandoc(*options, to=to, content=tree, source="json", target=target, text=text)
