"""One connection to init through a relay: the caller's socket and streams here, frames there."""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import threading
import tty
from collections.abc import Callable, Sequence

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.ends import Source, Target
from aifo_tasks.toolexec.frames import CREDIT, MAX_PAYLOAD, Decoder, Failed, Frame, Stage, Type

_RECEIVED = 64 * 1024
_CREDIT_STEP = CREDIT // 4
_OUTPUTS = {Type.STDOUT: 1, Type.STDERR: 2}
_REFUSAL = Failed(stage=Stage.DESCRIPTORS, errno=errno.EBADF).encode()


class Relayed(threading.Thread):
    """Speaks as init would on ``caller``, with what the relay says in frames.

    A thread of its own, because nobody knows what the caller's descriptors are: one that takes
    its time keeps only its own call waiting. ``left`` is called at the end, with whether the
    relay has said its last.
    """

    def __init__(
        self,
        caller: socket.socket,
        send: Callable[[Type, bytes], None],
        left: Callable[[bool], None],
    ) -> None:
        super().__init__(daemon=True)
        self._caller = caller
        self._send = send
        self._left = left
        self._heard: collections.deque[Frame] = collections.deque()
        self._news, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._decoder = Decoder()
        self._given: list[int] = []
        self._master = -1
        self._source: Source | None = None
        self._targets: dict[int, Target] = {}
        self._owed: collections.Counter[int] = collections.Counter()
        self._credit = 0  # none before the tool has started: what it never reads stays the caller's
        self._is_known = False  # to the relay
        self._listening = True
        self._gone = False
        self._last: Frame | None = None

    def hear(self, frame: Frame) -> None:
        """Take a frame of the relay's; not to be called after ``left``."""
        self._heard.append(frame)
        with contextlib.suppress(BlockingIOError):
            os.write(self._bell, b"!")

    def run(self) -> None:
        """Stay with the connection to its end."""
        try:
            while not self._gone:
                self._step()
                self._end_if_said()
        finally:
            self._left(self._last is not None or not self._is_known)
            self._close()

    def _step(self) -> None:
        """Move whatever is ready."""
        caller, source, targets = self._caller.fileno(), self._source, [*self._targets.items()]
        wanted = {self._news: select.POLLIN, caller: select.POLLIN if self._listening else 0}
        if source is not None and self._credit > 0:
            wanted[source.descriptor] = select.POLLIN
        for _, target in targets:  # whether anybody is left there is told unasked
            wanted[target.descriptor] = 0 if target.is_empty else select.POLLOUT
        ready = _poll(wanted)
        if self._news in ready:
            self._obey()
        if caller in ready:
            self._listen(ready[caller])
        if source is not None and source is self._source and source.descriptor in ready:
            self._read(source)
        for n, target in targets:
            if target is self._targets.get(n) and target.descriptor in ready:
                self._write(n, target)

    # the caller

    def _listen(self, events: int) -> None:
        data = b""
        if self._listening:
            with contextlib.suppress(ConnectionError):
                data, given, _, _ = socket.recv_fds(
                    self._caller, _RECEIVED, 3, socket.MSG_CMSG_CLOEXEC
                )
                self._given += given
        for frame in self._decoder.feed(data):
            if frame.type is Type.CALL:
                self._begin(frame.payload)
            else:
                self._say(frame.type, frame.payload)
        if not data:
            self._leave(for_good=bool(events & (select.POLLHUP | select.POLLERR)))

    def _leave(self, *, for_good: bool) -> None:
        """The caller says no more: its call is stopped. What the tool says still reaches its
        streams unless the caller is gone altogether."""
        self._listening = False
        self._gone = for_good or not self._is_known
        if self._gone:
            for n in self._targets:
                self._say(Type.CLOSED, bytes([n]))
        if self._is_known:
            self._say(Type.CLOSED)

    def _begin(self, call: bytes) -> None:
        terminal = frames.terminal_of(call)
        wanted = [n for n in range(3) if not terminal >> n & 1]
        if len(self._given) != len(wanted) or not all(map(_is_stream, self._given)):
            self._tell(Frame(type=Type.FAILED, payload=_REFUSAL))
            self._leave(for_good=True)
            return
        given = dict(zip(wanted, self._given, strict=True))
        self._given = []
        if 1 in given and 2 in given and os.path.sameopenfile(given[1], given[2]):
            call = frames.joined(call)
            os.close(given.pop(2))
        for n, descriptor in given.items():
            if n == 0:
                self._source = Source(descriptor)
            else:
                self._targets[n] = Target(descriptor)
        if terminal:
            self._open_terminal(terminal)
        self._say(Type.CALL, call)

    def _open_terminal(self, terminal: int) -> None:
        """A pseudo-terminal that changes nothing: the tool's own is in the sidecar."""
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(slave, False)  # the function's only form
        shown = 2 if terminal & 6 == 4 else 1
        if shown not in self._targets:
            self._targets[shown] = Target(os.dup(slave))
        if terminal & 1:
            self._source = Source(slave)
        else:
            os.close(slave)

    def _tell(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        data = Frame(type=frame.type, payload=frame.payload).encode()
        with contextlib.suppress(OSError):
            socket.send_fds(self._caller, [data], descriptors)

    # the relay

    def _say(self, kind: Type, payload: bytes = b"") -> None:
        if self._last is None:
            self._is_known = True
            self._send(kind, payload)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._news, 4096)
        while self._heard:
            self._take(self._heard.popleft())

    def _take(self, frame: Frame) -> None:
        if frame.type in _OUTPUTS:
            self._take_output(_OUTPUTS[frame.type], frame.payload)
        elif frame.type is Type.CREDIT:
            self._credit += frames.credited(frame.payload)[1]
        elif frame.type is Type.STARTED:
            self._start(frame)
        elif frame.is_last:
            self._last = frame
            self._close_source()
        elif frame.type is Type.CLOSED:
            self._close_source()
        else:
            self._tell(frame)

    def _start(self, frame: Frame) -> None:
        self._credit = CREDIT
        self._tell(frame, [self._master] if self._master >= 0 else [])
        self._close_master()

    def _take_output(self, n: int, data: bytes) -> None:
        """An empty frame is the output's end."""
        target = self._targets.get(n)
        if target is None:
            return
        target.put(data)
        target.is_ended = not data
        if target.is_ended and target.is_empty:
            self._drop(n)

    def _end_if_said(self) -> None:
        """Hand on the relay's last word when everything before it has gone."""
        if self._last is None or not all(target.is_empty for target in self._targets.values()):
            return
        for n in tuple(self._targets):
            self._drop(n)
        if self._last.type is not Type.CLOSED:
            self._tell(self._last)
        self._gone = True

    # the streams

    def _read(self, source: Source) -> None:
        data = source.read(min(MAX_PAYLOAD, self._credit))
        if data is None:
            return
        self._credit -= len(data)
        self._say(Type.STDIN if data else Type.STDIN_CLOSED, data)
        if not data:
            self._close_source()

    def _write(self, n: int, target: Target) -> None:
        try:
            written = target.write()
        except OSError:
            self._say(Type.CLOSED, bytes([n]))
            self._drop(n)
            return
        self._owed[n] += written
        if self._owed[n] >= _CREDIT_STEP:
            self._say(Type.CREDIT, frames.credit(n, self._owed.pop(n)))
        if target.is_ended and target.is_empty:
            self._drop(n)

    def _drop(self, n: int) -> None:
        self._targets.pop(n).close()

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None

    def _close_master(self) -> None:
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    def _close(self) -> None:
        self._close_source()
        self._close_master()
        for n in tuple(self._targets):
            self._drop(n)
        for descriptor in (*self._given, self._news, self._bell):
            os.close(descriptor)
        self._caller.close()


def _poll(wanted: dict[int, int]) -> dict[int, int]:
    """The descriptors that are ready, and for what."""
    poller = select.poll()
    for descriptor, events in wanted.items():
        poller.register(descriptor, events)
    return dict(poller.poll())


def _is_stream(descriptor: int) -> bool:
    """What init would let a tool have: no directory, no mere path, no terminal."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & getattr(os, "O_PATH", 0):
        return False
    return not stat.S_ISDIR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor)
