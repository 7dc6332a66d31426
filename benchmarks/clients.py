"""Load: some clients at once, each a process that makes one call after the other.

Processes, not threads: a start holds Python's lock until the new program has begun, and the
threads of one process would wait for each other instead of for what they call.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.measure import Load

Call = Callable[[], None]
PATIENCE = 300  # seconds after which a client that still waits has failed
_ROW = 3  # doubles of a client besides those of its calls: begin, end, processor time


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to have a tool run: ``begin`` prepares a client and returns what calls once.

    A ``slow`` one gets fewer calls.
    """

    name: str
    begin: Callable[[], Call]
    slow: bool = False


def loaded(ways: Sequence[Way], clients: int, *, rounds: int, calls: int) -> list[Load]:
    """Each way under the same load: every round a batch of ``calls`` calls a client.

    The ways take turns, so that a noisy minute falls on all of them; a slow one makes a
    tenth of the calls, and with many clients takes part in every fourth round. The first
    round warms caches and does not count.
    """
    loads = [Load(name=way.name, clients=clients) for way in ways]
    for number in range(rounds + 1):
        for way, load in zip(ways, loads, strict=True):
            if number > 0 and way.slow and clients > 1 and (number - 1) % 4 != 0:
                continue
            count = max(1, calls // 10) if way.slow else calls
            batch = at_once(way, clients, count if number > 0 else 1)
            if number > 0:
                load.seconds += batch.seconds
                load.elapsed += batch.elapsed
                load.own += batch.own
    return loads


def at_once(way: Way, clients: int, calls: int = 1) -> Load:
    """Let so many clients begin at the same moment; every call has to succeed.

    A client and what it started end here on every path.
    """
    width = _ROW + calls
    times = memoryview(mmap.mmap(-1, clients * width * 8)).cast("d")
    rows = [times[n * width : (n + 1) * width] for n in range(clients)]
    started: list[int] = []
    with _Pipe() as ready, _Pipe() as go:
        try:
            for row in rows:
                pid = _start(way, row, ready, go)
                started.append(pid)
            ready.close_writing()
            os.read(ready.reading, 1)  # nobody holds the other end any more: all are ready
            go.close_writing()
            failed = [pid for pid in started if _status(pid) != 0]
        finally:
            _end(started)
    if failed:
        sys.exit(f"{way.name}: {len(failed)} of {clients} clients failed")
    return Load(
        name=way.name,
        clients=clients,
        seconds=[second for row in rows for second in row[_ROW:]],
        elapsed=max(row[1] for row in rows) - min(row[0] for row in rows),
        own=sum(row[2] for row in rows),
    )


class _Pipe:
    """A pipe that tells by its end that everybody has let go of it."""

    def __enter__(self) -> Self:
        self.reading, self._writing = os.pipe()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_writing()
        os.close(self.reading)

    def close_writing(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
        self._writing = -1


def _start(way: Way, row: memoryview[float], ready: _Pipe, go: _Pipe) -> int:
    """Fork a client; it is the leader of a group that holds everything it starts."""
    pid = os.fork()
    if pid != 0:
        with contextlib.suppress(OSError):  # it has done so itself, or has gone
            os.setpgid(pid, pid)
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        go.close_writing()
        complaints = os.dup(2)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):  # a terminal is another kind of call
            os.dup2(null, descriptor)
        call = way.begin()
        ready.close_writing()
        os.read(go.reading, 1)
        _work(call, row)
        status = 0
    except BaseException:  # noqa: BLE001  # nothing of it may run on in the copy of the parent
        os.write(complaints, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _work(call: Call, row: memoryview[float]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    row[0] = time.perf_counter()
    for n in range(_ROW, len(row)):
        begin = time.perf_counter()
        call()
        row[n] = time.perf_counter() - begin
    row[1] = time.perf_counter()
    after = resource.getrusage(resource.RUSAGE_SELF)
    row[2] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _status(pid: int) -> int:
    """How a client ended; its number stays taken."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert result is not None
    return result.si_status


def _end(started: Sequence[int]) -> None:
    """Clients that still run, and whatever a client has left behind in its group."""
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for pid in started:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
