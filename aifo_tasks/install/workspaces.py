"""Directories of a project: those that workspace patterns name, and files in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import InstallError


def expand(project: Path, patterns: Iterable[str], manifest: str) -> tuple[str, ...]:
    """The directories that hold ``manifest`` and that patterns such as ``packages/*`` name.

    Sorted, relative, without the root; ``**`` stands for any depth, ``{a,b}`` for either, and
    a pattern after ``!`` takes away. Links and ``node_modules`` are not followed. Raises
    InstallError for a pattern that leaves the project.
    """
    found: set[str] = set()
    for written in patterns:
        for pattern in _alternatives(written.removeprefix("!")):
            parts = [part for part in pattern.split("/") if part not in ("", ".")]
            if pattern.startswith("/") or ".." in parts:
                raise outside(manifest, written)
            matching = set(_matching(project, "", parts))
            found = found - matching if written.startswith("!") else found | matching
    return tuple(
        path for path in sorted(found) if path and os.path.lexists(project / path / manifest)
    )


def existing(project: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Those that are directories here: a lockfile outlives a removed member."""
    return tuple(name for name in names if _is_directory(project, name))


def inside(name: str, manifest: str) -> str:
    """The path of a member as a lockfile writes it; InstallError for one outside."""
    parts = name.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in name:
        raise outside(manifest, name)
    return name


def outside(manifest: str, name: str) -> InstallError:
    """The error about a member that lies elsewhere."""
    return InstallError(
        manifest, f"names a workspace member outside of the project: '{name}'",
        hint="run from the directory that holds all members",
    )  # fmt: skip


def content(project: Path, names: Iterable[str]) -> tuple[tuple[str, bytes | None], ...]:
    """Each file's name and content, None for one that is not there."""
    return tuple((name, files.read_below(project, name)) for name in names)


def listed(project: Path, relative: str) -> tuple[str, ...]:
    """The regular files in a directory below the project, sorted."""
    return _entries(project, relative, directories=False)


def _alternatives(pattern: str) -> Iterator[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    for word in match[1].split(","):
        yield from _alternatives(pattern[: match.start()] + word + pattern[match.end() :])


def _matching(project: Path, base: str, parts: list[str]) -> Iterator[str]:
    """Directories below ``base`` that the parts of a pattern lead to."""
    if not parts:
        yield base
        return
    from fnmatch import fnmatchcase

    part, *rest = parts
    if not set(part) & set("*?["):
        path = f"{base}/{part}" if base else part
        if _is_directory(project, path):
            yield from _matching(project, path, rest)
        return
    if part == "**":
        yield from _matching(project, base, rest)
    for path in _entries(project, base, directories=True):
        name = path.rpartition("/")[2]
        if name == "node_modules" or name.startswith("."):
            continue
        if part == "**":
            yield from _matching(project, path, parts)
        elif fnmatchcase(name, part):
            yield from _matching(project, path, rest)


def _entries(project: Path, relative: str, *, directories: bool) -> tuple[str, ...]:
    """Paths of the directories, or the regular files, in a directory below the project."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        if relative:
            descriptor = files.open_below(project, relative, flags)
        else:
            descriptor = os.open(project, flags)
    except OSError:  # also what this user may not read
        return ()
    prefix = f"{relative}/" if relative else ""
    try:
        with os.scandir(descriptor) as entries:
            return tuple(
                sorted(
                    f"{prefix}{entry.name}"
                    for entry in entries
                    if (entry.is_dir if directories else entry.is_file)(follow_symlinks=False)
                )
            )
    finally:
        os.close(descriptor)


def _is_directory(project: Path, relative: str) -> bool:
    try:
        os.close(files.open_below(project, relative, os.O_RDONLY | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
