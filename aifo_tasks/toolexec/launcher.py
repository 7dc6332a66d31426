"""The doit process's own way to a sidecar's init: find it, greet it, run a call there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec.frames import Welcome


class UnreachableError(AifoError):
    """Nobody we know listens there; ``reason`` is absent, or impostor when somebody else does."""

    def __init__(self, subject: str, problem: str, *, reason: Literal["absent", "impostor"]):
        super().__init__(subject, problem)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A sidecar's init as it was recorded when the sidecar started, outside its reach.

    ``pid`` is its process on the host, ``start_time`` that process's, in clock ticks.
    """

    socket: Path
    pid: int
    start_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A program, its arguments, an absolute working directory and added environment.

    Text is encoded as the file system's names are; every byte but NUL passes.
    """

    argv: Sequence[str | bytes]
    cwd: str | bytes
    environment: Mapping[str, str] = field(default_factory=dict)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; UnreachableError when it is gone."""
    raise NotImplementedError


def connect(peer: Peer) -> socket.socket:
    """A connection to exactly this init; UnreachableError otherwise, nothing being sent."""
    raise NotImplementedError


def greet(connection: socket.socket) -> Welcome:
    """Ask for the spec digest and the stamp; UnreachableError when no answer comes."""
    raise NotImplementedError


def attach(connection: socket.socket, call: Call) -> int:
    """Run a call on this process's own standard streams and signals; returns its status.

    128 + n when signal n ended it, 126 or 127 (with a sentence on stderr) when it could not
    be started. The connection is closed on every path. Raises SidecarLostError when it ends
    before the tool does.
    """
    raise NotImplementedError


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
    raise NotImplementedError
