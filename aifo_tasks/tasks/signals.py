"""Signals that end a run: raised where the run can clean up, passed on to children."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from aifo_tasks import process

GRACE_SECONDS = 10
"""How long a child that was told to end may take before it is killed."""


class Stopped(KeyboardInterrupt):
    """A signal asks us to end; ``signum`` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped in the main thread, unless ignored (nohup)."""

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if not process.holds(signum):
            raise Stopped(signum)

    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_children(signum: int) -> None:
    """Pass a signal on to what doit's own actions started, and see that it ends.

    Those run in our process group; what ``process`` starts has a group of its own and its
    own end. The terminal's ^C has reached the whole group already.
    """
    told = signum == signal.SIGINT and _in_foreground()
    deadline = time.monotonic() + GRACE_SECONDS
    _send(signum, [] if told else _group_members())
    while left := _group_members():
        if time.monotonic() > deadline:
            _send(signal.SIGKILL, left)
            return
        time.sleep(0.02)


def _send(signum: int, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _group_members() -> list[int]:
    """Living descendants of this process in its process group."""
    table = _processes()
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        new = {pid for pid, (parent, _) in table.items() if parent in new} - found
        found |= new
    return [pid for pid in found if table[pid][1] == os.getpgrp()]


def _processes() -> dict[int, tuple[int, int]]:
    """Every process that is no zombie: its parent and its group."""
    if not Path("/proc/self/stat").exists():  # macOS
        listing = process.run(["ps", "-A", "-o", "pid=,stat=,ppid=,pgid="]).text
        rows = [line.split() for line in listing.splitlines()]
    else:
        rows = []
        for directory in Path("/proc").glob("[1-9]*"):
            with contextlib.suppress(OSError):  # it has ended in between
                stat = (directory / "stat").read_text("utf-8", "replace")
                rows.append([directory.name, *stat.rpartition(")")[2].split()[:3]])
    return {int(pid): (int(up), int(group)) for pid, state, up, group in rows if "Z" not in state}
