"""Which code a result depends on, read from the source: functions, classes and constants, by name.

A lead is "models.vae:VAE" for a name of a module, "metrics" for a whole module, "" for the whole package.
"""

import ast
import inspect
import json
import linecache
import re
import textwrap
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from genmodels import _EXPORTS
from genmodels.pipeline.files import short

PACKAGE = Path(__file__).parents[1]


def code(*leads: str, but: Iterable[str] = (), texts: Callable[[str], str] | None = None) -> dict[str, str]:
    """Return checksums of the package's code that leads reach, {"models/vae.py": ..., ...}.

    Comments, docstrings, layout, the annotations of functions and the texts of messages do not count. See `reached` for
    the arguments.
    """
    by_file = {}
    for lead, checksum in reached(*leads, but=but, texts=texts).items():
        by_file.setdefault(_file(lead.partition(":")[0]), {})[lead] = checksum
    return {file: short(used) for file, used in by_file.items()}


def reached(*leads: str, but: Iterable[str] = (), texts: Callable[[str], str] | None = None) -> dict[str, str]:
    """Return {lead: checksum of its code} for leads and for everything in the package that they use in turn.

    Args:
        but: modules that are not followed, because they count in another way.
        texts: gives the text of a module; by default as it stands on disk.

    Raises:
        ValueError: a lead names no module or no name of one.
    """
    texts = lru_cache(None)(texts or _text)  # a module is read once, not once for each of its names
    waiting, seen = set(modules(PACKAGE) if "" in leads else leads), {}
    while waiting:
        lead = waiting.pop()
        module, _, name = lead.partition(":")
        if module in but:
            continue
        found = _definitions(module, texts(module))
        if name not in found:
            raise ValueError(f"expected a name of genmodels.{module}, got {name!r}")
        seen[lead], leads_to = found[name]
        waiting |= leads_to - seen.keys()
    return seen


def edited(*leads: str, but: Iterable[str] = ()) -> list[str]:
    """Return the files in which code that leads reach differs from that of this process's start."""
    then = code(*leads, but=but, texts=_AT_START.__getitem__)
    try:
        now = code(*leads, but=but)
    except (SyntaxError, ValueError):  # in the middle of an edit
        return sorted(_file(module) for module in _AT_START if _file(module) in then and _is_rewritten(module))
    return sorted(file for file in {*then, *now} if then.get(file) != now.get(file))


def _is_rewritten(module):
    try:
        return _text(module) != _AT_START[module]
    except ValueError:  # gone, or no text
        return True


@lru_cache
def modules(package: Path) -> tuple[str, ...]:
    """Return the names of the package's modules, such as "models.vae"."""
    paths = [path.relative_to(package).with_suffix("") for path in package.rglob("*.py")]
    return tuple(sorted(".".join(path.parts).removesuffix(".__init__") for path in paths if path.parts[0][0] != "_"))


def _file(module):
    return f"{module.replace('.', '/')}.py"


