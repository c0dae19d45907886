"""Files that are never half written: atomic replacement, locks, checksums. System errors come in plain words."""

import errno
import glob
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from genmodels import config
from genmodels.pipeline import terminal


class FileError(ValueError):
    """A file has unexpected contents. The message names the file and the remedy."""


class ResourceError(RuntimeError):
    """The system refuses memory, disk space or rights. The message names the step, the limit and the remedy."""


class KilledError(ResourceError):
    """The process of a task was killed. The message names the task."""


_ROOM = "make room, or choose another disk with GENMODELS_CACHE"
_RIGHTS = "change the rights to it, or choose another folder with GENMODELS_CACHE"
_REMEDIES = {errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EFBIG: _ROOM}
_REMEDIES |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR), _RIGHTS)
MEMORY = "out of memory; free some, raise its limit, or take --jobs 1"
KILLED = f"its process was killed, by the system as a rule: {MEMORY}; what is finished stays"


@contextmanager
def system_errors(step: str) -> Iterator[None]:
    """Turn a system error inside the block into a ResourceError.

    Args:
        step: The work of the block in words, for the message.

    Raises:
        ResourceError: The system refused memory, disk space or rights.
    """
    try:
        yield
    except ResourceError as error:
        raise ResourceError(f"{step}: {error}") from error
    except MemoryError as error:
        raise ResourceError(f"{step}: {MEMORY}") from error
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        raise
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        remedy = MEMORY if error.errno == errno.ENOMEM else _REMEDIES.get(error.errno, "mend that and try again")
        raise ResourceError(f"{step}: {error.strerror or error}{place}; {remedy}") from error


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def short(value: Any) -> str:
    """Return the first 16 digits of `digest`: enough to notice a change."""
    return digest(value)[:16]


def checksum(path: Path) -> str | None:
    """Return the SHA-256 of a file in hexadecimal; None if the file is missing."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else None


def when(path: Path) -> str:
    """Return the time of a file's last change, such as "2025-01-31 12:00"."""
    return datetime.fromtimestamp(Path(path).stat().st_mtime).strftime("%Y-%m-%d %H:%M")


