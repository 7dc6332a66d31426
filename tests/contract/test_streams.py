"""A command in a running container, by its input and output."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.engine.api import ExecStream
from aifo_tasks.errors import EngineError, NotFoundError
from tests.contract.conftest import Recording, Scratch
from tests.native.running import wait_for


@pytest.fixture
def running(scratch: Scratch) -> Scratch:
    """An engine with a container that runs under the scratch's name."""
    scratch.engine.start(scratch.container("wait", name=scratch.name, user="1234:1234"))
    return scratch


def rest(stream: ExecStream) -> bytes:
    """Everything it writes until its end; then it is closed."""
    output = b""
    while data := stream.receive():
        output += data
    stream.close()
    return output


def test_bytes_come_back_one_by_one(running: Scratch) -> None:
    stream = running.engine.exec_stream(running.name, ["/probe", "echo"])
    for data in (b"a", b"\0\xff", b"one\n" * 1000):
        stream.send(data)
        output = b""
        while len(output) < len(data):
            output += stream.receive()
        assert output == data
    stream.end_input()
    assert rest(stream) == b""


def test_what_was_sent_is_received_after_the_inputs_end(running: Scratch) -> None:
    stream = running.engine.exec_stream(running.name, ["/probe", "echo"])
    stream.send(b"last words")
    stream.end_input()
    assert rest(stream) == b"last words"


def test_many_bytes_both_ways_at_once(running: Scratch) -> None:
    data = bytes(range(256)) * 65536
    stream = running.engine.exec_stream(running.name, ["/probe", "echo"])

    def send() -> None:
        for start in range(0, len(data), 1 << 20):
            stream.send(data[start : start + (1 << 20)])
        stream.end_input()

    sender = threading.Thread(target=send)
    sender.start()
    output = rest(stream)
    sender.join()
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()


def test_its_output_and_its_complaint_are_apart(running: Scratch) -> None:
    assert rest(running.engine.exec_stream(running.name, ["/probe", "print", "x"])) == b"x\n"
    stream = running.engine.exec_stream(running.name, ["/probe", "warn", "beware"])
    assert rest(stream) == b""
    assert stream.complaint == "beware"


def test_a_missing_program_says_so(running: Scratch) -> None:
    stream = running.engine.exec_stream(running.name, ["/no-such-program"])
    said = rest(stream).decode() + stream.complaint
    assert "/no-such-program" in said


def test_it_ends_with_its_container(running: Scratch) -> None:
    stream = running.engine.exec_stream(running.name, ["/probe", "echo"])
    stream.send(b"x")
    assert stream.receive() == b"x"
    running.engine.remove_container(running.name)
    assert rest(stream) == b""


def test_closing_ends_who_receives(running: Scratch) -> None:
    stream = running.engine.exec_stream(running.name, ["/probe", "echo"])
    received: list[bytes] = []
    receiver = threading.Thread(target=lambda: received.append(stream.receive()))
    receiver.start()
    stream.close()
    receiver.join()
    assert received == [b""]
    with pytest.raises(OSError):  # noqa: PT011  # which one depends on the engine
        stream.send(b"x")


def test_there_must_be_a_container(scratch: Scratch) -> None:
    with pytest.raises(NotFoundError):
        scratch.engine.exec_stream(scratch.name, ["/probe", "echo"])


def test_it_must_run(scratch: Scratch) -> None:
    scratch.engine.start(scratch.container("exit", "0", name=scratch.name, remove=False))
    wait_for("its end", lambda: not state_runs(scratch))
    with pytest.raises(EngineError):
        scratch.engine.exec_stream(scratch.name, ["/probe", "echo"])


def state_runs(scratch: Scratch) -> bool:
    state = scratch.engine.container(scratch.name)
    return state is not None and state.running


def test_it_is_announced(running: Scratch, recording: Recording) -> None:
    running.engine.exec_stream(running.name, ["/probe", "print", "a b"]).close()
    (command,) = recording.commands
    assert command.endswith(f"exec --interactive {running.name} /probe print 'a b'")


def test_a_dry_run_starts_nothing(scratch: Scratch) -> None:
    log.configure(dry_run=True)
    stream = scratch.engine.exec_stream("no-such-container", ["/probe", "echo"])
    assert rest(stream) == b""


def test_it_runs_as_the_containers_user_and_ends_with_its_input(real: Scratch) -> None:
    state = real.engine.start(real.container("wait", name=real.name, user="1234:1234"))
    stream = real.engine.exec_stream(real.name, ["/probe", "echo"])
    stream.send(b"x")
    assert stream.receive() == b"x"
    namespace = Path(f"/proc/{state.pid}/ns/pid").readlink()
    mates = [pid for pid in everybody() if pid != state.pid and within(pid, namespace)]
    assert [owner(pid) for pid in mates] == [1234]
    stream.close()
    wait_for("the command's end", lambda: not within(mates[0], namespace))


def everybody() -> set[int]:
    return {int(path.name) for path in Path("/proc").glob("[0-9]*")}


def within(pid: int, namespace: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() == namespace
    except OSError:
        return False


def owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid
