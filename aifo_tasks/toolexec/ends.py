"""The caller's ends of a relayed tool's streams, read and written without keeping anybody waiting.

Whether a descriptor waits is a matter of everybody who has it open, so it is left as it is.
"""

from __future__ import annotations

import os
import select
import stat


class Source:
    """Where a tool's input comes from; the descriptor is this one's to close."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = _apart(descriptor, os.O_RDONLY)

    def read(self, limit: int) -> bytes | None:
        """What is there, at most so much; nothing at the end, None when it was a mistake to ask."""
        try:
            return os.read(self.descriptor, limit)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        os.close(self.descriptor)


class Target:
    """Where a tool's output goes; the descriptor is this one's to close."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = _apart(descriptor, os.O_WRONLY)
        self._most = _at_once(self.descriptor)
        self._pending = bytearray()
        self.is_ended = False
        """Nothing more comes; what is pending still goes."""

    @property
    def is_empty(self) -> bool:
        """True when everything has gone that has come."""
        return not self._pending

    def put(self, data: bytes) -> None:
        """Add what is to go; the credit that was given bounds it."""
        self._pending += data

    def write(self) -> int:
        """Write some of it; how much. OSError when nobody takes it any more.

        When poll has found something here although nothing is pending, nobody does.
        """
        if not self._pending:
            raise BrokenPipeError
        try:
            with memoryview(self._pending) as pending:
                written = os.write(self.descriptor, pending[: self._most])
        except BlockingIOError:
            return 0
        del self._pending[:written]
        return written

    def close(self) -> None:
        os.close(self.descriptor)


def _apart(descriptor: int, flags: int) -> int:
    """A pipe opened once more, where that may be without waiting; anything else as it is."""
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return descriptor
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # another user's, or nobody is at its other end
        return descriptor
    os.close(descriptor)
    return own


def _at_once(descriptor: int) -> int:
    """How many bytes can be written without waiting, when poll has found that some can."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode) or not os.get_blocking(descriptor):
        return 1 << 20
    return select.PIPE_BUF
