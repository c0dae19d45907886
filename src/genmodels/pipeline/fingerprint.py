"""Find the code that a result depends on: functions, classes and constants, by name, read from the source.

A lead names such code: "models.vae:VAE" a name of a module, "metrics" a whole module, "" the whole package.
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
    """Return checksums of the package's code that leads reach, by file.

    Comments, docstrings, layout, annotations of functions and texts of messages do not count.

    Args:
        leads: Leads to start from.
        but: Modules that are not followed, because their code counts in another way.
        texts: Function that returns the text of a module; None to read it from disk.

    Returns:
        {"models/vae.py": checksum of the code used, ...}.

    Raises:
        ValueError: A lead names no module, or no name of its module.
    """
    by_file = {}
    for lead, checksum in reached(*leads, but=but, texts=texts).items():
        by_file.setdefault(_file(lead.partition(":")[0]), {})[lead] = checksum
    return {file: short(used) for file, used in by_file.items()}


def reached(*leads: str, but: Iterable[str] = (), texts: Callable[[str], str] | None = None) -> dict[str, str]:
    """Return the leads that given leads use in turn, themselves included.

    Args:
        leads: Leads to start from.
        but: See `code`.
        texts: See `code`.

    Returns:
        {lead: checksum of its code}.

    Raises:
        ValueError: A lead names no module, or no name of its module.
    """
    texts = lru_cache(None)(texts or _text)  # read a module once, not once for each of its names
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
    """Return the files whose reached code was edited after this process had started.

    Args:
        leads: Leads to start from.
        but: Modules that are not followed.

    Returns:
        Files such as "models/vae.py", sorted.
    """
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
    """Return the names of a package's modules, such as "models.vae", sorted."""
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
    """Return code without comments and layout.

    Args:
        text: Python, or an IPython cell with magics and shell lines.

    Returns:
        The code in one layout. A cell with a cell magic stays as it is, because the magic reads it in its own way.
    """
    try:
        return ast.unparse(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: extreme nesting
        pass
    if text.lstrip().startswith("%%"):
        return text
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.unparse(ast.parse(TransformerManager().transform_cell(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text  # the cell will fail when it runs


# Names by which code asks for data of its own. `datasets` imports the readers by name only, so that results from MNIST
# do not depend on them.
_READS_DATA = {"from_arrays", "from_npz", "from_idx", "from_folder", "load_dataset", "open_dataset", "verify"}
_RUN_TEXT = ("eval", "exec", "run_line_magic", "run_cell_magic")  # functions that take text and run it


def used_by(texts: Iterable[str]) -> set[str]:
    """Return the leads that the code of notebook cells or local modules uses.

    A string that names the package, as for `importlib` or `%run`, may use all of the package. An imported name in
    the string of a magic, `eval` or `exec` counts as used.

    Args:
        texts: Normalised code, see `normalised`.

    Returns:
        Leads of the package.
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
    words_used = {getattr(node, field, None) for node in nodes for field in ("attr", "id", "name", "arg")} | set(
        strings
    )
    named |= {each for each in modules(PACKAGE) if each.startswith("readers.") and words_used & _READS_DATA}
    whole = {""} if any("genmodels" in text for text in strings + unread) else set()
    return whole | {_known(lead) for lead in _uses(statements, {}) | named}


def _known(lead):
    """Return the lead, or the lead of its module if the module does not define the name."""
    module, _, name = lead.partition(":")
    return lead if not name or name in _definitions(module, _text(module)) else module


def of_function(function: Callable) -> tuple[set[str], dict[str, str]]:
    """Return the code that a function depends on.

    Args:
        function: A function of the package, or of the user's own. For the latter, the functions, classes and plain
            values count that it uses in its own module.

    Returns:
        Leads of the package, and {"its builder": checksum} for a function of the user's own, otherwise {}.
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
                with suppress(TypeError, ValueError, AttributeError):  # only plain values and arrays count
                    sources[name] = json.dumps(value, default=_plain, sort_keys=True)
        leads |= used_by([text]) | {_known(lead) for lead in _uses(tree.body, known)}
    return leads, {"its builder": short(sources)}


def _plain(value):
    return sorted(value) if isinstance(value, (set, frozenset)) else value.tolist()


def _source(thing):
    """Return the source of a function or class; of a notebook's class, which `inspect` cannot find, from its cell."""
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
    """Remove the parts of a module that decide no result: docstrings, annotations of functions, messages."""

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
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
        if not names & _READ_ANY_NAME and not any(isinstance(of, (ast.Global, ast.Nonlocal)) for of in ast.walk(node)):
            _drop_texts(node, names)
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_Raise(self, node):
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if kind is not None and ast.unparse(kind).endswith("Error"):  # others, as StopIteration, may carry data
            node.exc, node.cause = kind, None
        return node

    def visit_Assert(self, node):
        node.msg = None
        return self.generic_visit(node)

    def visit_Expr(self, node):
        called = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        told = called in ("print", "warnings.warn") and all(map(_is_plain, ast.iter_child_nodes(node.value)))
        return None if told else self.generic_visit(node)


_READ_ANY_NAME = {"locals", "vars", "eval", "exec"}
_HARMLESS = ("print", "warnings.warn", "str", "repr", "len", "round", "sorted", "min", "max", "float", "int")


def _is_plain(node):
    """Return whether code has no effect but its value: it calls nothing unknown, and binds no name."""
    for each in ast.walk(node):
        if isinstance(each, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            return False
        if isinstance(each, ast.Call) and ast.unparse(each.func) not in _HARMLESS and not _is_join(each.func):
            return False
    return True


def _is_join(function):
    return isinstance(function, ast.Attribute) and function.attr == "join" and isinstance(function.value, ast.Constant)


def _drop_texts(node, read):
    """Remove assignments that only compose the text of a message, for a name that nothing reads."""
    for field in ("body", "orelse", "finalbody", "handlers"):
        if isinstance(body := getattr(node, field, None), list):
            for each in (each for each in body if not isinstance(each, ast.ClassDef)):  # whose names are attributes
                _drop_texts(each, read)
            kept = [each for each in body if not _is_text_for(each, read)]
            setattr(node, field, kept or (body and [ast.Pass()]))


def _is_text_for(statement, read):
    """Return whether a statement assigns a text to a name that nothing reads."""
    if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
        return False
    target, value = statement.targets[0], statement.value
    text = isinstance(value, ast.JoinedStr) or isinstance(getattr(value, "value", None), str)
    return isinstance(target, ast.Name) and text and target.id not in read and _is_plain(value)


@lru_cache(maxsize=512)
def _definitions(module, text):
    """Return {name: (checksum, leads)} of the names that a module defines or imports; "" stands for the module."""
    tree = _Essence().visit(ast.parse(text))
    _make_absolute(tree, module)
    imported = _imports(tree.body)
    sets = [(each, [name for name in _sets(each) if _is_import(each) or name not in imported]) for each in tree.body]
    always = [statement for statement, names in sets if not names]  # `if`, `with` and others may change any name
    bound = {name for statement in always for name in _binds(statement)}
    known = {name: f"{module}:{name}" for name in bound.union(*(names for _, names in sets))} | imported
    owned = {
        name: [each for each, names in sets if name in names or not names] for name in known if name not in imported
    }
    found = {name: (short(lead), {lead}) for name, lead in imported.items()}
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | _exported(tree)
    for_effect = {lead for name, lead in imported.items() if name not in read}  # such an import may patch other modules
    texts = {id(statement): ast.unparse(statement) for statement in tree.body}
    for name, statements in {**owned, "": tree.body}.items():
        checksum = short([texts[id(statement)] for statement in statements])
        found[name] = checksum, for_effect | _uses(statements, known if name else imported)
    return found


def _exported(tree):
    """Return the names in `__all__`: imported for others to use, not for an effect."""
    lists = [each.value for each in tree.body if isinstance(each, ast.Assign) and _sets(each) == ["__all__"]]
    return {node.value for each in lists for node in ast.walk(each) if isinstance(node, ast.Constant)}


def _make_absolute(tree, module):
    """Turn `from .layers import ...` into `from genmodels.layers import ...`."""
    parts = module.split(".") if module else []
    package = (PACKAGE / module.replace(".", "/") / "__init__.py").is_file()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = parts[: len(parts) - node.level + package]
            node.module, node.level = ".".join(["genmodels", *base, *filter(None, [node.module])]), 0


def _is_import(statement):
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _binds(statement):
    """Yield the names that a statement such as `if` or `try` may bind."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif _is_import(node):
            yield from (alias.asname or alias.name for alias in node.names)


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
    """Return {name: lead} of the nodes that import from this package."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "genmodels":
            origin = node.module.removeprefix("genmodels").removeprefix(".")
            for alias in node.names:
                if origin or alias.name[0] != "_":  # `_EXPORTS` leads to no code by itself
                    found[alias.asname or alias.name] = origin if alias.name == "*" else _attribute(origin, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "genmodels":
                    whole = alias.name.removeprefix("genmodels").removeprefix(".")
                    found[alias.asname or "genmodels"] = whole if alias.asname else ""
    return found


def _attribute(lead, name):
    """Return the lead of an attribute of the package, a subpackage or a module."""
    inner = f"{lead}.{name}" if lead else name
    if inner in modules(PACKAGE):
        return inner
    if lead:
        return f"{lead}:{name}"
    return f"{_EXPORTS[name]}:{name}" if name in _EXPORTS else ""


def _uses(statements, known):
    """Return the leads that statements use, given {name: lead} of the names around them."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    imported = {}  # sets, because a name may be imported twice, from different places
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
