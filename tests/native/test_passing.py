"""Descriptors that an init gives back, and those who cannot."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable

import pytest

from aifo_tasks.toolexec import launcher, passing
from aifo_tasks.toolexec.frames import Decoder, Failed, Frame, Stage, Type
from tests.native.running import GENEROUS, Init

ECHO = Frame(type=Type.ECHO).encode()
FAILED = Failed(stage=Stage.MALFORMED, errno=errno.EPROTO)


def test_they_pass_and_the_connection_stays(init: Init) -> None:
    connection = init.greeted()
    assert passing.works(connection)
    assert passing.works(connection)
    call = launcher.Call(argv=["sh", "-c", "exit 7"], cwd="/")
    assert launcher.capture(connection, call, on_output=lambda _: None) == 7


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_come_back(init: Init, count: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with init.greeted() as connection:
        socket.send_fds(connection, [ECHO], [null] * count)
        data, descriptors, _, _ = socket.recv_fds(connection, 100, 4)
        assert (data, len(descriptors)) == (ECHO, count)
    for descriptor in (null, *descriptors):
        os.close(descriptor)


@pytest.mark.parametrize(("data", "count"), [(ECHO, 4), (ECHO[:-1] + b"\1x", 3)])
def test_what_is_no_echo(init: Init, data: bytes, count: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with init.greeted() as connection:
        connection.settimeout(GENEROUS)
        socket.send_fds(connection, [data], [null] * count)
        (frame,) = Decoder().feed(connection.recv(100))
    os.close(null)
    assert Failed.decode(frame.payload) == FAILED


def nothing_back(server: socket.socket, descriptors: list[int]) -> None:
    server.sendall(ECHO)


def too_few_back(server: socket.socket, descriptors: list[int]) -> None:
    socket.send_fds(server, [ECHO], descriptors[:2])


def others_back(server: socket.socket, descriptors: list[int]) -> None:
    socket.send_fds(server, [ECHO], descriptors[::-1])


def another_word(server: socket.socket, descriptors: list[int]) -> None:
    frame = Frame(type=Type.FAILED, payload=FAILED.encode())
    socket.send_fds(server, [frame.encode()], descriptors)


def half_a_word(server: socket.socket, descriptors: list[int]) -> None:
    socket.send_fds(server, [ECHO[:3]], descriptors)


def no_word(server: socket.socket, descriptors: list[int]) -> None:
    pass


@pytest.mark.parametrize(
    "answer", [nothing_back, too_few_back, others_back, another_word, half_a_word, no_word]
)
def test_where_they_do_not_pass(answer: Callable[[socket.socket, list[int]], None]) -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            _, descriptors, _, _ = socket.recv_fds(theirs, len(ECHO), 3)
            answer(theirs, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    server = threading.Thread(target=serve)
    server.start()
    before = len(os.listdir("/proc/self/fd"))
    with ours:
        assert not passing.works(ours)
    server.join()
    assert len(os.listdir("/proc/self/fd")) <= before
