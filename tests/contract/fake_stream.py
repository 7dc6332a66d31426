"""A command in a fake container, as its input and output show it."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class FakeStream:
    """What ``probe.c`` does with its input and output; any other program is not there."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._news = threading.Condition()
        self._output = bytearray()
        self.complaint = ""
        program, verb, *words = (*argv, "")
        self._ended = (program, verb) != ("/probe", "echo")
        if program != "/probe":
            self.complaint = f"{program}: no such file or directory"
        elif verb == "print":
            self._output += f"{words[0]}\n".encode()
        elif verb == "warn":
            self.complaint = words[0]
        elif verb != "echo":
            raise AssertionError(f"the fake cannot know what probe {verb} writes")

    def receive(self) -> bytes:
        with self._news:
            self._news.wait_for(lambda: self._output or self._ended)
            data = bytes(self._output)
            self._output.clear()
            return data

    def send(self, data: bytes) -> None:
        with self._news:
            if self._ended:
                raise BrokenPipeError
            self._output += data
            self._news.notify_all()

    def end_input(self) -> None:
        self.end()

    def close(self) -> None:
        self._output.clear()
        self.end()

    def end(self) -> None:
        """It has ended, or its container."""
        with self._news:
            self._ended = True
            self._news.notify_all()
