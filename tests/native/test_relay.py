"""Calls through a relay, from the host's side: as if they went to init itself."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import hashlib
import os
import pty
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.errors import EngineError, SidecarLostError
from aifo_tasks.toolexec import frames, launcher
from aifo_tasks.toolexec.direct import Direct
from aifo_tasks.toolexec.frames import Decoder, Failed, Frame, Stage, Type
from aifo_tasks.toolexec.launcher import UnreachableError
from tests.native.relaying import Relayed
from tests.native.running import GENEROUS, Init, call_frame, wait_for


@pytest.fixture
def relayed(init: Init) -> Iterator[Relayed]:
    """A relay; at the end nothing is left of it, nor of its calls, nor of descriptors."""
    before = descriptors()
    with Relayed(init) as relayed:
        yield relayed
    init.expect_nothing_left()
    wait_for("closed descriptors", lambda: descriptors() <= before)
    wait_for("the end of its threads", lambda: threading.active_count() == 1)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is told to the person who waits."""
    lines: list[str] = []

    class Sink(log.PlainSink):
        def line(self, text: str, *, style: str) -> None:
            lines.append(f"{style}: {text}")

    log.configure(sink=Sink())
    yield lines
    log.configure(sink=log.PlainSink())


class Call:
    """A call under way on given descriptors, driven as its launcher would."""

    def __init__(self, relayed: Relayed, *argv: str, passed: list[int], terminal: int = 0) -> None:
        self.connection = relayed.relay.connect()
        self.connection.settimeout(GENEROUS)
        data = call_frame(argv, terminal=terminal)
        sent = socket.send_fds(self.connection, [data], passed)
        if sent < len(data):
            self.connection.sendall(data[sent:])
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self.master = -1

    def next(self) -> Frame | None:
        while not self._frames:
            data, given, _, _ = socket.recv_fds(self.connection, 65536, 1)
            if given:
                (self.master,) = given
            if not data:
                return None
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def started(self) -> Call:
        assert self.next() == Frame(type=Type.STARTED)
        return self

    def end(self) -> frames.Exit | None:
        """How it ended; the connection is closed then."""
        frame = self.next()
        self.connection.close()
        if self.master >= 0:
            os.close(self.master)
        return None if frame is None else frames.Exit.decode(frame.payload)


@contextlib.contextmanager
def pipes(count: int) -> Iterator[list[tuple[int, int]]]:
    """Pairs of a reading and a writing end; those that are open yet are closed."""
    made = [os.pipe() for _ in range(count)]
    yield made
    for pair in made:
        for end in pair:
            with contextlib.suppress(OSError):
                os.close(end)


def run(relayed: Relayed, *argv: str, stdin: int | None = None) -> tuple[int, bytes]:
    output: list[bytes] = []
    call = launcher.Call(argv=argv, cwd="/")
    status = launcher.capture(relayed.relay.connect(), call, stdin=stdin, on_output=output.append)
    return status, b"".join(output)


def read_all(descriptor: int) -> bytes:
    data = b""
    while piece := os.read(descriptor, 1 << 16):
        data += piece
    return data


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_greeting(relayed: Relayed) -> None:
    connection = relayed.relay.connect()
    assert launcher.greet(connection).spec == "0123abcd"
    call = launcher.Call(argv=["sh", "-c", "exit 7"], cwd="/")
    assert launcher.capture(connection, call, on_output=lambda _: None) == 7


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_statuses(relayed: Relayed, script: str, status: int) -> None:
    assert run(relayed, "sh", "-c", script) == (status, b"")


def test_outputs_in_one_keep_their_order(relayed: Relayed) -> None:
    script = "for n in 1 2 3 4 5; do echo $n; echo e$n >&2; done"
    expected = b"".join(b"%d\ne%d\n" % (n, n) for n in range(1, 6))
    assert run(relayed, "sh", "-c", script) == (0, expected)


def test_what_cannot_be_started(relayed: Relayed) -> None:
    assert run(relayed, "no-such-program") == (127, b"no-such-program: not found\n")
    assert run(relayed, "/etc/passwd") == (126, b"/etc/passwd: permission denied\n")


def test_one_stream_carries_what_comes_while_it_is_open(relayed: Relayed) -> None:
    with relayed.relay.connect():
        for _ in range(3):
            assert run(relayed, "true")[0] == 0
        assert len(relayed.streams) == 1
    relayed.streams[0].finish()
    assert run(relayed, "true")[0] == 0
    assert len(relayed.streams) == 2


def test_many_bytes_both_ways(relayed: Relayed, tmp_path: Path) -> None:
    data = os.urandom(16 << 20)
    source = tmp_path / "source"
    source.write_bytes(data)
    with source.open("rb") as stdin:
        status, output = run(relayed, "cat", stdin=stdin.fileno())
    assert status == 0
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()


