"""Actions: one domain call each, whose errors and exit status doit understands."""

from __future__ import annotations

import collections
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from doit.action import BaseAction
from doit.exceptions import BaseFail, TaskError, TaskFailed

from aifo_tasks import log
from aifo_tasks.errors import AifoError, ConfigError, ProcessError, UsageError

TAIL_LINES = 40
"""How many of the last lines of a failed task are shown again."""

PYPROJECT_LINE = '[tool.doit] loader = "aifo"'


_DOIT = re.compile(r"\bdoit (?=[a-z])")


class Tail(tuple[str, ...]):
    """What stood after ``--`` on the command line, word by word as the shell gave it."""

    __slots__ = ()


class ToolFailed(TaskFailed):
    """A task did not succeed; ``exit_code`` (1 to 255) becomes doit's own exit status.

    ``report`` is False when the tool has said everything itself.
    """

    def __init__(self, message: str, *, exit_code: int, report: bool = True) -> None:
        super().__init__(message, report=report)
        self.exit_code = exit_code


class Lines:
    """Lines of a running task: shown as they come, the last ones kept for a failure."""

    def __init__(self, task: str, *, stay: bool) -> None:
        self._task = task
        self._stay = stay
        self.last: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)

    def __call__(self, text: str) -> None:
        self.last.append(text)
        (log.step if self._stay else log.progress)(self._task, text)


class ToolAction(BaseAction):
    """Calls ``call`` with those of the task's options that it names, and returns its status.

    ``call`` gets, by parameter name: the options of ``params``, the task's ``pos_arg`` as a
    tuple of words, doit's ``task``, ``changed``, ``targets`` and ``dependencies``, what
    ``fixed`` holds, and ``progress``, which takes one line of output at a time. It returns
    an exit status, None meaning 0. An AifoError it raises is the task's failure, and so is
    what the system says of a file that cannot be written; where nobody reads standard output
    any more, the task ends as if by SIGPIPE.

    ``interactive``: the call uses this process's own standard descriptors as it likes, and
    a status that is not 0 is passed on without a word of ours.
    """

    def __init__(
        self, call: Callable[..., int | None], *, interactive: bool = False, **fixed: object
    ) -> None:
        self.call = call
        self.interactive = interactive
        self.fixed = fixed
        self.task: Any = None  # doit sets it
        self.out: str | None = None
        self.err: str | None = None
        self.result: str | None = None
        self.values: dict[str, object] = {}

    def execute(
        self,
        out: IO[str] | None = None,
        err: IO[str] | None = None,  # noqa: ARG002
    ) -> BaseFail | None:
        """Run the call; ``out`` is None below doit's verbosity 2, where lines do not stay."""
        name = self.task.name if self.task else str(self)
        lines = Lines(name, stay=out is not None)
        try:
            if self.interactive:
                log.clear()
                for stream in filter(None, (sys.stdout, sys.stderr)):
                    stream.flush()
            status = self.call(**self._arguments(lines))
        except AifoError as error:
            return failure(error, lines.last)
        except Exception as error:  # noqa: BLE001  # a bug: doit shows its traceback
            refused = _refused(error, name, lines.last) if isinstance(error, OSError) else None
            return refused or TaskError(f"{name}: a bug in {self}", error)
        finally:
            self.err = "\n".join(lines.last)
        if not status:
            return None
        return _ended(name, status, "" if self.interactive else self.err, self.interactive)

    def _arguments(self, lines: Lines) -> dict[str, object]:
        arguments: dict[str, object] = dict(self.fixed)
        if "progress" in inspect.signature(self.call).parameters:
            arguments.setdefault("progress", lines)
        if self.task is None:
            return arguments
        words = self.task.pos_arg_val or ()
        if words and not isinstance(words, Tail):
            raise inexact(self.task.name)
        if self.task.pos_arg is not None:
            self.task.pos_arg_val = Tail(words)
        taken: dict[str, object] = self._prepare_kwargs(self.task, self.call, (), arguments)
        return taken

    def __str__(self) -> str:
        return getattr(self.call, "__qualname__", None) or repr(self.call)

    def __repr__(self) -> str:
        return f"<ToolAction: {self}>"


def failure(error: AifoError, last: collections.deque[str] | tuple[str, ...] = ()) -> ToolFailed:
    """A task's failure from one of our errors, with the last lines of output if it has none."""
    text = sentence(error)
    if last and not isinstance(error, ProcessError):
        text += "\n" + "\n".join(last)
    return ToolFailed(text, exit_code=_shell_status(error.exit_status) or 1)


def _refused(error: OSError, name: str, last: collections.deque[str]) -> ToolFailed | None:
    """The failure of a task that could not write; None for an error that is a bug."""
    from aifo_tasks.tasks import output  # a call that goes well needs none of it

    closed = output.has_closed(error)
    refusal = output.refusal(error, name)
    if closed or refusal:
        output.let_go()
    if closed:
        return ToolFailed(f"{name}: {error}", exit_code=output.CLOSED_STATUS, report=False)
    return failure(refusal, last) if refusal else None


def sentence(error: AifoError) -> str:
    """The error as the user reads it: a sentence, then the hint on a line of its own."""
    if isinstance(error, ConfigError):
        return "\n".join([error.sentence, *error.problems])
    return f"{error.sentence}\nhint: {typed(error.hint)}" if error.hint else error.sentence


def typed(command: str) -> str:
    """A command line of doit's as the user has to type it: as he typed his own."""
    return _DOIT.sub("aifo ", command) if Path(sys.argv[0]).name == "aifo" else command


def inexact(task: str) -> UsageError:
    """The refusal of a command's words that went through stock doit's command line."""
    return UsageError(
        task,
        "doit's own loader would damage the words of a command",
        hint=f"add to pyproject.toml: {PYPROJECT_LINE}; the command stands after --",
    )


def _ended(name: str, status: int, tail: str, silent: bool) -> ToolFailed:  # noqa: FBT001
    code = _shell_status(status)
    message = f"{name}: exit status {code}" + (f"\n{tail}" if tail else "")
    return ToolFailed(message, exit_code=code, report=not silent)


def _shell_status(status: int) -> int:
    """As a shell shows it: 128 + n for a negative n, never 0 for what is not 0."""
    return 128 - status if status < 0 else min(status, 255)
