"""A tool called through the shim: words, streams, statuses, signals, and what can go wrong."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import queue
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.toolexec.frames import Decoder, Exit, Frame, Type
from tests.native.proxying import SWITCHING, Proxy, Request, answer
from tests.native.running import GENEROUS, Init, stat_of, wait_for
from tests.native.shims import Shims

LOST = b"aifo-shim: sh: the connection to the tool-exec proxy was lost\n"
FULL = (65536).to_bytes(4, sys.byteorder)
"""What the kernel says of a pipe that holds as much as it can."""


def test_a_call(shims: Shims, proxy: Proxy) -> None:
    script = "cat; echo err >&2; pwd; exit 7"
    assert shims.sh(script, b"in\n") == (7, b"in\n" + bytes(shims.cwd) + b"\n", b"err\n")
    (request,) = proxy.requests
    assert request.line == "POST /exec HTTP/1.1"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["x-aifo-proto"] == "3"
    assert request.headers["upgrade"] == "aifo-exec"
    assert request.headers["connection"] == "Upgrade"
    assert request.headers["host"].split(":")[0] in {"localhost", "127.0.0.1"}
    assert request.one("tool") == b"sh"
    assert request.one("cwd") == bytes(shims.cwd)
    assert request.all("arg") == [b"-c", script.encode()]
    assert len(request.descriptors) == (3 if proxy.descriptors else 0)
    assert request.all("tty") == []


@pytest.mark.parametrize("status", [0, 1, 86, 124, 125, 126, 127, 255])
def test_a_tools_status_is_the_shims(shims: Shims, status: int) -> None:
    assert shims.sh(f"exit {status}") == (status, b"", b"")


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "PIPE"])
def test_a_tool_that_a_signal_ends(shims: Shims, name: str) -> None:
    assert shims.sh(f"kill -{name} $$")[0] == 128 + signal.Signals[f"SIG{name}"]


def test_every_byte_in_an_argument(shims: Shims) -> None:
    words = [bytes(range(1, 256)), b"", "é + & = % \n".encode(), b"-n", b""]
    status, output, _ = shims.run("printf", b"%s\\0", *words)
    assert (status, output.split(b"\0")[:-1]) == (0, words)


def test_many_arguments(shims: Shims, proxy: Proxy) -> None:
    words = [b"%0200d" % n for n in range(5000)]
    assert shims.run("true", *words) == (0, b"", b"")
    assert proxy.requests[0].all("arg") == words


def test_the_longest_argument_and_a_large_environment(shims: Shims, proxy: Proxy) -> None:
    word = b"\xff" * 131_071
    environment = {f"BIG_{n}": "%" * 100_000 for n in range(5)}
    assert shims.run("true", word, environment=environment) == (0, b"", b"")
    assert proxy.requests[0].all("arg") == [word]
    found = proxy.requests[0].environment
    assert {name: found[name.encode()].decode() for name in environment} == environment


def test_as_much_as_the_kernel_takes(shims: Shims, proxy: Proxy) -> None:
    words = ["x" * 100_000] * 16
    assert shims.run("true", *words)[0] == 0
    assert [len(word) for word in proxy.requests[0].all("arg")] == [100_000] * 16


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_large_stream_arrives_whole(
    shims: Shims, tmp_path: Path, direction: str, request: pytest.FixtureRequest
) -> None:
    size = 64 * 1024 * 1024
    data = tmp_path / "data"
    block = os.urandom(1024 * 1024)
    with data.open("wb") as file:
        for n in range(size // len(block)):
            file.write(block[n:] + block[:n])
    wanted = hashlib.sha256(data.read_bytes()).hexdigest()
    with data.open("rb") as file:
        arguments = [] if direction == "in" else [str(data)]
        tool = "sha256sum" if direction == "in" else "cat"
        child = shims.popen(tool, *arguments, stdin=file, stdout=subprocess.PIPE)
        digest = hashlib.sha256()
        peak = 0
        assert child.stdout is not None
        while piece := os.read(child.stdout.fileno(), 1 << 20):
            digest.update(piece)
            peak = max(peak, resident(child.pid))
        assert child.wait(GENEROUS) == 0
    found = piece_of(digest, direction, wanted)
    assert found == wanted
    if "plain" in request.node.name:
        assert peak < 4 * 1024 * 1024


def piece_of(digest: hashlib._Hash, direction: str, wanted: str) -> str:
    """What the tool made of it, or what came from it."""
    if direction == "out":
        return digest.hexdigest()
    expected = hashlib.sha256(f"{wanted}  -\n".encode()).hexdigest()
    return wanted if digest.hexdigest() == expected else "something else"


def resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return 0


def test_a_stalled_reader_stops_no_signal(shims: Shims) -> None:
    child = shims.popen(
        "sh", "-c", "echo ready >&2; yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stderr.readline() == b"ready\n"
    time.sleep(0.2)  # the pipe and the credit are used up
    child.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    while child.stdout.read(1 << 20):
        pass
    assert child.wait(GENEROUS) == 143
    child.stderr.close()
    child.stdout.close()


@pytest.mark.parametrize(
    "end", [Frame(type=Type.EXIT, payload=b"\0\0").encode(), b""], ids=["ended", "lost"]
)
def test_a_stalled_reader_keeps_no_shim_from_ending(shims: Shims, proxy: Proxy, end: bytes) -> None:
    """The tool has ended, or is lost: a signal is the shim's own."""
    output = Frame(type=Type.STDOUT, payload=bytes(65536)).encode() * 2
    proxy.next_answers(SWITCHING + output + end)
    child = shims.popen("true", stdout=subprocess.PIPE)
    assert child.stdout is not None
    pipe = child.stdout.fileno()
    wait_for("a full pipe", lambda: fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) == FULL)
    time.sleep(0.3)  # the end is taken
    child.send_signal(signal.SIGTERM)
    assert child.wait(GENEROUS) == -signal.SIGTERM


