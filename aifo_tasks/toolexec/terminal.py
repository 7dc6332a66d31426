"""One of our terminals: who is in its foreground, its size, and its modes put back."""

from __future__ import annotations

import os
from typing import Any


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
    def window(self) -> tuple[int, int]:
        """Rows and columns; 0, 0 when it does not know."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            return 0, 0
        return rows, columns

    def make_raw(self) -> None:
        """Pass every key through, unless it is so already or somebody else is in front."""
        if self._raw or not self.foreground:
            return
        import termios
        import tty

        try:
            if self._modes is None:
                self._modes = termios.tcgetattr(self._descriptor)
            tty.setraw(self._descriptor, termios.TCSANOW)
        except termios.error:  # it hung up
            return
        self._raw = True

    def forget(self) -> None:
        """While we were stopped somebody else has set the modes."""
        self._raw = False

    def restore(self) -> None:
        """Put the modes back; a shell that is in front by now has done so itself."""
        if self._raw and self._modes is not None and self.foreground:
            import contextlib
            import termios

            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._modes)
        self._raw = False
