"""The validated file as JSON in the user's cache, so that a warm call reads no YAML."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from aifo_tasks import __version__, files

Identity = list[Any]  # what JSON gives back: path, then inode, size, two times, digest
Data = dict[str, Any]  # validated by the schema, or the cache file is ignored

_SHAPE = "2"
"""Raised when what is remembered gets another shape."""

_SETTLED_NS = 2 * 10**9


def identity(path: Path, *, status: os.stat_result | None = None, data: bytes = b"") -> Identity:
    """What changes when the file does: path, inode, size, mtime_ns, ctime_ns, digest.

    ``status`` was taken before ``data`` was read; without it both are read here. A file
    that is not there is its path alone.

    Two writes within one tick of the file system's clock leave the same times. A file that
    changed in the last two seconds (the coarsest clocks tick that slowly), or in the
    future, is therefore known by its content too, and stays cached; later the times will do.
    """
    if status is None:
        try:
            status, data = os.lstat(path), path.read_bytes()
        except OSError:
            return [str(path)]
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    settled = changed < time.time_ns() - _SETTLED_NS
    digest = "" if settled else hashlib.sha256(data).hexdigest()
    return [str(path), *_facts(status), digest]


def recall(root: Path) -> Data | None:
    """The data remembered for this project, if every file is still what it was."""
    if not _is_safe(root):
        return None
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(_path(root), flags)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                return None
            record = json.loads(file.read())
        if record["key"] != _key(root) or not all(map(_is_current, record["files"])):
            return None
        data: Data = record["data"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return data


def remember(root: Path, identities: list[Identity], data: Data) -> None:
    """Keep the data for the next time; a cache that cannot be written is no error."""
    if not _is_safe(root):
        return
    record = {"key": _key(root), "files": identities, "data": data}
    path = _path(root)
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_quietly(path, json.dumps(record, separators=(",", ":")).encode())


def _path(root: Path) -> Path:
    return files.cache_dir() / "config" / f"{files.digest(str(root))[:32]}.json"


def _is_safe(root: Path) -> bool:
    """False where the project holds the cache: its contained tools could write what we believe."""
    return not Path(os.path.realpath(files.cache_dir())).is_relative_to(root)


def _key(root: Path) -> list[str]:
    """``~`` in a mount means this home; approvals lie in this directory; what is shipped lies
    beside this module, of which there may be another of the same version."""
    return [__version__, __file__, str(root), str(Path.home()), str(files.config_dir()), _SHAPE]


def _is_current(identity: Identity) -> bool:
    path, *facts = identity
    try:
        status = os.lstat(path)
    except OSError:
        return not facts
    if not facts or facts[:4] != _facts(status):
        return False
    digest = facts[4]
    return not digest or hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest


def _facts(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
