"""Notifications: the one configured command of the host, and nothing beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aifo_tasks import process
from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.answers import Answer
from aifo_tasks.toolexec.requests import NotifyRequest
from aifo_tasks.value import dataclass

DIRECTORIES = ("/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where the command may lie, once links are resolved."""

SECONDS = 30.0
_REST = "{args}"
_KEPT = ("PATH", "HOME", "LANG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """A checked command. ``open_end`` admits up to ``most`` arguments of the caller's after
    its own, else the caller's must be exactly its own."""

    name: str
    program: Path
    arguments: tuple[str, ...]
    open_end: bool
    most: int = 8
    seconds: float = SECONDS

    def run(self, request: NotifyRequest) -> Answer:
        """Run the command to its end; RefusalError when it is another one, or takes too long."""
        arguments = self._arguments(request)
        try:
            status = process.run_apart(
                [str(self.program), *arguments],
                environment=_environment(os.environ),
                timeout=self.seconds,
            )
        except TimeoutError:
            raise answers.timeout() from None
        except AifoError as error:
            raise answers.failed(self.name, error.problem, 126) from None
        return Answer(status=200, exit_code=status)

    def _arguments(self, request: NotifyRequest) -> list[str]:
        command = os.fsdecode(request.command)
        given = [os.fsdecode(argument) for argument in request.arguments]
        if command != self.name:
            raise answers.forbidden(command[:200], f"only {self.name} is configured")
        if not self.open_end:
            if tuple(given) != self.arguments:
                raise answers.forbidden(self.name, "its arguments are fixed")
            return given
        if len(given) > self.most:
            raise answers.forbidden(self.name, f"at most {self.most} arguments")
        return [*self.arguments, *given]


def configured(
    command: Sequence[str], environ: Mapping[str, str], *, directories: Iterable[str] = DIRECTORIES
) -> Notifier:
    """The notifier of a command; AifoError with the reason when it cannot be one."""
    subject = "notifications-command"
    if not command or not command[0].startswith("/"):
        raise AifoError(subject, "the program is not an absolute path")
    program = Path(os.path.realpath(command[0]))
    allowed = {"say", *environ.get("AIFO_NOTIFICATIONS_ALLOWLIST", "").replace(",", " ").split()}
    if str(program.parent) not in {os.path.realpath(each) for each in directories}:
        raise AifoError(subject, f"{program} is in none of {', '.join(directories)}")
    name = Path(command[0]).name
    if name not in allowed or program.name != name:
        raise AifoError(
            subject, f"{name} is not allowed",
            hint=f"export AIFO_NOTIFICATIONS_ALLOWLIST={name}",
        )  # fmt: skip
    if shutil.which(str(program)) is None:
        raise AifoError(subject, f"{program} is no program")
    if _REST in command[1:-1]:
        raise AifoError(subject, f"{_REST} stands at the end or nowhere")
    most = environ.get("AIFO_NOTIFICATIONS_MAX_ARGS", "8")
    if not most.isdecimal():
        raise AifoError("AIFO_NOTIFICATIONS_MAX_ARGS", f"expected a number, found '{most}'")
    open_end = command[-1] == _REST
    return Notifier(
        name=name,
        program=program,
        arguments=tuple(command[1 : -1 if open_end else None]),
        open_end=open_end,
        most=int(most),
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environ.items() if name in _KEPT or name.startswith("LC_")
    }
