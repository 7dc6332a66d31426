"""The sockets that clients come to: made, shut for a while where too many come, closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from aifo_tasks.errors import AifoError

_BACKLOG = 1024
_EXHAUSTED_PAUSE = 0.1
_FREEBIND = 15  # Linux's IP_FREEBIND, which Python has no name for


class Doors:
    """Hands each client that comes to ``welcome``, in the event loop that made this."""

    def __init__(self, welcome: Callable[[socket.socket], None]) -> None:
        self._welcome = welcome
        self._loop = asyncio.get_running_loop()
        self._doors: list[socket.socket] = []

    def listen_unix(self, path: Path) -> None:
        """Listen on a socket that everybody may connect to who reaches its directory."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        try:
            door.bind(str(path))
        except OSError as error:  # a socket's path has at most 107 bytes
            door.close()
            raise AifoError(str(path), f"cannot listen: {error}") from None
        os.chmod(path, 0o666)  # noqa: S103  # the token authenticates
        self._listen(door)

    def listen_tcp(self, host: str, port: int = 0, *, early: bool = False) -> int:
        """Listen on one address, never on all of them; returns the port.

        It may come ``early``, before this machine has that address.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        door = socket.socket(family, socket.SOCK_STREAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if early:
            door.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
        try:
            door.bind((host, port))
        except OSError as error:
            door.close()
            problem = os.strerror(error.errno or 0).lower()
            raise AifoError(f"proxy {host}:{port}", f"cannot listen: {problem}") from None
        self._listen(door)
        return int(door.getsockname()[1])

    def shut(self) -> None:
        """Let clients wait outside, where the kernel keeps them in order, until ``open``."""
        for door in self._doors:
            self._loop.remove_reader(door.fileno())

    def open(self) -> None:
        """Take those who wait outside."""
        for door in self._doors:
            self._loop.add_reader(door.fileno(), self._accept, door)

    def close(self) -> None:
        """Take nobody more."""
        self.shut()
        for door in self._doors:
            door.close()
        self._doors.clear()

    def _listen(self, door: socket.socket) -> None:
        door.settimeout(0)
        door.listen(_BACKLOG)
        self._doors.append(door)
        self._loop.add_reader(door.fileno(), self._accept, door)

    def _accept(self, door: socket.socket) -> None:
        try:
            client, _ = door.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError | ConnectionError):
                self.shut()  # out of descriptors: whoever ends gives some back
                self._loop.call_later(_EXHAUSTED_PAUSE, self.open)
            return
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._welcome(client)
