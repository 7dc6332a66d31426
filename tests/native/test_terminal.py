"""Calls from a terminal: a real one on one side, drawn by the test, on the other the tool's."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.native.running import GENEROUS, Init, stat_of, wait_for
from tests.native.screens import STREAMS, Screen, resize


@pytest.fixture
def screen(init: Init) -> Iterator[Callable[..., Screen]]:
    """Shows programs on terminals of their own."""
    with contextlib.ExitStack() as stack:

        def show(argv: list[str], rows: int = 24, columns: int = 80) -> Screen:
            shown = Screen(argv, rows=rows, columns=columns)
            stack.callback(shown.close)
            return shown

        yield show


def shell(init: Init, streams: str, *argv: str) -> list[str]:
    """The attaching command with some streams redirected."""
    return ["sh", "-c", f'exec "$@" {streams}', "sh", *init.attach_argv(*argv)]


def test_a_terminal_of_its_own(init: Init, screen: Callable[..., Screen]) -> None:
    tool = STREAMS + "stty size; tty; exit 5"
    shown = screen(init.attach_argv("sh", "-c", tool), rows=33, columns=99)
    shown.expect(b"0 is one\r\n1 is one\r\n2 is one\r\n33 99\r\n/dev/pts/")
    assert shown.wait() == 5
    assert os.ttyname(shown.slave).encode().split(b"/")[-1] != shown.text.strip()
    shown.expect_modes_back()
    init.expect_nothing_left()


def test_it_is_the_controlling_terminal_of_the_foreground(
    init: Init, screen: Callable[..., Screen]
) -> None:
    shown = screen(
        init.attach_argv("sh", "-c", "ps -o tpgid= -p $$ 2>/dev/null; echo x > /dev/tty")
    )
    shown.expect(b"x\r\n")
    assert shown.wait() == 0


def test_it_is_there_as_long_as_the_tool(init: Init, screen: Callable[..., Screen]) -> None:
    tool = "exec >/dev/null 2>&1 </dev/null; sleep 0.5; echo late >/dev/tty; exit 3"
    shown = screen(init.attach_argv("sh", "-c", tool))
    shown.expect(b"late\r\n")
    assert shown.wait() == 3


def test_what_the_tool_left_behind_is_not_hung_up_on(
    init: Init, screen: Callable[..., Screen], tmp_path: Path
) -> None:
    tool = f"sleep 4300 >/dev/null & echo $! >{tmp_path}/pid; exit 3"
    shown = screen(init.attach_argv("sh", "-c", tool))
    assert shown.wait() == 3
    left = int((tmp_path / "pid").read_text())
    time.sleep(0.3)
    os.kill(left, signal.SIGKILL)  # which it would not find


def test_keys_pass_raw_and_modes_come_back(init: Init, screen: Callable[..., Screen]) -> None:
    tool = "stty raw -echo; echo ready; dd bs=1 count=4 2>/dev/null | od -An -tx1"
    shown = screen(init.attach_argv("sh", "-c", tool))
    shown.expect(b"ready")
    assert not shown.echoes()
    shown.type(b"\x03\x1a\x04\x11")
    shown.expect(b"03 1a 04 11")
    assert shown.wait() == 0
    shown.expect_modes_back()


def test_interrupt_key(init: Init, screen: Callable[..., Screen]) -> None:
    shown = screen(init.attach_argv("sh", "-c", "echo ready; exec sleep 1000"))
    shown.expect(b"ready")
    shown.type(b"\x03")
    assert shown.wait() == 130
    shown.expect_modes_back()
    init.expect_nothing_left()


def test_end_of_file_key(init: Init, screen: Callable[..., Screen]) -> None:
    shown = screen(init.attach_argv("sh", "-c", "echo ready; cat; exit 4"))
    shown.expect(b"ready")
    shown.type(b"line\n")
    shown.expect(b"line\r\nline\r\n")
    shown.type(b"\x04")
    assert shown.wait() == 4


def test_a_new_size_arrives(init: Init, screen: Callable[..., Screen]) -> None:
    tool = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
    shown = screen(init.attach_argv("sh", "-c", tool))
    shown.expect(b"ready")
    resize(shown.master, 11, 222)
    shown.expect(b"11 222")
    shown.type(b"\x03")
    assert shown.wait() == 130


def test_all_output_comes_before_the_end(init: Init, screen: Callable[..., Screen]) -> None:
    shown = screen(init.attach_argv("seq", "30000"))
    assert shown.wait() == 0
    assert shown.text == b"".join(b"%d\r\n" % n for n in range(1, 30001))


def test_a_terminal_that_somebody_keeps_open_delays_no_end(
    init: Init, screen: Callable[..., Screen]
) -> None:
    tool = "trap '' HUP; sleep 1000 & echo last words"
    shown = screen(init.attach_argv("sh", "-c", tool))
    assert shown.wait() == 0
    assert shown.text == b"last words\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_the_call_and_modes_come_back(
    init: Init, screen: Callable[..., Screen], number: signal.Signals
) -> None:
    shown = screen(init.attach_argv("sh", "-c", "echo ready; exec sleep 1000"))
    shown.expect(b"ready")
    os.kill(shown.pid, number)
    assert shown.wait() == 128 + number
    shown.expect_modes_back()
    init.expect_nothing_left()


def test_modes_come_back_when_the_sidecar_is_lost(
    init: Init, screen: Callable[..., Screen]
) -> None:
    shown = screen(init.attach_argv("sh", "-c", "echo ready; exec sleep 1000"))
    shown.expect(b"ready")
    parent = next(pid for pid in init.left() if (stat_of(pid) or ("", 0))[1] == init.pid)
    os.kill(parent, signal.SIGKILL)
    assert shown.wait() == 125
    shown.expect_modes_back()


def test_only_terminals_become_the_tools(
    init: Init, screen: Callable[..., Screen], tmp_path: Path
) -> None:
    tool = STREAMS + "echo aside >&2"
    shown = screen(shell(init, f"2>{tmp_path}/err", "sh", "-c", tool))
    assert shown.wait() == 0
    assert shown.text == b"0 is one\r\n1 is one\r\n"
    assert (tmp_path / "err").read_bytes() == b"aside\n"


def test_output_alone_on_a_terminal_comes_through_a_pipe(
    init: Init, screen: Callable[..., Screen]
) -> None:
    tool = STREAMS + "for n in $(seq 3000); do echo $n; echo e$n >&2; done; exit 3"
    shown = screen(shell(init, "</dev/null", "sh", "-c", tool))
    assert shown.wait() == 3
    assert shown.text == b"".join(b"%d\r\ne%d\r\n" % (n, n) for n in range(1, 3001))
    shown.expect_modes_back()


def test_input_alone_on_a_terminal_keeps_its_modes(
    init: Init, screen: Callable[..., Screen], tmp_path: Path
) -> None:
    """As in ``tool | less``: lines are edited and echoed here, and end with the key for it."""
    output = tmp_path / "out"
    tool = STREAMS + "echo ready; cat; exit 3"
    shown = screen(shell(init, f">{output} 2>/dev/null", "sh", "-c", tool))
    wait_for("the tool", lambda: output.exists() and output.read_bytes() == b"ready\n")
    assert shown.echoes()
    shown.type(b"typo\x15text\n\x04")
    assert shown.wait() == 3
    assert output.read_bytes() == b"ready\ntext\n"
    shown.expect_modes_back()


@pytest.mark.parametrize("streams", ["", "</dev/null", ">/dev/null", "2>/dev/null", "<&-"])
def test_a_tool_never_gets_our_terminal(
    init: Init, screen: Callable[..., Screen], tmp_path: Path, streams: str
) -> None:
    tool = f"readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 > {tmp_path}/fds"
    shown = screen(shell(init, streams, "sh", "-c", tool))
    assert shown.wait() == 0
    links = (tmp_path / "fds").read_text().split()
    assert len(links) == 3
    assert os.ttyname(shown.slave) not in links


def test_a_terminal_that_hangs_up_ends_the_call(init: Init) -> None:
    master, slave = pty.openpty()
    argv = init.attach_argv("sh", "-c", "echo ready; exec sleep 1000")
    child = subprocess.Popen(["setsid", "-c", *argv], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    assert b"ready" in os.read(master, 100)
    os.close(master)
    assert child.wait(GENEROUS) in {129, -signal.SIGHUP}
    init.expect_nothing_left()
