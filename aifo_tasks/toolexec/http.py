"""HTTP/1.1 as the proxy reads it: bytes in, a head and a body out; no I/O.

One request a connection, and nothing that is not needed for it: no continued lines, no
transfer coding but chunked. The library for this, h11, would take an eighth of a call's time;
the tests compare: what is taken here is what h11 takes, and means the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.chunks import FIELD, Chunks
from aifo_tasks.value import dataclass

HEAD_LIMIT = 64 * 1024
LINES_LIMIT = 1024
BODY_LIMIT = 24 * 1024 * 1024
"""Bytes of a body: the kernel's limit on arguments, percent-encoded."""

_BLANK_LINE = re.compile(rb"\n\r?\n")
_REQUEST = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_LENGTH = re.compile(rb"[0-9]{1,20}")


class Head:
    """A request's first part; the names of ``fields`` are in lower case.

    The same bytes give the same head, so what follows from one can be remembered.
    """

    def __init__(
        self, *, method: bytes, target: bytes, fields: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        self.method = method
        self.target = target
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            self._values.setdefault(name, []).append(value)

    def all(self, name: bytes) -> Sequence[bytes]:
        """Every value of a field, in order."""
        return self._values.get(name, ())

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that may stand there once; RefusalError when it is repeated."""
        values = self._values.get(name, ())
        if len(values) > 1:
            raise answers.bad(f"{name.decode('ascii').title()} is given {len(values)} times")
        return values[0] if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How a body's end is found: after ``length`` bytes, or by its chunks. It may be held back
    until it is ``expected``."""

    length: int
    chunked: bool
    expected: bool


class Reader:
    """Takes a request's bytes as they come: first ``head`` is there, then ``complete`` holds."""

    def __init__(self, *, body_limit: int = BODY_LIMIT) -> None:
        self._waiting = bytearray()  # what has come and was not read yet
        self._body = bytearray()
        self._limit = body_limit
        self._framing: Framing | None = None
        self._chunks: Chunks | None = None
        self.head: Head | None = None
        self.complete = False

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return bytes(self._body)

    @property
    def wants_continue(self) -> bool:
        """True when the client holds the body back until it is asked for it."""
        held_back = self._framing is not None and self._framing.expected
        return held_back and not self.complete and not self._body

    @property
    def rest(self) -> bytes:
        """What came after the request's end."""
        return bytes(self._waiting) if self.complete else b""

    def feed(self, data: bytes) -> None:
        """Take some bytes; RefusalError with the answer they get.

        Once ``head`` is there the body is read by the next call; ``feed(b"")`` is for what
        came along with the head.
        """
        self._waiting += data
        if self.complete:
            return
        if self._framing is None:
            self._feed_head(len(data))
        elif self._chunks is not None:
            self._feed_chunks(self._chunks)
        else:
            self._feed_body(self._framing.length)

    def check_length(self) -> None:
        """Raises RefusalError for a body that is announced to be over the limit."""
        if self._framing is not None and self._framing.length > self._limit:
            raise answers.body_too_large()

    def _feed_head(self, new: int) -> None:
        end = _BLANK_LINE.search(self._waiting, max(0, len(self._waiting) - new - 2))
        size = end.end() if end else len(self._waiting)
        if size > HEAD_LIMIT or self._waiting.count(b"\n", 0, size) > LINES_LIMIT:
            raise answers.head_too_large()
        if end is not None:
            self.head, self._framing = _head(bytes(self._waiting[: end.start()]))
            self._chunks = Chunks() if self._framing.chunked else None
            del self._waiting[:size]

    def _feed_body(self, length: int) -> None:
        missing = length - len(self._body)
        self._body += self._waiting[:missing]
        del self._waiting[:missing]
        self.complete = len(self._body) == length

    def _feed_chunks(self, chunks: Chunks) -> None:
        self._body += chunks.feed(bytes(self._waiting))
        if len(self._body) > self._limit:
            raise answers.body_too_large()
        self._waiting = bytearray(chunks.rest)
        self.complete = chunks.complete


@functools.lru_cache(maxsize=64)
def _head(data: bytes) -> tuple[Head, Framing]:
    """The head in these bytes, its last line end cut off; most callers send the same again."""
    first, *lines = data.removesuffix(b"\r").replace(b"\r\n", b"\n").split(b"\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        raise answers.bad("illegal request line")
    if request[3] != b"1.1":
        raise answers.bad("HTTP/1.1 is spoken here")
    fields = []
    for line in lines:
        field = FIELD.fullmatch(line)
        if field is None:
            raise answers.bad("illegal header line")
        fields.append((field[1].lower(), field[2]))
    head = Head(method=request[1], target=request[2], fields=tuple(fields))
    if head.one(b"host") is None:
        raise answers.bad("Missing mandatory Host: header")
    return head, _framing(head)


def _framing(head: Head) -> Framing:
    lengths = {each.strip() for value in head.all(b"content-length") for each in value.split(b",")}
    coding = head.one(b"transfer-encoding")
    if lengths and coding is not None:
        raise answers.bad("Content-Length and Transfer-Encoding exclude each other")
    if len(lengths) > 1:
        raise answers.bad("conflicting Content-Length headers")
    if any(_LENGTH.fullmatch(length) is None for length in lengths):
        raise answers.bad("bad Content-Length")
    if coding is not None and coding.lower() != b"chunked":
        raise answers.bad("Only Transfer-Encoding: chunked is supported")
    return Framing(
        length=int(max(lengths, default=b"0")),
        chunked=coding is not None,
        expected=b"100-continue" in map(bytes.lower, head.all(b"expect")),
    )
