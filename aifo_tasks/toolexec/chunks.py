"""A chunked body: bytes in, what they carry out; no I/O."""

from __future__ import annotations

import re

from aifo_tasks.toolexec import answers

FIELD = re.compile(
    rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):"
    rb"[ \t]*((?:[\x21-\x7e\x80-\xff]+(?:[ \t]+[\x21-\x7e\x80-\xff]+)*)?)[ \t]*"
)
"""A line of a head or a trailer, without its end: a name and its value."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_LINE_LIMIT = 4096
_TRAILER_LIMIT = 64 * 1024


class Chunks:
    """Takes a body's bytes as they come; at its end ``complete`` holds and ``rest`` is what
    came after it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # of a chunk and the line end behind it
        self._in_trailer = False
        self._trailer = 0
        self.complete = False

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer) if self.complete else b""

    def feed(self, data: bytes) -> bytes:
        """What these bytes carry; RefusalError for what is no chunked body."""
        self._buffer += data
        carried = bytearray()
        while not self.complete:
            if self._left > 0:
                if not self._take(carried):
                    break
            elif (line := self._line()) is None:
                break
            elif self._in_trailer:
                self._read_trailer(line)
            else:
                self._read_size(line)
        return bytes(carried)

    def _take(self, carried: bytearray) -> bool:
        """Some of a chunk, or the line end behind it; False when more has to come."""
        if self._left > 2:
            piece = self._buffer[: self._left - 2]
            del self._buffer[: len(piece)]
            carried += piece
            self._left -= len(piece)
            return bool(piece)
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise answers.bad("a chunk is longer than its size")
        del self._buffer[:2]
        self._left = 0
        return True

    def _line(self) -> bytes | None:
        """The next line without its end, None when it has not come whole."""
        end = self._buffer.find(b"\r\n", 0, _LINE_LIMIT)
        if end < 0:
            if len(self._buffer) >= _LINE_LIMIT:
                raise answers.bad("illegal chunk header")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise answers.bad("illegal chunk header")
        size = int(match[1], 16)
        self._left = size + 2 if size else 0
        self._in_trailer = size == 0

    def _read_trailer(self, line: bytes) -> None:
        self._trailer += len(line)
        if self._trailer > _TRAILER_LIMIT:
            raise answers.head_too_large()
        if line and FIELD.fullmatch(line) is None:
            raise answers.bad("illegal header line")
        self.complete = not line
