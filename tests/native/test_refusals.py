"""What init does not take: strangers, bad descriptors, malformed frames."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.toolexec import frames, launcher
from aifo_tasks.toolexec.frames import Decoder, Failed, Frame, Stage, Type, Welcome
from tests.native.running import GENEROUS, Init, call_frame

TABLES = json.loads((Path(__file__).parents[1] / "data/frames.json").read_text(encoding="utf-8"))


def answers(connection: socket.socket) -> list[Frame]:
    """Everything that comes until init closes the connection."""
    connection.settimeout(GENEROUS)
    decoder, found = Decoder(), list[Frame]()
    try:
        while data := connection.recv(65536):
            found += decoder.feed(data)
    except ConnectionResetError:
        pass
    assert decoder.pending == 0
    return found


def refused(stage: Stage, number: int) -> list[Frame]:
    return [Frame(type=Type.FAILED, payload=Failed(stage=stage, errno=number).encode())]


MALFORMED = refused(Stage.MALFORMED, errno.EPROTO)
BAD_DESCRIPTORS = refused(Stage.DESCRIPTORS, errno.EBADF)


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    """Opens descriptors of many kinds, and closes them."""
    held: list[int] = []

    def opener(kind: str) -> int:
        if kind == "terminal":
            master, slave = os.openpty()
            held.extend([master, slave])
            return slave
        if kind == "terminal's master":
            master, slave = os.openpty()
            held.extend([master, slave])
            return master
        path, flags = {
            "null": (os.devnull, os.O_RDWR),
            "directory": (str(tmp_path), os.O_RDONLY),
            "path": (os.devnull, os.O_PATH),
            "directory's path": (str(tmp_path), os.O_PATH | os.O_DIRECTORY),
        }[kind]
        held.append(os.open(path, flags))
        return held[-1]

    yield opener
    for descriptor in held:
        os.close(descriptor)


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    "kind", ["directory", "path", "directory's path", "terminal", "terminal's master"]
)
def test_descriptors_that_lead_elsewhere(
    init: Init, opened: Callable[[str], int], kind: str, position: int, tmp_path: Path
) -> None:
    passed = [opened(kind if n == position else "null") for n in range(3)]
    with init.greeted() as connection:
        socket.send_fds(connection, [call_frame(["touch", str(tmp_path / "ran")])], passed)
        assert answers(connection) == BAD_DESCRIPTORS
    init.expect_nothing_left()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("terminal", "count"),
    [(0, 0), (0, 1), (0, 2), (0, 4), (0, 5), (0, 100), (7, 1), (3, 0), (3, 2), (1, 3), (4, 1)],
)
def test_any_other_number_of_descriptors(
    init: Init, opened: Callable[[str], int], terminal: int, count: int
) -> None:
    data = call_frame(["true"], terminal=terminal)
    with init.greeted() as connection:
        if count:
            socket.send_fds(connection, [data], [opened("null")] * count)
        else:
            connection.sendall(data)
        assert answers(connection) == BAD_DESCRIPTORS


@pytest.mark.parametrize("part", ["hello", "payload"])
def test_descriptors_elsewhere_than_at_the_first_byte_of_a_call(
    init: Init, opened: Callable[[str], int], part: str
) -> None:
    null = opened("null")
    with init.connect() as connection:
        if part == "hello":
            socket.send_fds(connection, [Frame(type=Type.HELLO).encode()], [null])
        else:
            data = call_frame(["true"])
            socket.send_fds(connection, [data[:8]], [null] * 3)
            socket.send_fds(connection, [data[8:]], [null])
        assert answers(connection) == MALFORMED


def test_descriptors_do_not_pile_up(init: Init, opened: Callable[[str], int]) -> None:
    """Everything received is closed: by the end of the process that received it."""
    before = len(os.listdir(f"/proc/{init.pid}/fd"))
    for count in (1, 2, 4, 50, 253):
        with init.greeted() as connection:
            socket.send_fds(connection, [call_frame(["true"])], [opened("null")] * count)
            assert answers(connection) == BAD_DESCRIPTORS
    init.expect_nothing_left()
    assert len(os.listdir(f"/proc/{init.pid}/fd")) == before


@pytest.mark.parametrize(
    "row", [row for row in TABLES["calls"] if row["call"] is None], ids=lambda row: row["name"]
)
def test_malformed_calls_are_never_started(
    init: Init, opened: Callable[[str], int], row: dict[str, Any]
) -> None:
    data = Frame(type=Type.CALL, payload=bytes.fromhex(row["bytes"])).encode()
    with init.greeted() as connection:
        socket.send_fds(connection, [data], [opened("null")] * 3)
        assert answers(connection) == MALFORMED
    init.expect_nothing_left()


@pytest.mark.parametrize(
    "row", [row for row in TABLES["streams"] if row["frames"] is None], ids=lambda row: row["name"]
)
def test_bytes_that_are_no_frames(init: Init, row: dict[str, Any]) -> None:
    with init.greeted() as connection:
        connection.sendall(bytes.fromhex(row["bytes"]))
        found = answers(connection)
        assert found[-1:] == MALFORMED
        assert {frame.type for frame in found[:-1]} <= {Type.WELCOME}


FOR_INIT = {Type.HELLO, Type.CALL, Type.ECHO, Type.READY}


@pytest.mark.parametrize("kind", sorted(set(Type) - FOR_INIT), ids=str)
def test_frames_that_are_not_for_init(init: Init, kind: Type) -> None:
    with init.connect() as connection:
        connection.sendall(Frame(type=kind).encode())
        assert answers(connection) == MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        Frame(type=Type.STDIN, payload=b"x").encode(),
        Frame(type=Type.HELLO).encode(),
        Frame(type=Type.SIGNAL, payload=b"\2\2").encode(),
        Frame(type=Type.SIGNAL).encode(),
        Frame(type=Type.WINDOW, payload=b"\0\1\0").encode(),
        b"\xff" * 100,
        b"\x04\0\0\0\0\0\xff\xff",
    ],
    ids=["stdin", "hello", "two signals", "no signal", "short window", "noise", "long signal"],
)
def test_bad_frames_during_a_call_end_it(init: Init, data: bytes) -> None:
    call = init.start("sleep", "1000")
    call.connection.sendall(data)
    assert call.next() is None
    init.expect_nothing_left()


def test_frames_during_a_call_may_come_byte_by_byte(init: Init) -> None:
    call = init.start("sleep", "1000")
    for byte in frames.window_frame(3, 4) + frames.signal_frame(15):
        call.connection.sendall(bytes([byte]))
    assert call.end().status == 143


def test_a_half_sent_call_blocks_nobody_and_is_dropped(init: Init) -> None:
    data = call_frame(["true"])
    before = time.monotonic()
    with init.greeted() as half, init.connect() as silent, init.greeted() as idle:
        half.sendall(data[: len(data) // 2])
        assert init.run("echo", "served") == (0, b"served\n")
        assert answers(half) == []
        assert time.monotonic() - before > 9.5
        assert answers(silent) == []
        idle.sendall(Frame(type=Type.HELLO).encode())  # who has greeted may take its time
        assert launcher.greet(idle).spec == "0123abcd"
    init.expect_nothing_left()


STRANGER = """
use Socket;
socket(my $init, AF_UNIX, SOCK_STREAM, 0) or die;
connect($init, sockaddr_un($ARGV[0])) or die $!;
print 'connected ', length(readline($init) // '');
"""


def test_another_users_processes_get_nothing(init: Init, short_path: Path) -> None:
    """Even where the file would let them in: the directory is open, the socket too."""
    short_path.chmod(0o755)
    assert init.socket.stat().st_mode & 0o7777 == 0o700
    init.socket.chmod(0o777)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    become = nobody if os.getuid() == 0 else ["sudo", "-n", *nobody]
    argv = [*become, "perl", "-e", STRANGER, str(init.socket)]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"connected 0", b"")


GUEST = """
use Socket;
socket(my $init, AF_UNIX, SOCK_STREAM, 0) or die;
connect($init, sockaddr_un($ARGV[0])) or die $!;
syswrite($init, pack('H*', $ARGV[1])) or die $!;
sysread($init, my $answer, 4096);
print unpack('H*', $answer);
"""


def test_a_user_who_was_named_may_call(start: Callable[..., Init], short_path: Path) -> None:
    """A container whose user is nobody's is called by whoever started it."""
    short_path.chmod(0o777)
    hello = Frame(type=Type.HELLO).encode().hex()
    init = start("--caller", "65534")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    become = nobody if os.getuid() == 0 else ["sudo", "-n", *nobody]
    argv = [*become, "perl", "-e", GUEST, str(init.socket), hello]
    done = subprocess.run(argv, capture_output=True, check=True)
    (frame,) = Decoder().feed(bytes.fromhex(done.stdout.decode()))
    assert frame.type is Type.WELCOME
    assert Welcome.decode(frame.payload).spec == "0123abcd"
