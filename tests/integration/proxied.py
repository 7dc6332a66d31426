"""A proxy that runs for a project, and clients of every version that talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes

from aifo_tasks.toolexec.frames import Decoder, Exit, Frame, Type
from tests.integration.project import Project, eventually

PATIENCE = 60.0


class Proxy:
    """``doit run proxy`` in a project; what it printed; its address and token."""

    def __init__(self, project: Project, *words: str, **environment: str) -> None:
        self.project = project
        env = {**os.environ, **environment}
        self.process = project.start(
            "run", "proxy", *words, env=env, stderr=subprocess.STDOUT, program="aifo"
        )
        assert self.process.stdout is not None
        self.said = ""
        while "a container: " not in self.said:
            line = self.process.stdout.readline().decode()
            assert line, self.said
            self.said += line
        self._rest: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        match = re.search(r"AIFO_TOOLEEXEC_URL=(\S+) AIFO_TOOLEEXEC_TOKEN_FILE=(\S+)", self.said)
        assert match is not None, self.said
        self.url = match[1]
        self.token = Path(match[2]).read_text()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self._rest += said

    @property
    def rest(self) -> str:
        """What it said after its start."""
        return b"".join(self._rest).decode()

    @property
    def is_unix(self) -> bool:
        return self.url.startswith("unix://")

    def connect(self) -> socket.socket:
        if self.is_unix:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE)
            client.connect(self.url.removeprefix("unix://"))
        else:
            host, port = self.url.removeprefix("http://").removesuffix("/exec").split(":")
            client = socket.create_connection((host, int(port)), timeout=PATIENCE)
        return client

    def curl(
        self, path: str, *options: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """curl at an endpoint, with the token."""
        argv = ["curl", "--silent", "--show-error", "--http1.1"]
        if self.is_unix:
            argv += ["--unix-socket", self.url.removeprefix("unix://")]
            base = "http://localhost"
        else:
            base = self.url.removesuffix("/exec")
        argv += ["--header", f"Authorization: Bearer {self.token}", *options, f"{base}{path}"]
        return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=300)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def audit(self) -> list[dict[str, object]]:
        """Every line of the record."""
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        session = self.url.split("/")[-3] if self.is_unix else "*"
        (path,) = (state / "aifo" / "audit").glob(f"{session}.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout=40)
        self._reader.join()
        return status


def form(**fields: str | bytes | Sequence[str | bytes]) -> bytes:
    """A form; a list gives a field several times."""
    parts: list[str] = []
    for name, value in fields.items():
        several = [value] if isinstance(value, str | bytes) else value
        parts += [f"{name}={quote_from_bytes(os.fsencode(each), safe='')}" for each in several]
    return "&".join(parts).encode()


def sh(script: str, **more: str) -> bytes:
    """The form of a shell script in node's sidecar: npm and its like are all the tools it has."""
    code = (
        "const r = require('child_process').spawnSync('sh', ['-c', process.argv[1]],"
        " {stdio: 'inherit'}); process.exit(r.signal ? 99 : r.status)"
    )
    return form(tool="node", cwd="/workspace", arg=["-e", code, script], **more)


def request(
    proxy: Proxy, path: str, body: bytes, *fields: str, version: int | str = 1, token: str = ""
) -> bytes:
    """The bytes of a request."""
    lines = [
        f"POST {path} HTTP/1.1", "Host: localhost", f"X-Aifo-Proto: {version}",
        f"Authorization: Bearer {token or proxy.token}", f"Content-Length: {len(body)}", *fields,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Answer:
    """An answer as a client of version 1 or 2 reads it; ``whole`` tells whether it ended."""

    status: int
    fields: dict[str, str]
    body: bytes = b""
    trailer: dict[str, str] = field(default_factory=dict)
    whole: bool = True

    @property
    def exit_code(self) -> int:
        found = self.trailer.get("x-exit-code", self.fields.get("x-exit-code", ""))
        return int(found) if found else -1


def receive(client: socket.socket) -> Answer:
    """Read one answer to the connection's end."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 20):
            data += piece
    head, _, rest = bytes(data).partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    answer = Answer(status=int(first.split()[1]), fields=fields)
    if fields.get("transfer-encoding") != "chunked":
        answer.body = rest
        answer.whole = len(rest) == int(fields.get("content-length", "0"))
        return answer
    body, position = bytearray(), 0
    while True:
        line, found, _ = rest[position : position + 20].partition(b"\r\n")
        if not found:
            answer.whole = False
            break
        size, position = int(line, 16), position + len(line) + 2
        if size == 0:
            trailer = rest[position:].decode().split("\r\n")
            pairs = (line.partition(": ") for line in trailer if line)
            answer.trailer = {name.lower(): value for name, _, value in pairs}
            break
        body += rest[position : position + size]
        position += size + 2
    answer.body = bytes(body)
    return answer


def ask(proxy: Proxy, data: bytes) -> Answer:
    """Send a request and read its answer."""
    with proxy.connect() as client:
        client.sendall(data)
        return receive(client)


class Frames:
    """A client of version 3, driven frame by frame."""

    def __init__(
        self, proxy: Proxy, body: bytes, *fields: str, descriptors: Sequence[int] = ()
    ) -> None:
        self.client = proxy.connect()
        upgrade = ("Connection: Upgrade", "Upgrade: aifo-exec", *fields)
        data = request(proxy, "/exec", body, *upgrade, version=3)
        if descriptors:
            sent = socket.send_fds(self.client, [data], list(descriptors))
            data = data[sent:]
        self.client.sendall(data)
        self.descriptors: list[int] = []
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self.credit = True
        head = b""
        while b"\r\n\r\n" not in head:
            piece, found, _, _ = socket.recv_fds(self.client, 1, 1)
            self.descriptors += found
            assert piece, head
            head += piece
        self.status = int(head.split()[1])
        self.head = head.decode()

    def next(self) -> Frame | None:
        """The next frame, paid for; None at the end."""
        while not self._frames:
            try:
                data = self.client.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames += self._decoder.feed(data)
        frame = self._frames.pop(0)
        if self.credit and frame.type in {Type.STDOUT, Type.STDERR}:
            with contextlib.suppress(OSError):
                self.send(Type.CREDIT, struct.pack(">BI", int(frame.type), len(frame.payload)))
        return frame

    def send(self, kind: Type, payload: bytes = b"") -> None:
        self.client.sendall(Frame(type=kind, payload=payload).encode())

    def rest(self) -> tuple[bytes, bytes, Exit | None]:
        """Both outputs to the end, and how it ended."""
        outputs, end = {Type.STDOUT: bytearray(), Type.STDERR: bytearray()}, None
        while frame := self.next():
            if frame.type in outputs:
                outputs[frame.type] += frame.payload
            elif frame.type is Type.EXIT:
                end = Exit.decode(frame.payload)
        return bytes(outputs[Type.STDOUT]), bytes(outputs[Type.STDERR]), end

    def close(self) -> None:
        self.client.close()


@contextlib.contextmanager
def running(project: Project, *words: str, **environment: str) -> Iterator[Proxy]:
    """A proxy for the time of a test; it ends cleanly and leaves no process in the sidecar."""
    proxy = Proxy(project, *words, **environment)
    try:
        yield proxy
    finally:
        status = proxy.end()
    assert status == 0, proxy.rest
    assert "bug" not in proxy.rest, proxy.rest
    eventually(lambda: not project.processes())
