"""What a call gets as its standard streams, and what is relayed for those it cannot get.

A tool could read keys from any descriptor of a terminal, so it never gets one of ours:
it gets a pseudo-terminal made in the sidecar, or a pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import sys
from collections.abc import Callable, Iterable
from typing import Self

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.terminal import Terminal

_NAMES = ("standard input", "standard output", "standard error")
_CHUNK = 64 * 1024
_BACKGROUND_PAUSE = 250
"""Milliseconds after which a job in the background looks whether it has come forward."""

_LAST_WORDS = 100
"""Milliseconds to wait for a pseudo-terminal's last output, when somebody keeps it open."""

_LAST_MOVES = 1024


class _TargetLostError(Exception):
    """Nobody takes these bytes any more."""


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

    @property
    def is_behind(self) -> bool:
        """True when this process is in the background of a terminal that the tool shares."""
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
        self._told = (0, 0), True

    @property
    def window(self) -> tuple[int, int]:
        return self._told[0]

    def started(self, master: int | None) -> None:
        super().started(master)
        if self._screen is None:
            return
        if master is None or not os.isatty(master):
            raise AifoError("sidecar", "sent no terminal")
        os.set_blocking(master, False)
        self._relays.append(InputRelay(0, master))
        self._relays.append(Relay(master, _writer(1), own=False))
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

    @property
    def is_behind(self) -> bool:
        return self._screen is not None and not self._screen.foreground

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
        with contextlib.suppress(_TargetLostError):
            _writer(2)(text)

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
                    pipes[device] = self._output_pipe(_writer(n))
                self.passed.append(pipes[device])

    def _input_pipe(self) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write, False)
        self._theirs.callback(os.close, read)
        relay = InputRelay(0, write, own=True)
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


class Relay:
    """From a pipe or a pseudo-terminal to a function that takes bytes."""

    held_back = False

    def __init__(self, source: int, sink: Callable[[bytes], None], *, own: bool = True) -> None:
        self._source = source
        self._sink = sink
        self._own = own
        self._ended = False

    def wanted(self) -> list[tuple[int, int]]:
        return [] if self._ended else [(self._source, select.POLLIN)]

    def move(self, ready: frozenset[int]) -> None:
        """Hand over what is there; a sink that takes no more ends it, and the tool's pipe."""
        if self._ended or self._source not in ready:
            return
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # how a pseudo-terminal ends, and a terminal that hung up
            data = b""
        try:
            if data:
                self._sink(data)
        except _TargetLostError:
            data = b""
        if not data:
            self.close()

    def drain(self, patience: int) -> None:
        """Hand over what still comes within ``patience`` milliseconds of silence.

        Somebody may write for ever; no pipe held more than this limit when the tool ended.
        """
        poller = select.poll()
        if not self._ended:
            poller.register(self._source, select.POLLIN)
        moves = 0
        while not self._ended and moves < _LAST_MOVES and poller.poll(patience):
            self.move(frozenset({self._source}))
            moves += 1

    def close(self) -> None:
        if not self._ended and self._own:
            os.close(self._source)
        self._ended = True


class InputRelay(Relay):
    """From our terminal to the tool; reads only while this process is in the foreground."""

    def __init__(self, source: int, target: int, *, own: bool = False) -> None:
        super().__init__(source, self._keep, own=False)
        self._target = target
        self._own_target = own
        self._pending = b""
        self._terminal = Terminal(source)

    @property
    def held_back(self) -> bool:  # type: ignore[override]  # here it depends on the moment
        return not self._ended and not self._pending and not self._terminal.foreground

    def wanted(self) -> list[tuple[int, int]]:
        if self._pending:
            return [(self._target, select.POLLOUT)]
        return [] if self.held_back else super().wanted()

    def move(self, ready: frozenset[int]) -> None:
        if self._pending and self._target in ready:
            try:
                self._keep(b"")
            except _TargetLostError:
                self.close()
        elif not self.held_back:
            super().move(ready)

    def drain(self, patience: int) -> None:
        """Keys typed after the tool's end are somebody else's."""

    def close(self) -> None:
        if not self._ended and self._own_target:
            os.close(self._target)
        self._ended = True

    def _keep(self, data: bytes) -> None:
        self._pending += data
        try:
            written = os.write(self._target, self._pending)
        except BlockingIOError:
            return
        except OSError:
            raise _TargetLostError from None
        self._pending = self._pending[written:]


def _is_open(n: int) -> bool:
    """A stream that was closed when Python started may be somebody else's file by now."""
    if (sys.__stdin__, sys.__stdout__, sys.__stderr__)[n] is None:
        return False
    try:
        os.fstat(n)
    except OSError:
        return False
    return True


def _writer(descriptor: int) -> Callable[[bytes], None]:
    """Writes everything to a terminal, also to one that somebody made non-blocking."""

    def write(data: bytes) -> None:
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(descriptor, select.POLLOUT)
                poller.poll()
            except OSError:
                raise _TargetLostError from None

    return write
