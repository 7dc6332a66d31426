"""The task that runs a command in a container without toolchains, beside those it may call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import doit

from aifo_tasks.errors import UsageError
from aifo_tasks.tasks import project, serving
from aifo_tasks.tasks.actions import ToolAction


def task_shell() -> dict[str, Any]:
    """run a command, else bash, in a plain Debian that calls toolchains: doit run shell -- CMD"""
    return {
        "actions": [ToolAction(run, interactive=True)],
        "params": project.params(*serving.VARIABLES, "IMAGE"),
        "pos_arg": "command",
        "meta": {"aifo": {"quiet": True}},
    }


def run(*, command: tuple[str, ...] = (), **options: Any) -> int:
    """Run it in a session of its own; its exit status is the task's."""
    from aifo_tasks.session import calls, shell

    if not command and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "shell", "there is neither a command nor a terminal", hint="doit run shell -- COMMAND"
        )
    works = serving.works(options)
    wish = shell.Wish(
        command=command or ("bash",),
        cwd=calls.container_cwd(works[0], Path(doit.get_initial_workdir())),
        image=options["image"],
        transport=serving.transport(options),
    )
    return shell.run(works, serving.choices(options), wish)
