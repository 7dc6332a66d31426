"""The proxy's side of a call in a sidecar: start it through init, follow it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Self

from aifo_tasks.errors import AifoError, SidecarLostError
from aifo_tasks.toolexec import frames, launcher
from aifo_tasks.toolexec.frames import Decoder, Exit, Failed, Frame, FrameError, Type
from aifo_tasks.toolexec.launcher import Peer, UnreachableError
from aifo_tasks.toolexec.waiting import readable, writable

_BUSY_PAUSE = 0.02


class NotStartedError(AifoError):
    """Init could not start the program; ``failed`` says where and why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__("tool call", os.strerror(failed.errno).lower())
        self.failed = failed


class Tool:
    """A tool that runs in a sidecar. ``ended`` gives how it ended, None when its end was lost.

    ``master`` is the descriptor of its terminal, -1 without one; whoever takes it sets that.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self.master = -1
        self.stopping = False
        self.ended: asyncio.Task[Exit | None]

    @classmethod
    async def start(cls, peer: Peer, call: frames.Call, descriptors: Sequence[int]) -> Self:
        """Start a call on these descriptors, which stay the caller's.

        Raises UnreachableError when nobody we know is there, NotStartedError when the program
        does not start, SidecarLostError when the connection ends before that is known.
        """
        tool = cls(await _connected(peer))
        try:
            data = Frame(type=Type.CALL, payload=call.encode()).encode()
            await tool._send_call(data, descriptors)
            answer = await tool._next()
            if answer is None:
                raise SidecarLostError("sidecar", "ended before the call began")
            if answer.type is Type.FAILED:
                raise NotStartedError(Failed.decode(answer.payload))
        except BaseException:
            tool.close()
            raise
        tool.ended = asyncio.create_task(tool._end())
        return tool

    def signal(self, number: int) -> None:
        """Send a signal to the tool's process group."""
        self._tell(frames.signal_frame(number))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the tool's terminal."""
        self._tell(frames.window_frame(rows, columns))

    def stop(self) -> None:
        """Have init stop the call and everything below it; ``ended`` is there after that."""
        self.stopping = True
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the call, which stops it if it still runs."""
        if hasattr(self, "ended"):
            self.ended.cancel()
        self._link.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    async def _send_call(self, data: bytes, descriptors: Sequence[int]) -> None:
        left = memoryview(data)
        while left:
            try:
                if descriptors:
                    sent = socket.send_fds(self._link, [left], list(descriptors))
                else:
                    sent = self._link.send(left)
            except BlockingIOError:
                await writable(self._link.fileno())
                continue
            except ConnectionError:  # what was answered before tells more
                return
            descriptors = ()
            left = left[sent:]

    async def _end(self) -> Exit | None:
        while frame := await self._next():
            if frame.type is Type.EXIT:
                return Exit.decode(frame.payload)
        return None

    async def _next(self) -> Frame | None:
        while not self._frames:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._link, 4096, 1, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await readable(self._link.fileno())
                continue
            except OSError:
                return None
            self._keep(descriptors)
            if not data:
                return None
            try:
                self._frames += self._decoder.feed(data)
            except FrameError:
                return None
        return self._frames.pop(0)

    def _keep(self, descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            if self.master < 0 and os.isatty(descriptor):
                self.master = descriptor
            else:
                os.close(descriptor)

    def _tell(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # init reads at once, unless it is gone
            self._link.send(data)


async def _connected(peer: Peer) -> socket.socket:
    """A connection to init; when many come at once its queue is full for a moment."""
    while True:
        try:
            return launcher.connect(peer, blocking=False)
        except UnreachableError as error:
            if error.reason != "busy":
                raise
        await asyncio.sleep(_BUSY_PAUSE)
