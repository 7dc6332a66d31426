"""Calls straight to a sidecar's init, over connections that are there before they are needed."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from aifo_tasks.errors import SidecarLostError
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Decoder, Exit, Failed, Frame, FrameError, Type
from aifo_tasks.toolexec.launcher import UnreachableError, Way
from aifo_tasks.toolexec.upstream import NotStartedError
from aifo_tasks.toolexec.waiting import writable

_BUSY_PAUSE = 0.02
_RECEIVED = 8192
_ONE_DESCRIPTOR = socket.CMSG_SPACE(array.array("i").itemsize)
_READY = Frame(type=Type.READY).encode()
_HELLO = Frame(type=Type.HELLO).encode()
_MOST_WAITING = 4


class Direct:
    """An ``Upstream`` whose calls are connections to init, whichever way they are made.

    Making a connection and seeing who answers there takes longer than using it, so a
    connection waits for the next call, and comes back after it unless that has left processes
    behind. It also keeps init from ending for idleness.
    """

    def __init__(self, way: Way, greeted: socket.socket | None = None) -> None:
        if greeted is not None:
            greeted.settimeout(0)
        self._way = way
        self._place = way.place()
        self._greeted = greeted
        self._waiting: list[_Link] = []
        self._running = 0
        self._closed = False

    async def start(self, call: frames.Call, descriptors: Sequence[int]) -> DirectTool:
        """Start a call; see ``Upstream``."""
        data = Frame(type=Type.CALL, payload=call.encode()).encode()
        tool = await self._asked(data, descriptors)
        try:
            answer = await tool.answer
            if answer is None:
                raise SidecarLostError("sidecar", "ended before the call began")
            if answer.type is Type.FAILED:
                raise NotStartedError(Failed.decode(answer.payload))
        except BaseException:
            tool.close()
            raise
        return tool

    def close(self) -> None:
        """Let go of the sidecar; calls that run there go on."""
        self._closed = True
        self._drop()

    async def _asked(self, data: bytes, descriptors: Sequence[int]) -> DirectTool:
        """A tool whose call has been sent: over a connection that waited, if one lives."""
        while (link := self._take()) is not None:
            self._running += 1
            if (tool := await link.ask(data, descriptors)) is not None:
                return tool
        link = await self._connected()
        self._running += 1
        tool = await link.ask(data, descriptors)
        if tool is None:
            raise SidecarLostError("sidecar", "lets nobody in")
        return tool

    async def _connected(self) -> _Link:
        """A new connection; when many come at once init's queue is full for a moment."""
        while True:
            try:
                return self._link(self._way.connect(blocking=False))
            except UnreachableError as error:
                if error.reason != "busy":
                    raise
            await asyncio.sleep(_BUSY_PAUSE)

    def _take(self) -> _Link | None:
        """A connection that waits, unless init has taken its socket away: then it leaves, and
        calls belong to whoever comes in its place."""
        if (place := self._way.place()) != self._place:
            self._drop()
            self._place = place
        if self._greeted is not None:
            greeted, self._greeted = self._greeted, None
            return self._link(greeted)
        return self._waiting.pop() if self._waiting else None

    def _link(self, connection: socket.socket) -> _Link:
        return _Link(connection, self._over, _READY if self._way.stays else _HELLO)

    def _over(self, link: _Link, *, ready: bool) -> None:
        """A call is over. Some connections wait while others run, and one in any case."""
        self._running -= 1
        if ready:
            self._waiting.append(link)
        most = 0 if self._closed else _MOST_WAITING if self._running else 1
        while len(self._waiting) > most:
            self._waiting.pop(0).close()
        if most == 1 and not self._waiting:
            asyncio.get_running_loop().call_soon(self._make_one)

    def _make_one(self) -> None:
        if self._waiting or self._running or self._closed:
            return
        with contextlib.suppress(UnreachableError):
            self._waiting.append(self._link(self._way.connect(blocking=False)))
            self._place = self._way.place()

    def _drop(self) -> None:
        if self._greeted is not None:
            self._greeted.close()
            self._greeted = None
        while self._waiting:
            self._waiting.pop().close()


class _Over(Protocol):
    """Told that a link's call is over, and whether the link is ready for another."""

    def __call__(self, link: _Link, *, ready: bool) -> None: ...


