"""A call as a command to paste, for a dry run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from aifo_tasks import log
from aifo_tasks.engine import preview, provision


def print_call(
    container: str, argv: Sequence[str], cwd: str, environment: Mapping[str, str]
) -> None:
    """Print the call as ``docker exec`` makes it.

    What the caller's environment holds is named alone: no value that may be a secret is
    printed.
    """
    endpoint = provision.find()
    implied = endpoint is None or endpoint.source in {"DOCKER_HOST", "default socket"}
    client = preview.client_argv("docker", "" if endpoint is None or implied else endpoint.url)
    own = {name for name, value in environment.items() if os.environ.get(name) == value}
    lent = {
        name
        for name, value in environment.items()
        if name not in own and os.environ.get(f"AIFO_ENV_{name}") == value
    }
    variables = [
        (name, None if name in own | lent else value) for name, value in environment.items()
    ]
    prefix = "".join(f'{name}="$AIFO_ENV_{name}" ' for name in sorted(lent))
    exec_argv = preview.exec_argv(container, argv, client, cwd=cwd, environment=variables)
    log.command(prefix + shlex.join(exec_argv))
