"""What a client says while its call runs, and that it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec.connection import Connection, GoneError

_MOST_EARLY = 1024 * 1024
"""Bytes kept of what comes before the call has started."""


def ignore(data: bytes) -> None:
    """What clients of versions 1 and 2 send after their request."""


class Listener:
    """Reads a connection all the time while it is entered.

    Whatever its task waits for inside ends with GoneError when the client leaves, as it
    would with TimeoutError inside ``asyncio.timeout``. What comes before ``attach`` is kept;
    what ``sink`` raises ends the wait too.
    """

    def __init__(self, connection: Connection, rest: bytes) -> None:
        self._connection = connection
        self._early = bytearray(rest)
        self._sink: Callable[[bytes], None] | None = None
        self._error: AifoError | None = None
        self._task: asyncio.Task[object]
        self._cancelling = 0

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._connection.watch(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._connection.watch(None)
        # whoever hears and whatever failed know us: nothing must keep a call alive by a circle
        self._sink, error, self._error = None, self._error, None
        if error is None:
            return
        try:
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise error from None
        finally:
            del error

    def attach(self, sink: Callable[[bytes], None]) -> None:
        """Hand over what came and what comes."""
        self._sink = sink
        if self._early:
            sink(bytes(self._early))
            self._early.clear()

    def fail(self, error: AifoError) -> None:
        """End whatever the task waits for with this error, unless it ends already."""
        if self._error is None:
            self._error = error
            self._connection.watch(None)
            self._task.cancel()

    def _listen(self) -> None:
        try:
            data = self._connection.take()
            if data:
                self._hear(data)
            elif data is not None:
                self.fail(GoneError())
        except AifoError as error:
            self.fail(error if isinstance(error, GoneError) else GoneError(error.problem))

    def _hear(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink(data)
            return
        self._early += data
        if len(self._early) > _MOST_EARLY:
            raise GoneError("says too much too early")
