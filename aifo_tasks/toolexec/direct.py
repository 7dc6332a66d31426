"""Calls straight to a sidecar's init: a connection each, one of them made before it is needed."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence

from aifo_tasks.errors import SidecarLostError
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Decoder, Exit, Failed, Frame, FrameError, Type
from aifo_tasks.toolexec.launcher import UnreachableError, Way
from aifo_tasks.toolexec.upstream import NotStartedError
from aifo_tasks.toolexec.waiting import writable

_BUSY_PAUSE = 0.02
_RECEIVED = 8192
_ONE_DESCRIPTOR = socket.CMSG_SPACE(array.array("i").itemsize)
_HELLO = Frame(type=Type.HELLO).encode()


class Direct:
    """An ``Upstream`` whose calls are connections to init, whichever way they are made.

    Making a connection and seeing who answers there takes longer than using it, so one that
    has been greeted waits for the next call. It also keeps init from ending for idleness.
    """

    def __init__(self, way: Way, greeted: socket.socket | None = None) -> None:
        self._way = way
        self._place: object = None
        self._spare: socket.socket | None = None
        self._closed = False
        if greeted is not None:
            greeted.settimeout(0)
            self._keep(greeted)

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
        finally:  # while the tool runs
            asyncio.get_running_loop().call_soon(self._make_spare)
        return tool

    def close(self) -> None:
        """Let go of the sidecar; calls that run there go on."""
        self._closed = True
        self._drop_spare()

    async def _asked(self, data: bytes, descriptors: Sequence[int]) -> DirectTool:
        """A connection on which the call has been sent, made now when none waited or lived."""
        if (spare := self._take_spare()) is not None:
            tool = DirectTool(spare)
            if await tool.ask(data, descriptors):
                return tool
        tool = DirectTool(await self._connected())
        await tool.ask(data, descriptors)
        return tool

    async def _connected(self) -> socket.socket:
        """A connection to init; when many come at once its queue is full for a moment."""
        while True:
            try:
                return self._way.connect(blocking=False)
            except UnreachableError as error:
                if error.reason != "busy":
                    raise
            await asyncio.sleep(_BUSY_PAUSE)

    def _take_spare(self) -> socket.socket | None:
        """The connection that waits, unless init has taken its socket away: then it leaves,
        and calls belong to whoever comes in its place."""
        if self._place != self._way.place():
            self._drop_spare()
        spare, self._spare = self._spare, None
        return spare

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _make_spare(self) -> None:
        if self._spare is not None or self._closed:
            return
        with contextlib.suppress(UnreachableError):
            spare = self._way.connect(blocking=False)
            with contextlib.suppress(OSError):  # shows when it is used
                spare.send(_HELLO)
            self._keep(spare)

    def _keep(self, spare: socket.socket) -> None:
        self._spare = spare
        self._place = self._way.place()


class DirectTool:
    """A tool on the other side of a connection to init; see ``Tool``."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._decoder = Decoder()
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Frame | None] = self._loop.create_future()
        self.ended = asyncio.Event()
        self.end: Exit | None = None
        self.master = -1
        self._stopped_by = 0
        self._on_stop: Callable[[int], None] | None = None

    async def ask(self, data: bytes, descriptors: Sequence[int]) -> bool:
        """Send a call and listen; ``answer`` is there when init has spoken, None when it ends.

        False, and closed, when the connection had ended before anything of it was sent.
        """
        left = memoryview(data)
        try:
            while left:
                try:
                    sent = _send(self._link, left, descriptors)
                except BlockingIOError:
                    await writable(self._link.fileno())
                    continue
                descriptors = ()
                left = left[sent:]
        except ConnectionError:
            if len(left) == len(data):
                self.close()
                return False
        except BaseException:
            self.close()
            raise
        self._loop.add_reader(self._link.fileno(), self._read)  # it may have answered all the same
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the tool's process group."""
        self._tell(frames.signal_frame(number))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the tool's terminal."""
        self._tell(frames.window_frame(rows, columns))

    def foreground(self, *, front: bool) -> None:
        """Say whether the client is in the foreground of its terminal."""
        self._tell(frames.foreground_frame(front=front))

    def on_stop(self, tell: Callable[[int], None]) -> None:
        """Call ``tell`` with the signal whenever one has stopped the tool, or had before."""
        self._on_stop = tell
        if self._stopped_by:
            tell(self._stopped_by)

    def stop(self) -> None:
        """Have init stop the call and everything below it; ``ended`` is set after that."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the call, which stops it if it still runs; its terminal goes too."""
        self._over()
        self._link.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def _read(self) -> None:
        try:
            data, control, _, _ = self._link.recvmsg(
                _RECEIVED, _ONE_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, control = b"", []
        self._keep_terminal(control)
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except FrameError:
            data = b""
        if not data:
            self._over()

    def _take(self, frame: Frame) -> None:
        if frame.type is Type.EXIT:
            self.end = Exit.decode(frame.payload)
            self._over()
        elif frame.type is Type.SIGNAL and len(frame.payload) == 1:
            self._stopped_by = frame.payload[0]
            if self._on_stop is not None:
                self._on_stop(self._stopped_by)
        elif frame.type is not Type.WELCOME and not self.answer.done():
            self.answer.set_result(frame)

    def _over(self) -> None:
        """There is nothing more to hear."""
        if self._link.fileno() >= 0:
            self._loop.remove_reader(self._link.fileno())
        if not self.answer.done():
            self.answer.set_result(None)
        self.ended.set()

    def _keep_terminal(self, control: Sequence[tuple[int, int, bytes]]) -> None:
        for _, _, data in control:
            for descriptor in array.array("i", data):
                if self.master < 0 and os.isatty(descriptor):
                    self.master = descriptor
                else:
                    os.close(descriptor)

    def _tell(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # init reads at once, unless it is gone
            self._link.send(data)


def _send(link: socket.socket, data: memoryview, descriptors: Sequence[int]) -> int:
    if descriptors:
        return socket.send_fds(link, [data], list(descriptors))
    return link.send(data)
