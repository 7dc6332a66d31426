"""The only door to child processes, apart from the engine's SDK."""

from __future__ import annotations

import collections
import contextlib
import os
import resource
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from aifo_tasks import log
from aifo_tasks.errors import AifoError, ProcessError
from aifo_tasks.value import dataclass

_running: set[subprocess.Popen[bytes]] = set()
_raised: list[int] = []
_held: list[int] | None = None  # signals that came while a child begins; None: none begins

_LIMITED = ("/bin/sh", "-c", 'ulimit -Sn "$0" && exec "$@"')

TAIL_LINES = 40
"""How many of the last lines of a failed child's output an error carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A child that has ended: its exit status (128 + n for signal n) and what it wrote."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


def run(
    argv: Sequence[str],
    *,
    data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Completed:
    """Run a child to its end and collect what it writes.

    ``environment`` is added to this process's. Raises ProcessError when the status is not 0
    and ``check`` holds, or when ``timeout`` seconds pass (status 124); AifoError when there
    is no such program. On every path the child and its group are gone. It may open as many
    descriptors as this process could before it raised that limit for itself.
    """
    with _started(argv, environment, directory, subprocess.PIPE) as child:
        _let_come()
        try:
            stdout, stderr = child.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(argv, 124, f"no end after {timeout:g} s") from None
    done = Completed(
        argv=tuple(argv), status=shell_status(child.returncode), stdout=stdout, stderr=stderr
    )
    if check and done.status != 0:
        raise ProcessError(argv, done.status, tail(done.stderr or done.stdout))
    return done


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Run a child and hand over each line of its two outputs, joined, as it comes.

    Raises ProcessError with the last lines when the status is not 0.
    """
    last: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    with _started(argv, environment, directory, subprocess.STDOUT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        feeder = threading.Thread(target=_feed, args=(child.stdin, data), daemon=True)
        feeder.start()  # not to be left halfway: others could not start theirs
        _let_come()
        for raw in child.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            last.append(line)
            on_line(line)
        feeder.join()
        status = shell_status(child.wait())
    if status != 0:
        raise ProcessError(argv, status, "\n".join(last))


def change(argv: Sequence[str], **options: object) -> Completed | None:
    """``run`` for a command that changes something: announced first, None in a dry run."""
    if not log.command(shlex.join(argv)):
        return None
    return run(argv, **options)  # type: ignore[arg-type]  # the same keywords as run


def run_apart(
    argv: Sequence[str], *, environment: Mapping[str, str], timeout: float, grace: float = 2.0
) -> int:
    """Run a child that gets nothing of ours but ``environment``; returns its exit status.

    Its streams are empty. After ``timeout`` seconds its group gets TERM, ``grace`` seconds
    later KILL, and TimeoutError is raised. AifoError when it cannot be started. It may open
    as many descriptors as this process could before it raised that limit for itself.
    """
    try:
        child = subprocess.Popen(  # noqa: S603  # argv is a sequence of our own making
            [*_restored(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise AifoError(argv[0], f"cannot be started: {reason}") from None
    _running.add(child)
    try:
        return shell_status(child.wait(timeout))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
        raise TimeoutError(argv[0]) from None
    finally:
        _running.discard(child)
        _kill(child)
        child.wait()


def spawn_daemon(argv: Sequence[str], *, output: Path) -> int:
    """Start a process that outlives this one, in a session of its own; returns its pid.

    Its output goes to the file ``output``, its input is empty.
    """
    with output.open("ab", buffering=0) as sink:
        try:
            child = subprocess.Popen(  # noqa: S603  # argv is a sequence of our own making
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise AifoError(argv[0], "no such program") from None
    child.returncode = 0  # nobody waits for it; keeps the interpreter from warning
    return child.pid


def holds(signum: int) -> bool:
    """True when a handler must not raise now: a child begins that nobody could end yet.

    The signal comes again once somebody can.
    """
    if _held is None:
        return False
    _held.append(signum)
    return True


def kill_all() -> None:
    """End the children that other threads run: a signal's exception reaches only one thread."""
    for child in tuple(_running):
        if child.poll() is None:
            _kill(child)


def shell_status(returncode: int) -> int:
    """The status a shell shows: 128 + n for a child that signal n ended."""
    return returncode if returncode >= 0 else 128 - returncode


def tail(output: bytes) -> str:
    """The last lines of some output, as text."""
    return "\n".join(output.decode("utf-8", "replace").splitlines()[-TAIL_LINES:])


@contextlib.contextmanager
def more_descriptors(most: int) -> Iterator[None]:
    """Let this process have ``most`` descriptors open, no more than the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    _raised.append(soft)
    try:
        yield
    finally:
        _raised.pop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _restored() -> list[str]:
    """What a command stands behind to have the limit that was there before."""
    return [*_LIMITED, str(_raised[0])] if _raised and _raised[0] >= 0 else []


def _limited(argv: Sequence[str], environment: Mapping[str, str] | None) -> list[str]:
    """``_restored`` for a command that is there: one that is not has to fail by itself."""
    before = _restored()
    if before:
        import shutil  # only a proxy comes here

        path = (environment or os.environ).get("PATH")
        before = before if shutil.which(argv[0], path=path) else []
    return before


@contextlib.contextmanager
def _started(
    argv: Sequence[str],
    environment: Mapping[str, str] | None,
    directory: Path | None,
    stderr: int,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that has begun. Signals are held back until whoever has entered this says
    ``_let_come``: what they raise on the way in would leave the child to nobody.
    """
    with contextlib.ExitStack() as stack:
        _hold_back()
        stack.callback(_let_come)
        try:
            child = subprocess.Popen(  # noqa: S603  # argv is a sequence of our own making
                [*_limited(argv, environment), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment} if environment else None,
                cwd=directory,
                start_new_session=True,
            )
        except FileNotFoundError:
            hint = f"install {argv[0]}"
            raise AifoError(argv[0], "no such program", hint=hint) from None
        except OSError as error:
            raise AifoError(argv[0], f"cannot be started: {error.strerror}") from None
        stack.callback(_end, child)
        _running.add(child)
        yield child


def _hold_back() -> None:
    """Keep signals until ``_let_come``; their handlers run in the main thread alone."""
    global _held  # noqa: PLW0603  # between any two steps of whatever runs there
    if threading.current_thread() is threading.main_thread():
        _held = []


def _let_come() -> None:
    """Raise the signals that came meanwhile, and from now on those that come."""
    global _held
    if threading.current_thread() is threading.main_thread():
        came, _held = _held or [], None
        for number in came:
            signal.raise_signal(number)


def _end(child: subprocess.Popen[bytes]) -> None:
    _running.discard(child)
    if child.poll() is None:
        _kill(child)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    child.wait()


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ValueError), pipe:  # whoever ends the child closes it
        pipe.write(data)