def test_files_as_streams(relayed: Relayed, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"line\n" * 100_000)
    with source.open("rb") as stdin, target.open("wb") as stdout:
        passed = [stdin.fileno(), stdout.fileno(), stdout.fileno()]
        end = Call(relayed, "sh", "-c", "cat; echo end >&2", passed=passed).started().end()
    assert end is not None
    assert end.status == 0
    assert target.read_bytes() == b"line\n" * 100_000 + b"end\n"


def test_one_socket_for_all(relayed: Relayed) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(GENEROUS)
    data = os.urandom(1 << 20)
    with ours, theirs:
        call = Call(relayed, "cat", passed=[theirs.fileno()] * 3).started()
        theirs.close()

        def send() -> None:
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)

        sender = in_background(send)
        received = b""
        while len(received) < len(data):
            received += ours.recv(1 << 16)
        sender.join()
        end = call.end()
    assert received == data
    assert end is not None
    assert end.status == 0


def test_nobodys_pipe_becomes_nonblocking(relayed: Relayed) -> None:
    with pipes(2) as ((stdin, fed), (read, stdout)):
        call = Call(relayed, "cat", passed=[stdin, stdout, stdout]).started()
        os.write(fed, b"x")
        assert os.read(read, 1) == b"x"
        assert all(map(os.get_blocking, (stdin, fed, read, stdout)))
        os.close(fed)
        assert call.end() is not None


def test_input_that_nobody_reads_stays_with_a_call_that_fails(relayed: Relayed) -> None:
    with pipes(2) as ((stdin, fed), (_, stdout)):
        os.write(fed, b"for the next")
        call = Call(relayed, "no-such-program", passed=[stdin, stdout, stdout])
        frame = call.next()
        call.connection.close()
        assert frame is not None
        assert Failed.decode(frame.payload).errno == errno.ENOENT
        assert os.read(stdin, 100) == b"for the next"


def test_an_output_ends_when_the_tool_closes_it(relayed: Relayed) -> None:
    with pipes(3) as ((stdin, fed), (out, stdout), (err, stderr)):
        argv = ("sh", "-c", "echo last; exec >&-; read line; echo late >&2")
        call = Call(relayed, *argv, passed=[stdin, stdout, stderr]).started()
        os.close(stdout)
        os.close(stderr)
        assert read_all(out) == b"last\n"
        os.write(fed, b"go\n")
        assert read_all(err) == b"late\n"
        assert call.end() is not None


def test_a_tool_whose_reader_leaves_gets_sigpipe(relayed: Relayed) -> None:
    with pipes(1) as ((read, stdout),):
        null = os.open(os.devnull, os.O_RDWR)
        call = Call(relayed, "yes", passed=[null, stdout, null]).started()
        os.close(stdout)
        assert os.read(read, 2) == b"y\n"
        os.close(read)
        end = call.end()
        os.close(null)
    assert end == frames.Exit(signalled=True, value=signal.SIGPIPE)


def test_a_writer_whose_tool_has_closed_its_input_gets_epipe(relayed: Relayed) -> None:
    with pipes(1) as ((stdin, fed),):
        null = os.open(os.devnull, os.O_RDWR)
        argv = ("sh", "-c", "exec <&-; exec sleep 1000")
        call = Call(relayed, *argv, passed=[stdin, null, null]).started()
        os.close(stdin)

        def fails() -> bool:
            try:
                os.write(fed, b"x")
            except BrokenPipeError:
                return True
            return False

        wait_for("a broken pipe", fails)
        call.connection.sendall(frames.signal_frame(signal.SIGTERM))
        call.end()
        os.close(null)


def test_signals_under_backpressure_and_other_calls(relayed: Relayed) -> None:
    with pipes(2) as ((stdin, fed), (read, stdout)):
        null = os.open(os.devnull, os.O_RDWR)
        stalled = Call(relayed, "yes", passed=[null, stdout, null]).started()
        full = Call(relayed, "sleep", "1000", passed=[stdin, null, null]).started()
        os.set_blocking(fed, False)

        def feed() -> bool:
            try:
                os.write(fed, bytes(1 << 16))
            except BlockingIOError:
                return True
            return False

        wait_for("a full pipe", feed)
        assert run(relayed, "sh", "-c", "seq 100000 | tail -n 1") == (0, b"100000\n")
        for call in (stalled, full):
            call.connection.sendall(frames.signal_frame(signal.SIGTERM))
        expected = frames.Exit(signalled=True, value=signal.SIGTERM)
        assert full.end() == expected
        os.close(stdout)
        taken = in_background(lambda: read_all(read))
        assert stalled.end() == expected
        taken.join()
        os.close(null)


