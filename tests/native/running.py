"""An init that runs as an ordinary process, and what tests ask of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from aifo_tasks.toolexec import frames, launcher
from aifo_tasks.toolexec.frames import Decoder, Frame, Type

SAYS_SIGNALS = """
import signal
waited = {signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
print("ready", flush=True)
while True:
    print(signal.sigwait(waited).name, flush=True)
"""
"""A tool of one process that says which signals it got, losing none."""

GENEROUS = 30.0
"""Seconds after which something that should have happened has not; nobody measures it."""


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """The first true value of ``condition``; fails the test when none comes."""
    end = time.monotonic() + GENEROUS
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    return pytest.fail(f"waited in vain for {what}")


def stat_of(pid: int) -> tuple[str, int, int] | None:
    """A process's state, parent and process group; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent, group = text[text.rindex(")") + 2 :].split()[:3]
    return state, int(parent), int(group)


def waits(pid: int) -> bool:
    """True for the process that init keeps ready for the next caller."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") == "aifo-waits\n"
    except OSError:
        return False


def descendants(root: int) -> set[int]:
    """Every process below ``root``, zombies included."""
    parents = {
        int(name): found[1]
        for name in os.listdir("/proc")
        if name.isdigit() and (found := stat_of(int(name)))
    }
    below: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - below
        below |= new
    return below


class Init:
    """A running init with its socket in a directory of its own; ended when left."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        *options: str,
        prefix: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self.binary = binary
        self.socket = directory / "init.sock"
        self.reports = directory / "report"
        self._calls: list[Started] = []
        argv = [*prefix, str(binary), "--socket", str(self.socket), "--spec", "0123abcd", *options]
        sanitizers = f"log_path={self.reports}:detect_leaks=0:exitcode=99"
        self.environment = {
            **(environment if environment is not None else dict(os.environ)),
            "ASAN_OPTIONS": sanitizers,
            "UBSAN_OPTIONS": sanitizers,
        }
        self.process = subprocess.Popen(
            argv,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            user=user,
            start_new_session=True,
        )
        try:
            wait_for("init's socket", self._answers)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def pid(self) -> int:
        """Init's own process, also below a program that started it."""
        return int(self._credentials[0])

    def peer(self) -> launcher.Peer:
        return launcher.Peer(
            socket=self.socket, pid=self.pid, start_time=launcher.start_time(self.pid)
        )

    def connect(self) -> socket.socket:
        """A connection that nothing was said on."""
        return launcher.connect(self.peer())

    def greeted(self) -> socket.socket:
        connection = self.connect()
        try:
            assert launcher.greet(connection).spec == "0123abcd"
        except BaseException:
            connection.close()
            raise
        return connection

    def run(
        self,
        *argv: str | bytes,
        cwd: str | bytes = "/",
        stdin: int | None = None,
        **environment: str,
    ) -> tuple[int, bytes]:
        """A call's exit status and joined output."""
        output: list[bytes] = []
        status = launcher.capture(
            self.greeted(),
            launcher.Call(argv=argv, cwd=cwd, environment=environment),
            stdin=stdin,
            on_output=output.append,
        )
        return status, b"".join(output)

    def start(self, *argv: str, stdin: int | None = None, output: int | None = None) -> Started:
        """A call under way, driven frame by frame; cut when init is left."""
        self._calls.append(Started(self, argv, stdin, output))
        return self._calls[-1]

    def attach_argv(self, *argv: str) -> list[str]:
        """A command that attaches its own streams and signals to a call."""
        peer = self.peer()
        script = str(Path(__file__).with_name("attach.py"))
        return [
            sys.executable,
            script,
            str(peer.socket),
            str(peer.pid),
            str(peer.start_time),
            *argv,
        ]

    def left(self) -> set[int]:
        """What runs below init, but for the one process that waits for the next caller."""
        return {pid for pid in descendants(self.pid) if not waits(pid)}

    def expect_nothing_left(self) -> None:
        """No process is below init: no tool, no parent of one, no zombie."""
        wait_for("an end of every process below init", lambda: not self.left())

    def report(self) -> str:
        """What a sanitizer had to say."""
        found = sorted(self.reports.parent.glob(f"{self.reports.name}.*"))
        return "\n".join(path.read_text(errors="replace") for path in found)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"init ended with {self.process.returncode}\n{self.report()}")
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return False
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            self._credentials = memoryview(credentials).cast("i")
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._calls:
            call.close()
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            try:
                self.process.wait(GENEROUS)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        assert self.report() == ""
        assert self.process.returncode == 0


class Started:
    """A call that runs: its connection, and frames one at a time."""

    def __init__(
        self, init: Init, argv: tuple[str, ...], stdin: int | None, output: int | None
    ) -> None:
        self.init = init
        self.connection = init.greeted()
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        send_call(self.connection, argv, stdin, output)
        assert self.next() == Frame(type=Type.STARTED)

    def next(self) -> Frame | None:
        self.connection.settimeout(GENEROUS)
        while not self._frames:
            try:
                data = self.connection.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def signal(self, number: int) -> None:
        self.connection.sendall(frames.signal_frame(number))

    def end(self) -> frames.Exit:
        frame = self.next()
        assert frame is not None
        assert frame.type is Type.EXIT
        return frames.Exit.decode(frame.payload)

    def close(self) -> None:
        self.connection.close()


def call_frame(argv: Sequence[str], *, cwd: bytes = b"/", terminal: int = 0) -> bytes:
    call = frames.Call(
        argv=tuple(map(os.fsencode, argv)), cwd=cwd, rows=24, columns=80, terminal=terminal
    )
    return Frame(type=Type.CALL, payload=call.encode()).encode()


def send_call(
    connection: socket.socket, argv: Sequence[str], stdin: int | None, output: int | None
) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    passed = [null if n is None else n for n in (stdin, output, output)]
    socket.send_fds(connection, [call_frame(argv)], passed)
    os.close(null)
