"""A client's connection: bytes and descriptors in, bytes out before a deadline, a gentle end."""

from __future__ import annotations

import array
import asyncio
import contextlib
import functools
import socket
import struct
import sys
from collections.abc import Callable, Sequence

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.passed import Passed
from aifo_tasks.toolexec.waiting import wake, writable

BLOCK = 64 * 1024
_MOST_DESCRIPTORS = 253
"""The kernel passes no more at once."""

_KEPT_DESCRIPTORS = 3
"""Of those, while nobody knows yet who sends them."""

_INT = array.array("i").itemsize
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 8 * 1024 * 1024
_UNSENT = 0x5411 if sys.platform == "linux" else 0x40047473  # TIOCOUTQ


class GoneError(AifoError):
    """The client ended the connection."""

    def __init__(self, problem: str = "is gone") -> None:
        super().__init__("client", problem)


class StalledError(GoneError):
    """The client took nothing for longer than it may."""

    def __init__(self) -> None:
        super().__init__("takes no output")


class Connection:
    """One client; ``deadline`` is how many seconds it may take nothing of what waits for it.

    ``descriptors`` are those that came with the first byte; whoever takes them empties it. A
    client that ``is_stopped`` together with its tool takes nothing for as long as it likes.
    """

    def __init__(self, client: socket.socket, *, deadline: float) -> None:
        client.settimeout(0)
        self._socket = client
        self._deadline = deadline
        self._is_unix = client.family == socket.AF_UNIX
        self._fresh = True
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._watched = False
        self._watcher: Callable[[], None] | None = None
        self.descriptors: list[int] = []
        self.is_stopped = False

    def take(self) -> bytes | None:
        """What has come, at most a block; None when nothing has, b"" at the connection's end.

        Raises RefusalError for descriptors that are too many to pass or come late.
        """
        try:
            if not (self._fresh and self._is_unix):
                return self._read(BLOCK)
            # the first byte by itself: what comes with it must not be what comes with a later one
            data = self._read(1)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        self._fresh = False
        with contextlib.suppress(OSError):  # shows again next time
            data += self._read(BLOCK)
        return data

    async def receive(self, seconds: float | None = None) -> bytes:
        """What comes within so many seconds, at least a byte; nothing at the connection's end.

        Raises TimeoutError, and RefusalError as ``take`` does.
        """
        while (data := self.take()) is None:
            ready = self._loop.create_future()
            self.watch(functools.partial(wake, ready))
            try:
                async with asyncio.timeout(seconds):
                    await ready
            finally:
                self.watch(None)
        if len(data) >= BLOCK:
            await asyncio.sleep(0)  # others have their turn
        return data

    def watch(self, watcher: Callable[[], None] | None) -> None:
        """Call this whenever there is something to take, until somebody else watches."""
        self._watcher = watcher
        if watcher is not None and not self._watched:
            self._loop.add_reader(self._socket.fileno(), self._readable)
            self._watched = True

    async def send(self, *parts: bytes | memoryview, descriptors: Sequence[int] = ()) -> None:
        """Send all the parts in order, ``descriptors`` with the first byte.

        Raises StalledError when nothing is taken before the deadline, GoneError.
        """
        await self._turn.acquire()
        try:
            while parts:
                try:
                    if descriptors:
                        sent = socket.send_fds(self._socket, parts, list(descriptors))
                    else:
                        sent = self._socket.sendmsg(parts)
                except BlockingIOError:
                    await self._taken()
                    continue
                except OSError:
                    raise GoneError from None
                descriptors = ()
                parts = _without(parts, sent)
        finally:
            self._turn.release()

    async def close(self, *, early: bool) -> None:
        """End it so that the client reads our last words, which are ``early`` when it may still
        be sending. Unlike TCP, a unix socket hands over what was sent after its end too.
        """
        if self._is_unix and not early:
            self.drop()
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._discard()
        except (OSError, TimeoutError, answers.RefusalError):
            pass
        finally:
            self.drop()

    def drop(self) -> None:
        """End it at once."""
        self._unwatch()
        self._socket.close()
        if self.descriptors:
            Passed(self.descriptors).close()
            self.descriptors = []

    async def _discard(self) -> None:
        left = _LINGER_BYTES
        while left > 0 and (data := await self.receive()):
            left -= len(data)

    def _readable(self) -> None:
        if self._watcher is not None:
            self._watcher()
        else:
            self._unwatch()  # only now: most who stop watching are followed by another

    def _unwatch(self) -> None:
        if self._watched:
            self._loop.remove_reader(self._socket.fileno())
        self._watched = False

    def _read(self, size: int) -> bytes:
        if not self._is_unix:
            return self._socket.recv(size)
        room = socket.CMSG_SPACE((_MOST_DESCRIPTORS if self._fresh else 1) * _INT)
        data, control, flags, _ = self._socket.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
        if control or flags & socket.MSG_CTRUNC:
            descriptors = [fd for _, _, part in control for fd in array.array("i", part)]
            are_many = len(descriptors) > _KEPT_DESCRIPTORS
            if flags & socket.MSG_CTRUNC or not self._fresh or are_many:
                Passed(descriptors).close()
                raise answers.bad("descriptors: exactly three come with the first byte")
            self.descriptors += descriptors
        return data

    async def _taken(self) -> None:
        """Until there is room again. A reader so slow that none shows for long is not stalled
        as long as it takes something."""
        unsent, since = self._unsent(), self._loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, self._deadline / 4)):
                    await writable(self._socket.fileno())
                    return
            if (now := self._unsent()) < unsent or self.is_stopped:
                unsent, since = now, self._loop.time()
            elif self._loop.time() - since >= self._deadline:
                raise StalledError

    def _unsent(self) -> int:
        import fcntl

        try:
            answer = fcntl.ioctl(self._socket.fileno(), _UNSENT, struct.pack("i", 0))
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])


def _without(parts: Sequence[bytes | memoryview], sent: int) -> tuple[bytes | memoryview, ...]:
    """What is left of the parts after so many bytes."""
    for n, part in enumerate(parts):
        if sent < len(part):
            return (memoryview(part)[sent:], *parts[n + 1 :])
        sent -= len(part)
    return ()
