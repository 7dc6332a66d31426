"""Calls: a command in a toolchain of this project, on this process's own streams."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from aifo_tasks.errors import AifoError
from aifo_tasks.model import WORKSPACE
from aifo_tasks.session import ready
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.toolexec import launcher, policy


def call(work: Workplace, argv: Sequence[str], *, cwd: str, choices: Choices) -> int:
    """Run a command in the toolchain on this process's own streams; returns its exit status.

    A warm sidecar whose spec and stamp are what the files say takes the call at once; else
    everything is made ready first. Raises AifoError for what the user can mend.
    """
    changing = work.install is not None and work.install.manager.changes_modules(argv)
    greeted = ready.get(work, choices, changing=changing)
    variables = environment(work)
    if greeted is None:
        from aifo_tasks.session.preview import print_call

        print_call(work.plan.name, argv, cwd, variables)
        return 0
    looks = bool(os.listdir(work.plan.project))  # else it may be as empty in the sidecar
    request = launcher.Call(argv=argv, cwd=cwd, environment=variables, looks=looks)
    alone = ready.changing_modules(work, greeted) if changing else contextlib.nullcontext()
    with alone:
        return launcher.attach(greeted.connection, request)


def environment(work: Workplace) -> dict[str, str]:
    """The caller's variables that reach a tool of this toolchain."""
    own = work.plan.environment()
    own.pop("LANG")  # the only one of ours that is a wish of the caller's
    return dict(policy.forwarded(os.environ, work.toolchain.forward, own))


def container_cwd(work: Workplace, directory: Path) -> str:
    """Where ``directory`` of the host is inside the sidecar.

    Raises AifoError when it lies outside the project.
    """
    try:
        relative = directory.resolve().relative_to(work.plan.project)
    except ValueError:
        raise AifoError(
            str(directory), "is outside the project", hint=f"cd {work.plan.project}"
        ) from None
    return WORKSPACE if relative == Path() else f"{WORKSPACE}/{relative.as_posix()}"