def test_fifty_at_once(relayed: Relayed) -> None:
    found: dict[int, tuple[int, bytes]] = {}

    def one(n: int) -> None:
        found[n] = run(relayed, "sh", "-c", f"sleep 0.1; seq 2000; exit {n}")

    with relayed.relay.connect():
        threads = [in_background(functools.partial(one, n)) for n in range(50)]
        for thread in threads:
            thread.join(GENEROUS)
    output = b"".join(b"%d\n" % n for n in range(1, 2001))
    assert found == {n: (n, output) for n in range(50)}
    assert len(relayed.streams) == 1


def test_a_terminal(relayed: Relayed) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 || exit 9; stty size; read line; echo =$line="
    call = Call(relayed, "sh", "-c", script, passed=[], terminal=7).started()
    assert os.isatty(call.master)
    said = b""
    while b"24 80\r\n" not in said:
        said += os.read(call.master, 100)
    os.write(call.master, b"typed\r")
    while b"=typed=\r\n" not in said:
        said += os.read(call.master, 100)
    end = call.end()
    assert said == b"24 80\r\ntyped\r\n=typed=\r\n"
    assert end is not None
    assert end.status == 0


def test_keys_interrupt(relayed: Relayed) -> None:
    call = Call(relayed, "sh", "-c", "echo x; exec sleep 1000", passed=[], terminal=7).started()
    assert os.read(call.master, 1) == b"x"
    os.write(call.master, b"\3")
    assert call.end() == frames.Exit(signalled=True, value=signal.SIGINT)


def test_a_terminals_last_words_come_before_its_end(relayed: Relayed) -> None:
    call = Call(relayed, "seq", "20000", passed=[], terminal=7).started()
    said = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while piece := os.read(call.master, 1 << 16):
            said += piece
    assert said.split() == [b"%d" % n for n in range(1, 20001)]
    assert call.end() is not None


def test_a_terminal_beside_pipes(relayed: Relayed) -> None:
    with pipes(1) as ((read, stderr),):
        script = "test -t 0 && test -t 1 && echo tty; echo pipe >&2"
        call = Call(relayed, "sh", "-c", script, passed=[stderr], terminal=3).started()
        os.close(stderr)
        assert read_all(read) == b"pipe\n"
        assert os.read(call.master, 100) == b"tty\r\n"
        assert call.end() is not None


@pytest.mark.parametrize("kind", ["directory", "path", "terminal", "too few"])
def test_descriptors_that_no_tool_gets(relayed: Relayed, tmp_path: Path, kind: str) -> None:
    master, slave = pty.openpty()
    null = os.open(os.devnull, os.O_RDWR)
    other = {
        "directory": lambda: os.open(tmp_path, os.O_RDONLY),
        "path": lambda: os.open(os.devnull, os.O_PATH),
        "terminal": lambda: os.dup(slave),
        "too few": lambda: os.dup(null),
    }[kind]()
    passed = [null, other] if kind == "too few" else [null, null, other]
    call = Call(relayed, "true", passed=passed)
    frame = call.next()
    assert frame is not None
    assert Failed.decode(frame.payload) == Failed(stage=Stage.DESCRIPTORS, errno=errno.EBADF)
    assert call.next() is None
    call.connection.close()
    for descriptor in (master, slave, null, other):
        os.close(descriptor)


def test_a_stop_lets_the_tool_say_its_last(relayed: Relayed) -> None:
    with pipes(1) as ((read, stdout),):
        null = os.open(os.devnull, os.O_RDWR)
        script = "trap 'echo bye; exit' INT; echo x; while :; do sleep 0.01; done"
        call = Call(relayed, "sh", "-c", script, passed=[null, stdout, null]).started()
        assert os.read(read, 2) == b"x\n"
        call.connection.shutdown(socket.SHUT_WR)
        assert os.read(read, 4) == b"bye\n"
        assert call.end() is None
        os.close(null)


def test_a_caller_that_is_gone_stops_its_tool_and_no_other(relayed: Relayed) -> None:
    with relayed.relay.connect() as spare:
        null = os.open(os.devnull, os.O_RDWR)
        call = Call(relayed, "sh", "-c", "sleep 1000 & wait", passed=[null] * 3).started()
        call.connection.close()
        os.close(null)
        launcher.greet(spare)
        wait_for("its end", lambda: len(relayed.init.left()) <= 1)  # the greeted one's parent
        assert run(relayed, "true")[0] == 0
        assert len(relayed.streams) == 1


