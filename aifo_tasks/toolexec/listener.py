"""What a client says while its call runs, and that it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aifo_tasks.toolexec.connection import Connection, GoneError

_MOST_EARLY = 1024 * 1024
"""Bytes kept of what comes before the call has started."""

T = TypeVar("T")


def ignore(data: bytes) -> None:
    """What clients of versions 1 and 2 send after their request."""


class Listener:
    """Reads a connection all the time; ``gone`` is done when that ends, whoever's fault it is.

    What comes before ``attach`` is kept; what ``sink`` raises ends it.
    """

    def __init__(self, connection: Connection, rest: bytes) -> None:
        self._connection = connection
        self._early = bytearray(rest)
        self._sink: Callable[[bytes], None] | None = None
        self.gone = asyncio.create_task(self._listen())

    def attach(self, sink: Callable[[bytes], None]) -> None:
        """Hand over what came and what comes."""
        self._sink = sink
        if self._early:
            sink(bytes(self._early))
            self._early.clear()

    async def first(self, work: Awaitable[T]) -> T:
        """The result of some work, cancelled with GoneError when the client leaves first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self.gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise GoneError
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def close(self) -> None:
        """Stop reading."""
        self.gone.cancel()
        await asyncio.wait({self.gone})
        if not self.gone.cancelled():
            self.gone.exception()

    async def _listen(self) -> None:
        while data := await self._connection.receive():
            if self._sink is not None:
                self._sink(data)
                continue
            self._early += data
            if len(self._early) > _MOST_EARLY:
                raise GoneError("says too much too early")
