"""A proxy of a hundred lines before a real init right here: what the shim is tested against."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import queue
import signal
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote_to_bytes

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Decoder, Exit, Frame, Type
from tests.native.running import Init, descendants, stat_of, wait_for

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

    def __init__(
        self, init: Init, socket_path: Path | None = None, *, descriptors: bool = False
    ) -> None:
        self.init = init
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
                Running(self.init, link, request, self.calls).follow()
            _linger(link)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._accepting.join()
        self._listener.close()
        for call in self.calls:
            call.stop()
            wait_for("the end of a call", call.over.is_set)


class Running:
    """A tool that was started for a request, with what is relayed for it."""

    _numbers = itertools.count()

    def __init__(
        self, init: Init, link: socket.socket, request: Request, calls: list[Running]
    ) -> None:
        self.link = link
        self.started = threading.Event()
        self.over = threading.Event()
        self.end: Exit | None = None
        self._init = init
        self._mark = b"CALL_IN_TESTS=%d" % next(self._numbers)
        self._tool = init.connect()
        self._decoder = Decoder()
        self._sending = threading.Lock()
        self._credit = {1: CREDIT, 2: CREDIT}
        self._credited = threading.Condition()
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outputs: list[threading.Thread] = []
        calls.append(self)
        try:
            self._start(request)
        except BaseException:
            self.stop()
            self._drop()
            raise

    @property
    def pid(self) -> int:
        """The tool's process."""

        def is_ours(pid: int) -> bool:
            with contextlib.suppress(OSError):
                return self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            return False

        def tool() -> list[int]:
            found = {pid for pid in descendants(self._init.pid) if is_ours(pid)}
            return [pid for pid in found if (stat_of(pid) or ("", 0))[1] not in found]

        (found,) = wait_for("the tool", tool)  # which started before it had its environment
        return int(found)

    def _start(self, request: Request) -> None:
        tty = request.one("tty") if request.all("tty") else b"0,0,0"
        *size, mask = map(int, tty.split(b","))
        streams = [n for n in range(3) if not mask >> n & 1]
        pipes = {} if request.descriptors else {n: os.pipe2(os.O_CLOEXEC) for n in streams}
        theirs = {n: pipes[n][n > 0] if pipes else request.descriptors[n] for n in streams}
        try:
            self._master = self._call(request, size, mask, list(theirs.values()))
        finally:
            for descriptor in {*theirs.values(), *request.descriptors}:
                os.close(descriptor)
        if request.descriptors:
            socket.send_fds(self.link, [SWITCHING], [self._master] if mask else [])
            if mask:
                os.close(self._master)
            return
        self.link.sendall(SWITCHING)
        targets = {n: ends[n == 0] for n, ends in pipes.items()}
        if mask:
            targets[0] = os.dup(self._master)  # who writes and who reads end at different times
            self._thread(self._send_output, 1, self._master)
        for n in (1, 2):
            if n in targets:
                self._thread(self._send_output, n, targets[n])
        threading.Thread(target=self._write_input, args=(targets[0],), daemon=True).start()

    def _call(self, request: Request, size: Sequence[int], mask: int, streams: list[int]) -> int:
        """Start it; returns its terminal's master, -1 for none."""
        name, _, value = self._mark.partition(b"=")
        call = frames.Call(
            argv=(request.one("tool"), *request.all("arg")), cwd=request.one("cwd"),
            environment=((name, value), *request.environment.items()),
            rows=size[0], columns=size[1], terminal=mask,
        )  # fmt: skip
        data = Frame(type=Type.CALL, payload=call.encode()).encode()
        data = data[socket.send_fds(self._tool, [data], streams) :]
        if data:
            self._tool.sendall(data)
        answer, descriptors, _, _ = socket.recv_fds(self._tool, 8, 1, socket.MSG_CMSG_CLOEXEC)
        if answer[:1] != bytes([Type.STARTED]):
            raise ConnectionError
        self.started.set()
        return descriptors[0] if descriptors else -1

    def _thread(self, target: Callable[[int, int], None], number: int, descriptor: int) -> None:
        self._outputs.append(threading.Thread(target=target, args=(number, descriptor)))
        self._outputs[-1].start()

    def follow(self) -> None:
        listening = threading.Thread(target=self._listen, daemon=True)
        listening.start()
        while self.end is None and (data := self._tool.recv(4096)):
            for frame in self._decoder.feed(data):
                if frame.type is Type.EXIT:
                    self.end = Exit.decode(frame.payload)
                else:
                    self.send(frame.type, frame.payload)
        self._drop()
        for thread in self._outputs:
            thread.join()
        with contextlib.suppress(OSError):
            if self.end is not None:
                self.send(Type.EXIT, self.end.encode())
            self.link.shutdown(socket.SHUT_WR)
        listening.join()

    def send(self, kind: Type, payload: bytes) -> None:
        with self._sending:
            self.link.sendall(Frame(type=kind, payload=payload).encode())

    def _drop(self) -> None:
        """Nothing is left of the tool when this returns."""
        with contextlib.suppress(OSError):
            while self._tool.recv(4096):
                pass
        self._tool.close()
        self.over.set()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._tool.sendall(frames.signal_frame(signal.SIGKILL))
            self._tool.shutdown(socket.SHUT_WR)
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
        if frame.type in {Type.SIGNAL, Type.WINDOW, Type.FOREGROUND}:
            with contextlib.suppress(OSError):
                self._tool.sendall(frame.encode())
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
                break
            with self._credited:
                self._credit[number] -= len(data)
            with contextlib.suppress(OSError):
                self.send(Type(number), data)
        os.close(descriptor)

    def _write_input(self, target: int) -> None:
        while (data := self._input.get()) is not None:
            with contextlib.suppress(OSError):
                while data:
                    count = os.write(target, data)
                    data = data[count:]
                    self.send(Type.CREDIT, struct.pack(">BI", 0, count))
        os.close(target)


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
