"""The frames that init and its callers exchange: bytes in, objects out, no I/O.

A frame is a type (8 bits), a call number (24 bits), a length (32 bits), all big-endian, and
that many bytes of payload. ``shim/frame.c`` is the twin of this module; both are held to
``tests/data/frames.json``.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

MAX_PAYLOAD = 64 * 1024
"""The most bytes a frame carries, a call apart."""

MAX_CALL = 16 * 1024 * 1024
"""The most bytes a call carries: the kernel's own limit on arguments, and room for more."""

BEHIND = 16
"""Beside the streams that are a terminal: the caller is in the background of its own."""

LOOKS = 32
"""Beside them: the tool's stderr is to say what is wrong with the workspace."""

_STREAMS = (*range(8), *range(BEHIND + 1, BEHIND + 8))
_TERMINALS = frozenset({*_STREAMS, *(streams | LOOKS for streams in _STREAMS)})
_HEADER = struct.Struct(">II")
_CALL_HEAD = struct.Struct(">HHBII")
_TERMINAL = 4
_JOINED = 8
_EXIT = struct.Struct(">BB")
_FAILED = struct.Struct(">BI")
_WINDOW = struct.Struct(">HH")
_CREDIT = struct.Struct(">BI")


CREDIT = 256 * 1024
"""How many bytes of a stream may be sent before its receiver has said anything."""


class FrameError(AifoError):
    """Bytes that are no frame, or values that fit none."""

    def __init__(self, problem: str) -> None:
        super().__init__("tool call", problem)


class Type(enum.IntEnum):
    """What a frame says; from HELLO on only on init's own socket and on the relay.

    CLOSED, on the relay alone: of one stream (its number is the payload), its receiver has left;
    of none, the call has ended or its caller has left.
    """

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    EXIT = 3
    SIGNAL = 4
    WINDOW = 5
    NOTICE = 6
    STDIN_CLOSED = 7
    CREDIT = 8
    FOREGROUND = 9
    HELLO = 16
    CALL = 17
    WELCOME = 18
    STARTED = 19
    FAILED = 20
    ECHO = 21
    CLOSED = 22
    READY = 23


