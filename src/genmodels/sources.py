"""Which code of this package a result depends on, told from the source: functions, classes and constants, by name."""

import ast
from functools import lru_cache
from pathlib import Path

from genmodels import cache

PACKAGE = Path(__file__).parent


def code_parts(*names, but=()):
    """Checksums of code of this package as it stands on disk, {"vae.py": ..., "networks.py": ...}, of what is used.

    names, but: see `reached`. Comments, docstrings and layout do not count.
    """
    by_module = {}
    for name, checksum in reached(*names, but=but).items():
        by_module.setdefault(f"{name.partition(':')[0]}.py", {})[name] = checksum
    return {module: cache.short(used) for module, used in by_module.items()}


def reached(*names, but=()):
    """{name: checksum of its code} of what these names, and what they name of this package in turn, lead to.

    names: "vae:VAE" for a function, a class or a constant; "scores" for a whole module. but: modules that are not
    followed, since what they do counts by other parts. Raises ValueError for a name that is not there.
    """
    waiting, seen, texts = set(names), {}, {}
    while waiting:
        lead = waiting.pop()
        module, _, name = lead.partition(":")
        if module not in texts:
            if not (path := PACKAGE / f"{module}.py").is_file():
                raise ValueError(f"expected a module of genmodels, got {module!r}")
            texts[module] = path.read_text(encoding="utf-8")
        code = _code(module, texts[module])
        if name not in code:
            raise ValueError(f"expected a name of genmodels.{module}, got {name!r}")
        seen[lead], leads_to = code[name]
        waiting |= {each for each in leads_to - seen.keys() if each.partition(":")[0] not in but}
    return seen


@lru_cache(maxsize=256)
def _code(module, text):
    """{name: (checksum, the code that it leads to)} of what a module's text defines or imports; "": of all of it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    imported, sets = imports(tree.body), [(statement, _sets(statement)) for statement in tree.body]
    known = {name: f"{module}:{name}" for _, names in sets for name in names} | imported
    always = [statement for statement, names in sets if not names]  # such as `if` and `with`: they may change anything
    owned = {name: [each for each, names in sets if name in names] + always for name in known if name not in imported}
    found = {name: (cache.short(lead), {lead}) for name, lead in imported.items()}
    for name, statements in {**owned, "": tree.body}.items():
        checksum = cache.short([ast.unparse(statement) for statement in statements])
        found[name] = checksum, uses(statements, known if name else imported)
    return found


def _sets(statement):
    """Names that a statement at the top of a module sets."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name for alias in statement.names]
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def imports(nodes):
    """{name: "module" or "module:name" of this package that it stands for} of the imports among `nodes`."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "genmodels":
            origin = node.module.removeprefix("genmodels").removeprefix(".")
            for alias in node.names:
                if origin or (PACKAGE / f"{alias.name}.py").is_file():
                    found[alias.asname or alias.name] = f"{origin}:{alias.name}" if origin else alias.name
    return found


def uses(statements, known):
    """What of this package statements name, as `code_parts` takes it; known: {name: what it stands for} around them."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    known = known | imports(nodes)
    attributes = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    found = set()
    for node in nodes:
        if isinstance(node, ast.Name) and (lead := known.get(node.id)):
            attribute = attributes.get(id(node))
            found.add(f"{lead}:{attribute}" if attribute and ":" not in lead else lead)
    return found


def _sources():
    return {path.name: path.read_bytes() for path in PACKAGE.glob("*.py")}


_AT_IMPORT = _sources()


def edited_modules():
    """Files of the package that changed after this process imported it: what runs here is no longer what they say."""
    now = _sources()
    return sorted(name for name in {*now, *_AT_IMPORT} if now.get(name) != _AT_IMPORT.get(name))
