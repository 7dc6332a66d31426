"""The relay inside a sidecar: many calls in one stream, none of which stops another."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Exit, Failed, Frame, Stage, Type, Welcome
from tests.native.carrying import Carry, kill
from tests.native.running import SAYS_SIGNALS, Init, stat_of, wait_for


@pytest.fixture
def carry(init: Init) -> Iterator[Carry]:
    """A relay that ends well and leaves nothing behind."""
    carry = Carry(init)
    yield carry
    assert carry.end() == (0, "")
    init.expect_nothing_left()


@pytest.fixture
def started(init: Init) -> Iterator[Callable[..., Carry]]:
    """Starts relays whose ends are the test's matter."""
    all_of_them: list[Carry] = []

    def start(**how: object) -> Carry:
        all_of_them.append(Carry(init, **how))  # type: ignore[arg-type]
        return all_of_them[-1]

    yield start
    for carry in all_of_them:
        carry.process.kill()
        carry.end()
    init.expect_nothing_left()


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exit 0", Exit(signalled=False, value=0)),
        ("exit 255", Exit(signalled=False, value=255)),
        ("kill -9 $$", Exit(signalled=True, value=9)),
        ("kill -PIPE $$", Exit(signalled=True, value=13)),
    ],
)
def test_exit_statuses(carry: Carry, script: str, end: Exit) -> None:
    assert carry.call(1, "sh", "-c", script).end() == end


def test_streams_are_apart(carry: Carry) -> None:
    call = carry.call(0xFFFFFF, "sh", "-c", "cat; echo err >&2; exit 3")
    call.feed(b"in")
    stdout, stderr, last = call.rest()
    assert (stdout, stderr) == (b"in", b"err\n")
    assert last == Frame(type=Type.EXIT, call=0xFFFFFF, payload=b"\0\3")


def test_outputs_in_one_keep_their_order(carry: Carry) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo $n; echo e$n >&2; done"
    stdout, stderr, _ = carry.call(1, "sh", "-c", script, joined=True).rest()
    assert stdout == b"".join(b"%d\ne%d\n" % (n, n) for n in range(1, 10))
    assert stderr == b""


def test_a_connection_begins_with_a_greeting(carry: Carry) -> None:
    carry.send(Type.HELLO, 9)
    frame = carry.wait(9)
    assert frame is not None
    assert Welcome.decode(frame.payload) == Welcome(spec="0123abcd", stamp=b"")
    assert carry.call(9, "true").end().status == 0


def test_a_greeting_alone_is_left(carry: Carry) -> None:
    carry.send(Type.HELLO, 9)
    carry.wait(9)
    carry.send(Type.CLOSED, 9)
    assert carry.wait(9) == Frame(type=Type.CLOSED, call=9)


@pytest.mark.parametrize(
    ("argv", "failed"),
    [
        (["no-such-program"], Failed(stage=Stage.EXEC, errno=errno.ENOENT)),
        (["/etc/passwd"], Failed(stage=Stage.EXEC, errno=errno.EACCES)),
    ],
)
def test_what_cannot_be_started(carry: Carry, argv: list[str], failed: Failed) -> None:
    assert carry.prepare(1, *argv).failed() == failed


@pytest.mark.parametrize("payload", [b"", b"x", bytes(12), bytes(40), b"\xff" * 40])
def test_what_is_no_call_is_inits_to_refuse(carry: Carry, payload: bytes) -> None:
    carry.send(Type.CALL, 5, payload)
    frame = carry.wait(5)
    assert frame is not None
    assert Failed.decode(frame.payload).stage in {Stage.MALFORMED, Stage.DESCRIPTORS}


def test_large_calls(carry: Carry) -> None:
    argv = ["sh", "-c", "echo $# ${#1}", "sh", *["x" * 131_000] * 10]
    assert carry.call(1, *argv).rest()[0] == b"10 131000\n"


def test_many_bytes_both_ways(carry: Carry) -> None:
    data = os.urandom(8 << 20)
    call = carry.call(1, "cat")
    call.feed(data)
    stdout, _, last = call.rest()
    assert hashlib.sha256(stdout).digest() == hashlib.sha256(data).digest()
    assert last.payload == b"\0\0"


def test_fifty_at_once(carry: Carry) -> None:
    calls = [
        carry.prepare(number, "sh", "-c", f"read line; echo $line {number}; exit {number}")
        for number in range(1, 51)
    ]
    for call in calls:
        assert call.next() == Frame(type=Type.STARTED, call=call.number)
    for call in reversed(calls):
        call.send(Type.STDIN, b"for %d\n" % call.number)
    for call in calls:
        stdout, _, last = call.rest()
        assert stdout == b"for %d %d\n" % (call.number, call.number)
        assert last.payload == bytes([0, call.number])


