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
import queue
import stat
import struct
import threading
from collections.abc import Sequence

from aifo_tasks.toolexec import answers

_STREAMS = ("stdin", "stdout", "stderr")
_MEMORY = 1
"""The major number of /dev/null, /dev/zero, /dev/full and their like."""

_EMPTY_PATH, _DONT_SYNC, _TYPE = 0x1000, 0x4000, 1
_MODE_AND_MAJOR = struct.Struct("=28xH98xI")
"""Of the 256 bytes that ``statx`` fills, the same on every architecture."""


class Passed:
    """What came with a request, in order; everything is closed by ``close``."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = descriptors
        self._quick: set[int] = set()

    async def streams(self, terminals: int) -> list[int]:
        """Those that a tool gets: all but where a bit of ``terminals`` is set.

        RefusalError for a number other than three, a directory, an O_PATH descriptor or a
        terminal.
        """
        if len(self._descriptors) != len(_STREAMS):
            raise answers.bad(f"descriptors: exactly three, found {len(self._descriptors)}")
        wanted = []
        for n, descriptor in enumerate(self._descriptors):
            mode, major = _look(descriptor)
            is_memory = stat.S_ISCHR(mode) and major == _MEMORY
            if is_memory or stat.S_ISFIFO(mode):
                self._quick.add(descriptor)
            if not terminals >> n & 1:
                _check(n, descriptor, mode)
                if stat.S_ISCHR(mode) and not is_memory:
                    await _check_terminal(n, descriptor)
                wanted.append(descriptor)
        return wanted

    def close(self) -> None:
        """Close all of it; a close that takes its time keeps nobody waiting."""
        slow = []
        for descriptor in self._descriptors:
            if descriptor in self._quick:
                os.close(descriptor)
            else:
                slow.append(descriptor)
        if slow:
            _closer.close(slow)


def _check(n: int, descriptor: int, mode: int) -> None:
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & getattr(os, "O_PATH", 0):
        raise answers.bad(f"{_STREAMS[n]} is only a path")
    if mode == 0:
        raise answers.bad(f"{_STREAMS[n]} is broken")
    if stat.S_ISDIR(mode):
        raise answers.bad(f"{_STREAMS[n]} is a directory")


async def _check_terminal(n: int, descriptor: int) -> None:
    if await asyncio.to_thread(os.isatty, descriptor):
        raise answers.bad(f"{_STREAMS[n]} is a terminal, and no tool gets one of yours")


def _look(descriptor: int) -> tuple[int, int]:
    """The mode of what is open there, 0 when nobody can tell, and a device's major number."""
    if _statx is None:
        status = os.fstat(descriptor)
        return status.st_mode, os.major(status.st_rdev)
    if _statx(descriptor, b"", _EMPTY_PATH | _DONT_SYNC, _TYPE, _found) != 0:
        return 0, 0
    mode, major = _MODE_AND_MAJOR.unpack_from(_found)
    return mode, major


class _Closer:
    """Closes what may take its time in a thread that waits for it, and while that one is still
    at it, in others of their own: to start one takes as long as to start a call.
    """

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._given: queue.SimpleQueue[Sequence[int]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def close(self, descriptors: Sequence[int]) -> None:
        if not self._free.acquire(blocking=False):
            threading.Thread(target=_close, args=(descriptors,), daemon=True).start()
            return
        self._given.put(descriptors)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            _close(self._given.get())
            self._free.release()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


_closer = _Closer()
_statx = getattr(ctypes.CDLL(None), "statx", None)  # Linux's own; nowhere else do tools get any
_found = ctypes.create_string_buffer(256)  # only the event loop looks
