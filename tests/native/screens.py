"""Programs on terminals whose keys and screens a test has."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping

import pytest

from tests.native.running import GENEROUS, wait_for

BASH = ["bash", "--norc", "--noprofile", "-i"]
Show = Callable[..., "Screen"]
STREAMS = "for n in 0 1 2; do test -t $n && echo $n is one; done; "


class Screen:
    """A program on a terminal of its own; no fork of this process and its threads starts it."""

    def __init__(
        self, argv: list[str], environment: Mapping[str, str] = os.environ, *,
        rows: int = 24, columns: int = 80,
    ) -> None:  # fmt: skip
        self.master, self.slave = os.openpty()
        resize(self.slave, rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.text = b""
        name = os.ttyname(self.slave)
        self.pid = os.posix_spawn(
            shutil.which(argv[0]) or argv[0], argv, environment, setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
        )  # fmt: skip

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes) -> bytes:
        """Read until the text is on the screen; what came before it."""
        end = time.monotonic() + GENEROUS
        while text not in self.text:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                pytest.fail(f"{text!r} did not come after {self.text!r}")
            self.text += os.read(self.master, 65536)
        before, self.text = self.text.split(text, 1)
        return before

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

    def is_raw(self) -> bool:
        """True when even the keys that stop and interrupt pass."""
        return not termios.tcgetattr(self.slave)[3] & termios.ISIG

    def expect_modes_back(self) -> None:
        assert termios.tcgetattr(self.slave) == self.before

    def hang_up(self) -> None:
        """Close the terminal, as somebody closes a window."""
        if self.master >= 0:
            os.close(self.master)
            os.close(self.slave)
        self.master = self.slave = -1

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.hang_up()


def resize(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
