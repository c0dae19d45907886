"""Settings of Sphinx, which makes the site from build/site-source/. `make site` runs `gather.py` first."""

import re
import time
from itertools import pairwise
from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from docutils.utils.math import latex2mathml

ROOT = Path(__file__).parents[1]
EXTRA = ROOT / "build" / "site-extra"
REPORT = "report/generative_models"
POLISH = ("studenci", "notatniki", "sprawozdanie", "notebooks/")  # pages, and folders of pages

project = "genmodels"
copyright = "the authors of genmodels"
language = "en"
extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
exclude_patterns = ["data"]
html_theme = "pydata_sphinx_theme"
html_title = "genmodels"
templates_path = ["_templates"]
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = [str(EXTRA)]
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False  # a page opened from disk may not read the others
_ALONE = ("index", "studenci", "sprawozdanie", "report", "benchmarks/README")  # pages with nothing below them
html_sidebars = {name: [] for name in _ALONE}
html_theme_options = {
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "collapse_navigation": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autoapi_dirs = [str(ROOT / "src")]
autoapi_root = "api"
# Of the pipeline, the modules that notebooks use.
OPEN = ("results", "store", "__init__")
PIPELINE = (path for path in (ROOT / "src" / "genmodels" / "pipeline").glob("*.py") if path.stem not in OPEN)
autoapi_ignore = ["*/__main__.py", "*/cli*.py", *map(str, PIPELINE)]
autoapi_options = ["members", "show-inheritance", "show-module-summary"]
autoapi_add_toctree_entry = False
autoapi_member_order = "groupwise"
default_role = "py:obj"  # `name` in a docstring
napoleon_use_ivar = True  # attributes in the docstring of their class, beside properties of the same name
napoleon_custom_sections = ["Source"]
suppress_warnings = ["autoapi.python_import_resolution"]


def _mathml(translator, node, *, block):
    """Write a formula as MathML, which browsers draw by themselves. Keys scroll a block that is wider than the page."""
    tex = node.astext()
    try:
        mathml = str(latex2mathml.tex2mathml(tex, as_block=block))
        translator.body.append(mathml.replace("<math ", '<math tabindex="0" ', 1) if block else mathml)
    except latex2mathml.MathError as error:
        raise ValueError(f"{translator.builder.current_docname}: {error} in the formula {tex}") from error
    raise nodes.SkipNode


def _prepare(app, what, name, obj, options, lines):
    """Bring a docstring into the form that napoleon and reStructuredText expect.

    Results that have names become a list. Bars, asterisks and final underscores are no markup.
    """
    named = re.compile(r" {4}[\w., ]+: ")
    ends = [number for number, line in enumerate(lines) if line[:1].strip()] + [len(lines)]
    for start, end in reversed(list(pairwise(ends))):
        found = [number for number in range(start, end) if named.match(lines[number])]
        if lines[start] == "Returns:" and len(found) > 1:
            for number in range(start + 1, end):
                lines[number] = f"    - {lines[number][4:]}" if number in found else lines[number][2:]
            lines[start + 1 : start + 1] = ["    By name", ""]
    for number, line in enumerate(lines):
        parts = re.split(r"(`+[^`]*`+)", line)
        parts[::2] = [re.sub(r"[|*]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
        lines[number] = "".join(parts)


def _mark_language(app, pagename, templatename, context, doctree):
    if pagename.startswith(POLISH) and context.get("body"):
        context["body"] = f'<div lang="pl">{context["body"]}</div>'


def _index_report(app):
    """Add the report, which is no page of Sphinx, to the index of the search, with its headings."""
    html = BeautifulSoup((EXTRA / f"{REPORT}.html").read_text(encoding="utf-8"), "html.parser")
    document = part = new_document(REPORT)
    for found in html.main.find_all(["h2", "h3", "p", "li", "figcaption", "caption", "td", "th"]):
        text = " ".join(found.get_text(" ").split())
        if found.name in ("h2", "h3"):
            anchor = found.get("id") or found.parent.get("id")
            part = nodes.section("", nodes.title(text, text), ids=[anchor] if anchor else [])
            document += part
        else:
            part += nodes.paragraph(text, text)
    title = html.h1.get_text()
    app.env.all_docs[REPORT], app.env.titles[REPORT] = time.time_ns(), nodes.title(title, title)
    app.builder.indexer.feed(REPORT, f"{REPORT}.html", title, document)
    return ()


def _name_toggles(app, exception):
    """Name the buttons that unfold the navigation: in the theme they are nothing but an arrow."""
    for page in Path(app.outdir, "api").rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        page.write_text(html.replace("<summary><span", '<summary aria-label="Pages below"><span'), encoding="utf-8")


def setup(app):
    """Register the parts above with Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        (lambda translator, node: _mathml(translator, node, block=False), None),
        (lambda translator, node: _mathml(translator, node, block=True), None),
    )
    app.connect("autodoc-process-docstring", _prepare, priority=400)  # before napoleon
    app.connect("html-page-context", _mark_language)
    app.connect("build-finished", _name_toggles)
    app.connect("html-collect-pages", _index_report)


html_math_renderer = "mathml"
