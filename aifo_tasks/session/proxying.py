"""A project's proxy: its toolchains ready, a socket and a token, until somebody ends it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from aifo_tasks import log
from aifo_tasks.errors import AifoError, ConflictError
from aifo_tasks.model import Network
from aifo_tasks.session import ready
from aifo_tasks.session.access import Access
from aifo_tasks.session.served import served
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar import network, sessions
from aifo_tasks.sidecar.identity import Owner, session_dir
from aifo_tasks.sidecar.plan import Plan, network_name
from aifo_tasks.value import dataclass

if TYPE_CHECKING:
    from aifo_tasks.engine.api import Engine

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a proxy is found from the host, and where its token lies.

    ``directory`` is what a container mounts at /run/aifo. Over TCP it joins ``network``, where
    ``gateway`` is this machine.
    """

    url: str
    token_file: Path
    directory: Path
    network: str = ""
    gateway: str = ""


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
    session = works[0].plan.session
    with contextlib.ExitStack() as stack:
        if not log.is_dry_run():
            stack.enter_context(_alone(session))
        stack.enter_context(_signals_kept())
        way = Access(
            directory=session_dir(session) / "proxy",
            token=secrets.token_hex(32),
            owner=Owner(uid=os.getuid(), gid=os.getgid()),
        )
        serving = stack.enter_context(served(works, choices, session=session, token=way.token))
        if serving is None:
            return 0
        stack.callback(way.remove)
        way.lay_out()
        if transport == "unix":
            serving.listen_unix(way.socket)
            url = f"unix://{way.socket}"
            address = Address(url=url, token_file=way.token_file, directory=way.directory)
        else:
            engine = ready.connect(consent=choices.consent)
            plan = stack.enter_context(_network(engine, works))
            gateway = network.gateway(engine, plan)
            port = serving.listen_tcp(gateway, early=network.comes_late(engine))
            address = Address(
                url=f"http://{gateway}:{port}/exec",
                token_file=way.token_file,
                directory=way.directory,
                network=plan.network,
                gateway=gateway,
            )
        ended = _ended_by_signals(stack)
        announce(address)
        os.read(ended, 1)
    return 0


@contextlib.contextmanager
def _network(engine: Engine, works: Sequence[Workplace]) -> Iterator[Plan]:
    """A network for containers that call over TCP: the project's own, whose gateway is ours."""
    first = works[0]
    kind: Network = "isolated"
    if any(work.toolchain.network == "internal" for work in works):
        kind = "internal"
    plan = replace(
        first.plan,
        toolchain=replace(first.toolchain, network=kind),
        network=network_name(kind, first.plan.session, os.environ),
    )
    is_ours = network.ensure(engine, plan)
    try:
        yield plan
    finally:
        if is_ours:
            with contextlib.suppress(ConflictError):  # the session's end takes it away
                engine.remove_network(plan.network)


@contextlib.contextmanager
def _alone(session: str) -> Iterator[None]:
    """Only one proxy serves a project."""
    with sessions.serving(session) as is_held:
        if not is_held:
            raise AifoError("proxy", "another one serves this project already")
        yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """What signals do is afterwards as it was."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended_by_signals(stack: contextlib.ExitStack) -> int:
    """A descriptor that can be read once a signal came; from now on that is all they do.

    The byte is written when the signal comes, whichever thread it meets: a handler of
    Python's waits for the main thread, which waits for this.
    """
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    stack.callback(signal.set_wakeup_fd, before)

    def note(number: int, frame: FrameType | None) -> None:
        """Only what somebody handles is written."""

    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, note)
    return read