def test_a_stalled_stream_stops_no_other(carry: Carry) -> None:
    stalled = carry.call(1, "yes")
    silent = carry.call(2, "sleep", "1000")
    for _ in range(frames.CREDIT // frames.MAX_PAYLOAD):
        silent.send(Type.STDIN, bytes(frames.MAX_PAYLOAD))
    taken = 0
    while taken < frames.CREDIT:
        frame = stalled.next()
        assert frame is not None
        taken += len(frame.payload)
    data = os.urandom(4 << 20)
    flowing = carry.call(3, "cat")
    flowing.feed(data)
    assert flowing.rest()[0] == data
    assert taken == frames.CREDIT
    assert carry.silent(1)
    for call in (stalled, silent):
        call.send(Type.SIGNAL, bytes([signal.SIGTERM]))
    assert silent.end() == Exit(signalled=True, value=signal.SIGTERM)
    # what it had written waits for its reader, and its end with that
    carry.send(Type.CREDIT, 1, frames.credit(Type.STDOUT, taken))
    assert stalled.end() == Exit(signalled=True, value=signal.SIGTERM)


def test_signals_come_in_order(carry: Carry) -> None:
    call = carry.call(1, "python3", "-c", SAYS_SIGNALS)
    assert call.line() == b"ready\n"
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGUSR2, signal.SIGWINCH):
        call.send(Type.SIGNAL, bytes([number]))
        assert call.line().decode() == f"{number.name}\n"
    call.send(Type.SIGNAL, bytes([signal.SIGKILL]))
    assert call.end() == Exit(signalled=True, value=signal.SIGKILL)


def test_a_terminal(carry: Carry) -> None:
    script = (
        "test -t 0 && test -t 1 && test -t 2 || exit 9; trap 'stty size' WINCH; stty size;"
        " read line; read line; exit 4"
    )
    call = carry.call(1, "sh", "-c", script, terminal=7)
    assert call.line() == b"24 80\r\n"
    call.send(Type.WINDOW, b"\0\x30\0\x84")
    assert call.line() == b"48 132\r\n"
    call.send(Type.STDIN, b"go\ron\r")
    stdout, _, last = call.rest()
    assert stdout == b"go\r\non\r\n"
    assert last.payload == b"\0\4"


def test_keys_interrupt(carry: Carry) -> None:
    call = carry.call(1, "sh", "-c", "echo ready; exec sleep 1000", terminal=7)
    assert call.line() == b"ready\r\n"
    call.send(Type.STDIN, b"\3")
    assert call.end() == Exit(signalled=True, value=signal.SIGINT)


def test_a_terminal_beside_a_pipe(carry: Carry) -> None:
    call = carry.call(1, "sh", "-c", "test -t 0 && test -t 1 && echo tty; echo e >&2", terminal=3)
    stdout, stderr, _ = call.rest()
    assert (stdout, stderr) == (b"tty\r\n", b"e\n")


def test_all_that_a_terminal_shows_comes(carry: Carry) -> None:
    call = carry.call(1, "sh", "-c", "seq 200000", terminal=7)
    stdout, _, last = call.rest()
    assert stdout.split() == [b"%d" % n for n in range(1, 200001)]
    assert last.payload == b"\0\0"


@pytest.mark.parametrize("terminal", [0, 7])
def test_who_is_left_behind_keeps_nobody(carry: Carry, init: Init, terminal: int) -> None:
    script = "trap '' HUP; (while echo more; do sleep 0.01; done) & echo first; exit 6"
    call = carry.call(1, "sh", "-c", script, terminal=terminal)
    stdout, _, last = call.rest()
    assert b"first" in stdout
    assert last.payload == b"\0\6"


def test_an_output_ends_before_its_tool(carry: Carry) -> None:
    call = carry.call(1, "sh", "-c", "echo last; exec >&-; read line; exit 2")
    assert call.line() == b"last\n"
    assert call.next() == Frame(type=Type.STDOUT, call=1)
    call.send(Type.STDIN_CLOSED)
    assert call.end() == Exit(signalled=False, value=2)


def test_who_writes_for_nobody_is_told(carry: Carry) -> None:
    call = carry.call(1, "yes")
    assert call.next() is not None
    call.send(Type.CLOSED, bytes([Type.STDOUT]))
    assert call.end() == Exit(signalled=True, value=signal.SIGPIPE)


