"""A client that init itself tells what comes of its call."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

import pytest

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Decoder, Exit, Failed, Frame, Stage, Type
from tests.native.running import GENEROUS, Init

WORDS = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Told:
    """A call whose client is a connection of its own."""

    def __init__(self, init: Init, *argv: bytes, words: bytes = WORDS, client: int = -1) -> None:
        self.caller = init.greeted()
        self.client, theirs = socket.socketpair()
        for end in (self.caller, self.client):
            end.settimeout(GENEROUS)
        null = os.open(os.devnull, os.O_RDWR)
        payload = frames.Call(argv=argv, cwd=b"/", words=words).encode()
        data = Frame(type=Type.CALL, payload=payload).encode()
        descriptors = [null] * 3 + [theirs.fileno() if client < 0 else client]
        socket.send_fds(self.caller, [data], descriptors)
        os.close(null)
        theirs.close()

    def to_caller(self) -> list[Frame]:
        """All that the caller hears."""
        return list(Decoder().feed(_all(self.caller)))

    def to_client(self) -> bytes:
        """All that the client hears, to the end of its connection."""
        return _all(self.client)

    def close(self) -> None:
        self.caller.close()
        self.client.close()


@contextlib.contextmanager
def told(init: Init, *argv: bytes, words: bytes = WORDS, client: int = -1) -> Iterator[Told]:
    call = Told(init, *argv, words=words, client=client)
    try:
        yield call
    finally:
        call.close()


def _all(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(4096):
            found += data
    return found


def end(*, signalled: bool, value: int) -> Frame:
    return Frame(type=Type.EXIT, payload=Exit(signalled=signalled, value=value).encode())


@pytest.mark.parametrize(
    ("script", "how"),
    [
        (b"exit 7", end(signalled=False, value=7)),
        (b"kill -9 $$", end(signalled=True, value=9)),
        (b"sleep 0.2", end(signalled=False, value=0)),
    ],
)
def test_it_hears_the_words_and_the_end_as_the_caller_does(
    init: Init, script: bytes, how: Frame
) -> None:
    with told(init, b"sh", b"-c", script) as call:
        assert call.to_client() == WORDS + how.encode()
        assert call.to_caller() == [Frame(type=Type.STARTED), how]
    init.expect_nothing_left()


def test_a_tool_that_cannot_be_started_is_the_callers_to_explain(init: Init) -> None:
    with told(init, b"no-such-tool") as call:
        (failed,) = call.to_caller()
        assert Failed.decode(failed.payload) == Failed(stage=Stage.EXEC, errno=errno.ENOENT)
        assert call.to_client() == b""


def test_when_the_caller_leaves_its_client_hears_no_end(init: Init) -> None:
    with told(init, b"sleep", b"1000") as call:
        assert call.client.recv(len(WORDS)) == WORDS
        call.caller.close()
        assert call.to_client() == b""
    init.expect_nothing_left()


def test_a_client_that_has_gone_keeps_nobody(init: Init) -> None:
    with told(init, b"sh", b"-c", b"sleep 0.2; exit 3") as call:
        call.client.close()
        assert call.to_caller() == [Frame(type=Type.STARTED), end(signalled=False, value=3)]
    init.expect_nothing_left()


def test_a_client_that_takes_nothing_keeps_nobody(init: Init) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while theirs.send(bytes(4096)):
            pass
    with told(init, b"true", client=theirs.fileno()) as call:
        assert call.to_caller() == [Frame(type=Type.STARTED), end(signalled=False, value=0)]
    ours.close()
    theirs.close()


def test_the_tool_itself_gets_no_way_to_the_client(init: Init) -> None:
    count = b"set -- /proc/self/fd/*; exit $#"  # three streams, and the directory being read
    with told(init, b"sh", b"-c", count) as call:
        assert call.to_client() == WORDS + end(signalled=False, value=4).encode()


def test_what_is_no_connection_is_refused(init: Init) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with told(init, b"true", client=null) as call:
        (failed,) = call.to_caller()
        assert Failed.decode(failed.payload) == Failed(stage=Stage.DESCRIPTORS, errno=errno.EBADF)
    os.close(null)


def test_a_descriptor_too_many_is_refused(init: Init) -> None:
    with told(init, b"true", words=b"") as call:
        (failed,) = call.to_caller()
        assert Failed.decode(failed.payload) == Failed(stage=Stage.DESCRIPTORS, errno=errno.EBADF)
        assert call.to_client() == b""
