"""Tasks about toolchains.lock: write it, and tell what it does not name any more."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aifo_tasks import files, locked, log
from aifo_tasks.errors import ConfigError, LockError
from aifo_tasks.locked import NAME, Lock
from aifo_tasks.model import Toolchain
from aifo_tasks.tasks import project, variables
from aifo_tasks.tasks.actions import ToolAction

if TYPE_CHECKING:
    from aifo_tasks.engine.publishing import Publisher
    from aifo_tasks.image.lock import Place
    from aifo_tasks.image.pin import Row
    from aifo_tasks.image.publish import Published

_DIGITS = len("sha256:") + 12
"""How much of a digest is shown."""


def task_lock() -> dict[str, Any]:
    """write toolchains.lock: what every toolchain's image is made of, to the digest"""
    return {
        "actions": [ToolAction(lock)],
        "params": project.params("TOOLCHAINS", "PLATFORMS", "REFRESH_REGISTRY"),
    }


def task_outdated() -> dict[str, Any]:
    """compare toolchains.lock with what is declared and in registries; status 1 if it differs"""
    return {
        "actions": [ToolAction(outdated, interactive=True)],
        "params": variables.params("TOOLCHAINS", "YES", "REFRESH_REGISTRY"),
        "meta": {"aifo": {"quiet": True}},
    }


def lock(
    *, toolchains: Sequence[str], platforms: Sequence[str], yes: bool, refresh_registry: bool
) -> None:
    """Ask for the base of each toolchain, or of those named, and write the lock once all are
    known; bases from Debian's archive are made for ``platforms``."""
    from aifo_tasks.image import lock as locks
    from aifo_tasks.image.target import checked_platforms

    if variables.flag("LOCKED"):
        raise LockError("LOCKED=1", f"keeps {NAME} as it is", hint="doit lock LOCKED=0")
    with _alone() as before:
        if toolchains and before is None:
            _refuse_problems()
        place = _place(consent=yes, refresh=refresh_registry)
        place = replace(place, platforms=checked_platforms(tuple(platforms)))
        kept = before or Lock()
        found = [
            locks.resolve(place, each, kept.toolchain(each.kind)) for each in _chosen(toolchains)
        ]
        _write((kept if toolchains else Lock()).holding(*found))


def outdated(*, toolchains: Sequence[str], yes: bool, refresh_registry: bool) -> int:
    """Print a table; 1 when anything is not as it is locked, or does not answer.

    A newer release of a package that the file pins is only told.
    """
    from aifo_tasks.image import lock as locks

    _refuse_problems()
    found = project.config().lock
    if found is None:
        raise LockError(NAME, "is not there", hint="doit lock")
    place = _place(consent=yes, refresh=refresh_registry)
    rows = [
        row
        for each in _chosen(toolchains)
        for row in locks.outdated(place, each, found.toolchain(each.kind))
    ]
    sys.stdout.write(_table(rows))
    sys.stdout.flush()
    return 0 if all(row.same or row.told for row in rows) else 1


def record(publisher: Publisher, toolchain: Toolchain, done: Published) -> None:
    """Write what was pushed into the lock; LOCKED=1 leaves it as it is."""
    from aifo_tasks.errors import AifoError
    from aifo_tasks.image import lock as locks

    if done.target.kind != "registry" or done.content is None:
        return
    if variables.flag("LOCKED"):
        log.step(NAME, "is left as it is: LOCKED=1")
        return
    with _alone() as before:
        _refuse_problems()
        kept = before or Lock()
        try:
            entry = locks.published(publisher, toolchain, done, kept.toolchain(toolchain.kind))
        except AifoError as error:
            log.warn(NAME, f"not written: {error.sentence}")
            return
        _write(kept.holding(entry))


def record_merged(toolchain: Toolchain, done: locked.Published) -> None:
    """Write what was merged into a lock that names the toolchain, unless LOCKED=1."""
    if variables.flag("LOCKED"):
        return
    with _alone() as before:
        _refuse_problems()
        found = before.toolchain(toolchain.kind) if before is not None else None
        if before is not None and found is not None:
            _write(before.holding(locked.pushed(found, done)))


def _chosen(words: Sequence[str]) -> list[Toolchain]:
    """What is declared, or asked for, whatever the lock says."""
    kinds = words or [each.short for each in project.config().toolchains]
    return [project.declared(word).toolchain for word in kinds]


def _place(*, consent: bool, refresh: bool) -> Place:
    from aifo_tasks.image import lock as locks
    from aifo_tasks.tasks import publishing

    engine, publisher = publishing.connect("lock", consent=consent)
    prefixes = project.prefixes(refresh=refresh)
    return locks.Place(engine=engine, publisher=publisher, prefixes=prefixes, consent=consent)


@contextlib.contextmanager
def _alone() -> Iterator[Lock | None]:
    """Nobody else of this user writes the lock; it as it is now."""
    from aifo_tasks.config import locks
    from aifo_tasks.image.bootstrap import alone

    root = project.config().root
    with alone(f"toolchains-{files.digest(str(root))[:12]}", NAME):
        data, _ = locks.read(root)
        yield None if data is None else locks.lock(data)


def _refuse_problems() -> None:
    if project.config().lock_problems:
        raise ConfigError(project.config().lock_problems, file=NAME)


def _write(lock: Lock) -> None:
    from aifo_tasks.config import locks

    if locks.write(project.config().root, lock):
        log.done(NAME, "written")
    else:
        log.step(NAME, "says so already")


def _table(rows: Sequence[Row]) -> str:
    head = ("TOOLCHAIN", "WHAT", "LOCKED", "NOW")
    lines = [head]
    for row in rows:
        now = "the same" if row.same else _short(row.now)
        lines.append((row.kind, row.what, _short(row.locked) or "-", now or "-"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _short(text: str) -> str:
    return text[:_DIGITS] if text.startswith("sha256:") else text
