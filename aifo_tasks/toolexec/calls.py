"""The calls a proxy knows of: who runs where, under which id, and who waits for a place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.upstream import Tool


class Call:
    """A call from its admission to its end; it may still wait for a place."""

    def __init__(self, exec_id: str, parent: str) -> None:
        self.id = exec_id
        self.parent = parent
        self.began = time.monotonic()
        self.cut = False
        self.has_place = False
        self._tool: Tool | None = None
        self._early: list[int] = []

    def started(self, tool: Tool) -> None:
        """The tool runs: it gets the signals that came before, or its end."""
        self._tool = tool
        for number in self._early:
            tool.signal(number)
        if self.cut:
            tool.stop()

    def signal(self, number: int) -> None:
        """Send a signal to the tool, as soon as there is one."""
        if self._tool is not None:
            self._tool.signal(number)
        else:
            self._early.append(number)

    def stop(self) -> None:
        """End the call; its client learns that it was lost."""
        self.cut = True
        if self._tool is not None:
            self._tool.stop()


class Calls:
    """All calls of one proxy; at most ``most`` run at once."""

    def __init__(self, most: int) -> None:
        self._calls: dict[str, Call] = {}
        self._places = asyncio.Semaphore(most)
        self._none = asyncio.Event()
        self._none.set()

    async def ended(self, seconds: float) -> None:
        """Wait until there is no call, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()

    def register(self, exec_id: str, parent: str) -> Call:
        """A call under an id of its own; RefusalError when somebody has that id."""
        exec_id = exec_id or os.urandom(16).hex()
        if exec_id in self._calls:
            raise answers.bad(f"X-Aifo-Exec-Id: '{exec_id}' is in use")
        call = Call(exec_id, parent if parent in self._calls else "")
        self._calls[exec_id] = call
        self._none.clear()
        return call

    def forget(self, call: Call) -> None:
        """The call is over: its place is free, and what was called from inside it ends."""
        del self._calls[call.id]
        if call.has_place:
            self._places.release()
        if not self._calls:
            self._none.set()
        for other in self._calls.values():
            if other.parent == call.id:
                other.stop()

    async def place(self, call: Call) -> None:
        """Wait in order for a place; a call from inside another has that one's."""
        if not call.parent:
            await self._places.acquire()
            call.has_place = True

    def signal(self, exec_id: str, number: int) -> None:
        """Send a signal to a call; RefusalError when there is none of that id."""
        if exec_id not in self._calls:
            raise answers.not_found()
        self._calls[exec_id].signal(number)

    def stop_all(self) -> None:
        """End every call."""
        for call in self._calls.values():
            call.stop()
