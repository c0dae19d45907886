"""Gather the pages of the site in build/site-source/, from where Sphinx (`conf.py`) makes build/site/.

Pages are docs/*.md, benchmarks/README.md and the executed notebooks. The report is copied as it was built. Nothing is
trained or run here, and Keras is not loaded. `make site` does all of it.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from nbconvert import MarkdownExporter

from genmodels.explorer import page
from genmodels.pipeline import document, notebooks, records
from genmodels.pipeline.files import FileError

SOURCE, EXTRA = (records.root() / "build" / name for name in ("site-source", "site-extra"))
# A cell of a notebook that is nothing but a picture shows the figure saved by the code cell above it.
PICTURE = re.compile(r"!\[((?:[^]]|](?!\())*)]\([^)]*\)\s*")
# Long fences, because code and outputs may hold short ones. Outputs get a class, and pictures an alternative text.
TEMPLATE = """\
{%- extends 'markdown/index.md.j2' -%}
{%- macro text(content) %}

```````{code-block} text
:class: output

{{ content | strip_ansi }}
```````
{% endmacro -%}
{%- macro picture(file, alt) %}

```````{image} {{ file | path2url }}
:alt: {{ alt }}
```````
{% endmacro -%}
{%- block input %}
```````{code-block} python
{{ cell.source }}
```````
{% endblock -%}
{%- block stream -%}{{ text(output.text) }}{%- endblock -%}
{%- block data_text -%}{{ text(output.data['text/plain']) }}{%- endblock -%}
{%- block error -%}{{ text(output.traceback | join('\\n')) }}{%- endblock -%}
{%- block data_png -%}{{ picture(output.metadata.filenames['image/png'], cell.metadata.alt) }}{%- endblock -%}
{%- block data_jpg -%}{{ picture(output.metadata.filenames['image/jpeg'], cell.metadata.alt) }}{%- endblock -%}
{%- block data_svg -%}{{ picture(output.metadata.filenames['image/svg+xml'], cell.metadata.alt) }}{%- endblock -%}
"""
# Not HTML: Keras's tables of layers bring colours of their own, which are too pale on white.
SHOWN = ["text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
STALE = """
:::{admonition} Starsze wykonanie
Ta strona pokazuje ostatnie wykonanie. Później zmieniły się notatnik, modele albo dane;
`make report` wykona go ponownie.
:::
"""


def missing() -> Iterator[Path]:
    """Yield the paths of executed notebooks, documents and the explorer that do not exist."""
    documents = document.path("html"), document.path("pdf"), page.path()
    made = (*map(notebooks.executed_path, notebooks.names()), *documents)
    return (path for path in made if not path.is_file())


def convert(notebook: nbformat.NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """Convert an executed notebook to Markdown.

    Args:
        notebook: The notebook, with its outputs.
        name: Name of the notebook, from which names of pictures are made.

    Returns:
        The Markdown, and {file name: bytes} of the pictures that it shows.
    """
    cells = [cell for cell in notebook.cells if cell.source.strip()]
    shown, before = [], None
    for number, cell in enumerate(cells, 1):
        alone = PICTURE.fullmatch(cell.source) if cell.cell_type == "markdown" else None
        if alone and before and _has_picture(before):  # the same figure, as the last `make report` stored it
            before.metadata.alt = " ".join(alone[1].split())
        else:
            cell.metadata.alt = f"Rysunek z komórki {number}, bez opisu"
            shown.append(cell)
        before = cell
    exporter = MarkdownExporter(extra_loaders=[DictLoader({"page.md.j2": TEMPLATE})], template_file="page.md.j2")
    exporter.config.NbConvertBase.display_data_priority = SHOWN
    resources = {"unique_key": name, "output_files_dir": f"{name}_files"}
    notebook = nbformat.from_dict({**notebook, "cells": shown})
    markdown, resources = exporter.from_notebook_node(notebook, resources)
    return markdown, resources["outputs"]


def _has_picture(cell):
    return any(kind.startswith("image/") for output in cell.get("outputs", ()) for kind in output.get("data", ()))


def gather() -> None:
    """Write build/site-source/ and build/site-extra/ anew.

    Raises:
        FileError: The report was not built, or a notebook not executed.
    """
    root = records.root()
    if absent := ", ".join(os.path.relpath(path, root) for path in missing()):
        raise FileError(
            f"expected the report and its executed notebooks, found no {absent}; run make report and make explorer"
        )
    for folder in (SOURCE, EXTRA):
        shutil.rmtree(folder, ignore_errors=True)
    # In their links / is the checkout, as on a web page of the repository; docs/ itself is the root of the site.
    shutil.copytree(root / "docs", SOURCE, ignore=shutil.ignore_patterns("*.py", "_*", "*.json"))
    (SOURCE / "benchmarks").mkdir()
    shutil.copy(root / "benchmarks" / "README.md", SOURCE / "benchmarks")
    shutil.copytree(records.committed(), SOURCE / "data" / "report", ignore=shutil.ignore_patterns("*.npz", "*.json"))
    for name in notebooks.names():
        markdown, pictures = convert(nbformat.read(notebooks.executed_path(name), as_version=4), name)
        if why := notebooks.why_stale(name):
            print(f"site: {name} is shown as it was last executed: {why}", file=sys.stderr)
            title, _, rest = markdown.lstrip().partition("\n")
            markdown = f"{title}\n{STALE}\n{rest}"
        for file, content in {f"{name}.md": markdown.encode(), **pictures}.items():
            path = SOURCE / "notebooks" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if why := document.why_stale("html"):
        print(f"site: the report is shown as it was last built: {why}", file=sys.stderr)
    (EXTRA / "report").mkdir(parents=True)
    shutil.copy(document.path("pdf"), EXTRA / "report" / "generative_models.pdf")
    html = document.path("html").read_text(encoding="utf-8")
    back = '\n<nav aria-label="Projekt"><p><a href="../index.html">← genmodels</a></p></nav>\n'
    html = re.sub(r"(?<=</a>)\n", lambda _: back, html, count=1) if 'class="skip"' in html else html
    (EXTRA / "report" / "generative_models.html").write_text(html, encoding="utf-8")
    explorer = page.path().read_text(encoding="utf-8").replace("<header>\n", "<header>" + back, 1)
    (EXTRA / "report" / "explorer.html").write_text(explorer, encoding="utf-8")


if __name__ == "__main__":
    try:
        gather()
    except FileError as error:
        sys.exit(f"make site: {error}")
