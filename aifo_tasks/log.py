"""What the domain tells the person who is waiting: steps, warnings, progress, commands.

The domain says what happens; a sink decides how it looks. The default sink writes plain
lines to stderr, so that a tool's own output is the only thing on stdout.
"""

from __future__ import annotations

import sys
import threading
from typing import ClassVar, Protocol


class Sink(Protocol):
    """Shows messages; every method may be called from any thread."""

    def line(self, text: str, *, style: str) -> None:
        """Show one line that stays; ``style`` is step, warning or command."""

    def live(self, *texts: str) -> None:
        """Show what goes on now, one text for each of several things, until the next line or
        live text; may show nothing. No text clears."""


class PlainSink:
    """One plain line on stderr for everything that stays; live text is dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def line(self, text: str, *, style: str) -> None:
        prefix = "warning: " if style == "warning" else ""
        with self._lock:
            sys.stderr.write(f"{prefix}{text}\n")
            sys.stderr.flush()

    def live(self, *texts: str) -> None:
        pass


class _State:
    sink: Sink = PlainSink()
    verbose = False
    dry_run = False
    live: ClassVar[dict[str, str]] = {}  # the latest text of everything that goes on at once
    lock = threading.Lock()


def configure(
    *, sink: Sink | None = None, verbose: bool | None = None, dry_run: bool | None = None
) -> None:
    """Set what is given; the rest stays as it is."""
    if sink is not None:
        _State.sink = sink
    if verbose is not None:
        _State.verbose = verbose
    if dry_run is not None:
        _State.dry_run = dry_run


def is_dry_run() -> bool:
    """True while commands are printed instead of carried out."""
    return _State.dry_run


def step(subject: str, text: str) -> None:
    """Say what is done now and why: ``step("image node", "building: the Dockerfile changed")``."""
    _State.sink.line(f"{_comment()}{subject}: {text}", style="step")


def done(subject: str, text: str) -> None:
    """Say what has been done; a dry run has done nothing and says nothing."""
    if not _State.dry_run:
        step(subject, text)


def warn(subject: str, text: str) -> None:
    """Say what works, but not as somebody may think."""
    _State.sink.line(f"{_comment()}{subject}: {text}", style="warning")


def _comment() -> str:
    """In a dry run everything but the commands is a comment, so that all of it can be pasted."""
    return "# " if _State.dry_run else ""


def progress(subject: str, text: str) -> None:
    """Show a passing line of a long step beside those of others; a pipe does not get it."""
    with _State.lock:
        _State.live[subject] = f"{subject}: {text}"
        texts = tuple(_State.live.values())
    _State.sink.live(*texts)


def clear() -> None:
    """Take away what progress shows: a step has ended, or somebody else writes to the terminal.
    What still goes on shows itself again."""
    with _State.lock:
        _State.live.clear()
    _State.sink.live()


def command(shell_text: str) -> bool:
    """Announce a command that changes something; False means: do not carry it out.

    Whatever changes the host or the engine calls this first, with text that a shell would
    take as it is. It is printed in a dry run and with ``--verbose``.
    """
    if _State.dry_run or _State.verbose:
        _State.sink.line(shell_text, style="command")
    return not _State.dry_run
