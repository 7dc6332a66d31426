"""A call as a command to paste, for a dry run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from aifo_tasks import log
from aifo_tasks.session.workplace import Workplace


def print_call(
    work: Workplace, argv: Sequence[str], cwd: str, environment: Mapping[str, str]
) -> None:
    """Print the call as ``docker exec`` makes it, for a dry run.

    docker takes a variable without a value from the caller's environment: no value that may
    be a secret is printed.
    """
    options = []
    for name, value in environment.items():
        options += ["-e", name if os.environ.get(name) == value else f"{name}={value}"]
    log.command(
        shlex.join(["docker", "exec", "-i", "-w", cwd, *options, work.plan.name, *argv])
    )
