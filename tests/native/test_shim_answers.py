"""What a shim makes of answers: refusals, cut connections, frames without a meaning."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from aifo_tasks.toolexec.frames import Frame, Type
from tests.native.proxying import SWITCHING, Proxy, Request, answer
from tests.native.running import GENEROUS
from tests.native.shims import Shims

LOST = b"aifo-shim: sh: the connection to the tool-exec proxy was lost\n"
REFUSALS = {
    401: (86, "unauthorized\n"),
    403: (86, "forbidden: argument: --publish\n"),
    409: (86, "tool 'sh' not available in running sidecars\n"),
    413: (86, "request body too large\n"),
    426: (86, "Unsupported shim protocol; expected 1, 2 or 3\n"),
    408: (124, "timeout\n"),
    500: (127, "sh: not found\n"),
}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_said_on_stderr(shims: Shims, proxy: Proxy, status: int) -> None:
    code, text = REFUSALS[status]
    proxy.next_answers(answer(status, text, code))
    assert shims.sh("exit 0") == (code, b"", text.encode())
    assert len(proxy.requests) == 1


def test_a_refusal_is_never_success(shims: Shims, proxy: Proxy) -> None:
    proxy.next_answers(answer(400, "bad request: x\n", 0))
    assert shims.sh("exit 0") == (86, b"", b"bad request: x\n")


def test_an_early_refusal_of_a_large_request_is_read(shims: Shims, short_path: Path) -> None:
    """The proxy answers after the head, and reads nothing more for a while."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(short_path / "early.sock"))
    listener.listen()

    def serve() -> None:
        link, _ = listener.accept()
        with link:
            link.recv(100)
            link.sendall(answer(413, "request body too large\n", 86))
            link.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while link.recv(1 << 20):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    found = shims.run(
        "true", *["x" * 100_000] * 16,
        environment={"AIFO_TOOLEEXEC_URL": f"unix://{short_path}/early.sock"},
    )  # fmt: skip
    thread.join()
    listener.close()
    assert found == (86, b"", b"request body too large\n")


def test_busy_is_asked_again(shims: Shims, proxy: Proxy) -> None:
    busy = answer(503, "busy\n", 86, "Retry-After: 1\r\n")
    proxy.next_answers(busy, busy)
    assert shims.sh("cat; exit 4", b"kept") == (4, b"kept", b"")
    assert len(proxy.requests) == 3


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 101 Sw", b"HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\nabc"]
)
def test_a_signal_ends_the_wait_for_the_rest_of_an_answer(
    shims: Shims, proxy: Proxy, data: bytes
) -> None:
    sent = threading.Event()

    def send(link: socket.socket, _: Request) -> None:
        link.sendall(data)
        sent.set()
        while link.recv(4096):
            pass

    proxy.script.put(send)
    child = shims.popen("true", stderr=subprocess.DEVNULL)
    assert sent.wait(GENEROUS)
    time.sleep(0.2)  # it is taken
    child.send_signal(signal.SIGTERM)
    assert child.wait(GENEROUS) == -signal.SIGTERM


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 101 Swit",
        b"SSH-2.0-no\r\n\r\n",
        SWITCHING,
        SWITCHING + b"\1\0\0\0\0\0",
        SWITCHING + Frame(type=Type.STDERR, payload=b"x").encode() + b"\3\0\0\0\0\0\0\2\0",
        SWITCHING + Frame(type=Type.CREDIT, payload=b"\0\0\0\0\1").encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Exit-Code: 0\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Exit-Code\r\n\r\n1\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n",
        b"HTTP/1.1 409 Conflict\r\nX-Exit-Code: 0\r\nContent-Length: 9\r\n\r\nshort",
    ],
)
def test_a_connection_that_is_cut(shims: Shims, proxy: Proxy, data: bytes) -> None:
    proxy.next_answers(data)
    status, _, errors = shims.sh("exit 0")
    assert (status, errors[-len(LOST) :], len(proxy.requests)) == (125, LOST, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"\x20\0\0\0\0\0\0\0",
        b"\1\0\0\0\0\1\0\1",
        Frame(type=Type.EXIT, payload=b"\2\0").encode(),
        Frame(type=Type.EXIT, payload=b"\0").encode(),
        Frame(type=Type.HELLO).encode(),
        Frame(type=Type.STDIN, payload=b"x").encode(),
        Frame(type=Type.STDOUT, payload=b"x" * 65536).encode() * 100,
    ],
)
def test_frames_without_a_meaning(shims: Shims, proxy: Proxy, data: bytes) -> None:
    proxy.script.put(lambda link, _: send_and_wait(link, SWITCHING + data))
    child = shims.popen("sh", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.wait(GENEROUS) == 125
    _, errors = child.communicate()
    assert errors.startswith(b"aifo-shim: sh: the tool-exec proxy sent ")


def send_and_wait(link: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        link.sendall(data)
        link.recv(1)


def test_a_proxy_that_is_killed(shims: Shims, proxy: Proxy) -> None:
    child = shims.popen(
        "sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    proxy.call().link.shutdown(socket.SHUT_RDWR)
    _, errors = child.communicate(timeout=GENEROUS)
    assert (child.returncode, errors) == (125, LOST)


def test_a_notice_is_said_on_stderr(shims: Shims, proxy: Proxy) -> None:
    frames = Frame(type=Type.NOTICE, payload=b"relayed\n"), Frame(type=Type.EXIT, payload=b"\0\2")
    proxy.next_answers(SWITCHING + b"".join(frame.encode() for frame in frames))
    assert shims.sh("") == (2, b"", b"relayed\n")


def test_an_answer_in_pieces(shims: Shims, proxy: Proxy) -> None:
    frames = Frame(type=Type.STDOUT, payload=b"out"), Frame(type=Type.EXIT, payload=b"\1\x0f")
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHING + b"".join(f.encode() for f in frames)

    def send(link: socket.socket, _: Request) -> None:
        for n in range(len(data)):
            link.sendall(data[n : n + 1])
            time.sleep(0.0002)

    proxy.script.put(send)
    assert shims.sh("") == (143, b"out", b"")


@pytest.mark.parametrize("name", ["say", "notify-send"])
def test_notifications(shims: Shims, proxy: Proxy, name: str) -> None:
    proxy.next_answers(answer(200, "said\n", 3))
    environment = {} if name == "say" else {"AIFO_TOOLEEXEC_NOTIFY": "a, notify-send"}
    found = shims.run(name, "hello there", "", environment=environment)
    assert found == (3, b"said\n", b"")
    (request,) = proxy.requests
    assert request.line == "POST /notify HTTP/1.1"
    assert request.fields == [("cmd", name.encode()), ("arg", b"hello there"), ("arg", b"")]


def test_an_answer_in_chunks(shims: Shims, proxy: Proxy) -> None:
    proxy.next_answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Exit-Code\r\n\r\n"
        b"5;x=y\r\nfirst\r\n0a\r\n and then \r\n0\r\nX-Exit-Code: 9\r\n\r\n"
    )
    assert shims.run("say") == (9, b"first and then ", b"")
