"""The doit process's own way to a sidecar's init: find it, greet it, run a call there."""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import select
import signal
import socket
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal, Protocol

from aifo_tasks.errors import AifoError, SidecarLostError
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.forwarding import Signals
from aifo_tasks.toolexec.frames import Decoder, Exit, Failed, Frame, Stage, Type, Welcome
from aifo_tasks.toolexec.job import Job
from aifo_tasks.toolexec.streams import CaptureStreams, OwnStreams, Streams
from aifo_tasks.value import dataclass

PATIENCE = 5.0
"""Seconds in which an init that runs answers a greeting."""


_Connection = socket.socket  # where a field has the module's name


class UnreachableError(AifoError):
    """Nobody we know listens there; ``reason`` is absent, impostor when somebody else does,
    busy when too many wait to be let in."""

    def __init__(
        self,
        subject: str,
        problem: str,
        *,
        reason: Literal["absent", "impostor", "busy"] = "absent",
    ) -> None:
        super().__init__(subject, problem)
        self.reason = reason


class Way(Protocol):
    """How a sidecar's init is reached.

    Where a way ``stays``, calls may follow one another on a connection.
    """

    @property
    def stays(self) -> bool: ...

    def connect(self, *, blocking: bool = True) -> socket.socket:
        """A connection to exactly this init; UnreachableError otherwise.

        Without ``blocking`` nothing waits: what would is said with the reason busy.
        """
        ...

    def place(self) -> object:
        """Something else once calls belong to whoever comes in this init's place."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A sidecar's init as it was recorded when the sidecar started, outside its reach: a ``Way``.

    ``pid`` is its process on the host, ``start_time`` that process's, in clock ticks.
    """

    socket: Path
    pid: int
    start_time: int

    @property
    def stays(self) -> bool:
        return True

    def connect(self, *, blocking: bool = True) -> _Connection:
        return connect(self, blocking=blocking)

    def place(self) -> object:
        """Which file its socket is; None when that is gone: then it leaves."""
        try:
            status = os.stat(self.socket, follow_symlinks=False)
        except OSError:
            return None
        return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A program, its arguments, an absolute working directory and added environment.

    Text is encoded as the file system's names are; every byte but NUL passes. One that ``looks``
    says on its stderr what is wrong with the workspace.
    """

    argv: Sequence[str | bytes]
    cwd: str | bytes
    environment: Mapping[str, str] = field(default_factory=dict)
    looks: bool = False

    @property
    def tool(self) -> str:
        """The program's name, for messages."""
        return os.fsdecode(self.argv[0]) if self.argv else "tool call"


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; UnreachableError when it is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
    except OSError:
        raise UnreachableError(f"process {pid}", "is not running") from None
    return int(text[text.rindex(b")") + 2 :].split()[19])  # the name may hold anything


def connect(peer: Peer, *, blocking: bool = True) -> socket.socket:
    """A connection to exactly this init; UnreachableError otherwise, nothing being sent.

    Tools can replace files beside the socket, so neither a link nor a stranger is trusted.
    Without ``blocking`` nothing on the connection waits, making it included.
    """
    name = str(peer.socket)
    try:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        scarce = error.errno in {errno.EMFILE, errno.ENFILE}
        problem = os.strerror(error.errno or 0).lower()
        raise UnreachableError(name, problem, reason="busy" if scarce else "absent") from None
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise UnreachableError(name, "is not a socket", reason="impostor")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if not blocking:
            connection.settimeout(0)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}")
            _verify(connection, peer)
        except BaseException as error:
            connection.close()
            if isinstance(error, BlockingIOError):
                raise UnreachableError(name, "has no room for a call", reason="busy") from None
            if isinstance(error, OSError):
                problem = os.strerror(error.errno or 0).lower()
                raise UnreachableError(name, problem) from None
            raise
    finally:
        os.close(descriptor)
    return connection


def retire(peer: Peer) -> None:
    """Let this init end with its last call, taking no new one; nothing when it is gone."""
    try:
        descriptor = os.pidfd_open(peer.pid)
    except OSError:
        return
    try:
        if start_time(peer.pid) == peer.start_time:
            signal.pidfd_send_signal(descriptor, signal.SIGHUP)
    except (UnreachableError, OSError):
        return
    finally:
        os.close(descriptor)


def greet(connection: socket.socket) -> Welcome:
    """Ask for the spec digest and the stamp; UnreachableError when no answer comes.

    AifoError when init is there and cannot serve.
    """
    connection.settimeout(PATIENCE)
    with contextlib.suppress(OSError):  # what was answered before tells more
        connection.sendall(Frame(type=Type.HELLO).encode())
    try:
        answer = _Link(connection).receive()
    except TimeoutError:
        problem = f"does not answer within {PATIENCE:g} s"
        raise UnreachableError("sidecar", problem, reason="busy") from None
    if answer is None:
        raise UnreachableError("sidecar", "ended before it answered")
    connection.settimeout(None)
    if answer.type is Type.FAILED:
        number = Failed.decode(answer.payload).errno
        raise AifoError("sidecar", f"takes no call: {os.strerror(number).lower()}")
    if answer.type is not Type.WELCOME:
        raise UnreachableError("sidecar", "answers in another language", reason="impostor")
    return Welcome.decode(answer.payload)


def attach(connection: socket.socket, call: Call) -> int:
    """Run a call on this process's own standard streams and signals; returns its status.

    128 + n when signal n ended it, 126 or 127 (with a sentence on stderr) when it could not
    be started. The connection is closed on every path. Raises SidecarLostError when it ends
    before the tool does, AifoError for streams a tool may not have.
    """
    with connection, Signals() as signals, OwnStreams() as streams:
        return _run(_Link(connection), call, streams, signals)


