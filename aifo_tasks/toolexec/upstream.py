"""What the proxy asks of whatever carries its calls to a sidecar."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.frames import Exit, Failed


class NotStartedError(AifoError):
    """Init could not start the program; ``failed`` says where and why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__("tool call", os.strerror(failed.errno).lower())
        self.failed = failed


class Tool(Protocol):
    """A tool that runs in a sidecar.

    ``ended`` is set when there is nothing more to come from it; ``end`` is how it ended then,
    None when that was lost. ``master`` is the descriptor of its terminal, -1 without one;
    whoever takes it sets that.
    """

    ended: asyncio.Event
    end: Exit | None
    master: int

    def signal(self, number: int) -> None:
        """Send a signal to the tool's process group."""

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the tool's terminal."""

    def foreground(self, *, front: bool) -> None:
        """Say whether the client is in the foreground of its terminal."""

    def on_stop(self, tell: Callable[[int], None]) -> None:
        """Call ``tell`` with the signal whenever one has stopped the tool, or had before."""

    def stop(self) -> None:
        """Have init stop the call and everything below it; ``ended`` is set after that."""

    def close(self) -> None:
        """Let go of the call, which stops it if it still runs; its terminal goes too."""


class Upstream(Protocol):
    """The way to one sidecar's init."""

    async def start(self, call: frames.Call, descriptors: Sequence[int]) -> Tool:
        """Start a call on these descriptors, which stay the caller's.

        Raises UnreachableError when nobody we know is there, NotStartedError when the program
        does not start, SidecarLostError when the connection ends before that is known.
        """

    def close(self) -> None:
        """Let go of the sidecar; calls that run there go on."""
