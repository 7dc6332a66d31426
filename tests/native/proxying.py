"""A proxy of a hundred lines that runs the tool right here: what the shim is tested against."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pty
import queue
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote_to_bytes

from aifo_tasks.toolexec.frames import Decoder, Exit, Frame, Type
from tests.native.running import wait_for

CREDIT = 256 * 1024
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: aifo-exec\r\n"
    b"X-Exec-Id: abc\r\n\r\n"
)


def answer(status: int, text: str, exit_code: int, extra: str = "") -> bytes:
    """An answer that is no call."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} Text\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"X-Exit-Code: {exit_code}\r\nContent-Length: {len(body)}\r\n{extra}Connection: close\r\n"
    )
    return head.encode() + b"\r\n" + body


@dataclass(kw_only=True)
class Request:
    """What one connection brought before its answer."""

    line: str
    headers: dict[str, str]
    fields: list[tuple[str, bytes]]
    descriptors: list[int] = field(default_factory=list)

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    def one(self, name: str) -> bytes:
        (value,) = self.all(name)
        return value

    @property
    def environment(self) -> dict[bytes, bytes]:
        pairs = [value.partition(b"=") for value in self.all("env")]
        return {name: value for name, _, value in pairs}


class Proxy:
    """Listens on a unix socket or on a port of this machine until it is left.

    ``script`` holds what the next connections get instead of a call.
    """

    def __init__(self, socket_path: Path | None = None, *, descriptors: bool = False) -> None:
        self.descriptors = descriptors
        self.requests: list[Request] = []
        self.calls: list[Running] = []
        self.script: queue.SimpleQueue[Callable[[socket.socket, Request], None]] = (
            queue.SimpleQueue()
        )
        if socket_path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(socket_path))
            self.url = f"unix://{socket_path}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/exec"
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def next_answers(self, *answers: bytes) -> None:
        for data in answers:
            self.script.put(functools.partial(_answer, data))

    def call(self) -> Running:
        """The only call so far, once its tool runs."""

        def started() -> Running | None:
            return self.calls[0] if self.calls and self.calls[0].started.is_set() else None

        found: Running = wait_for("the tool", started)
        return found

    def environment(self, **more: str) -> dict[str, str]:
        """What points a shim here."""
        return {
            **os.environ,
            "AIFO_TOOLEEXEC_URL": self.url,
            "AIFO_TOOLEEXEC_TOKEN": "secret",
            "AIFO_TOOLEEXEC_DESCRIPTORS": "1" if self.descriptors else "0",
            **more,
        }

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(ConnectionError):
            request = _read(link)
            self.requests.append(request)
            if not self.script.empty():
                self.script.get()(link, request)
                for descriptor in request.descriptors:
                    os.close(descriptor)
            else:
                Running(link, request, self.calls).follow()
            _linger(link)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._accepting.join()
        self._listener.close()
        for call in self.calls:
            call.stop()
            call.process.wait()