_TYPES = {int(kind): kind for kind in Type}
_LAST = frozenset({Type.EXIT, Type.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame; ``call`` is 0 except where several calls share a connection."""

    type: Type
    payload: bytes = b""
    call: int = 0

    @property
    def is_last(self) -> bool:
        """True when a relay says nothing more of this call."""
        return self.type in _LAST or (self.type is Type.CLOSED and not self.payload)

    def encode(self) -> bytes:
        """The frame's bytes; FrameError when the payload or the call number is too large."""
        if len(self.payload) > _limit(self.type):
            raise FrameError(f"a frame cannot carry {len(self.payload)} bytes")
        if not 0 <= self.call < 1 << 24:
            raise FrameError(f"{self.call} is no call number")
        return _HEADER.pack(self.type << 24 | self.call, len(self.payload)) + self.payload


def carrying(kind: Type, data: memoryview) -> list[bytes | memoryview]:
    """The parts of the frames of this type that carry ``data``, as much in each as it takes."""
    parts: list[bytes | memoryview] = []
    while data:
        payload, data = data[:MAX_PAYLOAD], data[MAX_PAYLOAD:]
        parts += (_HEADER.pack(kind << 24, len(payload)), payload)
    return parts


class Decoder:
    """Takes bytes as they come and gives the frames that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames completed by ``data``; FrameError when they cannot be frames."""
        self._buffer += data
        position = 0
        try:
            while (frame := self._at(position)) is not None:
                position += _HEADER.size + len(frame.payload)
                yield frame
        finally:
            del self._buffer[:position]

    def _at(self, position: int) -> Frame | None:
        """The frame that begins there; None when it is not complete."""
        if len(self._buffer) < position + _HEADER.size:
            return None
        word, length = _HEADER.unpack_from(self._buffer, position)
        number = word >> 24
        kind = _TYPES.get(number)
        if kind is None:
            raise FrameError(f"{number} is no frame type")
        if length > _limit(kind):
            raise FrameError(f"a frame cannot carry {length} bytes")
        start = position + _HEADER.size
        if len(self._buffer) < start + length:
            return None
        with memoryview(self._buffer) as whole:
            payload = bytes(whole[start : start + length])
        return Frame(type=kind, payload=payload, call=word & 0xFFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What init is asked to start.

    ``terminal`` has bit n set when stream n is a terminal and becomes the slave of a
    pseudo-terminal of ``rows`` by ``columns``; the other streams go along as descriptors.
    BEHIND is added when the caller is in the background of its own, LOOKS for a call that asks
    for it.
    """

    argv: tuple[bytes, ...]
    cwd: bytes
    environment: tuple[tuple[bytes, bytes], ...] = ()
    rows: int = 0
    columns: int = 0
    terminal: int = 0

    def encode(self) -> bytes:
        """The payload; FrameError for what init would refuse."""
        if not self.argv:
            raise FrameError("there is no program to run")
        if not self.cwd.startswith(b"/"):
            raise FrameError("the working directory is not an absolute path")
        if self.terminal not in _TERMINALS:
            raise FrameError(f"{self.terminal} is no set of streams")
        if not (0 <= self.rows < 1 << 16 and 0 <= self.columns < 1 << 16):
            raise FrameError(f"{self.rows} by {self.columns} is no window size")
        if any(not name or b"=" in name for name, _ in self.environment):
            raise FrameError("an environment variable has no name, or '=' in it")
        strings = [self.cwd, *self.argv, *(b"%b=%b" % pair for pair in self.environment), b""]
        head = _CALL_HEAD.pack(
            self.rows, self.columns, self.terminal, len(self.argv), len(self.environment)
        )
        payload = head + b"\0".join(strings)
        if payload.count(b"\0", len(head)) != len(strings) - 1:
            raise FrameError("an argument, a variable or a path contains a NUL byte")
        if len(payload) > MAX_CALL:
            raise FrameError("arguments and environment are too large")
        return payload

    @classmethod
    def decode(cls, payload: bytes) -> Call:
        """The call in a payload; FrameError for what init refuses."""
        if len(payload) < _CALL_HEAD.size or payload[-1:] != b"\0":
            raise FrameError("a call is cut off")
        rows, columns, terminal, argc, envc = _CALL_HEAD.unpack_from(payload)
        cwd, *strings = payload[_CALL_HEAD.size : -1].split(b"\0")
        if argc == 0 or len(strings) != argc + envc or terminal not in _TERMINALS:
            raise FrameError("a call's counts do not match its strings")
        if not cwd.startswith(b"/"):
            raise FrameError("the working directory is not an absolute path")
        pairs = [string.partition(b"=") for string in strings[argc:]]
        if any(not name or not equals for name, equals, _ in pairs):
            raise FrameError("an environment variable has no name")
        return cls(
            argv=tuple(strings[:argc]), cwd=cwd,
            environment=tuple((name, value) for name, _, value in pairs),
            rows=rows, columns=columns, terminal=terminal,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Init's answer to a greeting: the sidecar's spec digest, and the stamp as it is now.

    An empty stamp: none, or nothing that init would read.
    """

    spec: str
    stamp: bytes

    def encode(self) -> bytes:
        return self.spec.encode("ascii") + b"\0" + self.stamp

    @classmethod
    def decode(cls, payload: bytes) -> Welcome:
        spec, nul, stamp = payload.partition(b"\0")
        if not nul or not spec.isascii():
            raise FrameError("a welcome has no spec digest")
        return cls(spec=spec.decode("ascii"), stamp=stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a call ended: by itself with ``value``, or killed by signal ``value``."""

    signalled: bool
    value: int

    @property
    def status(self) -> int:
        """As a shell shows it: 128 + n for signal n."""
        return 128 + self.value if self.signalled else self.value

    def encode(self) -> bytes:
        return _EXIT.pack(self.signalled, self.value)

    @classmethod
    def decode(cls, payload: bytes) -> Exit:
        if len(payload) != _EXIT.size or payload[0] > 1:
            raise FrameError("an exit frame is not two bytes")
        return cls(signalled=payload[0] == 1, value=payload[1])


class Stage(enum.IntEnum):
    """Where a call failed that was not started."""

    EXEC = 0
    CHDIR = 1
    DESCRIPTORS = 2
    MALFORMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A call that was not started: where, and the kernel's error number."""

    stage: Stage
    errno: int

    def encode(self) -> bytes:
        return _FAILED.pack(self.stage, self.errno)

    @classmethod
    def decode(cls, payload: bytes) -> Failed:
        if len(payload) != _FAILED.size or payload[0] > max(Stage):
            raise FrameError("a failure frame is not a stage and an error number")
        stage, number = _FAILED.unpack(payload)
        return cls(stage=Stage(stage), errno=number)


def signal_frame(number: int) -> bytes:
    """A frame that asks for a signal to the tool's process group."""
    return Frame(type=Type.SIGNAL, payload=bytes([number])).encode()


def window_frame(rows: int, columns: int) -> bytes:
    """A frame that sets the size of the tool's terminal."""
    return Frame(type=Type.WINDOW, payload=_WINDOW.pack(rows, columns)).encode()


def foreground_frame(*, front: bool) -> bytes:
    """A frame that says whether the caller is in the foreground of its own terminal."""
    return Frame(type=Type.FOREGROUND, payload=bytes([front])).encode()


def terminal_of(call: bytes) -> int:
    """The streams that become a terminal, from a call's payload; 0 from one that is none."""
    return call[_TERMINAL] & 7 if len(call) > _CALL_HEAD.size else 0


def joined(call: bytes) -> bytes:
    """A call's payload as it says to a relay that stream 2 is where stream 1 goes."""
    head = bytearray(call[: _TERMINAL + 1])
    head[_TERMINAL] |= _JOINED
    return bytes(head) + call[_TERMINAL + 1 :]


def credit(stream: int, count: int) -> bytes:
    """The payload that lets a stream's sender go on with so many bytes."""
    return _CREDIT.pack(stream, count)


def credited(payload: bytes) -> tuple[int, int]:
    """The stream whose sender may go on, and with how many bytes; FrameError."""
    if len(payload) != _CREDIT.size:
        raise FrameError("a credit frame is not a stream and a number of bytes")
    stream, count = _CREDIT.unpack(payload)
    return stream, count


def _limit(kind: Type) -> int:
    return MAX_CALL if kind is Type.CALL else MAX_PAYLOAD
