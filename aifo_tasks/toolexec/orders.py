"""What is started for a request: where it goes, and whether it may; no I/O."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from aifo_tasks.model import Tool
from aifo_tasks.toolexec import answers, policy, routing
from aifo_tasks.toolexec.calls import Call
from aifo_tasks.toolexec.policy import Admission
from aifo_tasks.toolexec.requests import KNOWN_ENVIRONMENTS, ExecRequest, Terminal
from aifo_tasks.toolexec.sidecars import Sidecar
from aifo_tasks.value import dataclass


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
class _Route:
    """Where a tool's calls go, and what else is the same for all of them."""

    tool: Tool
    sidecar: Sidecar
    admission: Admission
    programs: tuple[str, ...]
    seconds: float | None


class Orders:
    """Makes orders for these sidecars."""

    def __init__(self, sidecars: Sequence[Sidecar]) -> None:
        self._admissions = {
            sidecar: Admission(sidecar.toolchain.forward, sidecar.own) for sidecar in sidecars
        }
        self._routes: dict[str, _Route] = {}
        self._known = functools.lru_cache(KNOWN_ENVIRONMENTS)(_admitted)

    def order(self, request: ExecRequest, call: Call) -> Order:
        """What is started for a request; RefusalError when it is nobody's or not allowed."""
        route = self._route(request.tool)
        toolchain = route.sidecar.toolchain
        cwd = policy.directory(route.tool, os.fsdecode(request.cwd))
        if cwd is None:
            raise answers.bad(f"cwd: '{answers.shown(request.cwd)}' is outside the workspace")
        if toolchain.policy:
            arguments = [os.fsdecode(argument) for argument in request.arguments]
            denial = policy.denial(toolchain.policy, request.tool, arguments, cwd)
            if denial is not None:
                raise answers.forbidden(*denial)
        admitted = self._known if request.is_small else _admitted
        return Order(
            sidecar=route.sidecar,
            programs=route.programs,
            arguments=request.arguments,
            cwd=os.fsencode(cwd),
            environment=(
                *admitted(route.admission, request.environment),
                *route.sidecar.environment,
                (b"AIFO_EXEC_ID", call.id.encode()),
            ),
            terminal=request.terminal,
            seconds=route.seconds,
        )

    def _route(self, tool: str) -> _Route:
        if tool not in self._routes:
            running = [(sidecar.toolchain, sidecar) for sidecar in self._admissions]
            has = {sidecar.toolchain.kind: sidecar.development for sidecar in self._admissions}
            found = routing.route(tool, running, has)
            if found is None:
                raise answers.unavailable(tool)
            declared, sidecar = found
            self._routes[tool] = _Route(
                tool=declared,
                sidecar=sidecar,
                admission=self._admissions[sidecar],
                programs=routing.programs(tool),
                seconds=declared.max_seconds or sidecar.toolchain.limits.max_seconds,
            )
        return self._routes[tool]


def _admitted(
    admission: Admission, environment: tuple[tuple[bytes, bytes], ...]
) -> list[tuple[bytes, bytes]]:
    """What a toolchain lets in of these variables, sorted; RefusalError for one of ``NEVER``."""
    given = {_name(name): value for name, value in environment}
    if (name := policy.never(given)) is not None:
        raise answers.forbidden(f"environment {name}", "no tool gets it from a caller")
    admitted = {
        os.fsencode(target): os.fsencode(policy.carried(target, os.fsdecode(given[name])))
        for name, target in admission.names(given)
    }
    return sorted(admitted.items())


_name = functools.lru_cache(policy.REMEMBERED)(os.fsdecode)
