"""Layout of the report in Typst, HTML and plain Markdown: pandoc's tree with figures, references and lists of each."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from genmodels.pipeline.records import Record, ReportError
from genmodels.pipeline.text import GAP, SOURCE, Text
from genmodels.pipeline.tree import NBSP, NO_ATTRIBUTES, attributes, node, nodes, plain, rebuild, string

# The fonts of pdflatex lack these signs. Figures stay at their place in the text, with the numbers in their captions.
LATEX = r"""\usepackage{float}\floatplacement{figure}{H}
\usepackage{caption}\captionsetup[figure]{labelformat=empty}
\ifPDFTeX
  \DeclareUnicodeCharacter{2212}{\ensuremath{-}}
  \DeclareUnicodeCharacter{2248}{\ensuremath{\approx}}
  \DeclareUnicodeCharacter{2260}{\ensuremath{\neq}}
  \DeclareUnicodeCharacter{2264}{\ensuremath{\leq}}
  \DeclareUnicodeCharacter{2265}{\ensuremath{\geq}}
  \DeclareUnicodeCharacter{2192}{\ensuremath{\to}}
  \DeclareUnicodeCharacter{221E}{\ensuremath{\infty}}
\fi"""
PIXELS = 96  # CSS pixels in an inch
PHONE = 3.4  # inches: a figure wider than a phone scrolls instead of shrinking
WIDEST = 90  # letters in a row of the widest table that fits on LaTeX's page
LATEX_SETTINGS = {"geometry": "margin=2.4cm", "fontsize": "11pt", "papersize": "a4"}


def authors(meta: dict) -> list[tuple[str, str]]:
    """Return the authors that the metadata name.

    Args:
        meta: pandoc's metadata. `author` is a name, a map with `name` and `affiliation`, or a list of them.

    Returns:
        [(name, affiliation)]; an affiliation may be empty.

    Raises:
        ReportError: An author has no name, or an unknown key.
    """
    given = meta.get("author", node("MetaList", []))
    found = []
    for each in given["c"] if given["t"] == "MetaList" else [given]:
        parts = each["c"] if each["t"] == "MetaMap" else {"name": each}
        name, affiliation = (_texts(parts.get(part)) for part in ("name", "affiliation"))
        if not name or {*parts} - {"name", "affiliation", "email", "orcid"}:
            wrong = 'author: expected a name, or "name" and "affiliation", got'
            raise ReportError(f"{SOURCE}: {wrong} {', '.join(parts) or 'nothing'}")
        found.append((name, affiliation))
    return found


def _texts(value):
    return ", ".join(plain(part) for part in value["c"]) if value and value["t"] == "MetaList" else plain(value)


def cover(text: Text) -> Path:
    """Return the picture of the title page.

    Args:
        text: The report's text, whose metadata name `logo-file` and `cover-file`.

    Returns:
        Path of the logo if that file exists, otherwise of the cover.

    Raises:
        ReportError: No notebook is on record as the maker of the cover.
    """
    logo, name = (plain(text.meta.get(which)) for which in ("logo-file", "cover-file"))  # from report/pandoc.yaml
    if logo and (found := text.sources.folders[1] / logo).is_file():
        return found
    if not text.sources.maker(name):
        text.stop(f"no notebook is on record as having made ../data/report/{name}")
    return text.sources.picture(name)


def typst(text: Text, folder: Path) -> str:
    """Return the tree for template.typ.

    Args:
        text: The report's text.
        folder: Folder from which files are named.

    Returns:
        pandoc's JSON.

    Raises:
        ReportError: The metadata lack an author's name or the cover's picture.
    """

    def change(of):
        if of["t"] == "Math":
            block, alt = str(of["c"][0]["t"] == "DisplayMath").lower(), text.alternatives[of["c"][1]]
            return [_typst(f"#math.equation(block: {block}, alt: {_quoted(alt)}, "), of, _typst(".body)")]
        if of["t"] == "Cite" and (name := _cited(of)):
            bare = ", supplement: none" if of["c"][0][0]["citationMode"]["t"] == "SuppressAuthor" else ""
            return [_typst(f"#ref(<{name}>{bare})")]
        if of["t"] == "Figure" and (figure := text.figures.get(attributes(of)[0])):
            return [node("Para", _typst_figure(figure, _caption(of), text.words["figure"], folder))]
        if of["t"] == "RawBlock":
            return [node("RawBlock", ["typst", "#newpage"])]
        if of["t"] == "Div":
            return _typst_region(of)
        if of["t"] == "Para" and [part["t"] for part in of["c"]] == ["Emph"]:  # a question, which stays with its answer
            return _typst_block("#block(sticky: true)[", of)
        return None

    blocks, meta = _changed(text, change)
    return _json(text, meta | _typst_meta(text, folder), blocks)


def _typst_meta(text, folder):
    """Return the metadata that template.typ reads as code."""
    people, picture = "".join(f"{_quoted(name)}, " for name, _ in authors(text.meta)), cover(text)
    files = {"cover": picture, "study": text.sources.study, "results": text.sources.folders[0]}
    values = {name: _relative(value, folder) for name, value in files.items()} | {
        "plain-title": plain(text.meta.get("title")),
        "cover-alt": plain(text.meta["cover-alt"]),
        "claims": _compact(text.claims),
        "figures": _compact([file.name for file in (picture, *(of.file for of in text.figures.values()))]),
        "lang-code": text.words["lang"],
    }
    code = {name: _quoted(value) for name, value in values.items()} | {"authors": f"({people})"}
    code["region-code"] = _quoted(text.words["region"]) if text.words["region"] else "none"
    return {name: node("MetaInlines", [_typst(value)]) for name, value in code.items()}


def _typst(code):
    return node("RawInline", ["typst", code])


def _quoted(text):
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def _typst_figure(figure, caption, word, folder):
    kind = f', kind: "dodatkowy", supplement: [{word}], numbering: n => "A" + str(n)' if figure.extra else ""
    file, width = _quoted(_relative(figure.file, folder)), f"{100 * figure.share:.4g}%"
    image = f"image({file}, width: {width}, alt: {_quoted(figure.alt)})"
    return [_typst(f"#figure({image}, caption: ["), *caption, _typst(f"]{kind}) <{figure.name}>")]


def _typst_region(div):
    name, blocks = attributes(div)[1][:1], div["c"][1]
    if name == ["obok"]:
        cells = [part for block in blocks for part in (_typst("["), *block["c"], _typst("], "))]
        grid = f"#grid(columns: (1fr,) * {len(blocks)}, gutter: {GAP}in, "
        return [node("Para", [_typst(grid), *cells, _typst(")")])]
    if name == ["nieaktualne"]:
        return _typst_block("#block(inset: 0.8em, width: 100%, stroke: 0.5pt)[", *blocks)
    return None


def _typst_block(begin, *blocks):
    return [node("RawBlock", ["typst", begin]), *blocks, node("RawBlock", ["typst", "]"])]


def html(text: Text, folder: Path) -> str:
    """Return the tree for template.html as pandoc's JSON, see `typst`."""

    def change(of):
        if of["t"] == "Figure" and (figure := text.figures.get(attributes(of)[0])):
            settings = [["style", f"width:{PIXELS * figure.inches:.0f}px"]]
            if figure.points is not None:  # for .ci/check_html.mjs
                settings.append(["data-points-per-inch", f"{figure.points / figure.inches:.3f}"])
            changed = _numbered(of, figure, text.words["figure"], folder, settings)
            if figure.inches > PHONE:
                changed["c"][2] = [_scrolling("szeroki", f"{text.words['figure']} {figure.number}", changed["c"][2])]
            return [changed]
        if of["t"] == "Table":
            return [_scrolling("tabela", plain(of["c"][1]), [of])]
        return [] if of["t"] == "RawBlock" else _linked(of, text)

    blocks, meta = _changed(text, change)
    lists = [], []  # numbered figures, then the further ones
    for of in nodes(blocks):
        if of["t"] == "Figure":
            name, caption = attributes(of)[0], deepcopy(_caption(of))
            rebuild(caption, lambda part: part["c"][1] if part["t"] in ("Cite", "Link") else None)
            entry = [node("Plain", [node("Link", [NO_ATTRIBUTES, caption, [f"#{name}", ""]])])]
            lists[text.figures[name].extra].append(entry)
    meta["lof"] = node("MetaBlocks", [node("BulletList", lists[0] + lists[1])])
    meta |= {"link-citations": node("MetaBool", True), "cover": _meta_text(_relative(cover(text), folder))}
    meta["author-meta"] = node("MetaList", [_meta_text(name) for name, _ in authors(text.meta)])
    return _json(text, meta, blocks)


