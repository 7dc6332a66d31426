"""Calls from a terminal: a real one on one side, drawn by the test, on the other the tool's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.native.running import GENEROUS, Init, stat_of, wait_for

STREAMS = "for n in 0 1 2; do test -t $n && echo $n is one; done; "


class Screen:
    """A program on a terminal of its own, whose keys and screen the test has."""

    def __init__(self, argv: list[str], *, rows: int = 24, columns: int = 80) -> None:
        master, slave = os.openpty()
        resize(slave, rows, columns)
        self.master = master
        self.slave = slave  # kept open: its modes are looked at after the program's end
        self.before = termios.tcgetattr(slave)
        self.text = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for n in range(3):
                os.dup2(slave, n)
            os.closerange(3, 1024)
            os.execv(shutil.which(argv[0]) or argv[0], argv)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes) -> None:
        """Read until the text is on the screen."""
        end = time.monotonic() + GENEROUS
        while text not in self.text:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                pytest.fail(f"{text!r} did not come after {self.text!r}")
            self.text += os.read(self.master, 65536)
        self.text = self.text.split(text, 1)[1]

    def wait(self) -> int:
        """The exit status, all output read."""
        os.set_blocking(self.master, False)

        def ended() -> tuple[int, int] | None:
            self.read()
            found = os.waitpid(self.pid, os.WNOHANG)
            return found if found[0] else None

        _, status = wait_for("the program's end", ended)
        self.pid = 0
        self.read()
        return os.waitstatus_to_exitcode(status)

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.master, 65536):
                self.text += data

    def echoes(self) -> bool:
        """False in raw mode."""
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)


def resize(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.fixture
def screen(init: Init) -> Iterator[Callable[..., Screen]]:
    """Shows programs on terminals of their own."""
    with contextlib.ExitStack() as stack:

        def show(argv: list[str], **size: int) -> Screen:
            shown = Screen(argv, **size)
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
    assert termios.tcgetattr(shown.slave) == shown.before
    init.expect_nothing_left()


def test_it_is_the_controlling_terminal_of_the_foreground(
    init: Init, screen: Callable[..., Screen]
) -> None:
    shown = screen(
        init.attach_argv("sh", "-c", "ps -o tpgid= -p $$ 2>/dev/null; echo x > /dev/tty")
    )
    shown.expect(b"x\r\n")
    assert shown.wait() == 0


def test_keys_pass_raw_and_modes_come_back(init: Init, screen: Callable[..., Screen]) -> None:
    tool = "stty raw -echo; echo ready; dd bs=1 count=4 2>/dev/null | od -An -tx1"
    shown = screen(init.attach_argv("sh", "-c", tool))
    shown.expect(b"ready")
    assert not shown.echoes()
    shown.type(b"\x03\x1a\x04\x11")
    shown.expect(b"03 1a 04 11")
    assert shown.wait() == 0
    assert termios.tcgetattr(shown.slave) == shown.before


def test_interrupt_key(init: Init, screen: Callable[..., Screen]) -> None:
    shown = screen(init.attach_argv("sh", "-c", "echo ready; exec sleep 1000"))
    shown.expect(b"ready")
    shown.type(b"\x03")
    assert shown.wait() == 130
    assert termios.tcgetattr(shown.slave) == shown.before
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
    assert termios.tcgetattr(shown.slave) == shown.before
    init.expect_nothing_left()


def test_modes_come_back_when_the_sidecar_is_lost(
    init: Init, screen: Callable[..., Screen]
) -> None:
    shown = screen(init.attach_argv("sh", "-c", "echo ready; exec sleep 1000"))
    shown.expect(b"ready")
    parent = next(pid for pid in init.left() if (stat_of(pid) or ("", 0))[1] == init.pid)
    os.kill(parent, signal.SIGKILL)
    assert shown.wait() == 125
    assert termios.tcgetattr(shown.slave) == shown.before


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
    assert termios.tcgetattr(shown.slave) == shown.before


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
    assert termios.tcgetattr(shown.slave) == shown.before


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


BASH = ["env", "PS1=next>", "bash", "--norc", "--noprofile", "-i"]


@pytest.mark.parametrize("streams", ["", ">{out}", "</dev/null"])
def test_a_job_in_the_background_goes_on(
    init: Init, screen: Callable[..., Screen], tmp_path: Path, streams: str
) -> None:
    """It neither reads keys nor changes modes, which would stop it."""
    shown = screen(BASH)
    argv = init.attach_argv("sh", "-c", f"sleep 0.5; echo done > {tmp_path}/mark; exit 3")
    shown.type(
        f"{' '.join(map(shlex.quote, argv))} {streams.format(out=tmp_path / 'out')} &\n".encode()
    )
    wait_for("the job", (tmp_path / "mark").exists)
    shown.type(b"wait %1; echo status=$?.\n")
    shown.expect(b"status=3.")
    shown.type(b"exit\n")
    shown.wait()


def test_a_job_comes_forward(init: Init, screen: Callable[..., Screen], tmp_path: Path) -> None:
    shown = screen(BASH)
    tool = f"echo > {tmp_path}/mark; read line; echo got=$line.; exit 3"
    shown.type(f"{' '.join(map(shlex.quote, init.attach_argv('sh', '-c', tool)))} &\n".encode())
    wait_for("the job", (tmp_path / "mark").exists)
    shown.type(b"fg\n")
    shown.expect(b"attach.py")
    wait_for("raw mode", lambda: not shown.echoes())
    shown.type(b"hello\r")
    shown.expect(b"got=hello.")
    shown.expect(b"next>")
    shown.type(b"echo status=$?.\n")
    shown.expect(b"status=3.")
    shown.type(b"exit\n")
    shown.wait()


def test_stop_key_stops_both_and_fg_goes_on(
    init: Init, screen: Callable[..., Screen], tmp_path: Path
) -> None:
    shown = screen(BASH)
    output = tmp_path / "out"
    tool = "echo ready; read line; echo got=$line.; exit 3"
    argv = " ".join(map(shlex.quote, init.attach_argv("sh", "-c", tool)))
    shown.type(f"{argv} >{output}\n".encode())
    wait_for("the tool", lambda: output.exists() and output.read_bytes())
    shown.type(b"\x1a")
    shown.expect(b"Stopped")
    shown.expect(b"next>")
    wait_for("a stopped tool", lambda: "T" in states(init))
    shown.type(b"fg\n")
    wait_for("a tool that runs", lambda: "T" not in states(init))
    shown.expect(b"attach.py")
    shown.type(b"hello\n")
    wait_for("its output", lambda: b"got=hello." in output.read_bytes())
    shown.expect(b"next>")
    shown.type(b"echo status=$?.\n")
    shown.expect(b"status=3.")
    shown.type(b"exit\n")
    shown.wait()


def test_a_stop_gives_the_terminal_back_meanwhile(
    init: Init, screen: Callable[..., Screen], tmp_path: Path
) -> None:
    shown = screen(BASH)
    tool = "echo ready; read line; echo got=$line.; exit 3"
    argv = " ".join(map(shlex.quote, init.attach_argv("sh", "-c", tool)))
    shown.type(f"sh -c 'echo $$ > {tmp_path}/pid; exec \"$@\"' sh {argv}\n".encode())
    shown.expect(b"ready\r\n")
    assert not shown.echoes()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTSTP)
    shown.expect(b"Stopped")
    shown.expect(b"next>")
    wait_for("a stopped tool", lambda: "T" in states(init))
    shown.type(b"fg\n")
    wait_for("raw mode", lambda: not shown.echoes())
    shown.type(b"hello\r")
    shown.expect(b"got=hello.")
    shown.expect(b"next>")
    shown.type(b"echo status=$?.\n")
    shown.expect(b"status=3.")
    shown.type(b"exit\n")
    shown.wait()


def test_a_terminal_that_hangs_up_ends_the_call(init: Init) -> None:
    master, slave = pty.openpty()
    argv = init.attach_argv("sh", "-c", "echo ready; exec sleep 1000")
    child = subprocess.Popen(["setsid", "-c", *argv], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    assert b"ready" in os.read(master, 100)
    os.close(master)
    assert child.wait(GENEROUS) in {129, -signal.SIGHUP}
    init.expect_nothing_left()


def states(init: Init) -> str:
    return "".join(found[0] for pid in init.left() if (found := stat_of(pid)))
