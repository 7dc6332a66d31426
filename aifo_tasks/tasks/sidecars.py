"""Tasks about sidecars: run a command in a toolchain, keep one ready, stop them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import doit

from aifo_tasks import log
from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction, typed


def task_toolchain() -> Iterator[dict[str, Any]]:
    """run a command in a toolchain: doit run toolchain:node -- pnpm test"""
    yield {"name": None, "doc": "run a command in a toolchain: doit run toolchain:node -- CMD"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"run a command in the {toolchain.kind} toolchain, made ready as needed",
            "actions": [ToolAction(run, interactive=True, kind=word)],
            "params": project.params("PULL", "TOOLCHAIN_CACHE", "TOOLCHAIN_IMAGE", "BOOTSTRAP"),
            "pos_arg": "command",
            "meta": {"aifo": {"quiet": True}},
        }


def task_sidecar() -> Iterator[dict[str, Any]]:
    """start a toolchain's sidecar, ready for calls"""
    yield {"name": None, "doc": "start a toolchain's sidecar, ready for calls"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"start the {toolchain.kind} sidecar, ready for calls",
            "actions": [ToolAction(run, kind=word)],
            "params": project.params("PULL", "TOOLCHAIN_CACHE", "TOOLCHAIN_IMAGE", "BOOTSTRAP"),
        }


def task_sidecar_stop() -> dict[str, Any]:
    """stop this project's sidecars (ALL=1: every project's of yours on this machine)"""
    return {"actions": [ToolAction(stop)], "params": project.params("ALL")}


def run(
    kind: str,
    *,
    pull: str,
    toolchain_cache: bool,
    yes: bool,
    bootstrap: list[str],
    toolchain_image: list[str],
    command: tuple[str, ...] = (),
) -> int:
    """Make a toolchain ready and run ``command`` in it; without one say what to type next."""
    from aifo_tasks.session import calls, ready

    work = project.workplace(kind, caches=toolchain_cache, images=toolchain_image)
    choices = project.choices(pull=pull, yes=yes, bootstrap=bootstrap)
    if command:
        cwd = calls.container_cwd(work, Path(doit.get_initial_workdir()))
        return calls.call(work, command, cwd=cwd, choices=choices)
    greeted = ready.get(work, choices)
    if greeted is not None:
        greeted.connection.close()
        log.step(
            greeted.record.name,
            f"is ready: {typed(f'doit run toolchain:{work.toolchain.short} -- COMMAND')}",
        )
    return 0


def stop(*, all: bool, yes: bool) -> None:  # noqa: A002  # the variable's name is ALL
    """End the sidecars of this project, or every one of this user's on this machine."""
    from aifo_tasks.session import ready
    from aifo_tasks.sidecar.identity import project_session

    engine = ready.connect(consent=yes)
    mine = project_session(project.config().root.resolve())
    names = ready.stop(engine, None if all else mine)
    log.done("sidecar_stop", f"stopped {', '.join(names)}" if names else "no sidecar runs")