def markdown(text: Text, folder: Path) -> str:
    """Return the tree of the plain Markdown as pandoc's JSON, see `typst`."""

    def change(of):
        if of["t"] == "Figure" and (figure := text.figures.get(attributes(of)[0])):
            settings = [["width", f"{figure.inches:.4g}in"]]
            return [_numbered(of, figure, text.words["figure"], folder, settings)]
        if of["t"] == "Table":
            _fit(of)
        return of["c"][1] if of["t"] == "Div" and attributes(of)[1] == ["obok"] else _linked(of, text)

    image = [
        ["", [], [["width", "80%"]]],
        [string(plain(text.meta["cover-alt"]))],
        [_relative(cover(text), folder), ""],
    ]
    blocks, meta = _changed(text, change)
    return _json(text, meta, [node("Para", [node("Image", image), string(NBSP)]), *blocks])


def _fit(table):
    """Give the columns of a table that is wider than a page widths in proportion to their longest cells."""
    rows = [*table["c"][3][1], *(row for body in table["c"][4] for row in body[3])]
    longest = [2 + max(len(plain(cell[4])) for cell in column) for column in zip(*(row[1] for row in rows))]
    if sum(longest) - 2 * len(longest) > WIDEST:
        for column, length in zip(table["c"][2], longest):
            column[1] = node("ColWidth", length / sum(longest))


