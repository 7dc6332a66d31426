"""The frames: the table that C shares, and what holds for any values and any bytes."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import (
    BEHIND,
    LOOKS,
    MAX_PAYLOAD,
    Call,
    Decoder,
    Exit,
    Failed,
    Frame,
    FrameError,
    Stage,
    Type,
    Welcome,
    carrying,
)

TABLES = json.loads((Path(__file__).parents[2] / "data/frames.json").read_text(encoding="utf-8"))


def rows(name: str) -> pytest.MarkDecorator:
    table = TABLES[name]
    return pytest.mark.parametrize("row", table, ids=[row["name"] for row in table])


@rows("streams")
def test_streams(row: dict[str, Any]) -> None:
    decoder, data = Decoder(), bytes.fromhex(row["bytes"])
    if row["frames"] is None:
        with pytest.raises(FrameError):
            list(decoder.feed(data))
        return
    found = [[frame.type, frame.call, frame.payload.hex()] for frame in decoder.feed(data)]
    assert (found, decoder.pending) == (row["frames"], row["rest"])


@rows("calls")
def test_calls(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["bytes"])
    if row["call"] is None:
        with pytest.raises(FrameError):
            Call.decode(data)
        return
    call = Call(
        argv=tuple(bytes.fromhex(argument) for argument in row["call"]["argv"]),
        cwd=bytes.fromhex(row["call"]["cwd"]),
        environment=tuple(
            (bytes.fromhex(name), bytes.fromhex(value))
            for name, value in row["call"]["environment"]
        ),
        rows=row["call"]["rows"],
        columns=row["call"]["columns"],
        terminal=row["call"]["terminal"],
    )
    assert Call.decode(data) == call
    assert call.encode() == data


@rows("relayed")
def test_what_a_relay_is_told(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["bytes"])
    assert frames.terminal_of(data) == row["terminal"]
    if row["joined"]:
        apart = bytes(byte - 8 if n == 4 else byte for n, byte in enumerate(data))
        assert frames.joined(apart) == data


STREAMS = [*range(8), *range(BEHIND + 1, BEHIND + 8)]
strings = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b""))
names = strings.map(lambda data: data.replace(b"=", b"") or b"N")
sizes = st.integers(0, 0xFFFF)
calls = st.builds(
    Call,
    argv=st.lists(strings, min_size=1, max_size=8).map(tuple),
    cwd=strings.map(lambda data: b"/" + data),
    environment=st.lists(st.tuples(names, strings), max_size=5).map(tuple),
    rows=sizes,
    columns=sizes,
    terminal=st.builds(operator.or_, st.sampled_from(STREAMS), st.sampled_from([0, LOOKS])),
)
any_frames = st.builds(
    Frame,
    type=st.sampled_from(Type),
    payload=st.binary(max_size=300),
    call=st.integers(0, 0xFFFFFF),
)


@given(calls)
def test_a_call_comes_back(call: Call) -> None:
    assert Call.decode(call.encode()) == call


@given(st.binary(max_size=200))
def test_any_payload_is_a_call_or_an_error(payload: bytes) -> None:
    try:
        call = Call.decode(payload)
    except FrameError:
        return
    assert call.encode() == payload


@given(st.lists(any_frames, max_size=6), st.data())
def test_frames_come_back_however_they_are_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(frame.encode() for frame in sent)
    decoder, found = Decoder(), list[Frame]()
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[:count])
        stream = stream[count:]
    assert (found, decoder.pending) == (sent, 0)


@pytest.mark.parametrize("size", [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD])
def test_bytes_are_carried_in_as_few_frames_as_they_need(size: int) -> None:
    data = bytes(range(1, 252)) * (size // 251) + bytes(size % 251)
    found = list(Decoder().feed(b"".join(carrying(Type.STDERR, memoryview(data)))))
    assert b"".join(frame.payload for frame in found) == data
    assert len(found) == -(-size // MAX_PAYLOAD)
    assert {frame.type for frame in found} <= {Type.STDERR}


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_any_bytes_are_frames_or_an_error(parts: list[bytes]) -> None:
    decoder, found = Decoder(), list[Frame]()
    try:
        for part in parts:
            found += list(decoder.feed(part))
    except FrameError:
        return
    taken = b"".join(frame.encode() for frame in found)
    stream = b"".join(parts)
    assert stream.startswith(taken)
    assert decoder.pending == len(stream) - len(taken)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"argv": ()}, "no program"),
        ({"argv": (b"a\0b",)}, "NUL"),
        ({"cwd": b"/a\0"}, "NUL"),
        ({"cwd": b"work"}, "not an absolute path"),
        ({"cwd": b""}, "not an absolute path"),
        ({"environment": ((b"A", b"\0"),)}, "NUL"),
        ({"environment": ((b"", b"x"),)}, "no name"),
        ({"environment": ((b"A=B", b"x"),)}, "'=' in it"),
        ({"terminal": 8}, "no set of streams"),
        ({"rows": 65536}, "no window size"),
        ({"columns": -1}, "no window size"),
        ({"argv": (b"x" * (frames.MAX_CALL - 15),)}, "too large"),
    ],
)
def test_a_call_that_init_would_refuse_is_not_sent(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(FrameError, match=problem):
        Call(**{"argv": (b"true",), "cwd": b"/", **change}).encode()


def test_the_largest_call_fits() -> None:
    call = Call(argv=(b"x" * (frames.MAX_CALL - 16),), cwd=b"/")
    payload = call.encode()
    assert len(payload) == frames.MAX_CALL
    (frame,) = Decoder().feed(Frame(type=Type.CALL, payload=payload).encode())
    assert Call.decode(frame.payload) == call


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (Frame(type=Type.STDIN, payload=bytes(65537)), "65537 bytes"),
        (Frame(type=Type.CALL, payload=bytes(frames.MAX_CALL + 1)), "16777217 bytes"),
        (Frame(type=Type.STDIN, call=1 << 24), "no call number"),
        (Frame(type=Type.STDIN, call=-1), "no call number"),
    ],
    ids=["payload", "call", "number", "negative number"],
)
def test_a_frame_over_its_limits_is_not_made(frame: Frame, problem: str) -> None:
    with pytest.raises(FrameError, match=problem):
        frame.encode()


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (Exit(signalled=False, value=0), 0),
        (Exit(signalled=False, value=255), 255),
        (Exit(signalled=True, value=2), 130),
        (Exit(signalled=True, value=15), 143),
    ],
)
def test_exit(end: Exit, status: int) -> None:
    assert Exit.decode(end.encode()) == end
    assert end.status == status


@pytest.mark.parametrize("stage", Stage)
def test_failed(stage: Stage) -> None:
    failed = Failed(stage=stage, errno=2)
    assert failed.encode() == bytes([stage, 0, 0, 0, 2])
    assert Failed.decode(failed.encode()) == failed


@given(st.text(alphabet="0123456789abcdef", max_size=64), st.binary(max_size=100))
def test_welcome(spec: str, stamp: bytes) -> None:
    welcome = Welcome(spec=spec, stamp=stamp)
    assert Welcome.decode(welcome.encode()) == welcome


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Exit, b""),
        (Exit, b"\2\0"),
        (Exit, b"\0\0\0"),
        (Failed, b"\0\0\0\0"),
        (Failed, b"\4\0\0\0\0"),
        (Welcome, b"no end"),
        (Welcome, b"\xff\0"),
    ],
)
def test_bad_answers(kind: type[Exit | Failed | Welcome], payload: bytes) -> None:
    with pytest.raises(FrameError):
        kind.decode(payload)


def test_signals_and_windows() -> None:
    assert frames.signal_frame(15) == b"\4\0\0\0\0\0\0\1\x0f"
    assert frames.window_frame(24, 80) == b"\5\0\0\0\0\0\0\4\0\x18\0\x50"


def test_credit() -> None:
    assert frames.credit(2, 65536) == b"\2\0\1\0\0"
    assert frames.credited(b"\2\0\1\0\0") == (2, 65536)
    with pytest.raises(FrameError, match="credit"):
        frames.credited(b"\2\0\1\0")


def test_the_last_of_a_call() -> None:
    last = {kind for kind in Type if Frame(type=kind).is_last}
    assert last == {Type.EXIT, Type.FAILED, Type.CLOSED}
    assert not Frame(type=Type.CLOSED, payload=b"\1").is_last