def capture(
    connection: socket.socket,
    call: Call,
    *,
    stdin: int | None = None,
    on_output: Callable[[bytes], None],
) -> int:
    """Run a call with both outputs joined and handed over as they come; returns its status.

    ``stdin`` is a descriptor that stays the caller's, None an empty input. An exception on
    the way closes the connection, whereupon init stops the call. Otherwise as ``attach``.
    """
    with connection, CaptureStreams(stdin, on_output) as streams:
        return _run(_Link(connection), call, streams, None)


_RECEIVED = 8192
"""Bytes taken at once: what init says is short, but for a welcome with a long stamp."""


class _Link:
    """A connection, the frames that came over it and the descriptors that came along."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._decoder = Decoder()
        self._frames: collections.deque[Frame] = collections.deque()
        self.descriptors: list[int] = []

    @property
    def waiting(self) -> bool:
        """True when a frame is here already."""
        return bool(self._frames)

    def receive(self) -> Frame | None:
        """The next frame, None when the connection ends first."""
        while not self._frames:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self.connection, _RECEIVED, 1, socket.MSG_CMSG_CLOEXEC
                )
            except ConnectionError:
                return None
            self.descriptors += descriptors
            if not data:
                return None
            self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    def send(self, data: bytes) -> None:
        """Send what needs no answer; that the connection has ended shows when it is read."""
        with contextlib.suppress(ConnectionError):
            self.connection.sendall(data)


def _verify(connection: socket.socket, peer: Peer) -> None:
    """Nothing is sent before this: the listener is the process recorded, and still that."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = int.from_bytes(credentials[:4], sys.byteorder)
    if pid != peer.pid or start_time(pid) != peer.start_time:
        problem = f"process {pid} listens there, not the sidecar's init ({peer.pid})"
        raise UnreachableError(str(peer.socket), problem, reason="impostor")


def _run(link: _Link, call: Call, streams: Streams, signals: Signals | None) -> int:
    """Start a call on these streams and stay with it to its end."""
    _send_call(link, call, streams)
    answer = link.receive()
    if answer is None:
        raise _lost(call)
    if answer.type is Type.FAILED:
        return _explain(Failed.decode(answer.payload), call, streams)
    streams.started(link.descriptors.pop() if link.descriptors else None)
    end = _follow(link, streams, signals)
    if end is None:
        raise _lost(call)
    streams.drain()
    return end.status


def _send_call(link: _Link, call: Call, streams: Streams) -> None:
    rows, columns = streams.window
    payload = frames.Call(
        argv=tuple(os.fsencode(argument) for argument in call.argv),
        cwd=os.fsencode(call.cwd),
        environment=tuple(
            (os.fsencode(name), os.fsencode(value)) for name, value in call.environment.items()
        ),
        rows=rows,
        columns=columns,
        terminal=streams.terminal | (frames.LOOKS if call.looks else 0),
    ).encode()
    data = Frame(type=Type.CALL, payload=payload).encode()
    with contextlib.suppress(ConnectionError):  # what was answered before tells more
        if streams.passed:
            sent = socket.send_fds(link.connection, [data], streams.passed)
            data = data[sent:]
        link.connection.sendall(data)
    streams.sent()


def _follow(link: _Link, streams: Streams, signals: Signals | None) -> Exit | None:
    """Relay streams and signals until the call's end comes; None when the link ends first."""
    connection = link.connection.fileno()
    job = Job(link.send, streams, signals) if signals is not None else None
    listening = signals.descriptor if signals is not None else -1
    while True:
        if job is not None:
            job.look()
        if not link.waiting:
            wanted = streams.wanted() | {connection: select.POLLIN}
            if listening >= 0:
                wanted[listening] = select.POLLIN
            ready = _poll(wanted, streams.pause)
            streams.relay(ready)
            if job is not None and listening in ready:
                job.pass_on()
            if connection not in ready:
                continue
        frame = link.receive()
        if frame is None:
            return None
        if frame.type is Type.EXIT:
            return Exit.decode(frame.payload)
        if frame.type is Type.SIGNAL and job is not None:
            job.stopped(frame.payload[0])


def _poll(wanted: Mapping[int, int], pause: int | None) -> frozenset[int]:
    """The descriptors that are ready, or have ended, within ``pause`` milliseconds."""
    poller = select.poll()
    for descriptor, events in wanted.items():
        poller.register(descriptor, events)
    return frozenset(descriptor for descriptor, _ in poller.poll(pause))


def _explain(failed: Failed, call: Call, streams: Streams) -> int:
    """Say on the call's stderr why it was not started; returns the status a shell gives."""
    reason = os.strerror(failed.errno).lower()
    if failed.stage in {Stage.MALFORMED, Stage.DESCRIPTORS}:
        raise AifoError(call.tool, f"was refused by the sidecar: {reason}")
    if failed.stage is Stage.CHDIR:
        reason = f"cannot change to {os.fsdecode(call.cwd)}: {reason}"
    elif failed.errno == errno.ENOENT:
        reason = "not found"
    streams.complain(os.fsencode(f"{call.tool}: {reason}\n"))
    missing = failed.stage is Stage.EXEC and failed.errno == errno.ENOENT
    return 127 if missing else 126


def _lost(call: Call) -> SidecarLostError:
    return SidecarLostError(call.tool, "the sidecar ended before the call did")