def header(text: Text) -> str:
    """Return the metadata of the plain Markdown, with the settings for LaTeX.

    Args:
        text: The report's text.

    Returns:
        A block of YAML.

    Raises:
        ReportError: An author has no name.
    """
    people = [f"{name} ({of})" if of else name for name, of in authors(text.meta)]
    lines = [part for name in ("programme", "course") if (part := plain(text.meta.get(name)))]
    values = {name: plain(text.meta.get(name)) for name in ("title", "date", "lang")}
    values |= {"subtitle": ", ".join(lines), "author": people, "toc": True, **LATEX_SETTINGS}
    rows = [f"{name}: {_compact(value)}" for name, value in values.items() if value]
    raw = "\n".join(f"  {line}" for line in ("```{=latex}", *LATEX.splitlines(), "```"))
    return "\n".join(["---", *rows, "header-includes: |", raw, "---", "", ""])


def _changed(text, change: Callable[[dict], list | None]):
    """Return a changed copy of the blocks, and the metadata with the values that all templates use."""
    meta, blocks = deepcopy(text.meta), deepcopy(text.blocks)
    rebuild([meta, blocks], change)
    people = [
        node("MetaMap", {"name": _meta_text(name)} | ({"affiliation": _meta_text(of)} if of else {}))
        for name, of in authors(text.meta)
    ]
    shown = {name: _meta_text(value) for name, value in text.words.items() if isinstance(value, str)}
    meta |= {"author": node("MetaList", people), "draft": node("MetaBool", text.draft), "word": node("MetaMap", shown)}
    return blocks, meta


def _meta_text(text):
    return node("MetaInlines", [string(text)])


