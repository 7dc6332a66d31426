"""Descriptors that a client passed: which a tool may have, and closing them without waiting.

Nobody may keep the event loop waiting with a file of his, so a descriptor is asked what it is
by ``statx`` from what the kernel has at hand, and whatever may take its time is done in a
thread: closing anything but a pipe or a memory device, asking an unknown device whether it is
a terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import stat
import struct
import threading
from collections.abc import Sequence

from aifo_tasks.toolexec import answers

_STREAMS = ("stdin", "stdout", "stderr")
_MEMORY = 1
"""The major number of /dev/null, /dev/zero, /dev/full and their like."""

_EMPTY_PATH, _DONT_SYNC, _TYPE = 0x1000, 0x4000, 1
_SIZE, _MODE_AT, _MAJOR_AT = 256, 28, 128
"""Of the structure that ``statx`` fills, the same on every architecture."""


async def check(descriptors: Sequence[tuple[int, int]]) -> None:
    """RefusalError for a directory, an O_PATH descriptor or a terminal.

    ``descriptors`` are stream numbers with their descriptors.
    """
    for n, descriptor in descriptors:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & getattr(os, "O_PATH", 0):
            raise answers.bad(f"{_STREAMS[n]} is only a path")
        mode, major = _look(descriptor)
        if mode == 0:
            raise answers.bad(f"{_STREAMS[n]} is broken")
        if stat.S_ISDIR(mode):
            raise answers.bad(f"{_STREAMS[n]} is a directory")
        is_device = stat.S_ISCHR(mode) and major != _MEMORY
        if is_device and await asyncio.to_thread(os.isatty, descriptor):
            raise answers.bad(f"{_STREAMS[n]} is a terminal, and no tool gets one of yours")


def dispose(descriptors: Sequence[int]) -> None:
    """Close what a client passed; a close that takes its time keeps nobody waiting."""
    slow = []
    for descriptor in descriptors:
        mode, major = _look(descriptor)
        if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and major == _MEMORY):
            os.close(descriptor)
        else:
            slow.append(descriptor)
    if slow:
        threading.Thread(target=_close, args=(slow,), daemon=True).start()


def _look(descriptor: int) -> tuple[int, int]:
    """The mode of what is open there, 0 when nobody can tell, and a device's major number."""
    if _statx is None:
        status = os.fstat(descriptor)
        return status.st_mode, os.major(status.st_rdev)
    found = ctypes.create_string_buffer(_SIZE)
    if _statx(descriptor, b"", _EMPTY_PATH | _DONT_SYNC, _TYPE, found) != 0:
        return 0, 0
    (mode,) = struct.unpack_from("=H", found, _MODE_AT)
    (major,) = struct.unpack_from("=I", found, _MAJOR_AT)
    return mode, major


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


_statx = getattr(
    ctypes.CDLL(None), "statx", None
)  # Linux's own; nowhere else does a tool get descriptors
