"""Toolchains that a proxy serves: made ready, called, and able to call each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from aifo_tasks import log
from aifo_tasks.config import notifications
from aifo_tasks.errors import AifoError
from aifo_tasks.session import additions, ready, together
from aifo_tasks.session.entrance import Entrance
from aifo_tasks.session.serving import Serving
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.identity import project_session
from aifo_tasks.sidecar.inside import Inside
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import audit, limits, notify, routing
from aifo_tasks.toolexec.direct import Direct
from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.server import Settings
from aifo_tasks.toolexec.sidecars import Running, Sidecar

_WHICH = 'for tool; do command -v -- "$tool" >/dev/null && echo "$tool"; done; true'


@contextlib.contextmanager
def served(
    works: Sequence[Workplace], choices: Choices, *, session: str, token: str
) -> Iterator[Serving | None]:
    """A proxy for these toolchains, all made ready, that nobody can reach yet; None in a dry run.

    It takes ``token``, and of each sidecar another one, whose tools call those of the others.
    """
    with contextlib.ExitStack() as stack:
        greeted = together.get(works, choices)
        if log.is_dry_run():
            yield None
            return
        for each in greeted:
            stack.callback(each.connection.close)
        running = [_running(work, each) for work, each in zip(works, greeted, strict=True)]
        entrances = _entrances(works, running, session)
        sidecars = [
            _sidecar(work, choices, its, entrance)
            for work, its, entrance in zip(works, running, entrances, strict=True)
        ]
        record = _audit(works)
        stack.callback(record.close)
        settings = Settings(
            tokens=(token, *(entrance.token for entrance in entrances if entrance)),
            sidecars=tuple(sidecars),
            limits=stack.enter_context(limits.carried(_limits())),
            notifier=_notifier(works[0]),
            audit=record,
        )
        for sidecar in sidecars:
            stack.callback(sidecar.close)
        serving = stack.enter_context(Serving(settings))
        for its, entrance in zip(running, entrances, strict=True):
            if entrance is not None:
                stack.enter_context(entrance.opened(serving, its.name))
        yield serving


def _audit(works: Sequence[Workplace]) -> audit.Audit:
    """The record of calls, where no tool of these toolchains can write."""
    wished, project = works[0].config.audit, works[0].plan.project
    mounts = (mount for work in works for mount in work.toolchain.mounts)
    path = audit.path_for(
        project_session(project), project,
        named=wished.file, writable=[mount.source for mount in mounts if not mount.read_only],
    )  # fmt: skip
    return audit.Audit(path, size=wished.size)


def _entrances(
    works: Sequence[Workplace], running: Sequence[Running], session: str
) -> list[Entrance | None]:
    """For each sidecar the way to the others, where those have what it has not."""
    toolchains = [work.toolchain for work in works]
    has = {
        toolchain.kind: each.development
        for toolchain, each in zip(toolchains, running, strict=True)
    }
    found = []
    for work in works:
        others = [each for each in toolchains if each is not work.toolchain]
        tools = routing.reachable(work.toolchain, others, has)
        found.append(Entrance(work, session, tools) if tools else None)
    return found


def _sidecar(
    work: Workplace, choices: Choices, running: Running, entrance: Entrance | None
) -> Sidecar:
    """A ready toolchain as the proxy calls it."""
    own = set(work.plan.environment()) - {"LANG"}  # the only one that is a wish of the caller's

    def renew() -> Running:
        again = ready.get(work, additions.wished(work.toolchain, choices))
        assert again is not None, "nobody serves in a dry run"
        found = _running(work, again)
        if entrance is not None:
            entrance.move(found.name)
        return found

    return Sidecar(
        work.toolchain,
        running,
        own=frozenset(own),
        environment=entrance.environment if entrance is not None else {},
        renew=renew,
    )


def _running(work: Workplace, greeted: Greeted) -> Running:
    """A greeted sidecar, whose connection waits for the first call.

    Its image is asked which development tools it has. A call that changes the modules makes
    the record of the last install void.
    """
    declared = [tool.name for tool in work.toolchain.tools if tool.development]

    def forget() -> None:
        with ready.changing_modules(work, greeted):
            pass

    def before(argv: Sequence[bytes]) -> Callable[[], None] | None:
        if work.install is None:
            return None
        words = [os.fsdecode(word) for word in argv]
        return forget if work.install.manager.changes_modules(words) else None

    return Running(
        name=greeted.record.name,
        upstream=Direct(greeted.way, greeted.connection),
        development=_present(Inside(greeted), declared),
        before=before,
    )


def _present(run: Inside, tools: Sequence[str]) -> frozenset[str]:
    """Those tools that are on the sidecar's PATH."""
    if not tools:
        return frozenset()
    output: list[bytes] = []
    run(["sh", "-c", _WHICH, "sh", *tools], cwd="/", on_output=output.append)
    return frozenset(b"".join(output).decode("utf-8", "replace").split()) & frozenset(tools)


def _limits() -> Limits:
    """The defaults, or what the environment says."""
    given = {
        name: _number(f"AIFO_TOOLEXEC_{name.upper()}", default)
        for name, default in (
            ("connections", 2048), ("calls", 256), ("progress", 10), ("write", 30), ("drain", 2),
        )
    }  # fmt: skip
    return Limits(**given)


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise AifoError(variable, f"expected a number above 0, found '{text}'")
    return int(text)


def notifies(work: Workplace) -> str:
    """The name of what notifications run, "" when nothing is configured."""
    found = _notifier(work)
    return found.name if found is not None else ""


def _notifier(work: Workplace) -> notify.Notifier | None:
    command = work.config.notifications_command or notifications.command(os.environ)
    return notify.configured(command, os.environ) if command else None
