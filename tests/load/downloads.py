"""Reading what a call writes, as versions 1 and 2 bring it, at any pace."""

from __future__ import annotations

import hashlib
import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024 * 1024

Read = Callable[[int], bytes]
"""At most so many bytes; none at the end."""


class Download:
    """An answer of version 1 or 2 whose body is read piece by piece.

    ``exit_code`` is -1 as long as nobody has said how the call ended.
    """

    def __init__(self, client: socket.socket) -> None:
        self._file = io.BufferedReader(client.makefile("rb", buffering=0), MIB // 4)
        self.status = int(self._line().split()[1])
        fields = self._fields()
        self.exit_code = int(fields.get("x-exit-code", -1))
        self._chunked = fields.get("transfer-encoding") == "chunked"
        self._left = int(fields.get("content-length", 0))
        self._begun = False

    def read(self, size: int) -> bytes:
        """Some of the body."""
        if self._chunked and self._left == 0 and not self._next_chunk():
            return b""
        data = self._file.read1(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()

    def _next_chunk(self) -> bool:
        if self._begun:
            self._line()
        self._begun = True
        size = self._line()
        self._left = int(size, 16) if size else 0
        if size == b"0":
            self.exit_code = int(self._fields()["x-exit-code"])
        return self._left > 0

    def _line(self) -> bytes:
        return self._file.readline().rstrip(b"\r\n")

    def _fields(self) -> dict[str, str]:
        found = {}
        while line := self._line():
            name, _, value = line.decode().partition(": ")
            found[name.lower()] = value
        return found


@dataclass(frozen=True)
class Pace:
    """How a reader reads: a byte, a pause, 1 MiB a second for some seconds, and then the rest."""

    pause: float = 0
    slow: int = 0

    def drink(self, read: Read) -> str:
        """The digest of everything."""
        digest = hashlib.sha256(_take(read, 1))
        time.sleep(self.pause)
        for _ in range(16 * self.slow):
            digest.update(_take(read, MIB // 16))
            time.sleep(1 / 16)
        while data := read(MIB):
            digest.update(data)
        return digest.hexdigest()

    @property
    def script(self) -> str:
        """The same as a tool: it prints the digest of its input."""
        slow = "head -c 1048576; sleep 1; " * self.slow
        return f"{{ head -c 1; sleep {self.pause}; {slow}cat; }} | sha256sum"


def _take(read: Read, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := read(size - len(data))):
        data += piece
    return data
