"""A call that is cut leaves no process: looked up below init, not read from a log."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from aifo_tasks.toolexec import launcher
from tests.native.running import SAYS_SIGNALS, Init, Started, stat_of, wait_for

ESCAPES = """
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        subprocess.Popen(["sleep", "1000"])
        open(sys.argv[1], "w").write("ready")
    os.execvp("sleep", ["sleep", "1000"])
time.sleep(1000)
"""

RECORDS = """
import os, signal, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(number, frame):
    os.write(log, f"{number} {time.monotonic()}\\n".encode())
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
    signal.signal(number, note)
open(sys.argv[1] + ".ready", "w")
while True:
    time.sleep(1000)
"""

IGNORES = "trap '' INT TERM HUP; echo ready > %s; while :; do sleep 1000; done"


def ready(path: Path) -> None:
    wait_for(str(path), lambda: path.exists() and (path.suffix == ".ready" or path.read_text()))


@pytest.fixture(params=["close", "half close"])
def cut(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]  # a function
    """The two ways in which a caller goes away."""
    if request.param == "close":
        return Started.close
    return lambda call: call.connection.shutdown(socket.SHUT_WR)


def test_a_silent_tool_ends_with_its_caller(init: Init, cut) -> None:  # type: ignore[no-untyped-def]
    call = init.start("sleep", "1000")
    assert init.left()
    cut(call)
    init.expect_nothing_left()


def test_new_sessions_and_double_forks_do_not_escape(init: Init, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = init.start(sys.executable, "-c", ESCAPES, str(mark))
    ready(mark)
    assert len(init.left()) == 5  # its parent, itself, two sessions, their child
    call.close()
    init.expect_nothing_left()


def test_a_tool_that_never_reads_its_input_ends_with_its_caller(init: Init) -> None:
    ours, theirs = socket.socketpair()
    call = init.start("sleep", "1000", stdin=theirs.fileno())
    theirs.close()
    ours.setblocking(False)
    sent = 0
    try:
        while sent < 1024 * 1024:
            sent += ours.send(b"x" * 65536)
    except BlockingIOError:
        pass
    assert sent > 0
    call.close()
    init.expect_nothing_left()
    ours.close()


def test_a_stopped_tool_ends_with_its_caller(init: Init) -> None:
    call = init.start("sleep", "1000")
    call.signal(signal.SIGTSTP)
    wait_for("a stopped process", lambda: "T" in states(init))
    call.close()
    init.expect_nothing_left()


def test_the_ladder_is_int_then_term_then_kill_each_with_cont(init: Init, tmp_path: Path) -> None:
    log = tmp_path / "log"
    call = init.start(sys.executable, "-c", RECORDS, str(log))
    ready(tmp_path / "log.ready")
    before = time.monotonic()
    call.close()
    init.expect_nothing_left()
    noted = [line.split() for line in log.read_text().splitlines()]
    cont, interrupt, term = (str(int(n)) for n in (signal.SIGCONT, signal.SIGINT, signal.SIGTERM))
    assert sorted(n for n, _ in noted) == sorted([interrupt, cont, term, cont])
    assert next(n for n, _ in noted if n != cont) == interrupt
    at = {number: float(when) - before for number, when in noted if number != cont}
    # bounds of an order, not of a speed: nothing comes before its time
    assert at[term] - at[interrupt] > 1.5
    assert time.monotonic() - before > 4.9


def test_who_ignores_everything_is_killed(init: Init, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = init.start("sh", "-c", IGNORES % mark)
    ready(mark)
    call.close()
    init.expect_nothing_left()


def test_an_interrupted_tool_leaves_none_of_its_children(init: Init, tmp_path: Path) -> None:
    """The shell ends at once; what it started ignores the interrupt, and is swept."""
    mark = tmp_path / "mark"
    call = init.start("sh", "-c", f"sleep 1000 & sleep 1000 & echo ready > {mark}; wait")
    ready(mark)
    call.signal(signal.SIGINT)
    assert call.end().status == 130
    assert len(init.left()) <= 1  # its parent, which has just said so
    init.expect_nothing_left()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]
)
def test_terminating_signals_reach_the_tool(init: Init, number: signal.Signals) -> None:
    call = init.start("sleep", "1000")
    call.signal(number)
    assert call.end().status == 128 + number
    init.expect_nothing_left()


def test_kill_ends_even_a_sweep_at_once(init: Init, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"sh -c 'trap \"\" INT TERM; echo ready > {mark}; while :; do sleep 1000; done' & wait"
    call = init.start("sh", "-c", script)
    ready(mark)
    before = time.monotonic()
    call.signal(signal.SIGINT)
    call.signal(signal.SIGKILL)
    assert call.end().status in {130, 137}
    assert time.monotonic() - before < 4.5  # the ladder alone takes five seconds
    init.expect_nothing_left()


def test_other_signals_arrive(init: Init) -> None:
    read, write = os.pipe()
    call = init.start(sys.executable, "-c", SAYS_SIGNALS, output=write)
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.readline() == "ready\n"
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT):
            call.signal(number)
            assert lines.readline() == f"{number.name}\n"
        call.close()
    init.expect_nothing_left()


def test_stop_and_continue(init: Init) -> None:
    call = init.start("sleep", "1000")
    call.signal(signal.SIGTSTP)
    wait_for("a stopped process", lambda: "T" in states(init))
    call.signal(signal.SIGCONT)
    wait_for("no stopped process", lambda: "T" not in states(init))
    call.signal(signal.SIGTERM)
    assert call.end().status == 143


@pytest.mark.parametrize("number", [0, signal.SIGSTOP, signal.SIGSEGV, signal.SIGCHLD, 64, 255])
def test_other_numbers_do_nothing(init: Init, number: int) -> None:
    call = init.start("sh", "-c", "sleep 0.3; exit 4")
    call.signal(number)
    assert call.end().status == 4


def test_an_exception_in_capture_stops_the_call(init: Init) -> None:
    class StopError(Exception):
        pass

    def stop(_: bytes) -> None:
        raise StopError

    call = launcher.Call(argv=["sh", "-c", "echo; sleep 1000"], cwd="/")
    with pytest.raises(StopError):
        launcher.capture(init.greeted(), call, on_output=stop)
    init.expect_nothing_left()


def test_a_tool_without_its_parent_does_not_live(init: Init) -> None:
    """The kernel, short of memory, may kill the parent of a tool; the caller sees a loss."""
    call = init.start("sleep", "1000")
    parent = next(pid for pid in init.left() if (stat_of(pid) or ("", 0, 0))[1] == init.pid)
    os.kill(parent, signal.SIGKILL)
    assert call.next() is None
    init.expect_nothing_left()


def states(init: Init) -> str:
    return "".join(found[0] for pid in init.left() if (found := stat_of(pid)))
