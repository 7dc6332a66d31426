"""A project's proxy: its toolchains ready, a socket and a token, until somebody ends it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from aifo_tasks import files, log
from aifo_tasks.config import notifications
from aifo_tasks.errors import AifoError
from aifo_tasks.session import ready
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.identity import session_dir
from aifo_tasks.sidecar.inside import Inside
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import audit, limits, notify
from aifo_tasks.toolexec.direct import Direct
from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.server import Proxy, Settings
from aifo_tasks.toolexec.sidecars import Running, Sidecar
from aifo_tasks.value import dataclass

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WHICH = 'for tool; do command -v -- "$tool" >/dev/null && echo "$tool"; done; true'


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a proxy is found from the host, and where its token lies.

    ``socket`` is the directory that a container mounts at /run/aifo; None over TCP.
    """

    url: str
    token_file: Path
    socket: Path | None = None


def run(
    works: Sequence[Workplace],
    choices: Choices,
    *,
    transport: Literal["unix", "tcp"],
    announce: Callable[[Address], None],
) -> int:
    """Serve these toolchains of one project until INT, TERM or HUP; returns 0.

    ``announce`` is called once calls are taken. Raises AifoError for what the user can mend.
    """
    session, project = works[0].plan.session, works[0].plan.project
    with contextlib.ExitStack() as stack:
        if not log.is_dry_run():
            stack.enter_context(_alone(session))
        sidecars = []
        for work in works:
            greeted = ready.get(work, choices)
            if greeted is not None:
                sidecars.append(sidecar(work, choices, greeted))
                stack.callback(sidecars[-1].close)
        if log.is_dry_run():
            return 0
        token = secrets.token_hex(32)
        token_file = session_dir(session) / "token"
        files.write_quietly(token_file, token.encode())
        stack.callback(token_file.unlink, missing_ok=True)
        record = audit.Audit(audit.path_for(session, project))
        stack.callback(record.close)
        settings = Settings(
            tokens=(token,),
            sidecars=tuple(sidecars),
            limits=stack.enter_context(limits.carried(_limits())),
            notifier=_notifier(works[0]),
            audit=record,
        )
        stack.enter_context(_signals_kept())
        asyncio.run(_serve(settings, session, transport, token_file, announce))
    return 0


def sidecar(work: Workplace, choices: Choices, greeted: Greeted) -> Sidecar:
    """A ready toolchain as the proxy calls it."""
    own = set(work.plan.environment()) - {"LANG"}  # the only one that is a wish of the caller's

    def renew() -> Running:
        again = ready.get(work, choices)
        assert again is not None, "nobody serves in a dry run"
        return _running(work, again)

    return Sidecar(work.toolchain, _running(work, greeted), own=frozenset(own), renew=renew)


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
        upstream=Direct(greeted.record.peer, greeted.connection),
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


async def _serve(
    settings: Settings,
    session: str,
    transport: str,
    token_file: Path,
    announce: Callable[[Address], None],
) -> None:
    ending = asyncio.Event()
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, ending.set)
    proxy = Proxy(settings)
    directory = session_dir(session) / "proxy"
    path = directory / "toolexec.sock"
    try:
        if transport == "unix":
            files.make_directory(directory, mode=0o755)
            proxy.doors.listen_unix(path)
            url = f"unix://{path}"
            address = Address(url=url, token_file=token_file, socket=directory)
        else:
            port = proxy.doors.listen_tcp("127.0.0.1")
            address = Address(url=f"http://127.0.0.1:{port}/exec", token_file=token_file)
        announce(address)
        await ending.wait()
    finally:
        await proxy.close()
        if transport == "unix":
            path.unlink(missing_ok=True)


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


def _notifier(work: Workplace) -> notify.Notifier | None:
    command = work.config.notifications_command or notifications.command(os.environ)
    return notify.configured(command, os.environ) if command else None


@contextlib.contextmanager
def _alone(session: str) -> Iterator[None]:
    """Only one proxy serves a session."""
    path = session_dir(session) / "proxy.lock"
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AifoError("proxy", "another one serves this project already") from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """The event loop leaves the signals it took with their default actions."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
