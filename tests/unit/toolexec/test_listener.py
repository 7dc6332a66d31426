"""What a client says while its call runs, and what is left of that afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref

import pytest

from aifo_tasks.toolexec.connection import Connection, GoneError
from aifo_tasks.toolexec.listener import Listener


class Hearer:
    """Somebody who knows the listener that knows him."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.heard = b""
        listener.attach(self.hear)

    def hear(self, data: bytes) -> None:
        self.heard += data


async def hearer(*, leaves: bool) -> weakref.ref[Hearer]:
    """One who heard a client that left, or whose call ended first."""
    ours, theirs = socket.socketpair()
    connection = Connection(ours, deadline=1)
    with (
        pytest.raises(GoneError) if leaves else contextlib.nullcontext(),
        Listener(connection, b"early") as listener,
    ):
        found = Hearer(listener)
        theirs.sendall(b" and late")
        if leaves:
            theirs.close()
        await asyncio.sleep(30 if leaves else 0.01)
    assert found.heard == b"early and late"
    connection.drop()
    theirs.close()
    return weakref.ref(found)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_call_ends_without_the_collector(leaves: bool) -> None:
    """What it holds may be large, and the collector counts objects, not bytes."""
    gc.disable()
    try:
        assert asyncio.run(hearer(leaves=leaves))() is None
    finally:
        gc.enable()
