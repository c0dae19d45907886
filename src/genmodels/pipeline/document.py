"""From Markdown, figures and numbers to the PDF and the HTML. Nothing here needs Keras."""

import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from genmodels import config
from genmodels.pipeline import files, fingerprint, notebooks, records, results, study
from genmodels.pipeline.records import Record, ReportError

STANDARDS = ["a-3a", "ua-1"]  # of the PDF: to be archived, and read aloud
PATIENCE = 120  # seconds for pandoc, which needs two; its time doubles with every bracket that is left open
SOURCES = ("generative_models.md", "pandoc.yaml", "report.lua", "template.typ", "template.html", "references.bib")
BENCHMARK = "benchmark"  # in provenance.json: what `make bench` made, not a notebook
BENCHMARK_LEADS = ("metrics",)  # of the package's code, beside the runs, that decides its numbers


def path(kind: str = "pdf") -> Path:
    """Return where the document goes, "pdf" or "html": report/, or draft/ in the quick mode."""
    folder = records.output() if config.quick_mode() else records.root() / "report"
    return folder / f"generative_models.{kind}"


def inputs() -> dict:
    """Return everything that the documents depend on, {what: value}."""
    sources = [records.root() / "report" / name for name in SOURCES]
    pictures = {file.name: file for folder in (records.committed(), records.output()) for file in folder.glob("*.png")}
    tables = [records.output() / name for name in ("metrics.json", "provenance.json")]
    sums = {file.name: files.checksum(file) for file in (*sources, *pictures.values(), *tables, study.path())}
    made_by = {name: version(name) for name in ("pypandoc_binary", "typst")}
    code = fingerprint.code("pipeline.document:_write_pdf", "pipeline.document:_write_html", but=_NOT_FOLLOWED)
    settings = {"standards": STANDARDS, "budget": records.environment()["budget"]}
    return {**sums, **made_by, **code, **settings, "the list of notebooks": notebooks.names()}


# Modules left out: the files that they write are inputs already.
_NOT_FOLLOWED = [f"pipeline.{name}" for name in ("files", "records", "results", "notebooks", "study")]


def _outputs():
    return {kind: files.checksum(path(kind)) for kind in ("pdf", "html")}


def why_stale(kind: str) -> str:
    """Return why the document, "pdf" or "html", has to be built again; empty where it is fresh."""
    stamp = notebooks.stamp_path("document")
    if not (noted := files.load_json(stamp)) or not path(kind).is_file():
        return "not built yet"
    now = {name: value if name == kind else noted["outputs"][name] for name, value in _outputs().items()}
    return Record(noted["inputs"], noted["outputs"]).why_stale(inputs(), now, "the build", files.when(stamp))


def unverified() -> Iterator[str]:
    """Yield what is wrong with results that something made: changed by hand, or gone; one text a finding."""
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


def benchmark_stale() -> dict[str, str]:
    """Return {number of metrics.json or figure: why `make bench` has to measure it, now or again}.

    A comparison depends on its own runs and on the code of all.
    """
    record = records.provenance(records.committed()).get(BENCHMARK)
    if not record:
        return {BENCHMARK: "not measured yet"}
    local, read = notebooks.files_of(record)
    now = {
        **fingerprint.code(*BENCHMARK_LEADS, but=notebooks.NOT_FOLLOWED),
        **records.environment(),
        **notebooks.keys(record),
        **{name: files.short(text) for name, text in local.items()},
        **read,
    }

    def why(result, how):
        others = {f"run {name}" for name in record.runs if name not in how["runs"]}
        old, new = ({name: of for name, of in each.items() if name not in others} for each in (record.inputs, now))
        written = results.checksums(result)
        part = Record(old, {name: record.outputs.get(name) for name in written})
        return part.why_stale(new, written, "`make bench`", records.since(record))

    return {result: found for result, how in record.results.items() if (found := why(result, how))}


def build() -> list[Path]:
    """Turn report/generative_models.md into the PDF and the HTML; return their paths.

    The last good documents stay where it fails.

    Raises:
        ReportError: with file, line and what to write instead; also where a figure or number is not as it was left.
    """
    if wrong := list(unverified()):
        raise ReportError("\n".join(wrong))
    made_from = inputs()
    with files.replacing(path("pdf")) as pdf, files.replacing(path("html")) as html:
        write(pdf, html)
    files.save_json(notebooks.stamp_path("document"), {"inputs": made_from, "outputs": _outputs()})
    return [path("pdf"), path("html")]


def _pandoc(to, *arguments, target=None):
    """Return what pandoc makes of the report; nothing where it goes to the file `target`."""
    import pypandoc

    folder = records.root() / "report"
    results = Path(os.path.relpath(records.output(), folder)).as_posix()
    options = ["--defaults=pandoc.yaml", "--fail-if-warnings", f"--metadata=results:{results}", *arguments]
    options += [f"--metadata=draft:{str(config.quick_mode()).lower()}"]
    options += [f"--output={target}"] if target else []
    command = [pypandoc.get_pandoc_path(), "generative_models.md", f"--to={to}", *options]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE, encoding="utf-8", check=True)
    except subprocess.TimeoutExpired as error:
        raise ReportError(
            f"report/generative_models.md: expected pandoc to read it within {PATIENCE} s, it did not; brackets that "
            "are opened many times and not closed do that: look at what was written last"
        ) from error
    except subprocess.CalledProcessError as error:
        found = _plain(error.stderr.replace(f"{folder}{os.sep}", ""))
        raise ReportError("\n".join(f"report/generative_models.md: {text}" for text in found)) from error
    return done.stdout


def _plain(message):
    """Return what an author needs of an error of pandoc's: the filter's words without its stack, or the warnings."""
    patterns = (r"report: (.+)", r"\[WARNING\] (.+(?:\n +.+)*)", r"((?:Error at|YAML parse).*(?:\n.+)?)", r"(?s)(.+)")
    found = next(filter(None, (re.findall(pattern, message) for pattern in patterns)))
    return [" ".join(text.split()) for text in found]


def write(pdf: Path, html: Path) -> None:
    """Write both documents at the same time: each waits for a pandoc of its own."""
    with ThreadPoolExecutor() as pool:
        written = pool.submit(_write_html, html)
        _write_pdf(pdf)
        written.result()


def _write_pdf(target):
    import typst

    source = records.root() / "report" / ".new-report.typ"  # beside what it names; two builds at once take turns
    with files.lock("report.typ"):
        try:
            source.write_text(_pandoc("typst", "--template=template.typ"), encoding="utf-8")
            options = {"ignore_system_fonts": True, "timestamp": 0, "pdf_standards": STANDARDS}
            typst.compile(str(source), output=str(target), root=str(records.root()), **options)
        except typst.TypstError as error:
            raise ReportError(f"report/generative_models.md: Typst refuses what pandoc made of it: {error}") from error
        finally:
            source.unlink(missing_ok=True)


def _write_html(target):
    options = ("--template=template.html", "--mathml", "--embed-resources", "--toc", "--shift-heading-level-by=1")
    _pandoc("html5", *options, target=target)  # the title is the one heading of the first level
