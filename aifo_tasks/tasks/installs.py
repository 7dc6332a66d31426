"""Tasks about installs: a project's dependencies, into overlays and on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction
from aifo_tasks.tasks.uptodate import Question, asked


def task_install() -> Iterator[dict[str, Any]]:
    """install a project's dependencies into their overlay when a lockfile changed"""
    yield {"name": None, "doc": "install dependencies into overlays when a lockfile changed"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"install the {toolchain.kind} dependencies of this project",
            "actions": [ToolAction(install, kind=word)],
            "uptodate": [asked(_question(word))],
            "params": project.params("PULL", "TOOLCHAIN_CACHE"),
        }


def install(kind: str, *, pull: str, toolchain_cache: bool, yes: bool) -> None:
    """Install what the lockfile says, unless the overlay's stamp says it is there."""
    from aifo_tasks.session import ready

    work = project.workplace(kind, caches=toolchain_cache)
    choices = project.choices(pull=pull, yes=yes)
    greeted = ready.prepare(work, choices)
    if greeted is not None:
        greeted.connection.close()


def _question(kind: str) -> Question:
    def question(options: Mapping[str, Any]) -> str | None:
        from aifo_tasks.session import ready

        work = project.workplace(kind, caches=options["toolchain_cache"])
        greeted = ready.warm(work)
        if greeted is None:
            return "no sidecar runs that has what the files ask for"
        greeted.connection.close()
        return None

    return question
