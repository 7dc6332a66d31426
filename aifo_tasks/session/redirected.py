"""This process's own output descriptors, elsewhere for a while: into stderr, or cut off."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator

_BLOCK = 64 * 1024
_NAMES = {1: "stdout", 2: "stderr"}


@contextlib.contextmanager
def diagnostics() -> Iterator[None]:
    """Nothing to read, and stdout goes to stderr: a compiler's place."""
    with contextlib.ExitStack() as stack:
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, nothing)
        stack.enter_context(_replaced(0, nothing))
        stack.enter_context(_replaced(1, 2))
        yield


@contextlib.contextmanager
def cut(most: int, say: Callable[[str], None]) -> Iterator[None]:
    """Both outputs end after ``most`` bytes, which ``say`` is told; the rest is read and lost.

    Whoever was given the outputs must be gone when this is left.
    """
    with contextlib.ExitStack() as stack:
        carriers = [stack.enter_context(_carried(number, most)) for number in _NAMES]
        yield
        stack.close()
        for number, carrier in zip(_NAMES, carriers, strict=True):
            if carrier.lost:
                say(f"{_NAMES[number]} was cut after {most} bytes, {carrier.lost} more were lost")


@contextlib.contextmanager
def _replaced(number: int, by: int) -> Iterator[int]:
    """Descriptor ``number`` is another for a while; gives a copy of what it was."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = os.dup(number)
    try:
        os.dup2(by, number)
        yield before
    finally:
        os.dup2(before, number)
        os.close(before)


@contextlib.contextmanager
def _carried(number: int, most: int) -> Iterator[_Carrier]:
    """Descriptor ``number`` is a pipe that a thread empties into what it was."""
    read, write = os.pipe()
    carrier = None
    try:
        with _replaced(number, write) as target:
            os.close(write)
            carrier = _Carrier(read, os.dup(target), most)
            carrier.start()
            yield carrier
    finally:
        if carrier is not None:
            carrier.join()


class _Carrier(threading.Thread):
    """Carries up to ``most`` bytes, counts those ``lost``, until the pipe's end."""

    def __init__(self, source: int, target: int, most: int) -> None:
        super().__init__(daemon=True)
        self._source, self._target, self._left = source, target, most
        self.lost = 0

    def run(self) -> None:
        source, target = os.fdopen(self._source, "rb", 0), os.fdopen(self._target, "wb", 0)
        with source, target, contextlib.suppress(OSError):  # nobody reads any more
            while data := source.read(_BLOCK):
                kept = data[: self._left]
                self.lost += len(data) - len(kept)
                self._left -= len(kept)
                while kept:
                    kept = kept[target.write(kept) :]