def _text(module):
    for path in (PACKAGE / _file(module), PACKAGE / module.replace(".", "/") / "__init__.py"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ValueError(f"expected a module of genmodels, got {module!r}")


_AT_START = {module: _text(module) for module in modules(PACKAGE)}


def normalised(text: str) -> str:
    """Return Python code without comments and layout; an IPython cell's magics and shell lines count as code.

    A cell magic decides by itself how its text is read, so that all of it counts.
    """
    try:
        return ast.unparse(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last ones of mad nesting
        pass
    if text.lstrip().startswith("%%"):
        return text
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.unparse(ast.parse(TransformerManager().transform_cell(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text  # it will fail when it is run


_RUN_TEXT = ("eval", "exec", "run_line_magic", "run_cell_magic")  # functions that take text and run it


def used_by(texts: Iterable[str]) -> set[str]:
    """Return the leads that normalised code, of a notebook's cells or of local modules, uses.

    Text that names the package, as for `importlib`, `%run` or a shell line, may use all of it. An import that stands in
    text for a magic, `eval` or `exec` counts as used as a whole.
    """
    statements, unread = [], []
    for text in texts:
        try:
            statements += ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            unread.append(text)
    nodes = [node for statement in statements for node in ast.walk(statement)]
    strings = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(_RUN_TEXT)]
    run = [node.value for call in calls for node in ast.walk(call) if isinstance(node, ast.Constant)]
    words = set(re.findall(r"\w+", "\n".join(map(str, unread + run))))
    named = {lead for node in nodes for name, lead in _imports([node]).items() if name in words}
    whole = {""} if any("genmodels" in text for text in strings + unread) else set()
    return whole | {_known(lead) for lead in _uses(statements, {}) | named}


def _known(lead):
    """Return a lead; that of its module where the module does not define the name."""
    module, _, name = lead.partition(":")
    return lead if not name or name in _definitions(module, _text(module)) else module


def of_function(function: Callable) -> tuple[set[str], dict[str, str]]:
    """Return the leads of a function; for a function of the user's own also a checksum of its source.

    Of its own module count the functions, classes and plain values that it uses in turn.
    """
    if function.__module__.startswith("genmodels."):
        return {f"{function.__module__.removeprefix('genmodels.')}:{function.__name__}"}, {}
    sources, leads, waiting = {}, set(), [function]
    while waiting:
        each = waiting.pop()
        sources[each.__qualname__] = text = normalised(_source(each))
        tree, known = ast.parse(text), {}
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        for name in sorted({node.id for node in names} - own):
            value = function.__globals__.get(name)
            origin = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None) or ""
            if inspect.ismodule(value) and origin.split(".")[0] == "genmodels":
                known[name] = origin.removeprefix("genmodels").removeprefix(".")
            elif inspect.isfunction(value) or inspect.isclass(value):
                if origin.startswith("genmodels."):
                    known[name] = f"{origin.removeprefix('genmodels.')}:{value.__name__}"
                elif origin == function.__module__ and value.__qualname__ not in sources:
                    waiting.append(value)
            else:
                with suppress(TypeError, ValueError, AttributeError):  # neither a plain value nor an array
                    sources[name] = json.dumps(value, default=_plain, sort_keys=True)
        leads |= used_by([text]) | {_known(lead) for lead in _uses(tree.body, known)}
    return leads, {"its builder": short(sources)}


def _plain(value):
    return sorted(value) if isinstance(value, (set, frozenset)) else value.tolist()


def _source(thing):
    """Return the source of a function or class; that of a class in a notebook, unknown to `inspect`, from its cell."""
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        cells = ("".join(entry[2]) for entry in reversed(linecache.cache.values()) if len(entry) == 4)
        for cell in (cell for cell in cells if f"class {thing.__name__}" in cell):
            for node in ast.walk(ast.parse(cell)):
                if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                    return ast.unparse(node)
        raise


class _Essence(ast.NodeTransformer):
    """Take out of a module what decides no result: docstrings, annotations of functions, messages."""

    def visit_Module(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return node

    def visit_ClassDef(self, node):
        node = self.visit_Module(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node):
        node = self.visit_ClassDef(node)
        node.returns = None
        read = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
        for holder in ast.walk(node):  # texts that were put together for a message alone
            for field in ("body", "orelse", "finalbody"):
                if isinstance(body := getattr(holder, field, None), list):
                    kept = [each for each in body if not _is_text_for(each, read)]
                    setattr(holder, field, kept or (body and [ast.Pass()]))
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_Raise(self, node):
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.copy_location(ast.Raise(exc=kind, cause=None), node)

    def visit_Assert(self, node):
        node.msg = None
        return self.generic_visit(node)

    def visit_Expr(self, node):
        called = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        return ast.copy_location(ast.Pass(), node) if called in ("print", "warnings.warn") else self.generic_visit(node)


def _is_text_for(statement, read):
    """Return whether a statement gives a text to a name that nothing reads."""
    if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
        return False
    text = isinstance(statement.value, ast.JoinedStr) or isinstance(getattr(statement.value, "value", None), str)
    return text and statement.targets[0].id not in read


@lru_cache(maxsize=512)
def _definitions(module, text):
    """Return {name: (checksum, leads)} of everything that a module defines or imports; "" stands for all of it."""
    tree = _Essence().visit(ast.parse(text))
    imported, sets = _imports(tree.body), [(statement, _sets(statement)) for statement in tree.body]
    known = {name: f"{module}:{name}" for _, names in sets for name in names} | imported
    always = [statement for statement, names in sets if not names]  # such as `if` and `with`: they may change anything
    owned = {name: [each for each, names in sets if name in names] + always for name in known if name not in imported}
    found = {name: (short(lead), {lead}) for name, lead in imported.items()}
    for name, statements in {**owned, "": tree.body}.items():
        checksum = short([ast.unparse(statement) for statement in statements])
        found[name] = checksum, _uses(statements, known if name else imported)
    return found


def _sets(statement):
    """Return the names that a statement at the top of a module sets."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name for alias in statement.names]
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _imports(nodes):
    """Return {name: lead} of the imports from this package among nodes."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "genmodels":
            origin = node.module.removeprefix("genmodels").removeprefix(".")
            for alias in node.names:
                if origin or alias.name[0] != "_":  # the package's own table leads nowhere by itself
                    found[alias.asname or alias.name] = origin if alias.name == "*" else _attribute(origin, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "genmodels":
                    whole = alias.name.removeprefix("genmodels").removeprefix(".")
                    found[alias.asname or "genmodels"] = whole if alias.asname else ""
    return found


def _attribute(lead, name):
    """Return the lead of an attribute of the package, of one of its folders, or of a module."""
    inner = f"{lead}.{name}" if lead else name
    if inner in modules(PACKAGE):
        return inner
    if lead:
        return f"{lead}:{name}"
    return f"{_EXPORTS[name]}:{name}" if name in _EXPORTS else ""


def _uses(statements, known):
    """Return the leads that statements use, given {name: lead} of the names around them."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    imported = {}  # a name may be imported twice, as different things
    for node in nodes:
        for name, lead in _imports([node]).items():
            imported.setdefault(name, set()).add(lead)
    known = {name: {lead} for name, lead in known.items()} | imported
    around = {id(node.value): node for node in nodes if isinstance(node, ast.Attribute)}
    found = set(imported.get("*", ()))
    for name in (node for node in nodes if isinstance(node, ast.Name)):
        for lead in known.get(name.id, ()):
            node = name
            while ":" not in lead and (node := around.get(id(node))):  # a.b.c, from the left
                lead = _attribute(lead, node.attr)
            found.add(lead)
    return found
