"""Shells on real terminals, which tmux draws, and a project with tools that need one."""

from __future__ import annotations

import os
import subprocess
import termios
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.integration.project import Project

PATIENCE = 30.0
PROMPT = "next> "

TOOLCHAINS = """\
extends: builtin
toolchains:
  python: null
  screens:
    image:
      name: aifo-test-screens
      context: screens
      base:
        - bootstrap: {suite: bookworm, variant: minbase, include: [ca-certificates]}
          version: "1"
      apt: [less, procps, python3, vim-tiny]
    tools: [less, python3, top, vim]
"""

DOCKERFILE = """\
{% import "parts.j2" as parts %}
{{ parts.begin(image) }}
RUN ln -s vim.tiny /usr/bin/vim

{{ parts.end(image, ["less --version"]) }}
"""

PROGRAMS = {
    "text": "".join(f"line {n} of the text\n" for n in range(1, 301)),
    "double.py": "open('began', 'w'); print('give'); print(input() * 2)",
    "pages.py": "print(*(f'piped {n}.' for n in range(100)), sep='\\n'); input()",
    "streams.py": "print(6 * 7, *(open(n, closefd=False).isatty() for n in range(3)))",
    "waits.py": (
        "import os, time; print('began')\nwhile not os.path.exists('go'): time.sleep(0.05)\n"
        "print('went', 'on')"
    ),
}
"""Files of the project; what they print differs from what a shell shows of their command."""


class ScreensProject(Project):
    """A project with a text to read, and a toolchain of its own beside node."""

    def __init__(self, path: Path) -> None:
        self.path = path
        context = path / "screens"
        context.mkdir(parents=True)
        (context / "Dockerfile.j2").write_text(DOCKERFILE)
        (path / "toolchains.yaml").write_text(TOOLCHAINS)
        for name, content in PROGRAMS.items():
            (path / name).write_text(content)


class Tmux:
    """A tmux server of our own, without anybody's settings."""

    def __init__(self, directory: Path) -> None:
        self._argv = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._panes: list[Pane] = []

    def __enter__(self) -> Self:
        self.do("new-session", "-d", "-x", "80", "-y", "24", "sleep 100000")
        return self

    def __exit__(self, *_: object) -> None:
        self.do("kill-server")

    def do(self, *words: str) -> str:
        done = subprocess.run([*self._argv, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def show(self, argv: Iterable[str], environment: Mapping[str, str], cwd: Path) -> Pane:
        """A program on a terminal of its own."""
        variables = map("=".join, environment.items())  # tmux has its own idea of the PATH
        made = self.do(
            "new-window", "-d", "-P", "-F", "#{pane_id} #{pane_tty} #{pane_pid}",
            "-c", str(cwd), "env", *variables, *argv,
        )  # fmt: skip
        return Pane(self, *made.split())


class Pane:
    """One terminal: its keys, its screen, its modes."""

    def __init__(self, tmux: Tmux, name: str, tty: str, pid: str) -> None:
        self._tmux = tmux
        self._name = name
        self.pid = int(pid)
        self._tty = os.open(tty, os.O_RDWR | os.O_NOCTTY)
        self.wait("the first prompt", self._prompts)
        self.before = self.modes

    def type(self, text: str) -> None:
        self._tmux.do("send-keys", "-t", self._name, "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Keys by their names, such as Enter, Escape and C-c."""
        self._tmux.do("send-keys", "-t", self._name, *keys)

    def paste(self, text: str) -> None:
        """All at once, as from a clipboard."""
        self._tmux.do("set-buffer", "-b", "ours", "--", text)
        self._tmux.do("paste-buffer", "-b", "ours", "-d", "-r", "-t", self._name)

    def run(self, command: str) -> None:
        """Type a command on an empty screen."""
        self.expect_prompt()
        self.clear()
        self.type(command)
        self.press("Enter")

    def clear(self) -> None:
        """Forget what is on the screen; the modes are the terminal's and stay."""
        self._tmux.do("send-keys", "-R", "-t", self._name)

    def resize(self, columns: int, rows: int) -> None:
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux.do("resize-window", "-t", self._name, *size)

    @property
    def text(self) -> str:
        """The screen, without what is empty at its end."""
        return self._tmux.do("capture-pane", "-p", "-t", self._name).rstrip()

    @property
    def modes(self) -> list[object]:
        return termios.tcgetattr(self._tty)

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"no {what}; modes {self.modes}, the screen:\n{self.text}")
            time.sleep(0.02)

    def expect(self, *texts: str) -> None:
        """Wait until all of these are on the screen at once."""

        def shown() -> bool:
            screen = self.text
            return all(text in screen for text in texts)

        self.wait(f"{texts}", shown)

    def expect_prompt(self) -> None:
        """The shell waits for a command, and the modes are as it found them."""
        self.wait("prompt", lambda: self.modes == self.before and self._prompts())

    def _prompts(self) -> bool:
        """True when the cursor stands behind a prompt, whatever is left on the screen."""
        where = self._tmux.do("display-message", "-p", "-t", self._name, "#{cursor_x} #{cursor_y}")
        column, row = map(int, where.split())
        line = self._tmux.do("capture-pane", "-p", "-t", self._name, "-S", str(row), "-E", str(row))
        return line.rstrip("\n").ljust(column)[:column].endswith(PROMPT)

    def expect_status(self, status: int) -> None:
        """The last command ended so, and left the terminal as it was."""
        self.run("echo status=$?.")
        self.expect(f"status={status}.")
        self.expect_prompt()

    def expect_stopped(self, why: str) -> None:
        """The shell's only job is stopped, for this reason."""

        def stopped() -> bool:
            self.press("Enter")  # what the job wrote may stand behind the prompt
            self.run("jobs")
            self.expect_prompt()
            return f"Stopped ({why})" in self.text

        self.wait("stopped job", stopped)

    def hang_up(self) -> None:
        """Close the terminal, as somebody closes a window."""
        os.close(self._tty)
        self._tty = -1
        self._tmux.do("kill-pane", "-t", self._name)

    def close(self) -> None:
        if self._tty >= 0:
            self.hang_up()
