"""A tool's standard streams through the shim: whole, stalled, closed, and what no tool gets."""

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
import time
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Decoder, Frame, Type
from tests.native.proxying import SWITCHING, Proxy, Request
from tests.native.running import GENEROUS, Init, wait_for
from tests.native.shims import Shims

PIPE = 256 * 1024
"""Bytes that a pipe holds into which a shim writes much."""


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
    output = Frame(type=Type.STDOUT, payload=bytes(65536)).encode() * 5
    proxy.next_answers(SWITCHING + output + end)
    child = shims.popen("true", stdout=subprocess.PIPE)
    assert child.stdout is not None
    pipe = child.stdout.fileno()
    full = PIPE.to_bytes(4, sys.byteorder)
    wait_for("a full pipe", lambda: fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) == full)
    time.sleep(0.3)  # the end is taken
    child.send_signal(signal.SIGTERM)
    assert child.wait(GENEROUS) == -signal.SIGTERM


def test_a_reader_that_takes_its_time(shim_binary: Path, sidecar: Init, short_path: Path) -> None:
    """A person before a pager is no client that has stalled: the proxy hears that we live."""
    words: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def send(link: socket.socket, _: Request) -> None:
        decoder = Decoder()
        link.sendall(SWITCHING + Frame(type=Type.STDERR, payload=bytes(65536)).encode() * 5)
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

        def taken() -> int:
            frame = words.get(timeout=GENEROUS)
            assert frame.type is Type.CREDIT
            return frames.credited(frame.payload)[1]

        total = 0
        while count := taken():  # until nothing more goes, and that is told
            total += count
        assert PIPE // 2 < total <= PIPE
        assert len(child.stderr.read(PIPE // 2)) == PIPE // 2
        while not taken():  # what was told before that
            pass


@pytest.mark.parametrize(("before", "after"), [(4096, PIPE), (1 << 20, 1 << 20)])
def test_much_output_widens_a_pipe_that_is_narrow(
    shims: Shims, proxy: Proxy, before: int, after: int
) -> None:
    output = Frame(type=Type.STDOUT, payload=bytes(65536)).encode() * 3
    proxy.next_answers(SWITCHING + output + Frame(type=Type.EXIT, payload=b"\0\0").encode())
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, before)
    child = shims.popen("true", stdout=write)
    os.close(write)
    found = b""
    while data := os.read(read, 1 << 20):
        found += data
    assert found == bytes(3 * 65536)
    assert fcntl.fcntl(read, fcntl.F_GETPIPE_SZ) == after
    os.close(read)
    assert child.wait(GENEROUS) == 0


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
