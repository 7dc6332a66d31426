"""One call from start to answer, in each version of the protocol."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence

from aifo_tasks.errors import AifoError, SidecarLostError
from aifo_tasks.toolexec import answers, frames
from aifo_tasks.toolexec.calls import Call
from aifo_tasks.toolexec.connection import Connection
from aifo_tasks.toolexec.frames import Exit, FrameError, Stage
from aifo_tasks.toolexec.launcher import UnreachableError
from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.listener import Listener
from aifo_tasks.toolexec.orders import Order
from aifo_tasks.toolexec.pumps import Input, Output, Stops
from aifo_tasks.toolexec.upstream import NotStartedError, Tool
from aifo_tasks.value import dataclass

_STOP_SECONDS = 15.0
"""More than init takes to end a call, by force if need be."""


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
                tool = await self.order.sidecar.start(self._request(program), descriptors)
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
            except AifoError as error:
                raise answers.failed(self.order.tool, error.problem, 126) from None
            else:
                self.call.started(tool)
                return tool
        assert failed is not None
        raise self._explained(failed)

    async def follow(
        self,
        tool: Tool,
        outputs: Sequence[Output] = (),
        inputs: Sequence[Input | Stops] = (),
    ) -> Outcome:
        """Stay with the tool to its end and until its output has been taken.

        Raises what the pumps raise: GoneError when the client takes nothing any more.
        """
        every: list[Output | Input | Stops] = [*outputs, *inputs]
        pumps = [asyncio.create_task(self._run(pump)) for pump in every]
        try:
            timed_out = await self._until_ended(tool)
            for output in outputs:
                output.end()
            for pump in pumps[: len(outputs)]:
                await pump
            count = sum(output.count for output in outputs) if outputs else -1
            return Outcome(end=tool.end, timed_out=timed_out, count=count)
        finally:
            await _ended(pumps)

    async def _until_ended(self, tool: Tool) -> bool:
        """True when it took longer than it may and was stopped."""
        if self.order.seconds is None:
            await tool.ended.wait()
            return False
        try:
            async with asyncio.timeout(self.order.seconds):
                await tool.ended.wait()
        except TimeoutError:
            tool.stop()
            await tool.ended.wait()
            return True
        return False

    async def _run(self, pump: Output | Input | Stops) -> None:
        try:
            await pump.run()
        except AifoError as error:
            self.listener.fail(error)

    def _request(self, program: str) -> frames.Call:
        terminal = self.order.terminal
        return frames.Call(
            argv=(program.encode(), *self.order.arguments),
            cwd=self.order.cwd,
            environment=self.order.environment,
            rows=terminal.rows if terminal else 0,
            columns=terminal.columns if terminal else 0,
            terminal=(terminal.streams if terminal else 0) | frames.LOOKS,
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


async def leave(tool: Tool) -> None:
    """The tool and everything below it are gone after this."""
    try:
        if not tool.ended.is_set():
            tool.stop()
            async with asyncio.timeout(_STOP_SECONDS):
                await tool.ended.wait()
    except TimeoutError:
        pass
    finally:
        tool.close()


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel what still runs."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
