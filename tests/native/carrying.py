"""`aifo-init --relay` beside an init, driven frame by frame over its pipes."""

from __future__ import annotations

import collections
import contextlib
import os
import resource
import signal
import subprocess
import threading
from typing import Self

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Decoder, Exit, Failed, Frame, Type
from tests.native.running import GENEROUS, Init, call_frame


class Carry:
    """A running relay. What it says is read all the time and kept by call."""

    def __init__(
        self, init: Init, *options: str, descriptors: int = 0, socket: object = None
    ) -> None:
        door = ["--socket", str(socket or init.socket), "--init", str(init.pid)]
        self.process = subprocess.Popen(
            [str(init.binary), "--relay", *door, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=init.environment,
            bufsize=0,
            start_new_session=True,
        )
        if descriptors:
            most = (descriptors, descriptors)
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, most)
        self._ended: tuple[int, str] | None = None
        self._turn = threading.Lock()
        self._news = threading.Condition()
        self._said: dict[int, collections.deque[Frame]] = collections.defaultdict(collections.deque)
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def call(self, number: int, *argv: str, terminal: int = 0, joined: bool = False) -> Relayed:
        """Begin a call, which has started when this returns."""
        call = self.prepare(number, *argv, terminal=terminal, joined=joined)
        assert call.next() == Frame(type=Type.STARTED, call=number)
        return call

    def prepare(self, number: int, *argv: str, terminal: int = 0, joined: bool = False) -> Relayed:
        """Ask for a call, whatever becomes of that."""
        payload = call_frame(argv, terminal=terminal)[8:]
        self.send(Type.CALL, number, frames.joined(payload) if joined else payload)
        return Relayed(self, number)

    def send(self, kind: Type, call: int, payload: bytes = b"") -> None:
        self.write(Frame(type=kind, call=call, payload=payload).encode())

    def write(self, data: bytes) -> None:
        """Write bytes as they are; an end of the relay shows when its status is looked at."""
        assert self.process.stdin is not None
        left = memoryview(data)
        with self._turn, contextlib.suppress(BrokenPipeError):
            while left:
                left = left[self.process.stdin.write(left) :]

    def wait(self, call: int) -> Frame | None:
        """The next frame of a call; None when the relay has ended."""
        with self._news:
            said = self._said[call]
            assert self._news.wait_for(lambda: said or self._over, GENEROUS), "nothing said"
            return said.popleft() if said else None

    def silent(self, call: int) -> bool:
        """True when nothing of a call has come that was not taken."""
        with self._news:
            return not self._said[call]

    def end(self) -> tuple[int, str]:
        """Close its input; its exit status, and what it said about itself."""
        if self._ended is None:
            assert self.process.stdin is not None
            assert self.process.stderr is not None
            self.process.stdin.close()
            with self.process.stderr as stderr:
                text = stderr.read().decode()
            self._ended = self.process.wait(GENEROUS), text
            self._reader.join(GENEROUS)
        return self._ended

    def _read(self) -> None:
        decoder = Decoder()
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            while data := stdout.read(1 << 16):
                with self._news:
                    for frame in decoder.feed(data):
                        self._said[frame.call].append(frame)
                    self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


class Relayed:
    """One call of a relay's."""

    def __init__(self, carry: Carry, number: int) -> None:
        self.carry = carry
        self.number = number
        self._granted = threading.Semaphore(0)

    def next(self) -> Frame | None:
        return self.carry.wait(self.number)

    def line(self) -> bytes:
        """What it writes up to the end of a line."""
        line = b""
        while not line.endswith(b"\n"):
            frame = self.next()
            assert frame is not None
            assert frame.type in {Type.STDOUT, Type.STDERR}
            line += frame.payload
        return line

    def send(self, kind: Type, payload: bytes = b"") -> None:
        self.carry.send(kind, self.number, payload)

    def pay(self, frame: Frame) -> None:
        """Give back the credit that a frame of output took."""
        count = len(frame.payload)
        if count:
            self.send(Type.CREDIT, frames.credit(int(frame.type), count))

    def feed(self, data: bytes) -> None:
        """Send input as there is credit for it, in a thread of its own, and close it."""

        def run() -> None:
            for start in range(0, len(data), frames.MAX_PAYLOAD):
                assert start < frames.CREDIT or self._granted.acquire(timeout=GENEROUS)
                self.send(Type.STDIN, data[start : start + frames.MAX_PAYLOAD])
            self.send(Type.STDIN_CLOSED)

        threading.Thread(target=run, daemon=True).start()

    def rest(self) -> tuple[bytes, bytes, Frame]:
        """Both outputs, paid for, and the last frame."""
        outputs = {Type.STDOUT: bytearray(), Type.STDERR: bytearray()}
        while frame := self.next():
            if frame.type in outputs:
                outputs[frame.type] += frame.payload
                self.pay(frame)
            elif frame.type is Type.CREDIT:
                self._granted.release(int.from_bytes(frame.payload[1:]) // frames.MAX_PAYLOAD)
            elif frame.type is not Type.CLOSED or not frame.payload:
                break  # and not only the word that nobody reads the input any more
        assert frame is not None
        return bytes(outputs[Type.STDOUT]), bytes(outputs[Type.STDERR]), frame

    def end(self) -> Exit:
        """How it ended, whatever it wrote."""
        frame = self.rest()[2]
        assert frame.type is Type.EXIT
        return Exit.decode(frame.payload)

    def failed(self) -> Failed:
        """Why it was not started."""
        frame = self.next()
        assert frame is not None
        assert frame.type is Type.FAILED
        return Failed.decode(frame.payload)


def kill(carry: Carry) -> None:
    """Kill it without a word."""
    os.kill(carry.process.pid, signal.SIGKILL)
    carry.process.wait(GENEROUS)
