"""Descriptors that a client passed: which a tool may have, and closing them without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Sequence

from aifo_tasks.toolexec import answers

_STREAMS = ("stdin", "stdout", "stderr")


async def check(descriptors: Sequence[tuple[int, int]]) -> None:
    """RefusalError for a directory, an O_PATH descriptor or a terminal.

    ``descriptors`` are stream numbers with their descriptors. Whatever is no pipe may lie on
    a file system that takes its time, and is looked at in a thread.
    """
    slow = [(n, descriptor) for n, descriptor in descriptors if not _is_pipe(descriptor)]
    if slow:
        await asyncio.to_thread(_check, slow)


def dispose(descriptors: Sequence[int]) -> None:
    """Close what a client passed; a close that takes its time keeps nobody waiting."""
    slow = [descriptor for descriptor in descriptors if not _is_pipe(descriptor)]
    for descriptor in descriptors:
        if descriptor not in slow:
            os.close(descriptor)
    if slow:
        threading.Thread(target=_close, args=(slow,), daemon=True).start()


def _check(descriptors: Sequence[tuple[int, int]]) -> None:
    for n, descriptor in descriptors:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & getattr(os, "O_PATH", 0):
            raise answers.bad(f"{_STREAMS[n]} is only a path")
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise answers.bad(f"{_STREAMS[n]} is a directory")
        if stat.S_ISCHR(mode) and os.isatty(descriptor):
            raise answers.bad(f"{_STREAMS[n]} is a terminal, and no tool gets one of yours")


def _is_pipe(descriptor: int) -> bool:
    """True for a pipe, which answers and closes at once; asked without any file system."""
    try:
        return fcntl.fcntl(descriptor, getattr(fcntl, "F_GETPIPE_SZ", -1)) > 0
    except OSError:
        return False


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
