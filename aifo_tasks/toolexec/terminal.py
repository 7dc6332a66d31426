"""One of our terminals: who is in its foreground, its size, and its modes put back."""

from __future__ import annotations

import os
from typing import Any

_FLAGS = 4
"""The first of what makes a terminal's modes: input, output, control, local."""


class Terminal:
    """A terminal that this process has open; one whose job we are not is always ours."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._modes: list[Any] | None = None
        self._raw = False

    @property
    def foreground(self) -> bool:
        """True when this process may read it and change its modes."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True

    @property
    def is_taken(self) -> bool:
        """True when somebody has put it out of line mode, to read single keys there himself."""
        import termios

        try:
            return not termios.tcgetattr(self._descriptor)[3] & termios.ICANON
        except termios.error:
            return False

    def open(self) -> int:
        """Another descriptor of it, which never blocks although somebody else may read it too.

        A copy of the first, which may, where that cannot be had.
        """
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            own = os.open(os.ttyname(self._descriptor), flags)
        except OSError:
            return os.dup(self._descriptor)
        if os.fstat(own).st_rdev == os.fstat(self._descriptor).st_rdev:
            return own
        os.close(own)
        return os.dup(self._descriptor)

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns; 0, 0 when it does not know."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            return 0, 0
        return rows, columns

    def make_raw(self) -> bool:
        """Pass every key through; False when it is so already or somebody else is in front.

        Modes that somebody beside us has made so are his to put back.
        """
        if self._raw or not self.foreground:
            return False
        import termios
        import tty

        try:
            before = termios.tcgetattr(self._descriptor)
            tty.setraw(self._descriptor, termios.TCSANOW)
            changed = termios.tcgetattr(self._descriptor)[:_FLAGS] != before[:_FLAGS]
        except termios.error:  # it hung up
            return False
        if changed:
            self._modes = before
        self._raw = True
        return True

    def forget(self) -> None:
        """While we were stopped somebody else may have set the modes."""
        self._raw = False

    def restore(self) -> None:
        """Put the modes back; a shell that is in front by now has done so itself."""
        if self._modes is not None and self.foreground:
            import contextlib
            import termios

            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._modes)
        self._raw = False
        self._modes = None