def differing(old: dict, new: dict, missing: Any = None) -> list[tuple]:
    """Return the differences between two dicts.

    Args:
        old: The one dict.
        new: The other.
        missing: Value that stands for an absent one.

    Returns:
        [(name, old value, new value)], sorted by name.
    """
    pairs = [(name, old.get(name, missing), new.get(name, missing)) for name in sorted({*old, *new})]
    return [(name, one, other) for name, one, other in pairs if one != other]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file or folder at once, and only if the block ends without an error.

    A symbolic link stays, and its target is replaced. An existing file keeps its mode. A FIFO, or a device such as
    /dev/stdout, receives the new content.

    Args:
        path: The file or folder. Missing parents are made.

    Yields:
        Temporary path to write to.

    Raises:
        ResourceError: The system refuses to write.
    """
    path = Path(path)
    if _is_stream(path):
        with system_errors(f"writing {path}"), tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            with path.open("ab") as stream:  # `>> file` in a shell makes /dev/stdout a file whose content must stay
                stream.write((Path(folder) / path.name).read_bytes())
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    begin = f".new-{path.name}-"
    with system_errors(f"writing {path}"), lock(f"{path.name}-{short(os.path.abspath(path))}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{glob.escape(begin)}*"):  # of a killed writer: we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=begin, dir=path.parent) as folder:
            yield Path(folder) / path.name
            if path.is_file():
                shutil.copymode(path, Path(folder) / path.name)
            os.replace(Path(folder) / path.name, path)


def _is_stream(path):
    """Return whether a path is a FIFO, a device or an open file of this process, which a new file cannot replace."""
    of_process = re.fullmatch(r"/dev/(stdout|stderr|fd/\d+)|/proc/(self|\d+)/fd/\d+", os.path.abspath(path))
    return bool(of_process) or (path.exists() and not path.is_file() and not path.is_dir())


def read_json(path: Path, default: Any = None, schema: dict | None = None) -> Any:
    """Return the contents of a JSON file.

    Args:
        path: The file.
        default: Returned if the file is missing.
        schema: JSON Schema that the contents must fit; None for any contents.

    Raises:
        FileError: The file is not JSON, or does not fit the schema.
    """
    path = Path(path)
    if not path.is_file():
        return default
    try:
        value = json.loads(path.read_bytes().decode())
    except (ValueError, RecursionError) as error:
        raise FileError(
            f"{path.name}: expected JSON, got something else ({error}); restore or delete {path}"
        ) from error
    if schema and (why := _misfit(value, schema)):
        raise FileError(f"{path.name}: expected another structure, got JSON where {why}; restore or delete {path}")
    return value


def _misfit(value, schema):
    import fastjsonschema

    try:
        fastjsonschema.validate(schema, value)
    except fastjsonschema.JsonSchemaValueException as error:
        return error.message
    return ""


def write_json(path: Path, value: Any) -> None:
    """Replace a file by a value as JSON with sorted keys."""
    with replacing(path) as new:
        new.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def put(path: Path, section: str, value: Any) -> None:
    """Set one section of a JSON file, see `update`."""
    update(path, {section: value})


def update(path: Path, sections: dict[str, Any]) -> None:
    """Set some sections of a JSON file. Other sections stay, and processes may update the file at the same time.

    Args:
        path: The file. A missing one is written; one without sections is removed.
        sections: {name: value}; None removes a section.

    Raises:
        FileError: The file does not hold a JSON object.
    """
    with lock(f"{path.stem}-{short(str(path))}"):
        found = {**read_json(path, {}, {"type": "object"}), **sections}
        if found := {name: value for name, value in found.items() if value is not None}:
            write_json(path, found)
        else:
            path.unlink(missing_ok=True)


def write_checked(path: Path, content: bytes) -> None:
    """Write a cache file: the SHA-256 of the content in the first line, then the content."""
    with replacing(path) as new:
        new.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checked(path: Path) -> bytes | None:
    """Return the content that `write_checked` wrote; None if missing or damaged. A damaged file is quarantined."""
    try:
        checksum, _, content = Path(path).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if checksum == hashlib.sha256(content).hexdigest().encode():
        return content
    quarantine(path, "its checksum differs")
    return None


def save_json(path: Path, value: Any) -> None:
    """Write a value as JSON to a cache file."""
    write_checked(path, json.dumps(value, sort_keys=True).encode())


def load_json(path: Path) -> Any:
    """Return the value that `save_json` wrote; None if the file is missing or damaged."""
    return None if (content := read_checked(path)) is None else json.loads(content)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write {name: array} to a cache file."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_checked(path, content.getvalue())


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return {name: array} that `save_arrays` wrote; None if the file is missing or damaged."""
    return None if (content := read_checked(path)) is None else arrays_in(content)


def arrays_in(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file. No code inside the file runs.

    Args:
        content: Bytes of the file.

    Returns:
        {name: array}.

    Raises:
        ValueError: The bytes are not an archive of arrays.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
            if other := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
                raise ValueError(f"{other[0]} is no array")
            return found
    except Exception as error:  # a damaged archive raises many kinds
        raise ValueError(f"expected arrays, got an unreadable archive: {error}") from error


def quarantine(path: Path, why: str) -> None:
    """Move a damaged file or folder to the cache's folder damaged/, and print `why` it is damaged."""
    path, folder = Path(path), config.cache_folder() / "damaged"
    aside = folder / f"{time.time_ns()}-{path.name}"
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(path, aside)
    terminal.say(f"{path.name} is damaged ({why}); it is now {aside} and will be made anew")


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock among the processes that share this cache. While waiting for it, print a message.

    Args:
        name: Name of the lock, usable as a file name.

    Raises:
        ResourceError: The cache is not writable.
    """
    with system_errors(f"locking {name}"):
        folder = config.cache_folder() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / f"{name}.lock")
        try:
            held.acquire(timeout=1)
        except filelock.Timeout:
            terminal.say(f"waiting for {name}, which another process is making")
            held.acquire()
    try:
        yield
    finally:
        held.release()