@pytest.mark.parametrize("before", [b"", b"unread"])
def test_who_sends_to_nobody_is_told(carry: Carry, before: bytes) -> None:
    call = carry.call(1, "sh", "-c", "exec <&-; exec sleep 1000")
    call.send(Type.STDIN, before)
    assert call.next() == Frame(type=Type.CLOSED, call=1, payload=bytes([Type.STDIN]))
    call.send(Type.STDIN, b"too late")
    call.send(Type.STDIN_CLOSED)
    call.send(Type.SIGNAL, bytes([signal.SIGTERM]))
    assert call.end().signalled


def test_input_is_credited_as_it_is_read(carry: Carry) -> None:
    call = carry.call(1, "sh", "-c", "cat >/dev/null")
    for _ in range(4):
        call.send(Type.STDIN, bytes(frames.MAX_PAYLOAD))
    granted = 0
    while granted < frames.CREDIT:
        frame = call.next()
        assert frame is not None
        assert (frame.type, frame.payload[0]) == (Type.CREDIT, 0)
        granted += int.from_bytes(frame.payload[1:])
    assert granted == frames.CREDIT
    call.send(Type.STDIN_CLOSED)
    assert call.end().status == 0


def test_a_caller_that_leaves_stops_its_call_alone(carry: Carry, init: Init) -> None:
    call = carry.call(
        1, "sh", "-c", "trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    )
    other = carry.call(2, "cat")
    assert call.line() == b"ready\n"
    call.send(Type.CLOSED)
    stdout, _, last = call.rest()
    assert stdout == b"bye\n"
    assert last == Frame(type=Type.CLOSED, call=1)
    call.send(Type.SIGNAL, b"\2")  # crossed on the way
    other.feed(b"still here")
    assert other.rest()[0] == b"still here"


@pytest.mark.parametrize("how", ["input", "killed"])
def test_its_end_stops_every_call(init: Init, started: Callable[..., Carry], how: str) -> None:
    carry = started()
    scripts = [
        "sleep 1000",
        "setsid sh -c 'sleep 1000 & wait' & wait",
        "yes",
    ]
    for number, script in enumerate(scripts, 1):
        carry.call(number, "sh", "-c", script)
    carry.call(9, "sleep", "1000", terminal=7)
    carry.call(10, "sleep", "1000").send(Type.STDIN, bytes(frames.MAX_PAYLOAD))
    if how == "killed":
        kill(carry)
    else:
        assert carry.end() == (0, "")
    init.expect_nothing_left()


def test_numbers_are_used_again(started: Callable[..., Carry]) -> None:
    carry = started(descriptors=32)  # fewer than any leak would need
    for _ in range(100):
        assert carry.call(3, "true").end().status == 0
        carry.prepare(3, "no-such-program").failed()


def test_without_descriptors_a_call_fails_alone(started: Callable[..., Carry]) -> None:
    carry = started(descriptors=14)
    first = carry.call(1, "cat")
    ends = []
    for number in range(2, 8):
        carry.prepare(number, "sleep", "1000")
        frame = carry.wait(number)
        assert frame is not None
        ends.append(frame.type)
    assert Type.FAILED in ends or Type.CLOSED in ends
    first.feed(b"alive")
    assert first.rest()[0] == b"alive"


def credit_frame(stream: int, count: int) -> bytes:
    return Frame(type=Type.CREDIT, call=1, payload=frames.credit(stream, count)).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"POST /exec HTTP/1.1\r\n", "no frame"),
        (bytes.fromhex("0000000100010001"), "no frame"),
        (bytes.fromhex("1100000101000001"), "no frame"),
        (b"\xff" * 8, "no frame"),
        (Frame(type=Type.EXIT, call=1, payload=b"\0\0").encode(), "no meaning"),
        (Frame(type=Type.ECHO, call=1).encode(), "no meaning"),
        (Frame(type=Type.CALL, call=1).encode(), "no meaning"),
        (Frame(type=Type.HELLO, call=1).encode(), "no meaning"),
        (Frame(type=Type.SIGNAL, call=1).encode(), "no meaning"),
        (Frame(type=Type.WINDOW, call=1, payload=b"\0\0\0").encode(), "no meaning"),
        (Frame(type=Type.STDIN_CLOSED, call=1, payload=b"x").encode(), "no meaning"),
        (Frame(type=Type.CLOSED, call=1, payload=b"\0").encode(), "no meaning"),
        (Frame(type=Type.CLOSED, call=1, payload=b"\3").encode(), "no meaning"),
        (Frame(type=Type.CLOSED, call=1, payload=b"\1\1").encode(), "no meaning"),
        (Frame(type=Type.CREDIT, call=1, payload=b"\1").encode(), "no meaning"),
        (credit_frame(0, 1), "no meaning"),
        (credit_frame(3, 1), "no meaning"),
        (credit_frame(1, 1), "no meaning"),
        (credit_frame(2, 0xFFFFFFFF), "no meaning"),
        (Frame(type=Type.STDIN, call=1, payload=bytes(65536)).encode() * 6, "no meaning"),
    ],
)  # fmt: skip
def test_what_nobody_says_ends_it(
    init: Init, started: Callable[..., Carry], data: bytes, said: str
) -> None:
    carry = started()
    carry.call(1, "sleep", "1000")
    carry.write(data)
    status, text = carry.end()
    assert status == 1
    assert text.startswith("aifo-init --relay: ")
    assert said in text
    init.expect_nothing_left()


