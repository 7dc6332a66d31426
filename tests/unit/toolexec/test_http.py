"""Requests as bytes: what is read of them, what is refused and how, wherever they are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifo_tasks.toolexec import answers, http
from aifo_tasks.toolexec.answers import RefusalError
from aifo_tasks.toolexec.http import Reader

HEAD = b"POST /exec HTTP/1.1\r\nHost: localhost\r\n"


def read(*pieces: bytes, body_limit: int = http.BODY_LIMIT) -> Reader:
    """A reader that was fed the pieces, its body too."""
    reader = Reader(body_limit=body_limit)
    for piece in pieces:
        before = reader.head
        reader.feed(piece)
        if before is None and reader.head is not None:
            reader.check_length()
            reader.feed(b"")
    return reader


def refused(data: bytes, **limits: int) -> tuple[int, bytes]:
    with pytest.raises(RefusalError) as info:
        read(data, **limits)
    return info.value.answer.status, info.value.answer.body


def status(data: bytes) -> int:
    """Of the refusal; 0 for bytes that are, or may become, a request."""
    try:
        read(data)
    except RefusalError as error:
        return error.answer.status
    return 0


def test_a_request_with_a_length() -> None:
    reader = read(HEAD + b"X-Aifo-Proto:  2 \r\nContent-Length: 4\r\n\r\na=bc")
    assert reader.head is not None
    assert (reader.head.method, reader.head.target) == (b"POST", b"/exec")
    assert reader.head.one(b"x-aifo-proto") == b"2"
    assert (reader.complete, reader.body, reader.rest) == (True, b"a=bc", b"")


@pytest.mark.parametrize("host", [b"localhost", b"localhost:1234", b"[::1]:80", b""])
def test_the_host_does_not_matter(host: bytes) -> None:
    assert read(b"POST /exec HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").complete


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n2;x=y\r\ncd\r\n0\r\nT: x\r\n\r\n"


@given(st.lists(st.integers(0, len(CHUNKED)), max_size=12))
def test_a_chunked_request_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CHUNKED)]
    pieces = [CHUNKED[a:b] for a, b in itertools.pairwise(edges) if a < b]
    reader = read(*pieces)
    assert (reader.complete, reader.body) == (True, b"a=bcd")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    for prefix in (b"", HEAD, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"):
        assert status(prefix + data) in {0, 400, 413, 431}


def test_an_unfinished_body_is_not_complete() -> None:
    assert not read(HEAD + b"Content-Length: 5\r\n\r\na=bc").complete
    assert not read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\na=bc\r\n").complete
    assert not read(HEAD).complete


def test_what_comes_after_an_upgrade_is_kept() -> None:
    fields = b"Connection: Upgrade\r\nUpgrade: aifo-exec\r\nContent-Length: 1\r\n\r\n"
    assert read(HEAD + fields + b"xyz").rest == b"yz"
    assert read(HEAD + b"Content-Length: 1\r\n\r\nxyz").rest == b"yz"


def test_a_client_that_waits_is_told_to_continue() -> None:
    fields = b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    assert read(HEAD + fields).wants_continue
    assert not read(HEAD + fields + b"x").wants_continue


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"nonsense\r\n\r\n", b"illegal request line"),
        (b"POST /exec HTTP/1.0\r\n\r\n", b"HTTP/1.1 is spoken here"),
        (b"POST /exec HTTP/1.1\r\n\r\n", b"Missing mandatory Host: header"),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"exclude each other"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"conflicting Content-Length"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b"bad Content-Length"),
        (HEAD + b"Content-Length: x\r\n\r\n", b"bad Content-Length"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", b"Only Transfer-Encoding: chunked"),
        (HEAD + b"no colon\r\n\r\n", b"illegal header line"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"illegal chunk header"),
        (b"\x16\x03\x01" + b"\n\n", b"illegal request line"),
    ],
)
def test_what_is_no_request_is_a_bad_request(data: bytes, what: bytes) -> None:
    status, body = refused(data)
    assert status == 400
    assert body.startswith(b"bad request: ")
    assert what in body


def of_size(size: int) -> bytes:
    """A head of exactly this many bytes."""
    start, end = HEAD + b"X: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


def of_lines(lines: int) -> bytes:
    return HEAD + b"X: y\r\n" * (lines - 3) + b"\r\n"


def test_the_head_has_limits() -> None:
    assert read(of_size(http.HEAD_LIMIT)).complete
    assert read(of_lines(http.LINES_LIMIT)).complete
    too_large = (431, b"request headers too large\n")
    assert refused(of_size(http.HEAD_LIMIT + 1)) == too_large
    assert refused(of_size(http.HEAD_LIMIT + 9)[: http.HEAD_LIMIT + 1]) == too_large
    assert refused(of_lines(http.LINES_LIMIT + 1)) == too_large


def test_the_body_has_a_limit() -> None:
    too_large = (413, b"request body too large\n")
    length = b"Content-Length: %d\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"
    assert read(HEAD + length % 8 + b"x" * 8, body_limit=8).complete
    assert refused(HEAD + length % 9, body_limit=8) == too_large
    assert refused(HEAD + chunked % 9 + b"x" * 9, body_limit=8) == too_large
    assert not read(HEAD + chunked % 8 + b"x" * 8, body_limit=8).complete


def test_a_field_that_may_stand_once() -> None:
    head = read(HEAD + b"Authorization: a\r\nauthorization: b\r\n\r\n").head
    assert head is not None
    with pytest.raises(RefusalError, match="Authorization is given 2 times"):
        head.one(b"authorization")


def test_plain_answers_are_whole() -> None:
    assert answers.busy().answer.encode() == (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nX-Exit-Code: 86\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n"
        b"Connection: close\r\n\r\nbusy\n"
    )
    assert answers.signalled().encode() == b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("error", "status", "body", "exit_code"),
    [
        (answers.unauthorized(), 401, "unauthorized\n", 86),
        (answers.unsupported(), 426, "Unsupported shim protocol; expected 1, 2 or 3\n", 86),
        (answers.not_found(), 404, "not found\n", 86),
        (answers.not_allowed(), 405, "method not allowed\n", 86),
        (answers.bad("cwd is missing"), 400, "bad request: cwd is missing\n", 86),
        (answers.head_too_large(), 431, "request headers too large\n", 86),
        (answers.body_too_large(), 413, "request body too large\n", 86),
        (answers.timeout(), 408, "timeout\n", 124),
        (answers.forbidden("npm publish", "never"), 403, "forbidden: npm publish: never\n", 86),
        (
            answers.unavailable("cargo"), 409,
            ("tool 'cargo' not available in running sidecars; start an appropriate toolchain "
            "(e.g., --toolchain c-cpp)\n"), 86,
        ),
        (answers.busy(), 503, "busy\n", 86),
        (answers.failed("tsc", "not found", 127), 500, "tsc: not found\n", 127),
        (answers.lost("aifo-tc-node"), 500, "aifo-tc-node: lost\n", 125),
        (answers.over_time(), 504, "timeout\n", 124),
        (answers.bad("a\x1b[31m\nb\u202e"), 400, "bad request: a\\x1b[31m\\x0ab\\x202e\n", 86),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_the_status_table(error: RefusalError, status: int, body: str, exit_code: int) -> None:
    answer = error.answer
    assert (answer.status, answer.body.decode(), answer.exit_code) == (status, body, exit_code)
