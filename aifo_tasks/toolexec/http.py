"""HTTP/1.1 as the proxy reads it: bytes in, a head and a body out, on top of h11; no I/O."""

from __future__ import annotations

import re

import h11

from aifo_tasks.toolexec import answers
from aifo_tasks.value import dataclass

HEAD_LIMIT = 64 * 1024
LINES_LIMIT = 1024
BODY_LIMIT = 24 * 1024 * 1024
"""Bytes of a body: the kernel's limit on arguments, percent-encoded."""

_BLANK_LINE = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request's first part; the names of ``fields`` are in lower case."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for each, value in self.fields if each == name]

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that may stand there once; RefusalError when it is repeated."""
        values = self.all(name)
        if len(values) > 1:
            raise answers.bad(f"{name.decode('ascii').title()} is given {len(values)} times")
        return values[0] if values else None


class Reader:
    """Takes a request's bytes as they come: first ``head`` is there, then ``complete`` holds."""

    def __init__(self, *, body_limit: int = BODY_LIMIT) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * HEAD_LIMIT)
        self._start = bytearray()
        self._body = bytearray()
        self._limit = body_limit
        self.head: Head | None = None
        self.complete = False

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return bytes(self._body)

    @property
    def wants_continue(self) -> bool:
        """True when the client holds the body back until it is asked for it."""
        return not self.complete and self._connection.they_are_waiting_for_100_continue

    @property
    def rest(self) -> bytes:
        """What came after the request's end."""
        return self._connection.trailing_data[0] if self.complete else b""

    def feed(self, data: bytes) -> None:
        """Take some bytes, at least one; RefusalError with the answer they get.

        Once ``head`` is there the body is read by the next call; ``feed(b"")`` is for what
        came along with the head.
        """
        try:
            if self.head is None:
                self._feed_head(data)
            else:
                if data:
                    self._connection.receive_data(data)
                self._read_body()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise answers.head_too_large() from None
            raise answers.bad(str(error)) from None

    def _feed_head(self, data: bytes) -> None:
        looked_at = max(0, len(self._start) - 2)
        self._start += data
        end = _BLANK_LINE.search(self._start, looked_at)
        size = end.end() if end else len(self._start)
        if size > HEAD_LIMIT or self._start.count(b"\n", 0, size) > LINES_LIMIT:
            raise answers.head_too_large()
        if end is None:
            return
        self._connection.receive_data(bytes(self._start))
        self._start.clear()
        event = self._connection.next_event()
        if not isinstance(event, h11.Request):
            raise answers.bad("there is no request")
        self.head = self._checked(event)

    def _checked(self, request: h11.Request) -> Head:
        head = Head(
            method=request.method,
            target=request.target,
            fields=tuple((bytes(name), bytes(value)) for name, value in request.headers),
        )
        if request.http_version != b"1.1":
            raise answers.bad("HTTP/1.1 is spoken here")
        length = head.all(b"content-length")
        if length and head.all(b"transfer-encoding"):
            raise answers.bad("Content-Length and Transfer-Encoding exclude each other")
        return head

    def check_length(self) -> None:
        """Raises RefusalError for a body that is announced to be over the limit."""
        assert self.head is not None
        if any(int(length) > self._limit for length in self.head.all(b"content-length")):
            raise answers.body_too_large()

    def _read_body(self) -> None:
        while not self.complete:
            event = self._connection.next_event()
            if isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._limit:
                    raise answers.body_too_large()
            elif isinstance(event, h11.EndOfMessage):
                self.complete = True
            else:
                return
