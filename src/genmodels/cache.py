"""Where results are kept, what they depend on, and how a file is replaced without ever being half written."""

import ast
import hashlib
import json
import os
import sys
import tempfile
import time
import zipfile
import zlib
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import filelock
import numpy as np
import platformdirs

from genmodels import data

PACKAGE = Path(__file__).parent
LIBRARIES = ("keras", "matplotlib", "numpy", "pillow", "scikit-learn", "scipy", "tensorflow")


def directory():
    """The cache folder: GENMODELS_CACHE, or .cache/ in a checkout, or the user's cache folder."""
    if chosen := os.environ.get("GENMODELS_CACHE"):
        return Path(chosen)
    root = data.checkout()
    return root / ".cache" / "genmodels" if root else Path(platformdirs.user_cache_dir("genmodels"))


def digest(value):
    """SHA-256, in hexadecimal, of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def short(value):
    """The first digits of `digest`: enough to tell a change by."""
    return digest(value)[:16]


def checksum(path):
    """SHA-256 of a file; None where there is none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else None


def environment():
    """What every result depends on beside code and settings, {what: value}: data, size of the run, libraries."""
    budget = "smoke" if data.smoke_budget() else "full"
    return {"MNIST": short(data.SHA256), "budget": budget, **{name: version(name) for name in LIBRARIES}}


def code_parts(*names):
    """Checksums of code of this package as it runs, {"vae.py": ..., "experiments.py, train": ...}.

    Comments, docstrings and layout do not count. names: "vae" for a module, with the package's modules imported at its
    top, and theirs; "experiments:build_vae" for one function, with the modules that it imports inside and the functions
    of its module that it names. Raises ValueError for a name that is not there.
    """
    waiting, seen = list(names), {}
    while waiting:
        module, _, function = waiting.pop().partition(":")
        shown = f"{module}.py, {function}" if function else f"{module}.py"
        if shown in seen:
            continue
        path = PACKAGE / f"{module}.py"
        if not path.is_file():
            raise ValueError(f"expected a module of genmodels, got {module!r}")
        seen[shown], leads_to = _code(module, path.read_text(encoding="utf-8"), function)
        waiting += leads_to
    return seen


@lru_cache(maxsize=256)
def _code(module, text, function):
    """Checksum of a module's text, or of one function in it, and the names of the code that it leads to."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    if not function:
        return short([ast.unparse(statement) for statement in tree.body]), _imports(tree.body)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in functions:
        raise ValueError(f"expected a function of genmodels.{module}, got {function!r}")
    nodes = list(ast.walk(functions[function]))
    neighbours = {node.id for node in nodes if isinstance(node, ast.Name)} & functions.keys()
    return short([ast.unparse(functions[function])]), [*_imports(nodes), *(f"{module}:{name}" for name in neighbours)]


def _imports(nodes):
    """Modules of this package that the statements among `nodes` import."""
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "genmodels":
            found += [alias.name for alias in node.names if (PACKAGE / f"{alias.name}.py").is_file()]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genmodels."):
            found.append(node.module.removeprefix("genmodels."))
    return found


def changes(old, new, since):
    """In words, what differs between the parts {what: value} that a result was made from and the present ones."""
    names = sorted(name for name in {**old, **new} if short(old.get(name)) != short(new.get(name)))
    return f"{', '.join(names)} changed since {since}" if names else ""


def when(path):
    """When a file was written, for people."""
    return datetime.fromtimestamp(Path(path).stat().st_mtime).strftime("%Y-%m-%d %H:%M")


def _sources():
    return {path.name: path.read_bytes() for path in PACKAGE.glob("*.py")}


_AT_IMPORT = _sources()


def edited_modules():
    """Files of the package that changed after this process imported it: what runs here is no longer what they say."""
    now = _sources()
    return sorted(name for name in {*now, *_AT_IMPORT} if now.get(name) != _AT_IMPORT.get(name))


@contextmanager
def replacing(path):
    """Gives a temporary path beside `path` to write to; moves it to `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


class CacheError(ValueError):
    """A file is not what it should be; the message names it and says what to do."""


def read_json(path, default=None):
    """The contents of a JSON file; `default` where there is no such file. Raises CacheError where it is none."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default
    except ValueError as error:
        raise CacheError(
            f"{path.name}: expected JSON, got something else ({error}); restore or delete {path}"
        ) from error


def read_arrays(path):
    """{name: array} of an .npz file; None where there is no file, and where it is damaged, which sets it aside."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        set_aside(path, error)
        return None


def write_arrays(path, arrays):
    """Writes {name: array} as an .npz file, all at once."""
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def set_aside(path, why):
    """Renames a damaged file or folder of the cache, so that it is made anew, and says so."""
    path = Path(path)
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    os.replace(path, aside)
    print(f"{path.name} is damaged ({why}); it is now {aside} and will be made anew", file=sys.stderr, flush=True)


def write_json(path, value):
    """Writes `value` as JSON with sorted keys, all at once."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def lock(name):
    """A lock between processes that share this cache; use it in a `with` statement."""
    folder = directory() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / f"{name}.lock")
