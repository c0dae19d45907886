"""Where results are kept, what they depend on, and how a file is replaced without ever being half written."""

import atexit
import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import filelock
import numpy as np
import platformdirs

from genmodels import data

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
    return {"MNIST": short(data.SHA256), "budget": budget, **_versions()}


@lru_cache
def _versions():
    return {name: version(name) for name in LIBRARIES}  # a millisecond each, asked for a hundred times


def changes(old, new, since):
    """In words, what differs between the parts {what: value} that a result was made from and the present ones."""
    names = sorted(name for name in {**old, **new} if short(old.get(name)) != short(new.get(name)))
    return f"{', '.join(names)} changed since {since}" if names else ""


def when(path):
    """When a file was written, for people."""
    return datetime.fromtimestamp(Path(path).stat().st_mtime).strftime("%Y-%m-%d %H:%M")


class CacheError(ValueError):
    """A file is not what it should be; the message names it and says what to do."""


class FaultError(RuntimeError):
    """The system does not give what a step needs; the message names the step, the limit and the remedy."""


_ROOM = "make room, or choose another disk with GENMODELS_CACHE"
_RIGHTS = "change the rights to it, or choose another folder with GENMODELS_CACHE"
_REMEDIES = {errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EFBIG: _ROOM}
_REMEDIES |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR), _RIGHTS)
MEMORY = "out of memory; free some, raise its limit, or take --jobs 1"
KILLED = f"its process was killed, by the system as a rule: {MEMORY}; what is finished stays"


@contextmanager
def faults(what):
    """Turns an error of the system inside the block into a FaultError that names `what` was done."""
    try:
        yield
    except FaultError as error:
        raise FaultError(f"{what}: {error}") from error
    except MemoryError as error:
        raise FaultError(f"{what}: {MEMORY}") from error
    except BrokenPipeError:  # of the reader of our output, who has seen enough
        raise
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        remedy = MEMORY if error.errno == errno.ENOMEM else _REMEDIES.get(error.errno, "mend that and try again")
        raise FaultError(f"{what}: {error.strerror or error}{place}; {remedy}") from error


@lru_cache
def _alive(folder):
    """A name for this process, and the lock of that name that it holds for as long as it lives."""
    name = f"process-{secrets.token_hex(4)}"  # not its number: another process may get that
    held = _lock(name, folder)
    held.acquire()
    atexit.register(Path(held.lock_file).unlink, missing_ok=True)
    atexit.register(held.release)  # before, as the last comes first
    return name, held


def temporary():
    """How names of temporary files of this process begin: they tell `sweep` whose they are."""
    return f".new-{_alive(directory())[0]}-"


def sweep(folder):
    """Removes the temporary files in a folder whose process was killed: nobody holds its lock any more."""
    for left in Path(folder).glob(".new-process-*"):
        owner = _lock("-".join(left.name.split("-")[1:3]))
        if Path(owner.lock_file).is_file():  # otherwise it is of a process with another cache, which may live
            with suppress(filelock.Timeout), owner.acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)
                left.unlink(missing_ok=True)


