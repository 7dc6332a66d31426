"""What a person sees of a run: one line a task on stderr, and why it runs."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from doit.exceptions import BaseFail, UnmetDependency

from aifo_tasks import log
from aifo_tasks.tasks.actions import ToolFailed

LIVE_SECONDS = 0.1
"""The live line changes at most once in this time."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.|[\x00-\x1f\x7f]")
_BETWEEN = " | "
_STYLES = {"step": "", "warning": "33", "command": "2", "good": "32", "failure": "31"}


class StatusReporter:
    """Plain lines in a pipe; on a terminal colours and one live line below them.

    Everything goes to stderr: stdout belongs to the tools. A task whose ``meta`` is
    ``{"aifo": {"quiet": True}}`` is not mentioned unless it fails, and when only such tasks
    were asked for, neither is what was up to date.
    """

    desc = "one line a task on stderr, with the reason"

    def __init__(self, outstream: IO[str], options: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._screen = Screen(sys.stderr if outstream is sys.stdout else outstream)
        self._all_quiet = False
        self._ran: list[str] = []
        self._up_to_date: list[str] = []
        self._failed: list[str] = []
        self._errors: list[str] = []
        log.configure(sink=self._screen)

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
        chosen = [tasks[name] for name in selected_tasks]
        self._all_quiet = bool(chosen) and all(_quiet(task) for task in chosen)

    def get_status(self, task: Any) -> None:  # doit has no types
        pass

    def execute_task(self, task: Any) -> None:
        if not _mentioned(task):
            return
        self._ran.append(task.name)
        why = reason(task)
        self._screen.line(f"{task.name}: running" + (f": {why}" if why else ""), style="step")

    def add_failure(self, task: Any, fail: BaseFail) -> None:
        self._failed.append(task.name)
        if isinstance(fail, UnmetDependency):
            self._screen.line(f"{task.name}: not run: {fail.message} failed", style="failure")
        elif isinstance(fail, ToolFailed):
            if fail.report:
                self._screen.line(f"ERROR: {fail.message}", style="failure")
        elif fail.report:
            text = fail.get_msg().rstrip()
            self._screen.line(f"{task.name}: failed: {text}", style="failure")
            for action in task.actions:
                if action.err and (task.verbosity or 0) < 1:
                    self._screen.line(action.err.rstrip(), style="step")

    def add_success(self, task: Any) -> None:  # noqa: ARG002
        log.clear()

    def skip_uptodate(self, task: Any) -> None:
        if _mentioned(task):
            self._up_to_date.append(task.name)
            if not self._all_quiet:
                self._screen.line(f"{task.name}: up to date", style="good")

    def skip_ignore(self, task: Any) -> None:
        self._screen.line(f"{task.name}: ignored", style="step")

    def cleanup_error(self, exception: BaseFail) -> None:
        self._screen.line(exception.get_msg().rstrip(), style="failure")

    def runtime_error(self, msg: str) -> None:
        self._errors.append(msg)

    def teardown_task(self, task: Any) -> None:
        pass

    def complete_run(self) -> None:
        for message in self._errors:
            self._screen.line(f"ERROR: {message}", style="failure")
        if len(self._ran) > 1:
            counts = [f"{len(self._ran)} ran"]
            counts += [f"{len(self._up_to_date)} up to date"] if self._up_to_date else []
            counts += [f"{len(self._failed)} failed"] if self._failed else []
            self._screen.line(
                f"tasks: {', '.join(counts)}", style="failure" if self._failed else "good"
            )
        self._screen.close()


class Screen:
    """Where lines go: implements ``log.Sink``; every method from any thread."""

    def __init__(self, stream: IO[str] | None) -> None:
        terminal = bool(stream and stream.isatty()) and os.environ.get("TERM") != "dumb"
        self._stream = stream
        self._colour = bool(os.environ.get("FORCE_COLOR")) or (
            terminal and not os.environ.get("NO_COLOR")
        )
        self._may_live = terminal
        self._shown = False
        self._last = 0.0
        self._lock = threading.RLock()

    def line(self, text: str, *, style: str) -> None:
        prefix = "warning: " if style == "warning" else ""
        code = _STYLES.get(style, "") if self._colour else ""
        shown = f"\x1b[{code}m{prefix}{text}\x1b[0m" if code else f"{prefix}{text}"
        with self._lock:
            self._write(f"{self._erased()}{shown}\n")

    def live(self, *texts: str) -> None:
        with self._lock:
            if not texts:
                self._write(self._erased())
            elif self._may_live and time.monotonic() - self._last >= LIVE_SECONDS:
                self._last = time.monotonic()
                erased = self._erased()
                self._shown = True
                self._write(erased + _beside(texts, _columns() - 1))

    def close(self) -> None:
        """Leave no live line over, and show none any more."""
        with self._lock:
            self._write(self._erased())
            self._may_live = False

    def _erased(self) -> str:
        shown, self._shown = self._shown, False
        return "\r\x1b[K" if shown else ""

    def _write(self, text: str) -> None:
        if text and self._stream is not None:
            with contextlib.suppress(OSError):  # nobody reads any more: no reason to stop work
                self._stream.write(text)
                self._stream.flush()


def _beside(texts: Sequence[str], width: int) -> str:
    """Texts in one line of at most ``width`` characters, each with the same share of it."""
    share = (width - len(_BETWEEN) * (len(texts) - 1)) // len(texts)
    return _BETWEEN.join(_CONTROL.sub("", text)[: max(share, 0)] for text in texts)[:width]


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def reason(task: Any) -> str:  # doit has no types
    """Why a task runs, from its up-to-date checks, else from its files; may be empty."""
    for check, _, _ in task.uptodate:
        text = getattr(check, "reason", "")
        if text:
            return str(text)
    missing = [target for target in task.targets if not os.path.exists(target)]
    if missing:
        return f"{missing[0]} is missing"
    if task.dep_changed:
        return f"changed: {', '.join(sorted(task.dep_changed))}"
    return ""


def _quiet(task: Any) -> bool:
    return bool(((task.meta or {}).get("aifo") or {}).get("quiet"))


def _mentioned(task: Any) -> bool:
    return bool(task.actions) and not task.name.startswith("_") and not _quiet(task)
