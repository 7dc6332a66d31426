"""pnpm-lock.yaml, read by a scan of its lines: cheap enough for every call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from aifo_tasks.errors import InstallError

NAME = "pnpm-lock.yaml"

_KEY = re.compile(r"""  (?:'((?:[^']|'')*)'|("(?:[^"\\]|\\.)*")|([^\s'"?#].*?)):(?:\s.*)?""")
_PATH = re.compile(r" +path: (.+)")


def importers(lock: bytes) -> tuple[str, ...]:
    """The workspace members a lockfile names, without the root.

    pnpm writes the file itself: one top-level key, two spaces before each importer, so a
    scan of its lines does. Raises InstallError for a name that leaves the project.
    """
    return tuple(_member(name) for name in _keys(_section(lock, "importers")) if name != ".")


def patches(lock: bytes) -> tuple[str, ...]:
    """The patch files a lockfile names, relative to the project."""
    found: list[str] = []
    for line in _section(lock, "patchedDependencies"):
        path = _PATH.fullmatch(line)
        if path is not None:
            found += _keys(iter([f"  {path[1]}:"]))
    return tuple(found)


def has_packages(lock: bytes) -> bool:
    """True when the lockfile names at least one package to fetch."""
    return re.search(rb"^packages:[ \t]*\r?$", lock, re.MULTILINE) is not None


def _section(lock: bytes, name: str) -> Iterator[str]:
    """The lines below one top-level key."""
    try:
        text = lock.decode()
    except UnicodeDecodeError as error:
        raise InstallError(NAME, f"is not UTF-8 at byte {error.start}") from None
    start = re.search(rf"^{name}:[ \t]*\r?$", text, re.MULTILINE)
    if start is None:
        return
    position = start.end() + 1
    while position < len(text):
        end = text.find("\n", position)
        line = text[position : end if end >= 0 else len(text)].rstrip("\r")
        if line and line[0] not in " #":
            return
        yield line
        position = end + 1 if end >= 0 else len(text)


def _keys(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("  ") or line[2:3] in ("", " ", "#"):
            continue
        match = _KEY.fullmatch(line)
        if match is None:
            raise InstallError(NAME, f"has an importer that cannot be read: {line.strip()}")
        yield _scalar(match)


def _scalar(match: re.Match[str]) -> str:
    single, double, plain = match.groups()
    if single is not None:
        return str(single).replace("''", "'")
    if double is not None:
        escaped = re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", double)
        try:
            return str(json.loads(escaped))
        except ValueError:
            raise InstallError(NAME, f"has a name that cannot be read: {double}") from None
    return str(plain)


def _member(name: str) -> str:
    parts = name.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in name:
        raise InstallError(
            NAME, f"names a workspace member outside of the project: '{name}'",
            hint="run from the directory that holds all members",
        )  # fmt: skip
    return name