class Running:
    """A tool that was started for a request, with what is relayed for it."""

    def __init__(self, link: socket.socket, request: Request, calls: list[Running]) -> None:
        self.link = link
        self.started = threading.Event()
        calls.append(self)
        self.master = -1
        self._sending = threading.Lock()
        self._credit = {1: CREDIT, 2: CREDIT}
        self._credited = threading.Condition()
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outputs: list[threading.Thread] = []
        self._start(request)

    def _start(self, request: Request) -> None:
        passed = list(request.descriptors)
        streams = [*passed] or [subprocess.PIPE] * 3
        slave = -1
        if request.all("tty"):
            rows, columns, mask = map(int, request.one("tty").split(b","))
            self.master, slave = pty.openpty()
            self._resize(rows, columns)
            for n in range(3):
                if mask >> n & 1:
                    streams[n] = slave
        self.process = subprocess.Popen(
            [request.one("tool"), *request.all("arg")],
            stdin=streams[0], stdout=streams[1], stderr=streams[2],
            cwd=request.one("cwd"), start_new_session=True,
            env={**os.environb, **request.environment},
            preexec_fn=_own_terminal if slave >= 0 else None,  # noqa: PLW1509
        )  # fmt: skip
        self.started.set()
        for descriptor in [*passed, slave]:
            if descriptor >= 0:
                os.close(descriptor)
        try:
            if self.master >= 0 and passed:
                socket.send_fds(self.link, [SWITCHING], [self.master])
            else:
                self.link.sendall(SWITCHING)
        except OSError:
            self.stop()
            raise
        if not passed:
            self._relay()

    def _relay(self) -> None:
        sources = {1: self.process.stdout, 2: self.process.stderr}
        for number, stream in sources.items():
            if stream is not None:
                self._thread(self._send_output, number, stream.fileno())
        if self.master >= 0:
            self._thread(self._send_output, 1, self.master)
        target = self.process.stdin.fileno() if self.process.stdin else self.master
        threading.Thread(target=self._write_input, args=(target,), daemon=True).start()

    def _thread(self, target: Callable[[int, int], None], number: int, descriptor: int) -> None:
        self._outputs.append(threading.Thread(target=target, args=(number, descriptor)))
        self._outputs[-1].start()

    def follow(self) -> None:
        listening = threading.Thread(target=self._listen, daemon=True)
        listening.start()
        status = self.process.wait()
        for thread in self._outputs:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        with contextlib.suppress(OSError):
            self.send(Type.EXIT, Exit(signalled=status < 0, value=abs(status)).encode())
            self.link.shutdown(socket.SHUT_WR)
        listening.join()

    def send(self, kind: Type, payload: bytes) -> None:
        with self._sending:
            self.link.sendall(Frame(type=kind, payload=payload).encode())

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with self._credited:
            self._credit = {1: 1 << 40, 2: 1 << 40}
            self._credited.notify_all()

    def _listen(self) -> None:
        decoder = Decoder()
        with contextlib.suppress(OSError):
            while data := self.link.recv(65536):
                for frame in decoder.feed(data):
                    self._obey(frame)
        self.stop()
        self._input.put(None)

    def _obey(self, frame: Frame) -> None:
        if frame.type is Type.SIGNAL:
            number = frame.payload[0]
            number = signal.SIGSTOP if number == signal.SIGTSTP else number
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        elif frame.type is Type.WINDOW:
            self._resize(*struct.unpack(">HH", frame.payload))
        elif frame.type is Type.STDIN:
            self._input.put(frame.payload)
        elif frame.type is Type.STDIN_CLOSED:
            self._input.put(None)
        elif frame.type is Type.CREDIT:
            stream, count = struct.unpack(">BI", frame.payload)
            with self._credited:
                self._credit[stream] += count
                self._credited.notify_all()

    def _send_output(self, number: int, descriptor: int) -> None:
        while True:
            with self._credited:
                self._credited.wait_for(lambda: self._credit[number] > 0)
                limit = min(self._credit[number], 65536)
            try:
                data = os.read(descriptor, limit)
            except OSError:  # how a pseudo-terminal ends
                data = b""
            if not data:
                return
            with self._credited:
                self._credit[number] -= len(data)
            with contextlib.suppress(OSError):
                self.send(Type(number), data)

    def _write_input(self, target: int) -> None:
        while (data := self._input.get()) is not None:
            with contextlib.suppress(OSError):
                while data:
                    count = os.write(target, data)
                    data = data[count:]
                    self.send(Type.CREDIT, struct.pack(">BI", 0, count))
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def _resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _own_terminal() -> None:
    fcntl.ioctl(next(n for n in range(3) if os.isatty(n)), termios.TIOCSCTTY, 0)


def _answer(data: bytes, link: socket.socket, _: Request) -> None:
    link.sendall(data)


def _linger(link: socket.socket) -> None:
    """What is closed with something unread in it takes back what was sent."""
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_WR)
        while link.recv(65536):
            pass


def _read(link: socket.socket) -> Request:
    data, descriptors, _, _ = socket.recv_fds(link, 65536, 16, socket.MSG_CMSG_CLOEXEC)
    while b"\r\n\r\n" not in data:
        if not (more := link.recv(65536)):
            raise ConnectionError
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)
    }
    length = int(headers["content-length"])
    chunks, have = [body], len(body)
    while have < length:
        if not (more := link.recv(1 << 20)):
            raise ConnectionError
        chunks.append(more)
        have += len(more)
    assert have == length
    pairs = [part.partition(b"=") for part in b"".join(chunks).split(b"&")]
    fields = [(name.decode("ascii"), unquote_to_bytes(value)) for name, _, value in pairs]
    return Request(line=line, headers=headers, fields=fields, descriptors=list(descriptors))
