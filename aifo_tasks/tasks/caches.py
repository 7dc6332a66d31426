"""Tasks about caches: warm, list, purge, export and import named volumes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import doit

from aifo_tasks import log
from aifo_tasks.errors import AifoError, UsageError
from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction
from aifo_tasks.tasks.uptodate import Question, asked


def task_warm_cache() -> Iterator[dict[str, Any]]:
    """fill a toolchain's cache from the lockfile, without installing"""
    yield {"name": None, "doc": "fill a toolchain's cache from the lockfile"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"fetch what the {toolchain.kind} lockfile names into the cache",
            "actions": [ToolAction(warm, kind=word)],
            "uptodate": [asked(_question(word))],
            "params": project.params("PULL", "TOOLCHAIN_CACHE"),
        }


def task_caches() -> dict[str, Any]:
    """list the volumes of yours: size and last use"""
    return {
        "actions": [ToolAction(listing, interactive=True)],
        "meta": {"aifo": {"quiet": True}},
    }


def task_purge_caches() -> dict[str, Any]:
    """remove the cache volumes (OVERLAYS=1: this project's overlays too); asks, or YES=1"""
    return {"actions": [ToolAction(purge)], "params": project.params("OVERLAYS")}


def task_toolchain_cache_clear() -> dict[str, Any]:
    """the same as purge_caches"""
    return task_purge_caches()


def task_export_cache() -> Iterator[dict[str, Any]]:
    """write a toolchain's cache volumes to a tar file: doit export_cache:node FILE=node.tar"""
    yield {"name": None, "doc": "write a toolchain's cache volumes to a tar file, FILE=…"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"write the {toolchain.kind} cache volumes to FILE",
            "actions": [ToolAction(export, kind=word)],
            "params": project.params("FILE"),
        }


def task_import_cache() -> Iterator[dict[str, Any]]:
    """read a toolchain's cache volumes from a tar file: doit import_cache:node FILE=node.tar"""
    yield {"name": None, "doc": "read a toolchain's cache volumes from a tar file, FILE=…"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"read the {toolchain.kind} cache volumes from FILE",
            "actions": [ToolAction(import_, kind=word)],
            "params": project.params("FILE"),
        }


def warm(kind: str, *, pull: str, toolchain_cache: bool, yes: bool) -> None:
    """Fetch what the lockfile names."""
    from aifo_tasks.session import warming

    work = project.workplace(kind, caches=toolchain_cache)
    choices = project.choices(pull=pull, yes=yes)
    warming.warm_cache(work, choices)


def listing() -> None:
    """One line a volume, on stdout."""
    from aifo_tasks import cache
    from aifo_tasks.session import ready
    from aifo_tasks.sidecar.identity import owner_of

    root = project.config().root
    found = cache.listing(ready.connect(consent=False), project.config(), owner_of(root).uid)
    lines = [f"{'VOLUME':50} {'KIND':8} {'SIZE':>10}  LAST USE"]
    for one in found:
        used = "-" if one.last_use is None else time.strftime("%F %R", time.localtime(one.last_use))
        lines.append(f"{one.volume:50} {one.kind:8} {size_text(one.size):>10}  {used}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def purge(*, overlays: bool, yes: bool) -> None:
    """Remove the caches after asking."""
    from aifo_tasks import cache
    from aifo_tasks.session import ready
    from aifo_tasks.sidecar.identity import owner_of

    if not yes and not log.is_dry_run() and not _agreed(overlays=overlays):
        raise AifoError("purge_caches", "was not agreed to", hint="doit purge_caches YES=1")
    root = project.config().root
    engine = ready.connect(consent=False)
    freed = cache.purge(engine, project.config(), owner_of(root).uid, overlays=overlays)
    log.done("purge_caches", f"freed {size_text(freed)}")


def export(kind: str, *, file: str) -> None:
    """Write the cache volumes of a toolchain to a tar file."""
    from aifo_tasks import cache
    from aifo_tasks.session import ready

    work = project.workplace(kind)
    path = _path(file, f"export_cache:{work.toolchain.short}")
    engine = ready.connect(consent=False)
    image = work.image
    cache.export_archive(engine, work.toolchain, work.plan.owner.uid, image, path)
    log.done(f"export_cache {kind}", f"wrote {path}")


def import_(kind: str, *, file: str) -> None:
    """Read the cache volumes of a toolchain from a tar file."""
    from aifo_tasks import cache
    from aifo_tasks.session import ready

    work = project.workplace(kind)
    path = _path(file, f"import_cache:{work.toolchain.short}")
    owner = work.owner
    engine = ready.connect(consent=False)
    cache.import_archive(engine, work.toolchain, owner, work.image, path)
    log.done(f"import_cache {kind}", f"read {path}")


def size_text(size: int | None) -> str:
    """A number of bytes as people read it; a dash when nobody knows."""
    if size is None or size < 0:
        return "-"
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _path(file: str, task: str) -> Path:
    if not file:
        raise UsageError(task, "needs a file", hint=f"doit {task} FILE=cache.tar")
    return Path(doit.get_initial_workdir()) / file


def _agreed(*, overlays: bool) -> bool:
    """Ask on the terminal; without one nobody agrees."""
    if not sys.stdin.isatty():
        return False
    what = "cache volumes and this project's overlays" if overlays else "cache volumes"
    log.clear()
    sys.stderr.write(f"remove your {what}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _question(kind: str) -> Question:
    def question(options: Mapping[str, Any]) -> str | None:
        from aifo_tasks.session import warming

        return warming.reason(project.workplace(kind, caches=options["toolchain_cache"]))

    return question
