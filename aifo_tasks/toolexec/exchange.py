"""One call from start to answer, in each version of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Sequence

from aifo_tasks.errors import SidecarLostError
from aifo_tasks.toolexec import answers, frames
from aifo_tasks.toolexec.calls import Call, Sidecar
from aifo_tasks.toolexec.connection import Connection, GoneError
from aifo_tasks.toolexec.frames import Exit, FrameError, Stage
from aifo_tasks.toolexec.launcher import UnreachableError
from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.listener import Listener
from aifo_tasks.toolexec.pumps import Input, Output
from aifo_tasks.toolexec.requests import Terminal
from aifo_tasks.toolexec.upstream import NotStartedError, Tool
from aifo_tasks.value import dataclass

_STOP_SECONDS = 15.0
"""More than init takes to end a call, by force if need be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A call that was allowed: what is started where, and for how long at most.

    ``programs`` are tried in order, the last one names the tool. ``environment`` and
    ``arguments`` are what init gets.
    """

    sidecar: Sidecar
    programs: tuple[str, ...]
    arguments: tuple[bytes, ...]
    cwd: bytes
    environment: tuple[tuple[bytes, bytes], ...]
    terminal: Terminal | None = None
    seconds: float | None = None

    @property
    def tool(self) -> str:
        return self.programs[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended: ``end`` None when that was lost; ``count`` bytes of output, -1 unknown."""

    end: Exit | None
    timed_out: bool = False
    count: int = -1

    @property
    def status(self) -> int:
        """The exit status the client gets."""
        if self.timed_out:
            return answers.TIMED_OUT
        return self.end.status if self.end is not None else answers.LOST


class Exchange:
    """What the three versions share: the client, its call, the order, the limits."""

    def __init__(
        self, connection: Connection, listener: Listener, call: Call, order: Order, limits: Limits
    ) -> None:
        self.connection = connection
        self.listener = listener
        self.call = call
        self.order = order
        self.limits = limits

    async def start(self, descriptors: Sequence[int]) -> Tool:
        """Start the tool on these descriptors; RefusalError when that cannot be done."""
        failed = None
        for program in self.order.programs:
            try:
                request = self._request(program)
                tool = await self.listener.first(
                    Tool.start(self.order.sidecar.peer, request, descriptors)
                )
            except FrameError:
                raise answers.failed(self.order.tool, "argument list too long", 126) from None
            except NotStartedError as error:
                failed = error.failed
                if failed.stage is not Stage.EXEC or failed.errno != errno.ENOENT:
                    break
            except UnreachableError:
                raise answers.unavailable(self.order.tool) from None
            except SidecarLostError:
                raise answers.lost(self.order.sidecar.name) from None
            else:
                self.call.started(tool)
                return tool
        assert failed is not None
        raise self._explained(failed)

    async def follow(
        self, tool: Tool, pumps: Sequence[Output], inputs: Sequence[Input] = ()
    ) -> Outcome:
        """Stay with the tool to its end and until its output has been taken.

        Raises GoneError when the client leaves or takes nothing any more.
        """
        outputs = [asyncio.create_task(pump.run()) for pump in pumps]
        tasks = {*outputs, *(asyncio.create_task(pump.run()) for pump in inputs)}
        try:
            timed_out = await self._until_ended(tool, set(tasks))
            for pump in pumps:
                pump.end()
            for task in outputs:
                await self.listener.first(task)
            count = sum(pump.count for pump in pumps) if pumps else -1
            return Outcome(end=tool.ended.result(), timed_out=timed_out, count=count)
        finally:
            await _ended(tasks)

    async def _until_ended(self, tool: Tool, tasks: set[asyncio.Task[None]]) -> bool:
        """True when it took longer than it may and was stopped."""
        loop = asyncio.get_running_loop()
        seconds = self.order.seconds
        deadline = None if seconds is None else loop.time() + seconds
        timed_out = False
        while not tool.ended.done():
            left = None if deadline is None or timed_out else max(0.0, deadline - loop.time())
            done, _ = await asyncio.wait(
                {tool.ended, self.listener.gone, *tasks},
                timeout=left,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                timed_out = True
                tool.stop()
            if self.listener.gone in done and not tool.ended.done():
                raise GoneError
            for task in done & tasks:
                task.result()
            tasks -= done
        return timed_out

    def _request(self, program: str) -> frames.Call:
        terminal = self.order.terminal
        return frames.Call(
            argv=(program.encode(), *self.order.arguments),
            cwd=self.order.cwd,
            environment=self.order.environment,
            rows=terminal.rows if terminal else 0,
            columns=terminal.columns if terminal else 0,
            terminal=terminal.streams if terminal else 0,
        )

    def _explained(self, failed: frames.Failed) -> answers.RefusalError:
        reason = os.strerror(failed.errno).lower()
        if failed.stage is Stage.DESCRIPTORS:
            return answers.bad(f"descriptors: refused by the sidecar: {reason}")
        missing = failed.stage is Stage.EXEC and failed.errno == errno.ENOENT
        if failed.stage is Stage.CHDIR:
            reason = f"cannot change to {answers.shown(self.order.cwd)}: {reason}"
        return answers.failed(
            self.order.tool, "not found" if missing else reason, 127 if missing else 126
        )


@contextlib.asynccontextmanager
async def running(tool: Tool) -> AsyncIterator[None]:
    """The tool and everything below it are gone when this is left."""
    try:
        yield
    finally:
        if not tool.ended.done():
            tool.stop()
            await asyncio.wait({tool.ended}, timeout=_STOP_SECONDS)
        tool.close()


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel what still runs; what it raised has been said."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