def _json(text, meta, blocks):
    tree = {"pandoc-api-version": text.version, "meta": meta, "blocks": blocks}
    return _compact(tree)


def _compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _relative(file, folder):
    return Path(os.path.relpath(file, folder)).as_posix()


def _cited(cite):
    """Return the name of the cited figure; empty for a paper."""
    name = cite["c"][0][0]["citationId"]
    return name if name.startswith("fig-") else ""


def _linked(of, text):
    """Return the link that replaces a reference to a figure; None for any other node."""
    if of["t"] != "Cite" or not (name := _cited(of)):
        return None
    bare = of["c"][0][0]["citationMode"]["t"] == "SuppressAuthor"
    shown = f"{'' if bare else text.words['figure'] + NBSP}{text.figures[name].number}"
    return [node("Link", [NO_ATTRIBUTES, [string(shown)], [f"#{name}", ""]])]


def _caption(figure):
    return [inline for block in figure["c"][1][1] for inline in block["c"]]


def _scrolling(kind, label, blocks):
    """Return a part of the page that scrolls by itself where it is wider than the screen, also by keyboard."""
    settings = [["role", "region"], ["tabindex", "0"], ["aria-label", label]]
    return node("Div", [["", [kind], settings], blocks])


def _numbered(of, figure, word, folder, settings):
    """Return a figure in the form of pandoc's own writers, with our number."""
    image = node("Image", [["", [], settings], [string(figure.alt)], [_relative(figure.file, folder), ""]])
    caption = [string(f"{word}{NBSP}{figure.number}: "), *_caption(of)]
    return node("Figure", [[figure.name, [], []], [None, [node("Plain", caption)]], [node("Plain", [image])]])


def colophon(text: Text) -> str:
    """Return the section on the origin of each figure and number.

    Args:
        text: The report's text.

    Returns:
        Markdown: a paragraph, and a table with a row for each result.
    """
    words, records, rows, origins = text.words, text.sources.records, {}, set()
    shown = {figure.file.name: f"{words['short_figure']}{figure.number}" for figure in text.figures.values()}
    shown.setdefault(plain(text.meta.get("cover-file")), words["cover"])
    for maker, record in records.items():
        for result, of in record.results.items():
            kind = words["picture" if result.endswith(".png") else "numbers"]
            name = shown.get(result, f"{kind}: `{result}`")
            rows[f"{maker}{of['cell']:03d}{result}"] = _row(name, maker, of, record)
            origins.add(_origin(record, words))
    unchecked = sum(not claim["checked"] for claim in text.claims)
    said = words["colophon"].format(
        origins="; ".join(sorted(origins)),
        study="; ".join(sorted({_origin(record, words) for record in text.sources.entries})) or "–",
        mnist=", ".join(sorted({of.inputs["MNIST"] for of in records.values() if "MNIST" in of.inputs})),
        checked=len(text.claims) - unchecked,
        unchecked=words["not_checked"].format(count=unchecked) if unchecked else "",
    )
    rule = "|:-------|:-----------|------:|:--------------------|:------|"
    table = "\n".join([words["columns"], rule, *(rows[order] for order in sorted(rows))])
    return f"{said}\n\n{table}\n\n: {words['made_from']}\n"


def _row(name, maker, of, record):
    runs = [f"`{run}`{NBSP}({', '.join(map(str, seeds))})" for run, seeds in sorted(of["runs"].items())]
    key = record.as_json()["key"][:10]
    return f"| {name} | `{maker}` | {of['cell'] or '–'} | {', '.join(runs) or '–'} | `{key}` |"


def _origin(record: Record, words) -> str:
    """Return the commit, machine and versions of a record in words."""
    commit, machine = record.origin.get("commit"), record.origin["machine"]
    tree = words["commit"].format(commit=commit[:10]) if isinstance(commit, str) else words["no_commit"]
    changed = "" if record.origin.get("clean") or not isinstance(commit, str) else words["changed"]
    return f"{tree}{changed}; {words['machine'].format(**machine)}"
