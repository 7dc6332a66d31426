"""A client that is stopped, one that brings too much, and descriptors that run out."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time

import pytest

from aifo_tasks.toolexec import duplex
from aifo_tasks.toolexec.answers import RefusalError
from aifo_tasks.toolexec.connection import Connection, StalledError

DEADLINE = 0.2


def opened() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def wait_for_no_more_than(before: set[str]) -> None:
    """A thread closes what may take its time."""
    end = time.monotonic() + 30
    while opened() - before and time.monotonic() < end:
        time.sleep(0.01)
    assert opened() <= before


def test_a_client_that_is_stopped_with_its_tool_is_not_stalled() -> None:
    async def check() -> None:
        ours, theirs = socket.socketpair()
        connection = Connection(ours, deadline=DEADLINE)
        connection.is_stopped = True
        sending = asyncio.create_task(connection.send(bytes(1 << 20)))
        await asyncio.sleep(5 * DEADLINE)
        assert not sending.done()
        connection.is_stopped = False
        with pytest.raises(StalledError):
            await sending
        connection.drop()
        theirs.close()

    asyncio.run(check())


def test_nobody_brings_more_descriptors_than_a_call_has() -> None:
    async def check() -> None:
        ours, theirs = socket.socketpair()
        connection = Connection(ours, deadline=DEADLINE)
        null = os.open(os.devnull, os.O_RDONLY)
        before = opened()
        socket.send_fds(theirs, [b"P"], [null] * 4)
        with pytest.raises(RefusalError) as caught:
            connection.take()
        assert caught.value.answer.status == 400
        await asyncio.to_thread(wait_for_no_more_than, before)
        connection.drop()
        theirs.close()
        os.close(null)

    asyncio.run(check())


def test_pipes_that_cannot_all_be_made_leave_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    pipe2 = os.pipe2

    def scarce(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "")
        made.append(pipe2(flags))
        return made[0]

    before = opened()
    monkeypatch.setattr(os, "pipe2", scarce)
    with pytest.raises(RefusalError) as caught, duplex._Pipes(0):
        pass
    assert caught.value.answer.status == 503
    assert opened() == before