def test_a_reader_that_takes_its_time(shim_binary: Path, sidecar: Init, short_path: Path) -> None:
    """A person before a pager is no client that has stalled: the proxy hears that we live."""
    words: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def send(link: socket.socket, _: Request) -> None:
        decoder = Decoder()
        link.sendall(SWITCHING + Frame(type=Type.STDERR, payload=bytes(65536)).encode() * 2)
        while data := link.recv(4096):
            for frame in decoder.feed(data):
                words.put(frame)

    (short_path / "bin").mkdir()
    with (
        Proxy(sidecar) as proxy,
        contextlib.closing(Shims(shim_binary, short_path / "bin", proxy)) as shims,
    ):
        proxy.script.put(send)
        child = shims.popen("true", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stderr is not None
        assert words.get(timeout=GENEROUS) == Frame(type=Type.CREDIT, payload=b"\2\0\1\0\0")
        child.stderr.read(4096)
        assert words.get(timeout=GENEROUS) == Frame(type=Type.CREDIT, payload=b"\2\0\0\x10\0")


def test_a_reader_that_leaves_ends_the_tool(shims: Shims, proxy: Proxy) -> None:
    child = shims.popen("yes", stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.read(4) == b"y\ny\n"
    child.stdout.close()
    assert child.wait(GENEROUS) in {141, -signal.SIGPIPE}
    wait_for("the tool's end", proxy.call().over.is_set)


def test_an_input_that_nobody_reads(shims: Shims) -> None:
    assert shims.sh("exit 3", b"x" * 2_000_000)[0] == 3


def test_input_ends_with_the_callers(shims: Shims) -> None:
    child = shims.popen("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"one")
    child.stdin.flush()
    assert child.stdout.read(3) == b"one"
    child.stdin.close()
    assert child.stdout.read() == b""
    assert child.wait(GENEROUS) == 0
    child.stdout.close()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_empty(shims: Shims, closed: str) -> None:
    shims.link("sh")
    script = f"exec \"$0\" -c 'cat; echo out; echo err >&2; exit 4' {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", script, shims.directory / "sh"],
        env=shims.environment(), cwd=shims.cwd, capture_output=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stdout == (b"" if ">&-" in closed.replace("2>&-", "") else b"out\n")


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_no_tool_gets_a_directory(shims: Shims, proxy: Proxy, stream: int) -> None:
    directory = os.open("/", os.O_RDONLY)
    try:
        streams: dict[str, Any] = {("stdin", "stdout", "stderr")[stream]: directory}
        child = shims.popen("true", **streams)
        assert child.wait(GENEROUS) == 86
    finally:
        os.close(directory)
    assert proxy.requests == []


def test_no_tool_gets_a_descriptor_that_is_only_a_path(shims: Shims, proxy: Proxy) -> None:
    path = os.open("/etc/passwd", os.O_PATH)
    try:
        child = shims.popen("true", stdin=path, stderr=subprocess.PIPE)
        _, errors = child.communicate(timeout=GENEROUS)
    finally:
        os.close(path)
    assert child.returncode == 86
    assert b"aifo-shim: true: standard input is a directory, or leads to one" in errors
    assert proxy.requests == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_reach_the_tool(shims: Shims, proxy: Proxy, number: signal.Signals) -> None:
    child = shims.popen("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    assert child.wait(GENEROUS) == 128 + number
    child.stdout.close()
    call = proxy.call()
    wait_for("the tool's end", call.over.is_set)
    assert call.end == Exit(signalled=True, value=number)


def test_a_tool_may_take_a_signal_in_its_own_way(shims: Shims) -> None:
    script = (
        'for s in HUP INT QUIT USR1 USR2 TERM WINCH; do trap "echo $s" $s; done;'
        "echo ready; while :; do sleep 0.01; done"
    )
    child = shims.popen("sh", "-c", script, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH"):
        child.send_signal(signal.Signals[f"SIG{name}"])
        assert child.stdout.readline() == name.encode() + b"\n"
    child.kill()
    child.wait()
    child.stdout.close()


def test_the_third_interrupt_kills(shims: Shims) -> None:
    script = "trap 'echo no' INT; echo ready; while :; do sleep 0.01; done"
    child = shims.popen("sh", "-c", script, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    for _ in range(2):
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"no\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(GENEROUS) == 137
    child.stdout.close()


def test_ignored_signals_stay_ignored(shims: Shims) -> None:
    shims.link("sh")
    script = "trap '' INT; exec \"$0\" -c 'echo ready; sleep 0.3; exit 5'"
    child = subprocess.Popen(
        ["/bin/sh", "-c", script, shims.directory / "sh"],
        env=shims.environment(), cwd=shims.cwd, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(GENEROUS) == 5
    child.stdout.close()


def test_a_stop_stops_both(shims: Shims, proxy: Proxy) -> None:
    child = shims.popen(
        "sh", "-c", "echo ready; read line; exit 5",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=False, process_group=0,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    tool = proxy.call().pid
    child.send_signal(signal.SIGTSTP)
    wait_for("a stopped tool", lambda: state(tool) == "T")
    wait_for("a stopped shim", lambda: state(child.pid) == "T")
    child.send_signal(signal.SIGCONT)
    wait_for("a tool that goes on", lambda: state(tool) != "T")
    child.stdin.write(b"\n")
    child.stdin.close()
    assert child.wait(GENEROUS) == 5
    child.stdout.close()


def state(pid: int) -> str:
    found = stat_of(pid)
    return found[0] if found else ""


def test_a_killed_shim_leaves_no_tool(shims: Shims, proxy: Proxy) -> None:
    child = shims.popen("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.kill()
    child.wait()
    wait_for("the tool's end", proxy.call().over.is_set)
    child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["x"], ["x" * 100_000] * 16])
def test_a_signal_ends_a_call_that_waits(
    shims: Shims, short_path: Path, number: signal.Signals, words: list[str]
) -> None:
    """Nobody reads or answers yet: there is no tool to pass it on to."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "silent.sock"))
        listener.listen()
        environment = {"AIFO_TOOLEEXEC_URL": f"unix://{short_path}/silent.sock"}
        child = shims.popen("true", *words, environment=environment)
        link, _ = listener.accept()
        with link:
            assert link.recv(1) == b"P"
            time.sleep(0.05)
            child.send_signal(number)
            assert child.wait(GENEROUS) == -number


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


def test_which_variables_are_candidates(shims: Shims, proxy: Proxy) -> None:
    given = {
        "NODE_ENV": "test", "EMPTY": "", "AIFO_ENV_X": "1", "AIFO_OTHER": "1", "LD_PRELOAD_X": "1",
        "HOME": "/x", "BASH_ENV": "x", "NODE_OPTIONS": "x", "LD_LIBRARY_PATH": "/none",
    }  # fmt: skip
    assert shims.run("true", environment=given)[0] == 0
    found = proxy.requests[0].environment
    assert found[b"NODE_ENV"] == b"test"
    assert found[b"EMPTY"] == b""
    assert found[b"AIFO_ENV_X"] == b"1"
    never = {b"AIFO_OTHER", b"LD_PRELOAD_X", b"HOME", b"BASH_ENV", b"NODE_OPTIONS", b"PATH"}
    assert not found.keys() & {*never, b"LD_LIBRARY_PATH", b"AIFO_TOOLEEXEC_TOKEN"}


def test_the_caller_narrows_the_variables(shims: Shims, proxy: Proxy) -> None:
    given = {"AIFO_SHIM_ENV": "FOO_*, BAR HOME", "FOO_A": "1", "BAR": "2", "BAR2": "3", "FO": "4"}
    shims.run("true", environment=given)
    assert proxy.requests[0].environment == {b"FOO_A": b"1", b"BAR": b"2"}
    shims.run("true", environment={**given, "AIFO_SHIM_ENV": ""})
    assert proxy.requests[1].environment == {}


def test_the_callers_directory_in_the_sidecar(shims: Shims, proxy: Proxy, tmp_path: Path) -> None:
    proxy.next_answers(*[answer(403, "", 86)] * 4)
    (tmp_path / "top/sub dir").mkdir(parents=True)
    (tmp_path / "topmost").mkdir()
    (tmp_path / "link").symlink_to("top")
    wanted = {"top": "/workspace", "top/sub dir": "/workspace/sub dir", "topmost": None}
    for workspace, below in (("top", "top"), ("link", "top/sub dir"), ("top", "topmost")):
        shims.run(
            "true", cwd=tmp_path / below, environment={"AIFO_WORKSPACE": str(tmp_path / workspace)}
        )
        expected = wanted[below] or str(tmp_path / below)
        assert proxy.requests[-1].one("cwd") == expected.encode()


@pytest.mark.parametrize("how", ["other spelling", "file", "file with a line's end"])
def test_url_and_token(shims: Shims, proxy: Proxy, tmp_path: Path, how: str) -> None:
    token = tmp_path / "token"
    token.write_text("from-file\n" if how != "file" else "from-file")
    environment = {
        "AIFO_TOOLEEXEC_URL": "", "AIFO_TOOLEEXEC_TOKEN": "", "AIFO_TOOLEXEC_URL": proxy.url,
        "AIFO_TOOLEEXEC_DESCRIPTORS": "", "AIFO_TOOLEXEC_DESCRIPTORS": "0",
    }  # fmt: skip
    if how == "other spelling":
        environment["AIFO_TOOLEXEC_TOKEN"] = "other"
    else:
        environment["AIFO_TOOLEEXEC_TOKEN_FILE"] = str(token)
    assert shims.run("true", environment=environment) == (0, b"", b"")
    wanted = "other" if how == "other spelling" else "from-file"
    assert proxy.requests[0].headers["authorization"] == f"Bearer {wanted}"


@pytest.mark.parametrize(
    ("environment", "status", "text"),
    [
        ({"AIFO_TOOLEEXEC_URL": "unix:///nowhere"}, 125,
         "true: cannot reach the tool-exec proxy at unix:///nowhere: No such file or directory"),
        ({"AIFO_TOOLEEXEC_URL": "http://127.0.0.1:1/exec"}, 125,
         "true: cannot reach the tool-exec proxy at http://127.0.0.1:1/exec: Connection refused"),
        ({"AIFO_TOOLEEXEC_URL": "unix:///" + "x" * 200}, 125, "the path is too long for a socket"),
        ({"AIFO_TOOLEEXEC_URL": "https://x:1/exec"}, 86,
         "AIFO_TOOLEEXEC_URL: expected unix:///path or http://host:port/exec, found 'https://x:1/"),
        ({"AIFO_TOOLEEXEC_URL": "http://x/exec"}, 86, "expected unix:///path"),
        ({"AIFO_TOOLEEXEC_URL": "http://x:1/other"}, 86, "expected unix:///path"),
        ({"AIFO_TOOLEEXEC_URL": "http://a b:1/exec"}, 86, "expected unix:///path"),
        ({"AIFO_TOOLEEXEC_TOKEN": "a\r\nb"}, 86, "AIFO_TOOLEEXEC_TOKEN: there is no token in it"),
        ({"AIFO_TOOLEEXEC_TOKEN_FILE": "/nowhere"}, 86, "/nowhere: cannot be read: No such file"),
        ({"AIFO_TOOLEEXEC_TOKEN_FILE": "/dev/null"}, 86, "/dev/null: there is no token in it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_settings(
    shims: Shims, proxy: Proxy, environment: dict[str, str], status: int, text: str
) -> None:
    found, output, errors = shims.run("true", environment=environment)
    assert (found, output, proxy.requests) == (status, b"", [])
    assert errors.startswith(b"aifo-shim: ")
    assert errors.count(b"\n") == 1
    assert text.encode() in errors


@pytest.fixture
def loopback(sidecar: Init) -> Iterator[Proxy]:
    with Proxy(sidecar) as proxy:
        yield proxy


def test_a_name_and_a_port(alone: Shims, loopback: Proxy) -> None:
    url = loopback.url.replace("127.0.0.1", "localhost").removesuffix("/exec")
    environment = {"AIFO_TOOLEEXEC_URL": url, "AIFO_TOOLEEXEC_TOKEN": "x"}
    assert alone.run("echo", "hello", environment=environment) == (0, b"hello\n", b"")
    assert loopback.requests[0].headers["host"] == url.removeprefix("http://")


def test_the_calling_call_is_named(shims: Shims, proxy: Proxy) -> None:
    shims.run("true", environment={"AIFO_EXEC_ID": "0123abc"})
    shims.run("true", environment={"AIFO_EXEC_ID": "a\r\nb"})
    assert proxy.requests[0].headers["x-aifo-parent-id"] == "0123abc"
    assert "x-aifo-parent-id" not in proxy.requests[1].headers
