"""pandoc's syntax tree in the form of its JSON: nodes are {"t": type, "c": contents}.

`Places` finds the line of a node in the Markdown, because pandoc does not record lines.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

NBSP = "\u00a0"
SPACES = ("Space", "SoftBreak", "LineBreak")
NO_ATTRIBUTES = ["", [], []]  # identifier, classes, [[name, value], ...]
_WITH_ATTRIBUTES = ("Code", "CodeBlock", "Div", "Figure", "Image", "Link", "Span", "Table")
_VERBATIM = ("Code", "CodeBlock", "Math", "RawBlock", "RawInline")
_WORD = re.compile(r"\w+|\\?\$")


def node(kind: str, contents: Any = None) -> dict:
    """Return a new node. A node without contents, such as a Space, has no "c"."""
    return {"t": kind} if contents is None else {"t": kind, "c": contents}


def string(text: str) -> dict:
    """Return a text as one Str, spaces included, so that no line breaks inside."""
    return node("Str", text)


def inlines(text: str) -> list[dict]:
    """Return the inline nodes of a text whose only markup is `code`."""
    found = []
    for place, part in enumerate(text.split("`")):
        if place % 2:
            found.append(node("Code", [NO_ATTRIBUTES, part]))
        else:
            found += [node("Space") if piece == " " else string(piece) for piece in re.split("( )", part) if piece]
    return found


def attributes(of: dict) -> tuple[str, list, dict]:
    """Return the attributes of a node.

    Args:
        of: Any node.

    Returns:
        Identifier, classes, and {name: value}. All are empty for a node without attributes.
    """
    place = {"Header": 1}.get(of["t"], 0)
    given = of["c"][place] if of["t"] in ("Header", *_WITH_ATTRIBUTES) else NO_ATTRIBUTES
    return given[0], given[1], dict(given[2])


def nodes(value: Any) -> Iterator[dict]:
    """Yield every node of a tree in the order of the document, outer nodes first."""
    if isinstance(value, dict):
        if "t" in value:
            yield value
        for part in value.values():
            yield from nodes(part)
    elif isinstance(value, list):
        for part in value:
            yield from nodes(part)


def rebuild(value: Any, change: Callable[[dict], list | None]) -> None:
    """Change a tree in place, inner nodes first.

    Args:
        value: A tree, or a part of one.
        change: Function of a node that returns the list of nodes to replace it, or None to keep the node.
    """
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, (dict, list)):
            rebuild(part, change)
    if isinstance(value, list) and any(isinstance(part, dict) and "t" in part for part in value):
        replaced = ((part, change(part) if isinstance(part, dict) and "t" in part else None) for part in value)
        value[:] = [new for part, instead in replaced for new in ([part] if instead is None else instead)]


def inline_lists(value: Any) -> Iterator[list]:
    """Yield every list of inline nodes that contains a space."""
    if isinstance(value, list) and any(isinstance(part, dict) and part.get("t") in SPACES for part in value):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inline_lists(part)


def pieces(value: Any) -> Iterator[tuple[str, dict]]:
    """Split the readable text of a tree, without footnotes, by node.

    Args:
        value: A tree, or a part of one.

    Yields:
        (text, node). The texts joined are the text that a reader sees.
    """
    if isinstance(value, list):
        for part in value:
            yield from pieces(part)
    elif isinstance(value, dict) and value.get("t") in SPACES:
        yield " ", value
    elif isinstance(value, dict) and value.get("t") in ("Str", "MetaString"):
        yield value["c"], value
    elif isinstance(value, dict) and value.get("t") in ("Code", "Math"):
        yield value["c"][1], value
    elif isinstance(value, dict) and value.get("t") == "Cite":
        yield from pieces(value["c"][1])
    elif isinstance(value, dict) and value.get("t") not in ("Note", "RawInline", "RawBlock"):
        yield from pieces(value.get("c", []))


def plain(value: Any) -> str:
    """Return the text of a tree without markup and footnotes."""
    return "".join(text for text, _ in pieces(value))


class Places:
    """Places of a tree's nodes in the Markdown source.

    pandoc's reader gives no positions. The words of the tree are therefore aligned with the words of the source, as in
    a diff. The alignment is made when the first line is asked for. Nodes may change after the tree came here.

    Args:
        tree: pandoc's tree, unchanged.
        source: The Markdown that pandoc read.
    """

    def __init__(self, tree: list, source: str):
        self._source = source
        self._words, self._spans, self._kept = [], {}, []  # `_kept`: a new node could get the id of a freed one
        self._add(tree)

    def _add(self, value):
        if isinstance(value, list):
            for part in value:
                self._add(part)
        if not isinstance(value, dict):
            return
        first, kind, contents = len(self._words), value.get("t"), value.get("c")
        if kind == "Div":
            self._take_attributes(value)
        if kind == "Str":
            self._take(contents)
        elif kind in _VERBATIM:
            self._take(f"${contents[1]}$" if kind == "Math" else contents[1])
        elif kind == "Cite":
            self._add(contents[1])
        elif kind == "Table":  # the caption stands below the table
            self._add([contents[3:], contents[1]])
        else:
            self._add(contents)
        if kind in ("Image", "Link"):
            self._take(contents[2][0])
        if kind in ("Header", *_WITH_ATTRIBUTES) and kind != "Div":  # attributes come last in the source
            self._take_attributes(value)
        self._spans[id(value)] = first, len(self._words)
        self._kept.append(value)

    def _take_attributes(self, of):
        name, classes, named = attributes(of)
        self._take(" ".join([name, *classes, *(part for pair in named.items() for part in pair)]))

    def _take(self, text):
        self._words += [word.lstrip("\\") for word in _WORD.findall(text)]

    @cached_property
    def _found(self):
        """Return {index of a word in the tree: index in the source}, and the words of the source."""
        words = list(_WORD.finditer(self._source))
        said = [word.group().lstrip("\\") for word in words]
        blocks = SequenceMatcher(None, self._words, said).get_matching_blocks()
        return {a + step: b + step for a, b, size in blocks for step in range(size)}, words

    def line(self, of: dict) -> int | None:
        """Return the line on which a node begins.

        Args:
            of: A node of the tree.

        Returns:
            The line, counted from 1; None if it is unknown.
        """
        found, words = self._found
        if id(of) not in self._spans or not found:
            return None
        first, end = self._spans[id(of)]
        known = sorted(found)
        after = bisect_left(known, first)
        inside = after < len(known) and known[after] < max(end, first + 1)
        word = words[found[known[after if inside else max(after - 1, 0)]]]
        return self._source.count("\n", 0, word.start()) + 1

    def escaped(self, of: dict) -> bool:
        """Return whether the source writes every dollar of a Str as \\$."""
        found, words = self._found
        dollars = [place for place in range(*self._spans[id(of)]) if self._words[place] == "$"]
        return all(place in found and words[found[place]].group() == "\\$" for place in dollars)
