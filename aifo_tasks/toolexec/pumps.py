"""Bytes between a tool's pipes or terminal and its client, neither ever ahead of the other."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable

from aifo_tasks.toolexec.connection import StalledError
from aifo_tasks.toolexec.waiting import wake, writable

BLOCK = 256 * 1024
_NARROW = 64 * 1024
"""What a pipe holds that nobody has widened."""

WINDOW = 256 * 1024
"""Bytes of one stream that may be on their way without the receiver's word: its credit."""


class Output:
    """From a tool's pipe or terminal to ``sink``, until it ends or the tool has ended.

    What the sink gets it has only until it returns. ``patience`` seconds of silence after the
    tool's end make the end of what it wrote; a terminal hands it over a little later.
    """

    def __init__(
        self, source: int, sink: Callable[[memoryview], Awaitable[None]], *, patience: float = 0
    ) -> None:
        os.set_blocking(source, False)  # the function's only form
        self._source = source
        self._sink = sink
        self._patience = patience
        self._tool_ended = False
        self._left = BLOCK  # of what is read after the tool has ended: no pipe held more
        self._room: memoryview | None = None
        self._waiting: asyncio.Future[None] | None = None
        self.count = 0

    async def run(self) -> None:
        """Move everything; raises what the sink raises."""
        while data := await self._next():
            self.count += len(data)
            await self._sink(data)

    def end(self) -> None:
        """The tool has ended: what is there is all there will be, whoever keeps it open."""
        self._tool_ended = True
        if self._waiting is not None:
            wake(self._waiting)

    async def _next(self) -> memoryview | None:
        blocked = silent = False
        while self._left > 0:
            is_rest = self._tool_ended
            try:
                data = self._read()
            except BlockingIOError:
                if self._tool_ended and (silent or not self._patience):
                    return None
            except OSError:  # how a terminal ends
                return None
            else:
                self._left -= len(data) if is_rest else 0
                if not blocked:
                    await asyncio.sleep(0)  # others have their turn
                return data
            blocked, silent = True, self._tool_ended
            await self._wait()
        return None  # somebody was left behind who says more, perhaps for ever

    def _read(self) -> memoryview:
        if self._room is not None:
            return self._room[: os.readv(self._source, [self._room])]
        data = os.read(self._source, _NARROW)
        if len(data) == _NARROW:
            self._widen()
        return memoryview(data)

    def _widen(self) -> None:
        """Who writes this much gets a pipe that holds a whole block, and room for one that stays:
        fewer turns for everybody, and memory that need not be found each time."""
        with contextlib.suppress(OSError):  # a terminal; beyond what the user may have
            fcntl.fcntl(self._source, fcntl.F_SETPIPE_SZ, BLOCK)
        self._room = memoryview(bytearray(BLOCK))

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._source, wake, self._waiting)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience if self._tool_ended else None):
                    await self._waiting
        finally:
            loop.remove_reader(self._source)


class Input:
    """From the client to a tool's pipe or terminal; ``granted`` tells the client to go on.

    ``close`` is called when the client has no more, or the tool has stopped reading.
    """

    def __init__(
        self,
        target: int,
        granted: Callable[[int], Awaitable[None]],
        close: Callable[[], None],
    ) -> None:
        os.set_blocking(target, False)  # the function's only form
        self._target = target
        self._granted = granted
        self._close = close
        self._buffer = bytearray()
        self._closed = False
        self._news = asyncio.Event()
        self._open = True

    def feed(self, data: bytes) -> bool:
        """Take bytes from the client; False when they are more than its credit."""
        self._buffer += data
        self._news.set()
        return len(self._buffer) <= WINDOW

    def close(self) -> None:
        """The client has no more."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Move everything until the client has no more."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._buffer:
                piece = bytes(self._buffer[: WINDOW // 4])
                await self._write(piece)
                del self._buffer[: len(piece)]
                await self._granted(len(piece))
            if self._closed:
                self._end()
                return

    def _end(self) -> None:
        if self._open:
            self._close()
        self._open = False

    async def _write(self, data: bytes) -> None:
        """All of it, or nothing more once the tool has stopped reading."""
        left = memoryview(data)
        while left and self._open:
            try:
                left = left[os.write(self._target, left) :]
            except BlockingIOError:
                await writable(self._target)
            except OSError:
                self._end()


class Stops:
    """Tells the client that the tool has been stopped, and by which signal; the last of several."""

    def __init__(self, tell: Callable[[int], Awaitable[None]]) -> None:
        self._tell = tell
        self._number = 0
        self._news = asyncio.Event()

    def put(self, number: int) -> None:
        self._number = number
        self._news.set()

    async def run(self) -> None:
        """Tell for ever; raises what telling raises."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._tell(self._number)


class Credit:
    """How many bytes of a stream its receiver still takes.

    A receiver that says nothing for ``deadline`` seconds is stalled. One whose own reader takes
    its time says so by credit for no byte; one that stops with its tool says that it does; and
    a person before a terminal, with the deadline None, may look at it as long as he likes.
    """

    def __init__(self, deadline: float | None) -> None:
        self._left = WINDOW
        self._deadline = deadline
        self._stopped = False
        self._news = asyncio.Event()

    def add(self, count: int) -> None:
        self._left += count
        self._news.set()

    def stop(self, *, stopped: bool) -> None:
        """The receiver stops with its tool, or they go on."""
        self._stopped = stopped
        self._news.set()

    async def take(self, wanted: int) -> int:
        """Some of ``wanted``, at least 1; StalledError when none comes before the deadline."""
        while self._left <= 0:
            self._news.clear()
            try:
                async with asyncio.timeout(None if self._stopped else self._deadline):
                    await self._news.wait()
            except TimeoutError:
                raise StalledError from None
        taken = min(wanted, self._left)
        self._left -= taken
        return taken
