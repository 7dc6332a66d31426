"""What a call gets as its standard streams, and what is relayed for those it cannot get.

A tool could read keys from any descriptor of a terminal, so it never gets one of ours:
it gets a pseudo-terminal made in the sidecar, or a pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterable
from typing import Self

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.flows import InputRelay, Relay, TargetLostError, writer
from aifo_tasks.toolexec.terminal import Terminal

_NAMES = ("standard input", "standard output", "standard error")
_BACKGROUND_PAUSE = 250
"""Milliseconds after which a job in the background looks whether it has come forward."""
_FRONT_PAUSE = 1000
"""Milliseconds after which one in front looks whether it still is: nothing else says so."""

_LAST_WORDS = 100
"""Milliseconds to wait for a pseudo-terminal's last output, when somebody keeps it open."""


class Streams:
    """Base of both kinds: the descriptors passed, the relays, and their end.

    ``passed`` are the descriptors that go to init, ``terminal`` has bit n set for a stream
    that becomes a pseudo-terminal instead.
    """

    def __init__(self) -> None:
        self.passed: list[int] = []
        self.terminal = 0
        self._relays: list[Relay] = []
        self._ours = contextlib.ExitStack()
        self._theirs = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._theirs.close()
        self._ours.close()

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the terminal; 0, 0 when there is none."""
        return 0, 0

    @property
    def pause(self) -> int | None:
        """Milliseconds after which to look again although nothing happened."""
        return _BACKGROUND_PAUSE if any(relay.held_back for relay in self._relays) else None

    def wanted(self) -> dict[int, int]:
        """Descriptors to poll, with the events that matter."""
        wanted: dict[int, int] = {}
        for relay in self._relays:
            for descriptor, events in relay.wanted():
                wanted[descriptor] = wanted.get(descriptor, 0) | events
        return wanted

    def relay(self, ready: Iterable[int]) -> None:
        """Move bytes for the descriptors that are ready."""
        ready = frozenset(ready)
        for relay in self._relays:
            relay.move(ready)

    def sent(self) -> None:
        """The descriptors have gone: close our copies of the tool's ends."""
        self._theirs.close()

    def started(self, master: int | None) -> None:
        """The tool runs; ``master`` is its terminal's."""
        if master is not None:
            self._ours.callback(os.close, master)

    def drain(self) -> None:
        """The tool has ended or stopped: relay what it wrote before."""
        for relay in self._relays:
            relay.drain(0)

    def suspend(self) -> None:
        """This process is about to stop."""

    def forget(self) -> None:
        """While this process was stopped somebody else may have set the terminal's modes."""

    def take_terminal(self) -> bool:
        """Take the terminal if this process is in front there; True when that is new."""
        return False

    def lose_terminal(self) -> bool:
        """Let go of the terminal if somebody else is in front there; True when that is new."""
        return False

    @property
    def is_behind(self) -> bool:
        """True when this process is in the background of a terminal that the tool shares."""
        return False

    @property
    def hung_up(self) -> bool:
        """True when the terminal that the tool shares has gone."""
        return False

    def news(self) -> bytes:
        """Frames for what has changed about the terminal since the tool was told."""
        return b""

    def complain(self, text: bytes) -> None:
        """Say something where the tool's stderr goes."""
        raise NotImplementedError

    def _open(self) -> None:
        raise NotImplementedError

    def _null(self) -> int:
        descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._theirs.callback(os.close, descriptor)
        return descriptor

    def _output_pipe(self, sink: Callable[[bytes], None]) -> int:
        """A pipe's end for the tool; what it writes there goes to ``sink``."""
        read, write = os.pipe2(os.O_CLOEXEC)
        self._theirs.callback(os.close, write)
        relay = Relay(read, sink)
        self._ours.callback(relay.close)
        self._relays.append(relay)
        return write


class CaptureStreams(Streams):
    """A given or an empty input, and both outputs in one pipe."""

    def __init__(self, stdin: int | None, on_output: Callable[[bytes], None]) -> None:
        super().__init__()
        self._stdin = stdin
        self._on_output = on_output

    def complain(self, text: bytes) -> None:
        self._on_output(text)

    def _open(self) -> None:
        stdin = self._null() if self._stdin is None else self._stdin
        output = self._output_pipe(self._on_output)
        self.passed = [stdin, output, output]


