"""Running commands inside a sidecar for ourselves, their output collected."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from aifo_tasks import log
from aifo_tasks.model import WORKSPACE
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import launcher

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Inside:
    """Runs a command in a greeted sidecar, over a connection of its own; see overlay.Runner."""

    def __init__(self, greeted: Greeted) -> None:
        self._name = greeted.record.name
        self._way = greeted.way

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: str = WORKSPACE,
        environment: Mapping[str, str] = _NOTHING,
        stdin: int | None = None,
        on_output: Callable[[bytes], None],
    ) -> int:
        """The exit status; raises SidecarLostError and UnreachableError."""
        from aifo_tasks.engine import preview

        shown = preview.exec_argv(self._name, argv, cwd=cwd, environment=tuple(environment.items()))
        assert log.command(shlex.join(shown)), "a dry run calls nothing"
        request = launcher.Call(argv=argv, cwd=cwd, environment=environment)
        return launcher.capture(self._way.connect(), request, stdin=stdin, on_output=on_output)
