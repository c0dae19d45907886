"""Checks of the author's Markdown: unknown markup, bad references, typed results. Each message says what to write."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from genmodels.pipeline.numbers import grouped
from genmodels.pipeline.tree import NBSP, attributes, nodes, pieces, plain

if TYPE_CHECKING:
    from genmodels.pipeline.text import Text

ATTRIBUTES = {"Span": ("claim", "alt"), "Image": ("width",)}
CLASSES = {"Span": ("ustalone",), "Image": ("dodatkowy",), "Div": ("obok", "zrodla")}
_MARKED = ("Span", "Code", "Link", "Image", "Header", "CodeBlock", "Figure", "Table", "Div")
_LEFT_OUT = "\0"  # replaces everything but prose; no pattern matches it
_PROGRAMS = "python|tensorflow|keras|numpy|scipy|scikit-learn|matplotlib|pandoc|typst|cuda|ubuntu|debian|linux|macos"
_VERSION = rf"\b(?:{_PROGRAMS}|windows|wersj\w+|wersji|versions?|ver\.|wer\.|v\.?|release)\s*v?"
# Dotted numbers that are not decimals, in any sentence.
_NO_RESULTS = (
    r"\S*(?:://|www\.)\S*",  # addresses
    r"\w[\w.+-]*@[\w-]+\.\S+",
    r"(?:\bdoi:?\s*\S+|\b10\.\d{4,9}/\S+|\barxiv:?\s*\d{4}\.\d{4,5}(?:v\d+)?)",
    r"\b\d{4}-\d\d-\d\d\b|\b\d+(?:\.\d+){2,}\b",  # dates, long versions
    rf"{_VERSION}\d+(?:\.\d+)+(?:(?:[–-]|, | (?:i|oraz|lub|do|and|or|to) )\d+(?:\.\d+)+)*(?!\d|,\d|\s*%)",
)


def check(text: "Text") -> None:
    """Check a text before its numbers are filled in.

    Args:
        text: The text, with its figures found.

    Raises:
        ReportError: The text has a fault. A draft only warns of typed numbers and unknown classes.
    """
    kinds = {"Cite": _citation, "Str": _dollar, "RawBlock": _raw, "RawInline": _raw, "Image": _picture}
    for of in nodes(text.blocks):
        if of["t"] in kinds:
            kinds[of["t"]](text, of)
        if of["t"] in _MARKED:
            _markup(text, of)
        if of["t"] == "Div":
            _region(text, of)
    for of in nodes(text.blocks):
        if of["t"] in ("Para", "Plain", "Header"):
            _typed(text, of)


def _picture(text, of):
    drawn = {figure.file.name for figure in text.figures.values()}
    if of["c"][2][0].rpartition("/")[2] not in drawn:
        wanted = 'expected ![Caption](file){#fig-name alt="..."} in a paragraph of its own'
        text.stop(f"picture {of['c'][2][0]}: {wanted}", of)


def _citation(text, of):
    for citation in of["c"][0]:
        name = citation["citationId"]
        figure = name.startswith("fig-")
        names = text.figures if figure else text.sources.papers
        if figure and (len(of["c"][0]) > 1 or citation["citationPrefix"] or citation["citationSuffix"]):
            text.stop(f"@{name}: expected a figure by itself, as in @fig-a i @fig-b", of)
        if name not in names:
            what = "figure" if figure else "paper in references.bib"
            text.stop(f'no {what} "{name}"{closest(name, names)}', of)


def _dollar(text, of):
    if "$" in of["c"] and not text.is_escaped(of):
        wanted = "expected $ on both sides, without spaces inside; a plain dollar is \\$"
        text.stop(f'formula at "{of["c"]}": {wanted}', of)


def _raw(text, of):
    kind, content = of["c"]
    if kind != "tex" or content.strip() != "\\newpage":
        text.stop(f'raw {kind} "{content.splitlines()[0]}": expected Markdown or \\newpage', of)


def _markup(text, of):
    """Stop at an attribute or class that would silently do nothing."""
    _, classes, settings = attributes(of)
    known = ATTRIBUTES.get(of["t"], ())
    for name in settings:
        if name not in known:
            wanted = " or ".join(f'{each}="..."' for each in known) or "none"
            text.stop(f"{{{name}=...}}: expected {wanted}, got {name}", of)
    for name in classes if of["t"] in ("Span", "Image") else ():
        if name not in CLASSES[of["t"]]:
            text.complain(f"{{.{name}}}: expected .{CLASSES[of['t']][0]} or no class, got .{name}", of)
    if "ustalone" in classes:
        content = plain(of)
        if not re.fullmatch(r"[−-]?\d[\d ]*(?:[.,]\d+)*,? ?%?", content.replace(NBSP, " ")):
            text.stop(f"[{content}]{{.ustalone}}: expected one number, got more", of)


def _region(text, of):
    name, blocks = next(iter(attributes(of)[1]), ""), of["c"][1]
    if name not in CLASSES["Div"]:
        text.complain(f"::: {name}: expected ::: obok or ::: zrodla", of)
    if name == "obok" and (not blocks or any(block["t"] != "Figure" for block in blocks)):
        text.stop("::: obok: expected figures only", next((b for b in blocks if b["t"] != "Figure"), of))


def _prose(value) -> Iterator[tuple[str, dict]]:
    """Yield (piece, node) of the prose in which an author may have typed a result."""
    for of in value if isinstance(value, list) else [value]:
        kind = of["t"]
        written = kind == "Link" and plain(of["c"][1]) in of["c"][2][0]  # an address, or a part of it
        if written or kind in ("Code", "Note") or (kind == "Span" and "ustalone" in attributes(of)[1]):
            yield _LEFT_OUT if kind != "Note" else "", of
        elif kind == "Math":
            yield of["c"][1].replace("{,}", ","), of
        elif kind in ("Emph", "Strong", "Strikeout", "Underline", "SmallCaps", "Para", "Plain"):
            yield from _prose(of["c"])
        elif kind in ("Span", "Link", "Image", "Quoted"):
            yield from _prose(of["c"][1])
        elif kind == "Header":
            yield from _prose(of["c"][2])
        else:
            yield from pieces(of)


def _typed(text, block):
    """Complain of typed results: decimals, percentages but 100 %, and whole numbers from 1000 that equal a result."""
    found = [(piece.replace("‰", "%").replace(NBSP, " "), of) for piece, of in _prose(block)]
    prose = "".join(piece for piece, _ in found)
    for pattern in (r"\{\{.*?\}\}", *_NO_RESULTS):
        prose = _blank(pattern, prose)
    for start, typed, certain in _results(prose, text.words):
        written = re.sub(r" *%", text.words["percent"], typed)
        hint = text.sources.numbers.reference(written, text.words)
        if certain or hint:
            message = f"a result is written {hint or '{{key:format}}'}, a constant [{written}]{{.ustalone}}"
            text.complain(f'typed number "{written}": {message}', _at(found, start))


def _results(prose, words):
    """Yield (place, number, whether its form alone makes it a result)."""
    if words["decimal"] == ",":
        decimals = (r"\d+,\d+", r"(?<!\d)0\.\d+", r"\d+\.\d\d+")
    else:
        decimals = (r"\d+\.\d+", r"\d+,(?!\d{3}(?!\d))\d+")
        prose = _blank(rf"\b(?:{'|'.join(words['numbered'])})s? \d+(?:\.\d+)+", prose)
    for pattern in (r"\d[\d.,]* *%", *decimals, rf"\d+ {words['in_words']}\b"):
        for match in re.finditer(pattern, prose):
            if match[0].replace(" ", "") != "100%":
                yield match.start(), match[0], True
        prose = _blank(pattern, prose)
    for match in re.finditer(rf"(?<!\d)\d[\d{words['thousands'].replace(NBSP, ' ')}]*", prose):
        whole = re.sub(r"\D", "", match[0])
        if int(whole) >= 1000:
            yield match.start(), grouped(int(whole), words), False


def _blank(pattern, prose):
    return re.sub(pattern, lambda match: _LEFT_OUT * len(match[0]), prose, flags=re.I)


def _at(found, place):
    """Return the node that holds a place of the joined pieces."""
    for piece, of in found:
        place -= len(piece)
        if place < 0:
            return of
    return None


def closest(word: str, candidates: Iterable[str]) -> str:
    """Return a hint at the most similar candidate.

    Args:
        word: A word that is not among the candidates.
        candidates: Known words.

    Returns:
        '; did you mean "x"?', or "" if no candidate is similar.
    """
    found = get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f'; did you mean "{found[0]}"?' if found else ""


def fault_of(tex: str) -> str:
    """Return the most frequent fault of unreadable TeX.

    Args:
        tex: A formula without its dollars.

    Returns:
        An unbalanced pair with its counts, otherwise a question to the author.
    """
    bare = tex.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
    for opens, closes in ((r"{", r"}"), (r"\left", r"\right"), (r"\begin{", r"\end{")):
        counts = [len(re.findall(re.escape(sign) + "(?![a-z])" * sign[-1].isalpha(), bare)) for sign in (opens, closes)]
        if counts[0] != counts[1]:
            return f"it has {counts[0]} {opens} and {counts[1]} {closes}"
    return "is a command misspelt, or a $ missing?"
