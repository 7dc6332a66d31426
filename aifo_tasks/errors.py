"""The errors a user can mend: one sentence and one remedy each."""

from __future__ import annotations

from collections.abc import Sequence


class AifoError(Exception):
    """Something a user can mend.

    ``subject`` is what it is about (a file, a task, an image), ``problem`` a sentence in
    lower case without a full stop, ``hint`` a command to type or a line to change.
    ``exit_status`` is what a process that ends because of it returns.
    """

    exit_status = 1

    def __init__(self, subject: str, problem: str, *, hint: str = "") -> None:
        super().__init__(subject, problem)
        self.subject = subject
        self.problem = problem
        self.hint = hint

    @property
    def sentence(self) -> str:
        """What is wrong, without the remedy."""
        return f"{self.subject}: {self.problem}"

    def __str__(self) -> str:
        return f"{self.sentence} (hint: {self.hint})" if self.hint else self.sentence


class ConfigError(AifoError):
    """toolchains.yaml, or another file, does not say what it should; carries every finding, one
    a line."""

    exit_status = 3

    def __init__(self, problems: Sequence[str], *, file: str = "toolchains.yaml") -> None:
        super().__init__(file, "is not valid")
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class LockError(AifoError):
    """Something is not what toolchains.lock names, or the lock names what is not there."""


class UnapprovedError(AifoError):
    """A file asks for something that reaches the host, and the user has not approved it."""

    exit_status = 3


class UsageError(AifoError):
    """The command line asks for something that does not exist; doit's status 3."""

    exit_status = 3


class ProcessError(AifoError):
    """A child process failed: its argv, its status and the last lines it wrote to stderr."""

    def __init__(self, argv: Sequence[str], status: int, tail: str = "", *, hint: str = "") -> None:
        problem = f"exit status {status}"
        if tail:
            problem += "\n" + tail.rstrip("\n")
        super().__init__(argv[0], problem, hint=hint)
        self.argv = tuple(argv)
        self.status = status
        self.tail = tail


class EngineError(AifoError):
    """The container engine refused or could not be reached."""


class NotFoundError(EngineError):
    """The engine has no image, container, volume or network of that name."""


class ConflictError(EngineError):
    """The engine already has a container, volume or network of that name, or it is in use."""


class UnsafePathError(AifoError):
    """A path from the workspace leads, or may lead, somewhere else on the host."""


class OverlayError(AifoError):
    """A dependency directory is not a container volume of its own; the subject begins the
    sentence."""

    @property
    def sentence(self) -> str:
        return f"{self.subject} {self.problem}"


class InstallError(AifoError):
    """The package manager failed; nothing was recorded."""


class SidecarLostError(AifoError):
    """The connection to a sidecar's init ended before the call's exit status came."""

    exit_status = 125
