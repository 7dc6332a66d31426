"""A process that attaches: its signals, its streams, its exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from aifo_tasks.errors import SidecarLostError
from aifo_tasks.toolexec import launcher
from tests.native.running import GENEROUS, SAYS_SIGNALS, Init, stat_of, wait_for


@contextlib.contextmanager
def attached(init: Init, *argv: str, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process group of its own that attaches to a call and has seen its first line."""
    child = subprocess.Popen(
        init.attach_argv(*argv),
        stdin=streams.get("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_terminating_signals_pass_through(init: Init, number: signal.Signals) -> None:
    with attached(init, "sh", "-c", "echo ready; exec sleep 1000") as child:
        assert line(child) == b"ready\n"
        child.send_signal(number)
        assert child.wait(GENEROUS) == 128 + number
        assert child.stderr is not None
        assert child.stderr.read() == b""
    init.expect_nothing_left()


def test_other_signals_pass_through(init: Init) -> None:
    with attached(init, sys.executable, "-c", SAYS_SIGNALS) as child:
        assert line(child) == b"ready\n"
        for name in ("SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT"):
            child.send_signal(getattr(signal, name))
            assert line(child) == f"{name}\n".encode()
        child.send_signal(signal.SIGTERM)
        assert child.wait(GENEROUS) == 143


def test_no_signal_of_many_is_lost(init: Init) -> None:
    with attached(init, sys.executable, "-c", SAYS_SIGNALS) as child:
        assert line(child) == b"ready\n"
        for _ in range(50):
            child.send_signal(signal.SIGUSR1)
            assert line(child) == b"SIGUSR1\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(GENEROUS) == 143


def test_a_signal_during_the_start_is_not_lost(init: Init) -> None:
    """Handlers are there before the call is; whenever it comes, the status says so."""
    for delay in range(10):
        with attached(init, "sleep", "1000") as child:
            wait_for("handlers", partial(catches, child.pid, signal.SIGHUP))
            threading.Event().wait(delay / 1000)
            child.send_signal(signal.SIGHUP)
            assert child.wait(GENEROUS) == 129
        init.expect_nothing_left()


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    caught = next(row for row in status.splitlines() if row.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_an_ignored_signal_stays_ignored(init: Init) -> None:
    argv = [
        "sh",
        "-c",
        "trap '' HUP; exec \"$@\"",
        "sh",
        *init.attach_argv("sh", "-c", "echo; cat"),
    ]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert line(child) == b"\n"
    child.send_signal(signal.SIGHUP)
    output, _ = child.communicate(b"lives on")
    assert (output, child.returncode) == (b"lives on", 0)


def test_the_third_interrupt_kills(init: Init) -> None:
    with attached(init, sys.executable, "-c", SAYS_SIGNALS) as child:
        assert line(child) == b"ready\n"
        for _ in range(2):
            child.send_signal(signal.SIGINT)
            assert line(child) == b"SIGINT\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(GENEROUS) == 137
    init.expect_nothing_left()


def test_stop_stops_both_and_continue_goes_on(init: Init) -> None:
    with attached(init, "sh", "-c", "echo ready; read _; exit 6", stdin=subprocess.PIPE) as child:
        assert line(child) == b"ready\n"
        # in a session of its own the group is an orphan, whose TSTP the kernel drops: a
        # STOP for the process itself, after one that is only passed on
        child.send_signal(signal.SIGTSTP)
        child.send_signal(signal.SIGSTOP)
        wait_for("a stop", lambda: (stat_of(child.pid) or " ")[0] == "T")
        child.send_signal(signal.SIGCONT)
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.wait(GENEROUS) == 6


def test_a_killed_caller_takes_its_call_along(init: Init) -> None:
    with attached(init, "sh", "-c", "echo ready; sleep 1000") as child:
        assert line(child) == b"ready\n"
        child.kill()
        child.wait()
    init.expect_nothing_left()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_empty_ones(init: Init, closed: str, tmp_path: Path) -> None:
    tool = f"readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 > {tmp_path}/fds; exit 3"
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *init.attach_argv("sh", "-c", tool)]
    done = subprocess.run(argv, stdin=subprocess.PIPE, capture_output=False, check=False)
    assert done.returncode == 3
    links = (tmp_path / "fds").read_text().split()
    assert links[0] == os.devnull or "<" not in closed
    assert links[2] == os.devnull or "2>" not in closed


STREAM_FROM = """
import os, sys
number, flags, path = sys.argv[1:4]
os.dup2(os.open(path, int(flags)), int(number))
os.execv(sys.argv[4], sys.argv[4:])
"""


@pytest.mark.parametrize(("number", "name"), [(0, "standard input"), (1, "standard output")])
def test_a_stream_that_leads_elsewhere_is_refused(init: Init, number: int, name: str) -> None:
    """Python itself does not start with a directory in such a place; with O_PATH it does."""
    prefix = [sys.executable, "-c", STREAM_FROM, str(number), str(os.O_PATH), os.devnull]
    done = subprocess.run([*prefix, *init.attach_argv("true")], capture_output=True, check=False)
    text = f"{name}: is a directory, or leads to one: no tool may have it\n"
    assert (done.returncode, done.stderr.decode()) == (1, text)
    init.expect_nothing_left()


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["nonesuch"], 127, b"nonesuch: not found\n"),
        (["/etc/passwd"], 126, b"/etc/passwd: permission denied\n"),
    ],
)
def test_what_cannot_be_started_is_said_on_stderr(
    init: Init, argv: list[str], status: int, text: bytes
) -> None:
    done = subprocess.run(init.attach_argv(*argv), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", text)


def test_the_loss_of_the_sidecar_is_an_error(init: Init) -> None:
    with attached(init, "sh", "-c", "echo ready; exec sleep 1000") as child:
        assert line(child) == b"ready\n"
        parent = next(pid for pid in init.left() if (stat_of(pid) or ("", 0))[1] == init.pid)
        os.kill(parent, signal.SIGKILL)
        assert child.wait(GENEROUS) == SidecarLostError.exit_status
        assert child.stderr is not None
        assert child.stderr.read() == b"sh: the sidecar ended before the call did\n"


def test_outside_the_main_thread_there_are_no_handlers(init: Init) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    results: list[object] = []

    def work() -> None:
        call = launcher.Call(argv=["sh", "-c", "exit 8"], cwd="/")
        results.append(launcher.attach(init.greeted(), call))
        results.append({number: signal.getsignal(number) for number in signal.valid_signals()})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [8, before]


def test_handlers_and_wakeup_descriptor_are_put_back(init: Init) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    descriptors = os.listdir("/proc/self/fd")
    assert launcher.attach(init.greeted(), launcher.Call(argv=["true"], cwd="/")) == 0
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    assert signal.set_wakeup_fd(-1) == -1
    assert os.listdir("/proc/self/fd") == descriptors


def test_warm_imports_are_light() -> None:
    code = (
        "import sys, aifo_tasks.toolexec.launcher, aifo_tasks.native\n"
        "heavy = {'asyncio', 'docker', 'ruamel', 'jsonschema', 'jinja2', 'requests',"
        " 'termios', 'tty', 'http'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