class _Link:
    """A connection for a call, on which another may follow; it begins with ``words``."""

    def __init__(self, connection: socket.socket, over: _Over, words: bytes) -> None:
        self._connection = connection
        self._over = over
        self._decoder = Decoder()
        self._tool: DirectTool | None = None
        self._is_ended = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection.fileno(), self._read)
        self.send(words)

    async def ask(self, data: bytes, descriptors: Sequence[int]) -> DirectTool | None:
        """Send a call; None, and closed, when the connection ended before any of it was sent."""
        self._tool = tool = DirectTool(self)
        left = memoryview(data)
        try:
            while left:
                try:
                    sent = _send(self._connection, left, descriptors)
                except BlockingIOError:
                    await writable(self._connection.fileno())
                    continue
                descriptors = ()
                left = left[sent:]
        except OSError:  # what was answered before tells more
            if len(left) == len(data):
                self.close()
                return None
        except BaseException:
            self.close()
            raise
        return tool

    def send(self, data: bytes) -> None:
        """Send a little; init reads at once, unless it is gone."""
        with contextlib.suppress(OSError):
            self._connection.send(data)

    def end(self) -> None:
        """Say no more, which stops the call, and lets none follow."""
        self._is_ended = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection.fileno())
            self._connection.close()
        if self._tool is not None:
            self._tool.lose()
            self._tool = None
            self._over(self, ready=False)

    def _read(self) -> None:
        try:
            data, control, _, _ = self._connection.recvmsg(
                _RECEIVED, _ONE_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, control = b"", []
        for _, _, part in control:
            self._keep(array.array("i", part))
        try:
            for frame in self._decoder.feed(data):
                self._hear(frame)
        except FrameError:
            data = b""
        if not data:
            self.close()

    def _hear(self, frame: Frame) -> None:
        if self._tool is None:
            return
        if frame.type is Type.READY and self._is_ended:
            self.close()
        elif frame.type is Type.READY:
            self._tool.link = None
            self._tool = None
            self._over(self, ready=True)
        elif frame.type is not Type.WELCOME:
            self._tool.hear(frame)

    def _keep(self, descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            if self._tool is not None and self._tool.master < 0 and os.isatty(descriptor):
                self._tool.master = descriptor
            else:
                os.close(descriptor)


class DirectTool:
    """A tool on the other side of a connection to init; see ``Tool``.

    ``answer`` is there when init has spoken, None when nobody will. ``link`` is None once the
    connection is another call's.
    """

    def __init__(self, link: _Link) -> None:
        self.link: _Link | None = link
        self.answer: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.end: Exit | None = None
        self.master = -1
        self._stopped_by = 0
        self._on_stop: Callable[[int], None] | None = None

    def signal(self, number: int) -> None:
        """Send a signal to the tool's process group."""
        if self.link is not None:
            self.link.send(frames.signal_frame(number))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the tool's terminal."""
        if self.link is not None:
            self.link.send(frames.window_frame(rows, columns))

    def foreground(self, *, front: bool) -> None:
        """Say whether the client is in the foreground of its terminal."""
        if self.link is not None:
            self.link.send(frames.foreground_frame(front=front))

    def on_stop(self, tell: Callable[[int], None]) -> None:
        """Call ``tell`` with the signal whenever one has stopped the tool, or had before."""
        self._on_stop = tell
        if self._stopped_by:
            tell(self._stopped_by)

    def stop(self) -> None:
        """Have init stop the call and everything below it; ``ended`` is set after that."""
        if self.link is not None:
            self.link.end()

    def close(self) -> None:
        """Let go of the call, which stops it if it still runs; its terminal goes too."""
        if self.link is not None:
            self.link.close()
        self._on_stop = None
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def hear(self, frame: Frame) -> None:
        """What init says of this call."""
        if frame.type is Type.EXIT:
            self.end = Exit.decode(frame.payload)
            self.ended.set()
        elif frame.type is Type.SIGNAL and len(frame.payload) == 1:
            self._stopped_by = frame.payload[0]
            if self._on_stop is not None:
                self._on_stop(self._stopped_by)
        elif not self.answer.done():
            self.answer.set_result(frame)

    def lose(self) -> None:
        """Nothing more will be said."""
        self.link = None
        if not self.answer.done():
            self.answer.set_result(None)
        self.ended.set()


def _send(link: socket.socket, data: memoryview, descriptors: Sequence[int]) -> int:
    if descriptors:
        return socket.send_fds(link, [data], list(descriptors))
    return link.send(data)
