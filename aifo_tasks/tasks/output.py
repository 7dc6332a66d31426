"""What becomes of a write that the system refuses: a sentence, or an end without a word."""

from __future__ import annotations

import errno
import os
import select
import shlex
import sys
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import AifoError

CLOSED_STATUS = 141
"""What a shell shows of a process that SIGPIPE ended."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM)


def refusal(error: OSError, subject: str) -> AifoError | None:
    """The sentence for a file that may not be written, or has no room; None for another error.

    ``subject`` is who writes, for what has no name, such as standard output.
    """
    if error.errno not in _REFUSED:
        return None
    reason = os.strerror(error.errno).lower()
    if isinstance(error.filename, (str, bytes)):
        path = Path(os.fsdecode(error.filename))
        unreadable = os.path.exists(path) and not os.access(path, os.R_OK)
        verb = "read" if unreadable else "written"
        return AifoError(str(path), f"cannot be {verb}: {reason}", hint=_hint(path, error.errno))
    if error.errno not in _FULL:
        return None
    return AifoError(subject, f"cannot write: {reason}", hint="df -h")


def has_closed(error: OSError) -> bool:
    """True when it was raised because nobody reads standard output any more."""
    if not isinstance(error, BrokenPipeError):
        return False
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def let_go() -> None:
    """Drop what standard output does not take: Python would try again at the end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def ended(error: OSError, program: str) -> int | None:
    """The exit status of a command that could not write, said on stderr; None for a bug."""
    if has_closed(error):
        let_go()
        return CLOSED_STATUS
    refused = refusal(error, program)
    if refused is None:
        return None
    let_go()
    hint = f"\nhint: {refused.hint}" if refused.hint else ""
    sys.stderr.write(f"ERROR: {refused.sentence}{hint}\n")
    return refused.exit_status


def _hint(path: Path, number: int) -> str:
    places = {
        "XDG_CACHE_HOME": files.cache_dir(),
        "XDG_CONFIG_HOME": files.config_dir(),
        "XDG_STATE_HOME": files.state_dir(),
    }
    fitting = [
        f"{variable}=/a/directory/you/can/write"
        for variable, place in places.items()
        if place.is_relative_to(path) or path.is_relative_to(place)
    ]
    if fitting:
        return "export " + " ".join(fitting)
    return f"{'df -h' if number in _FULL else 'ls -ld'} {shlex.quote(str(path.parent))}"