class OwnStreams(Streams):
    """This process's own three streams."""

    def __init__(self) -> None:
        super().__init__()
        self._screen: Terminal | None = None
        self._keys: InputRelay | None = None
        self._told = (0, 0), True

    @property
    def window(self) -> tuple[int, int]:
        return self._told[0]

    @property
    def pause(self) -> int | None:
        return super().pause or (_FRONT_PAUSE if self._screen is not None else None)

    def started(self, master: int | None) -> None:
        super().started(master)
        if self._screen is None:
            return
        if master is None or not os.isatty(master):
            raise AifoError("sidecar", "sent no terminal")
        os.set_blocking(master, False)
        self._keys = InputRelay(self._screen, master)
        self._ours.callback(self._keys.close)
        self._relays.append(self._keys)
        self._relays.append(Relay(master, writer(1), own=False))
        self._ours.callback(self._screen.restore)

    def drain(self) -> None:
        for relay in self._relays:
            relay.drain(_LAST_WORDS if self._screen is not None else 0)

    def suspend(self) -> None:
        if self._screen is not None:
            self._screen.restore()

    def forget(self) -> None:
        if self._screen is not None:
            self._screen.forget()

    def take_terminal(self) -> bool:
        return self._screen is not None and self._screen.make_raw()

    def lose_terminal(self) -> bool:
        lost = self._told[1] and self.is_behind
        if lost:
            self.forget()
        return lost

    @property
    def is_behind(self) -> bool:
        return self._screen is not None and not self._screen.foreground

    @property
    def hung_up(self) -> bool:
        return self._keys is not None and self._keys.ended

    def news(self) -> bytes:
        if self._screen is None:
            return b""
        (window, front), self._told = self._told, (self._screen.window, self._screen.foreground)
        parts = []
        if self._told[1] != front:
            parts.append(frames.foreground_frame(front=not front))
        if self._told[0] != window:
            parts.append(frames.window_frame(*self._told[0]))
        return b"".join(parts)

    def complain(self, text: bytes) -> None:
        with contextlib.suppress(TargetLostError):
            writer(2)(text)

    def _open(self) -> None:
        terminals = [n for n in range(3) if _is_open(n) and os.isatty(n)]
        if 0 in terminals and 1 in terminals:
            self._screen = Terminal(0)
            self._told = self._screen.window, self._screen.foreground
            self.terminal = sum(1 << n for n in terminals)
            if self.is_behind:
                self.terminal |= frames.BEHIND
            terminals_passed = [n for n in range(3) if n not in terminals]
            self.passed = [self._checked(n) for n in terminals_passed]
            return
        pipes: dict[int, int] = {}
        for n in range(3):
            if n not in terminals:
                self.passed.append(self._checked(n))
            elif n == 0:
                self.passed.append(self._input_pipe())
            else:  # one pipe for one terminal keeps both outputs in order
                device = os.fstat(n).st_rdev
                if device not in pipes:
                    pipes[device] = self._output_pipe(writer(n))
                self.passed.append(pipes[device])

    def _input_pipe(self) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write, False)
        self._theirs.callback(os.close, read)
        relay = InputRelay(Terminal(0), write, own=True)
        self._ours.callback(relay.close)
        self._relays.append(relay)
        return read

    def _checked(self, n: int) -> int:
        """A stream of ours that a tool may have; an empty one for a closed one."""
        if not _is_open(n):
            return self._null()
        if stat.S_ISDIR(os.fstat(n).st_mode) or fcntl.fcntl(n, fcntl.F_GETFL) & os.O_PATH:
            raise AifoError(_NAMES[n], "is a directory, or leads to one: no tool may have it")
        return n


def _is_open(n: int) -> bool:
    """A stream that was closed when Python started may be somebody else's file by now."""
    if (sys.__stdin__, sys.__stdout__, sys.__stderr__)[n] is None:
        return False
    try:
        os.fstat(n)
    except OSError:
        return False
    return True
