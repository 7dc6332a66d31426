"""The sidecars that take a proxy's calls: who they are now, and whoever comes in their place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from aifo_tasks import log
from aifo_tasks.errors import AifoError
from aifo_tasks.model import Toolchain
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.launcher import UnreachableError
from aifo_tasks.toolexec.upstream import Tool, Upstream
from aifo_tasks.value import dataclass

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sidecar that runs: the way there, and those development tools that its image has.

    ``before`` gets the argv of each call, and returns None or what has to be done, in a
    thread, before that is started.
    """

    name: str
    upstream: Upstream
    development: frozenset[str] = frozenset()
    before: Callable[[Sequence[bytes]], Callable[[], None] | None] = lambda argv: None  # noqa: ARG005

    def start(self, call: frames.Call, descriptors: Sequence[int]) -> Awaitable[Tool]:
        """Start a call; raises as ``Upstream`` does, and AifoError for what comes before."""
        work = self.before(call.argv)
        if work is None:
            return self.upstream.start(call, descriptors)
        return self._start_after(work, call, descriptors)

    async def _start_after(
        self, work: Callable[[], None], call: frames.Call, descriptors: Sequence[int]
    ) -> Tool:
        await asyncio.to_thread(work)
        return await self.upstream.start(call, descriptors)


class Sidecar:
    """A toolchain's sidecar as the proxy knows it.

    ``own`` are the variables it sets itself, ``environment`` those that each call in it has
    besides: how its tools call those of others. ``renew`` makes the toolchain ready again, in a
    thread, when its sidecar is gone.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        running: Running,
        *,
        own: frozenset[str],
        environment: Mapping[str, str] = _NOTHING,
        renew: Callable[[], Running],
    ) -> None:
        self.toolchain = toolchain
        self.own = own
        self.environment = tuple(
            (os.fsencode(name), os.fsencode(value)) for name, value in environment.items()
        )
        self._running = running
        self._renew = renew
        self._renewal: asyncio.Task[bool] | None = None

    @property
    def name(self) -> str:
        return self._running.name

    @property
    def development(self) -> frozenset[str]:
        return self._running.development

    async def start(self, call: frames.Call, descriptors: Sequence[int]) -> Tool:
        """Start a call, in a new sidecar when there is none any more; raises as ``Running``."""
        running = self._running
        try:
            return await running.start(call, descriptors)
        except UnreachableError:
            if self._running is running and not await self._renewed():
                raise
        return await self._running.start(call, descriptors)

    def close(self) -> None:
        """Let go of it."""
        self._running.upstream.close()

    async def _renewed(self) -> bool:
        """Wait for a new one; all who find the old one gone wait for the same."""
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._replace())
        return await asyncio.shield(self._renewal)

    async def _replace(self) -> bool:
        log.step("proxy", f"{self.name} is gone; {self.toolchain.kind} is made ready again")
        try:
            running = await asyncio.to_thread(self._renew)
        except AifoError as error:
            log.warn("proxy", f"{self.toolchain.kind} cannot be made ready again: {error}")
            return False
        finally:
            self._renewal = None
        self._running.upstream.close()
        self._running = running
        return True
