"""This process and its tool as one job of the caller's shell: signals, stopping, going on."""

from __future__ import annotations

import signal
from collections.abc import Callable

from aifo_tasks.toolexec import frames
from aifo_tasks.toolexec.forwarding import Signals
from aifo_tasks.toolexec.streams import Streams

_WANTS_TERMINAL = frozenset({signal.SIGTTIN, signal.SIGTTOU})


class Job:
    """Passes this process's signals on through ``send``, and stops and goes on with the tool."""

    def __init__(self, send: Callable[[bytes], None], streams: Streams, signals: Signals) -> None:
        self._send = send
        self._streams = streams
        self._signals = signals
        self._hung_up = False

    def pass_on(self) -> None:
        """Send the signals that came; with some of them we stop, or go on, ourselves."""
        for number in self._signals.take():
            if number == signal.SIGWINCH and self._streams.terminal:
                self._tell(self._streams.news())
            elif number == signal.SIGCONT:
                self._go_on()
            else:
                self._tell(frames.signal_frame(number))
            if number == signal.SIGTSTP:
                self._stop(number, everybody=False)

    def look(self) -> None:
        """Take the terminal once it is ours, let go of it when it is not.

        Its end is the end of what the tool had one for.
        """
        if self._streams.take_terminal() or self._streams.lose_terminal():
            self._tell(self._streams.news())
        if self._streams.hung_up and not self._hung_up:
            self._hung_up = True
            self._tell(frames.signal_frame(signal.SIGHUP))

    def stopped(self, number: int) -> None:
        """The tool has been stopped, by itself or by a key on its terminal.

        One that wanted the terminal has it, if we have come forward meanwhile.
        """
        self._streams.drain()
        if number not in _WANTS_TERMINAL:
            self._stop(signal.SIGTSTP, everybody=True)
        elif self._streams.is_behind:
            self._stop(number, everybody=True)
        else:
            self._go_on()

    def _stop(self, number: int, *, everybody: bool) -> None:
        """Nobody continues a job that no shell knows of: its tool gets what the kernel has for
        such."""
        self._streams.suspend()
        if self._signals.stop(number, everybody=everybody):
            return  # the CONT that ended this is waiting for us
        if number in _WANTS_TERMINAL:
            self._tell(frames.signal_frame(signal.SIGHUP))
        self._go_on()

    def _go_on(self) -> None:
        """Where we are, and that it is to draw anew, comes before the tool looks: a signal while
        it draws would break what it writes.
        """
        self._streams.forget()
        anew = self._streams.take_terminal()
        news = self._streams.news()
        redraw = frames.signal_frame(signal.SIGWINCH) if anew else b""
        self._tell(news + redraw + frames.signal_frame(signal.SIGCONT))

    def _tell(self, data: bytes) -> None:
        if data:
            self._send(data)
