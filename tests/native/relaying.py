"""The host's side of a relay whose other side is a process here, beside an init."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Self

from aifo_tasks.toolexec.relay import Relay
from tests.native.running import GENEROUS, Init


class Piped:
    """An ``ExecStream`` without an engine: `aifo-init --relay` on pipes."""

    def __init__(self, init: Init) -> None:
        argv = [str(init.binary), "--relay", "--socket", str(init.socket), "--init", str(init.pid)]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=init.environment,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input, self._output = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._is_open = True

    @property
    def complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode().strip()

    def receive(self) -> bytes:
        return os.read(self._output, 1 << 16)

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._input, data) :]

    def end_input(self) -> None:
        if self._is_open:
            assert self.process.stdin is not None
            self.process.stdin.close()
        self._is_open = False

    def close(self) -> None:
        self.end_input()

    def finish(self) -> None:
        """Its process has to be gone by itself."""
        self.process.wait(GENEROUS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Relayed:
    """A relay to an init, and the streams it has opened."""

    def __init__(self, init: Init) -> None:
        self.init = init
        self.streams: list[Piped] = []
        self.refusing: Exception | None = None
        self.relay = Relay("sidecar", self._open, linger=0.05)

    def _open(self) -> Piped:
        if self.refusing is not None:
            raise self.refusing
        self.streams.append(Piped(self.init))
        return self.streams[-1]

    def kill(self) -> None:
        """Kill the relay that runs without a word."""
        os.kill(self.streams[-1].process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """No connection is open any more: no relay runs."""
        for stream in self.streams:
            stream.finish()