def test_what_is_said_to_nobody_is_not_heard(carry: Carry) -> None:
    for kind, payload in ((Type.STDIN, b"x"), (Type.SIGNAL, b"\2"), (Type.CLOSED, b"")):
        carry.send(kind, 77, payload)
    assert carry.call(1, "true").end().status == 0
    assert carry.silent(77)


def test_a_frame_may_come_in_pieces(carry: Carry) -> None:
    data = Frame(type=Type.HELLO, call=2).encode()
    for n in range(len(data)):
        carry.write(data[n : n + 1])
    frame = carry.wait(2)
    assert frame is not None
    assert frame.type is Type.WELCOME


def test_nothing_is_said_to_an_impostor(
    init: Init, started: Callable[..., Carry], short_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "other.sock"))
        listener.listen()
        listener.settimeout(10)
        carry = started(socket=short_path / "other.sock")
        assert carry.prepare(1, "true").next() == Frame(type=Type.CLOSED, call=1)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


def test_init_may_be_gone(started: Callable[..., Carry], short_path: Path) -> None:
    carry = started(socket=short_path / "nobody.sock")
    assert carry.prepare(1, "true").next() == Frame(type=Type.CLOSED, call=1)


def test_a_call_is_lost_with_init(start: Callable[..., Init]) -> None:
    init = start()
    carry = Carry(init)
    call = carry.call(1, "sleep", "1000")
    parents = [pid for pid in init.left() if (found := stat_of(pid)) and found[1] == init.pid]
    os.kill(parents[0], signal.SIGKILL)
    assert call.rest()[2] == Frame(type=Type.CLOSED, call=1)
    assert carry.end() == (0, "")


def test_it_outlives_a_term(init: Init, carry: Carry) -> None:
    call = carry.call(1, "cat")
    carry.process.terminate()
    carry.process.send_signal(signal.SIGINT)
    call.feed(b"still here")
    assert call.rest()[0] == b"still here"


@pytest.mark.parametrize("words", [["--socket"], ["--sockets", "x"], ["--init"], ["x", "y"]])
def test_usage(binary: Path, words: list[str]) -> None:
    done = subprocess.run(
        [binary, "--relay", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("aifo-init --relay: usage: ")


def test_what_waits_is_written_when_somebody_reads(init: Init) -> None:
    """Its own reader pauses for a while: nothing is lost and its input is still read."""
    process = subprocess.Popen(
        [init.binary, "--relay", "--socket", init.socket, "--init", str(init.pid)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=init.environment, bufsize=0,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    calls = range(1, 21)
    for number in calls:
        payload = frames.Call(argv=(b"sh", b"-c", b"seq 30000"), cwd=b"/").encode()
        process.stdin.write(Frame(type=Type.CALL, call=number, payload=payload).encode())
    full = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ)
    wait_for("a full pipe", lambda: unread(process.stdout) > full // 2)
    decoder, outputs, ends = frames.Decoder(), dict.fromkeys(calls, b""), 0
    while ends < len(calls):
        for frame in decoder.feed(process.stdout.read(1 << 16)):
            if frame.type is Type.STDOUT:
                outputs[frame.call] += frame.payload
            ends += frame.type is Type.EXIT
    process.stdin.close()
    process.stdout.close()
    assert process.wait() == 0
    assert set(outputs.values()) == {b"".join(b"%d\n" % n for n in range(1, 30001))}


def unread(pipe: IO[bytes] | None) -> int:
    """How many bytes wait in a pipe."""
    assert pipe is not None
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
