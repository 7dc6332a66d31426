"""Reading what a command writes, as fast as it comes, and throwing it away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_CHUNK = 1 << 20


def read(
    argv: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a command and throw away what it writes."""
    read_from(lambda: subprocess.call(argv, env=environment, cwd=cwd, stdin=subprocess.DEVNULL))


def read_from(run: Callable[[], int]) -> None:
    """Run something in a process of its own with a pipe as its output, and read that."""
    read, write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(write, 1)
            os.close(read)
            os.close(write)
            status = run()
        finally:
            os._exit(status)
    os.close(write)
    room = [bytearray(_CHUNK)]  # a new one each time would take longer than the bytes
    while os.readv(read, room):
        pass
    os.close(read)
    _, status = os.waitpid(child, 0)
    assert status == 0
