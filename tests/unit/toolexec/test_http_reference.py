"""Requests are read as h11 reads them: nothing more is taken, nothing is understood differently."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifo_tasks.toolexec.answers import RefusalError
from aifo_tasks.toolexec.http import Reader

Request = tuple[bytes, bytes, list[bytes], bytes]
"""Method, target, the values of every field that is looked at, body."""

NAMES = (
    b"host",
    b"authorization",
    b"x-aifo-proto",
    b"x-aifo-exec-id",
    b"connection",
    b"upgrade",
    b"expect",
)  # how a body is framed shows in the body


def ours(data: bytes) -> Request | None:
    """The request that the bytes hold; None for one that is refused, or not complete."""
    reader = Reader(body_limit=10_000)
    try:
        reader.feed(data)
        if reader.head is None:
            return None
        reader.check_length()
        reader.feed(b"")
    except RefusalError:
        return None
    if not reader.complete:
        return None
    values = [value for name in NAMES for value in reader.head.all(name)]
    return reader.head.method, reader.head.target, values, reader.body


def theirs(data: bytes) -> Request | None:
    """The same, as h11 has it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
    connection.receive_data(data)
    head, body = None, b""
    try:
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                values = [v for name in NAMES for n, v in head.headers if n == name]
                return bytes(head.method), bytes(head.target), values, body
    except h11.RemoteProtocolError:
        pass
    return None


LINE_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\n\t"])
FIRST = st.sampled_from(
    [b"POST /exec HTTP/1.1"] * 8
    + [
        b"GET / HTTP/1.1",
        b"POST  /exec HTTP/1.1",
        b"POST /exec HTTP/1.1 ",
        b"post /a b HTTP/1.1",
        b"POST /\xc3\xa9 HTTP/1.1",
        b"P(ST /exec HTTP/1.1",
        b" POST /exec HTTP/1.1",
    ]
)
FIELDS = st.sampled_from(
    [b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked"] * 3
    + [
        b"Host:a",
        b"Host:\ta ",
        b"host : a",
        b"Host",
        b": a",
        b"",
        b"Content-Length: 5",
        b"Content-Length: 3, 3",
        b"Content-Length: 3,4",
        b"Content-Length: +3",
        b"Content-Length: 0x3",
        b"Content-Length: \xd9\xa3",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: CHUNKED",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"X-Aifo-Proto: 3",
        b"X-Aifo-Proto:  3\t",
        b"X-Aifo-Proto: \x00",
        b"X-Aifo-Proto: 3\x0b",
        b"Expect: 100-continue",
        b"Connection: Upgrade",
        b"Upgrade: aifo-exec",
        b"Authorization: Bearer x",
        b"Authorization: \xff",
        b"X Y: 1",
        b"X\x7f: 1",
    ]
)
BODIES = st.sampled_from(
    [
        b"",
        b"abc",
        b"abcde",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"03\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nT: x\r\n\r\n",
        b"3\r\nabc\r\n0\r\nT x\r\n\r\n",
        b"3\r\nabc\r\n00\r\n\r\n",
        b"3\r\nabc\r\n\r\n0\r\n\r\n",
        b"ffffffffffffffffffff\r\nabc",
        b"3\r\nabc\r\n0\r\n\r\nPOST /exec HTTP/1.1\r\n",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    lines = [draw(FIRST), *draw(st.lists(FIELDS, max_size=5))]
    head = b"".join(line + draw(LINE_ENDS) for line in lines)
    return head + draw(LINE_ENDS) + draw(BODIES)


@settings(max_examples=1000)
@given(requests())
def test_what_is_taken_is_what_h11_takes(data: bytes) -> None:
    found = ours(data)
    if found is not None:
        assert found == theirs(data)


USUAL = [b"Host: a", b"Authorization: Bearer x", b"X-Aifo-Proto: 3", b"Connection: Upgrade"]


@given(
    st.permutations(USUAL),
    st.sampled_from([b"", b"Content-Length: 3", b"Transfer-Encoding: chunked"]),
    BODIES,
)
def test_what_h11_takes_of_a_plain_request_is_taken(
    fields: list[bytes], framing: bytes, body: bytes
) -> None:
    lines = [b"POST /exec HTTP/1.1", *fields, *([framing] if framing else []), b"", body]
    data = b"\r\n".join(lines)
    assert ours(data) == theirs(data)


def test_the_reference_takes_something() -> None:
    data = (
        b"POST /exec HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert ours(data) == theirs(data) == (b"POST", b"/exec", [b"a"], b"abc")


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/2.0"])
def test_only_one_version_is_spoken(version: bytes) -> None:
    assert ours(b"POST /exec " + version + b"\r\nHost: a\r\n\r\n") is None
