"""This process's signals while a call runs: taken down, to be passed on to the tool."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGCONT,
)
_FATAL: frozenset[int] = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})

INSISTING = 3
"""How many interrupts within two seconds mean KILL."""

_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers


class Signals:
    """Takes this process's signals from the moment it is entered until it is left.

    What this process ignores stays ignored. Outside the main thread, where Python has no
    handlers, it takes none and ``descriptor`` is -1.
    """

    def __init__(self) -> None:
        self.descriptor = -1
        self._previous: dict[signal.Signals, _Handler] = {}
        self._interrupts: list[float] = []
        self._seen: set[int] = set()
        self._missed: frozenset[int] = frozenset()
        self._continued = False
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        with contextlib.ExitStack() as stack:
            self.descriptor, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, self.descriptor)
            stack.callback(os.close, write)
            before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
            stack.callback(signal.set_wakeup_fd, before)
            stack.callback(self._collect)
            stack.callback(self._restore)
            for number in FORWARDED:
                self._take_over(number)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor < 0:
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        try:
            self._cleanup.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in self._missed:
            signal.raise_signal(number)

    def take(self) -> list[int]:
        """The signals that came since, in order; an insisting INT becomes KILL."""
        numbers = self._read()
        self._seen.update(numbers)
        return [self._insisting(number) for number in numbers]

    def stop(self, number: int, *, everybody: bool) -> bool:
        """Stop this process, or its whole group as a key does, as if nobody handled ``number``.

        True when it goes on, CONT being among what is to be taken. False at once when nobody
        would continue it, or it is not to be stopped.
        """
        handler = signal.getsignal(number) or signal.SIG_DFL
        if self.descriptor < 0 or handler == signal.SIG_IGN:
            return False
        self._continued = False
        signal.signal(number, signal.SIG_DFL)
        if everybody:
            os.kill(0, number)
        else:
            signal.raise_signal(number)
        signal.signal(number, handler)
        return self._continued

    def _read(self) -> list[int]:
        try:
            data = os.read(self.descriptor, 4096)
        except BlockingIOError:
            return []
        return [number for number in data if number in self._previous]

    def _insisting(self, number: int) -> int:
        if number != signal.SIGINT:
            return number
        import time

        now = time.monotonic()
        self._interrupts = [at for at in self._interrupts if now - at < 2.0] + [now]
        return signal.SIGKILL if len(self._interrupts) >= INSISTING else number

    def _take_over(self, number: signal.Signals) -> None:
        handler = signal.signal(number, self._note)
        if handler == signal.SIG_IGN:
            signal.signal(number, handler)
        else:
            self._previous[number] = signal.SIG_DFL if handler is None else handler

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _collect(self) -> None:
        """What comes after the call has ended means this process, unless it has come before."""
        self._missed = _FATAL.intersection(self._read()) - self._seen

    def _note(self, number: int, _: FrameType | None) -> None:
        """The interpreter has written the number to the wakeup descriptor already."""
        self._continued = self._continued or number == signal.SIGCONT