@contextmanager
def replacing(path):
    """Gives a temporary path beside `path` to write a file or folder to; moves it there when the block ends well."""
    path = Path(path)
    with faults(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with tempfile.TemporaryDirectory(prefix=temporary(), dir=path.parent) as folder:
            yield Path(folder) / path.name
            os.replace(Path(folder) / path.name, path)


def misfit(value, shape, where=""):
    """Where a value read from JSON has another structure than `shape`, in words; empty where it fits.

    shape: a type; a tuple of shapes, of which one has to fit; [shape of each]; or {name: shape}, where `...` stands for
    any name, and a name that ends in "?" may be missing.
    """
    if isinstance(shape, tuple):
        return "" if any(not misfit(value, each) for each in shape) else f"{where or 'it'} is {value!r:.40}"
    if not isinstance(value, shape if isinstance(shape, type) else type(shape)):
        return f"{where or 'it'} is {value!r:.40}"
    inner = {}
    if isinstance(shape, list):
        inner = {str(place): (each, shape[0]) for place, each in enumerate(value)}
    elif isinstance(shape, dict):
        if missing := {name for name in shape if name is not ... and name[-1] != "?"} - value.keys():
            return f"{where or 'it'} lacks {', '.join(sorted(missing))}"
        others = shape.get(..., object)
        inner = {name: (each, shape.get(name, shape.get(f"{name}?", others))) for name, each in value.items()}
    found = (misfit(*pair, f"{where}.{name}" if where else name) for name, pair in inner.items())
    return next(filter(None, found), "")


def read_json(path, default=None, shape=object):
    """The contents of a JSON file; `default` where there is no such file. Raises CacheError where it is none.

    shape: see `misfit`. Of a sealed file, `default` also where it is damaged; CacheError where there is no default.
    """
    path, sealed = Path(path), _is_sealed(path)
    content = read_sealed(path) if sealed else path.read_bytes() if path.is_file() else None
    if content is None:
        if sealed and default is None:
            raise CacheError(f"{path}: expected what was kept there, got a damaged file; try again, it is made anew")
        return default
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise CacheError(
            f"{path.name}: expected JSON, got something else ({error}); restore or delete {path}"
        ) from error
    if why := misfit(value, shape):
        raise CacheError(f"{path.name}: expected another structure, got JSON where {why}; restore or delete {path}")
    return value


def write_json(path, value):
    """Writes `value` as JSON with sorted keys, all at once; sealed where it is the cache's."""
    text = (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    with replacing(path) as new:
        new.write_bytes(_seal(path, text) + text if _is_sealed(path) else text)


def _is_sealed(path):
    return Path(path).parent in [directory() / kind for kind in ("scores", "stamps", "stamps-draft")]


def _seal(path, content):
    """The first line of a sealed file: the checksum of its place and of all that follows."""
    place = "/".join(Path(path).parts[-2:])
    return hashlib.sha256(place.encode() + b"\n" + content).hexdigest().encode() + b"\n"


def read_sealed(path):
    """What follows the seal of a file, as bytes; None where there is no file, and where it is damaged: set aside."""
    try:
        seal, end, content = Path(path).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if seal + end == _seal(path, content):
        return content
    set_aside(path, "its checksum is another")
    return None


LARGEST = 2**30  # bytes that an archive may unpack to


def unpacked(content):
    """{name: array} of an .npz file given as bytes. Raises ValueError for anything else, never runs what is inside."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if (size := sum(each.file_size for each in archive.infolist())) > LARGEST:
                raise ValueError(f"it unpacks to {size} bytes, {LARGEST} are allowed")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
            if other := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
                raise ValueError(f"{other[0]} is no array")
            return found
    except Exception as error:  # what a damaged archive raises is of many kinds
        raise ValueError(f"expected arrays, got an unreadable archive: {error}") from error


def read_arrays(path):
    """{name: array} of a file of `write_arrays`; None where there is none, and where it is damaged: set aside."""
    try:
        return None if (content := read_sealed(path)) is None else unpacked(content)
    except ValueError as error:
        set_aside(path, error)
        return None


def write_arrays(path, arrays):
    """Writes {name: array}, sealed, all at once."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    with replacing(path) as new:
        new.write_bytes(_seal(path, content.getbuffer()) + content.getbuffer())


def set_aside(path, why):
    """Moves a damaged file or folder of the cache to its folder damaged/, so that it is made anew, and says so."""
    path, folder = Path(path), directory() / "damaged"
    aside = folder / f"{time.time_ns()}-{path.name}"
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(path, aside)
    print(f"{path.name} is damaged ({why}); it is now {aside} and will be made anew", file=sys.stderr, flush=True)


def _lock(name, folder=None):
    folder = (folder or directory()) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / f"{name}.lock")


@contextmanager
def lock(name):
    """Holds a lock between processes that share this cache, and says so where it has to wait for another one."""
    with faults(f"locking {name}"):
        held = _lock(name)
        try:
            held.acquire(timeout=1)
        except filelock.Timeout:
            print(f"waiting for {name}, which another process is making", file=sys.stderr, flush=True)
            held.acquire()
    try:
        yield
    finally:
        held.release()