def test_a_killed_relay_loses_its_calls_and_leaves_nothing(
    relayed: Relayed, said: list[str]
) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    calls = [
        Call(relayed, "sh", "-c", script, passed=[null] * 3).started()
        for script in ("sleep 1000", "setsid sleep 1000 & wait", "yes")
    ]
    calls.append(Call(relayed, "sleep", "1000", passed=[], terminal=7).started())
    relayed.kill()
    assert [call.end() for call in calls] == [None] * 4
    os.close(null)
    relayed.init.expect_nothing_left()
    assert run(relayed, "true")[0] == 0
    assert len(relayed.streams) == 2
    assert said == ["warning: sidecar: the relay there is lost: its stream ended"]


def test_a_launcher_says_that_it_lost_its_call(relayed: Relayed) -> None:
    def kill() -> None:
        wait_for("the tool", lambda: len(relayed.init.left()) > 1)
        relayed.kill()

    killer = in_background(kill)
    with pytest.raises(SidecarLostError):
        run(relayed, "sleep", "1000")
    killer.join()


def test_a_relay_says_why_it_ended(relayed: Relayed, said: list[str]) -> None:
    with relayed.relay.connect() as connection:
        launcher.greet(connection)
        relayed.streams[0].send(b"\xff" * 8)
        assert connection.recv(1) == b""
        wait_for("a word", lambda: said)
    assert said == [
        "warning: sidecar: the relay there is lost: aifo-init --relay: what came is no frame"
    ]


def test_no_engine_no_connection(relayed: Relayed) -> None:
    relayed.refusing = EngineError("sidecar", "no such container")
    with pytest.raises(UnreachableError, match="no such container") as caught:
        relayed.relay.connect()
    assert caught.value.reason == "absent"
    assert relayed.relay.place() is None
    relayed.refusing = None
    assert run(relayed, "true")[0] == 0


def test_who_may_not_wait_comes_again(relayed: Relayed) -> None:
    def soon() -> socket.socket | None:
        try:
            return relayed.relay.connect(blocking=False)
        except UnreachableError as error:
            reasons.add(error.reason)
            return None

    reasons: set[str] = set()
    first = soon()
    with first or wait_for("a connection", soon) as connection:
        assert launcher.greet(connection).spec == "0123abcd"
        place = relayed.relay.place()
        assert place is not None
        assert place is relayed.relay.place()
    assert reasons <= {"busy"}
    wait_for("its end", lambda: relayed.relay.place() is None)


async def status(way: Direct, *argv: bytes) -> int:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        tool = await way.start(frames.Call(argv=argv, cwd=b"/"), [null] * 3)
        await tool.ended.wait()
        tool.close()
    finally:
        os.close(null)
    assert tool.end is not None
    return tool.end.status


def test_the_proxys_way(relayed: Relayed, said: list[str]) -> None:
    async def test() -> None:
        way = Direct(relayed.relay, relayed.relay.connect())
        together = (status(way, b"sh", b"-c", b"exit %d" % n) for n in range(20))
        assert await asyncio.gather(*together) == [*range(20)]
        assert len(relayed.streams) == 1
        relayed.kill()
        await asyncio.to_thread(wait_for, "its end", lambda: relayed.relay.place() is None)
        assert await status(way, b"true") == 0
        relayed.refusing = EngineError("sidecar", "no such container")
        relayed.kill()
        await asyncio.to_thread(wait_for, "its end", lambda: relayed.relay.place() is None)
        # on the connection that was kept ready, if its end has not been seen yet
        with pytest.raises((UnreachableError, SidecarLostError)):
            await status(way, b"true")
        way.close()
        assert len(said) == 2

    asyncio.run(asyncio.wait_for(test(), GENEROUS))


def test_the_end_comes_after_the_output(relayed: Relayed) -> None:
    with pipes(1) as ((read, stdout),):
        null = os.open(os.devnull, os.O_RDWR)
        call = Call(relayed, "seq", "20000", passed=[null, stdout, null]).started()
        os.close(stdout)
        wait_for("the tool's end", lambda: not relayed.init.left())
        assert select.select([call.connection], [], [], 0.05)[0] == []
        assert read_all(read) == b"".join(b"%d\n" % n for n in range(1, 20001))
        assert call.end() == frames.Exit(signalled=False, value=0)
        os.close(null)


def test_who_leaves_before_the_output_is_read_is_not_waited_for(relayed: Relayed) -> None:
    with pipes(1) as ((_, stdout),):
        null = os.open(os.devnull, os.O_RDWR)
        call = Call(relayed, "seq", "20000", passed=[null, stdout, null]).started()
        wait_for("the tool's end", lambda: not relayed.init.left())
        call.connection.close()
        wait_for("the relay's end", lambda: relayed.relay.place() is None)
        os.close(null)
