"""The connection to a command in a container: its pieces, and engines that answer strangely."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifo_tasks.engine import hijack
from aifo_tasks.engine.hijack import Demultiplexer
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError

SWITCHED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def piece(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=300)), max_size=6), st.data()
)
def test_pieces_come_apart_however_they_are_cut(
    pieces: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(piece(number, content) for number, content in pieces)
    demultiplexer, output = Demultiplexer(), b""
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        output += demultiplexer.feed(stream[:count])
        stream = stream[count:]
    assert output == b"".join(content for number, content in pieces if number != 2)
    assert demultiplexer.complaint == b"".join(content for number, content in pieces if number == 2)


def test_a_complaint_without_end_is_not_kept() -> None:
    demultiplexer = Demultiplexer()
    for _ in range(1000):
        assert demultiplexer.feed(piece(2, b"x" * 1000)) == b""
    assert len(demultiplexer.complaint) < 10_000


class Server:
    """An engine of a few answers, one a connection's turn."""

    def __init__(self, path: Path) -> None:
        self.endpoint = f"unix://{path}"
        self.asked: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def answer(self, *answers: bytes) -> None:
        threading.Thread(target=self._serve, args=(answers,), daemon=True).start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as requests:
            for answer in answers:
                self.asked.append(requests.readline())
                length = 0
                while (line := requests.readline().lower()) not in {b"", b"\r\n"}:
                    if line.startswith(b"content-length: "):
                        length = int(line.split()[1])
                requests.read(length)
                connection.sendall(answer)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "engine.sock")
    yield server
    server.close()


def answered(status: str, content: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def test_what_comes_with_the_answers_head_is_output(server: Server) -> None:
    server.answer(
        answered("201 Created", b'{"Id":"a b"}'),
        SWITCHED + piece(1, b"early ") + piece(2, b"alas") + piece(1, b"words")[:10],
    )
    stream = hijack.open_stream(server.endpoint, "box/1", ["sh", "-c", "x"])
    assert stream.receive() == b"early "
    assert stream.receive() == b""
    assert stream.complaint == "alas"
    stream.close()
    assert server.asked[0] == b"POST /containers/box%2F1/exec HTTP/1.1\r\n"
    assert server.asked[1] == b"POST /exec/a%20b/start HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        (
            [answered("404 Not Found", b'{"message":"No such container: x"}')],
            NotFoundError,
            "No su",
        ),
        ([answered("409 Conflict", b'{"message":"is paused"}')], ConflictError, "is paused"),
        ([answered("500 Oh", b"plain text")], EngineError, "plain text"),
        ([answered("500 Oh", b"[1]")], EngineError, "[1]"),
        ([answered("201 Created", b"{}")], EngineError, "has no id"),
        ([answered("201 Created", b"no json")], EngineError, "cannot be reached"),
        ([b"what?\r\n\r\n"], EngineError, "cannot be reached"),
        ([b""], EngineError, "cannot be reached"),
        (
            [answered("201 Created", b'{"Id":"a"}'), answered("404 Not Found", b'{"message":"a"}')],
            NotFoundError,
            "a",
        ),
        ([answered("201 Created", b'{"Id":"a"}'), answered("200 OK", b"raw")], EngineError, "raw"),
    ],
)
def test_strange_answers(
    server: Server, answers: list[bytes], error: type[EngineError], said: str
) -> None:
    server.answer(*answers)
    with pytest.raises(error) as caught:
        hijack.open_stream(server.endpoint, "box", ["true"])
    assert said in str(caught.value)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:2375", "ssh://host"])
def test_only_an_engine_on_this_machine(endpoint: str) -> None:
    with pytest.raises(EngineError, match="not on this machine"):
        hijack.open_stream(endpoint, "box", ["true"])


def test_no_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such file"):
        hijack.open_stream(f"unix://{tmp_path}/none.sock", "box", ["true"])


def test_the_sdk_stays_out() -> None:
    program = (
        "import sys; from aifo_tasks.engine import hijack;"
        "assert not {'docker', 'requests', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
