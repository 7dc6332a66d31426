"""Bytes from our streams to the tool's and back, moved when they are ready."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from aifo_tasks.toolexec.terminal import Terminal

_CHUNK = 64 * 1024
_LAST_MOVES = 1024


class TargetLostError(Exception):
    """Nobody takes these bytes any more."""


class Relay:
    """From a pipe or a pseudo-terminal to a function that takes bytes."""

    held_back = False

    def __init__(self, source: int, sink: Callable[[bytes], None], *, own: bool = True) -> None:
        self._source = source
        self._sink = sink
        self._own = own
        self.ended = False

    def wanted(self) -> list[tuple[int, int]]:
        return [] if self.ended else [(self._source, select.POLLIN)]

    def move(self, ready: frozenset[int]) -> None:
        """Hand over what is there; a sink that takes no more ends it, and the tool's pipe."""
        if self.ended or self._source not in ready:
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
        except TargetLostError:
            data = b""
        if not data:
            self.close()

    def drain(self, patience: int) -> None:
        """Hand over what still comes within ``patience`` milliseconds of silence.

        Somebody may write for ever; no pipe held more than this limit when the tool ended.
        """
        poller = select.poll()
        if not self.ended:
            poller.register(self._source, select.POLLIN)
        moves = 0
        while not self.ended and moves < _LAST_MOVES and poller.poll(patience):
            self.move(frozenset({self._source}))
            moves += 1

    def close(self) -> None:
        if not self.ended and self._own:
            os.close(self._source)
        self.ended = True


class InputRelay(Relay):
    """From our terminal to the tool; reads only while this process is in the foreground.

    A pipe, which is ours, is not written while somebody else reads single keys from the
    terminal, as a pager behind us in a pipeline does.
    """

    def __init__(self, terminal: Terminal, target: int, *, own: bool = False) -> None:
        super().__init__(terminal.open(), self._keep)
        self._target = target
        self._own_target = own
        self._pending = b""
        self._terminal = terminal

    @property
    def held_back(self) -> bool:  # type: ignore[override]  # here it depends on the moment
        if self.ended or self._pending:
            return False
        return not self._terminal.foreground or (self._own_target and self._terminal.is_taken)

    def wanted(self) -> list[tuple[int, int]]:
        if self._pending:
            return [(self._target, select.POLLOUT)]
        return [] if self.held_back else super().wanted()

    def move(self, ready: frozenset[int]) -> None:
        if self._pending and self._target in ready:
            try:
                self._keep(b"")
            except TargetLostError:
                self.close()
        elif not self.held_back:
            super().move(ready)

    def drain(self, patience: int) -> None:
        """Keys typed after the tool's end are somebody else's."""

    def close(self) -> None:
        if not self.ended and self._own_target:
            os.close(self._target)
        super().close()

    def _keep(self, data: bytes) -> None:
        self._pending += data
        try:
            written = os.write(self._target, self._pending)
        except BlockingIOError:
            return
        except OSError:
            raise TargetLostError from None
        self._pending = self._pending[written:]


def writer(descriptor: int) -> Callable[[bytes], None]:
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
                raise TargetLostError from None

    return write
