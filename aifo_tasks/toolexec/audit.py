"""One line a call in a file outside the workspace, without the secrets its words hold."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.errors import AifoError
from aifo_tasks.model import AuditFile

MASK = "***"

_TRIES = 5

_MOST_WORDS = 200
_MOST_CHARACTERS = 1000
"""What is longer is recorded to here: a line stays readable, and masking it takes no time."""

_NAME = r"[\w.:/-]*(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|auth|credential)[\w.-]*"
_ASSIGNED = re.compile(rf"(?is)(-{{0,2}}{_NAME}=).+")
# the lookbehinds here keep long words from being looked at from each of their letters
_WITHIN = re.compile(rf"""(?i)((?<![\w.:/-]){_NAME}=)[^\s&;'"]+""")
_OPTION = re.compile(rf"(?i)--?{_NAME}")
_HEADER = re.compile(
    r"(?is)((?:proxy-)?authorization\s*:\s*"
    r"|(?<![\w-])[\w-]*(?:token|secret|passw(?:or)?d|api-?key)\s*:\s+).+"
)
_URL = re.compile(r"(?i)([a-z][a-z0-9+.-]{0,20}://)[^/?#\s]+@")
_KNOWN = re.compile(
    r"\b(?:gh[opsur]_|github_pat_|glpat-|npm_|pypi-|sk-|xox[abpr]-|AKIA)[A-Za-z0-9_-]{16,}"
)


class Audit:
    """Appends lines to one file, which is this user's alone; other proxies may do so as well.

    Beyond ``size`` bytes it becomes the older one, with .1 at the end of its name, in the place of
    the one before. Raises AifoError when it cannot be written.
    """

    def __init__(self, path: Path, *, size: int = AuditFile().size) -> None:
        self._path = path
        self._size = size
        try:
            self._descriptor = _open(path)
        except OSError as error:
            raise AifoError(str(path), f"calls cannot be recorded: {_reason(error)}") from None

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the time and one line, at once, so that lines of several proxies stay whole."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
        try:
            self._append(json.dumps(line).encode() + b"\n")
        except OSError as error:
            log.warn(str(self._path), f"a call is not recorded: {_reason(error)}")

    def close(self) -> None:
        os.close(self._descriptor)

    def _append(self, line: bytes) -> None:
        """Nobody takes the file away while somebody writes there.

        Where others never let go of it, it grows beyond its size.
        """
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        try:
            for _ in range(_TRIES):
                if self._is_current() and self._has_room(len(line)):
                    break
                self._go_on(len(line))
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, "")
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _go_on(self, length: int) -> None:
        """Begin a new file, or open the one that somebody else has begun."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_current() and not self._has_room(length):
                os.replace(self._path, f"{self._path}.1")
        opened = _open(self._path)
        os.close(self._descriptor)
        self._descriptor = opened
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _has_room(self, length: int) -> bool:
        found = os.fstat(self._descriptor).st_size
        return found == 0 or found + length <= self._size


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "")
    return descriptor


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def path_for(
    session: str, project: Path, *, named: Path | None = None, writable: Iterable[Path] = ()
) -> Path:
    """Where a session's lines go: the file that is named, else one in the state directory.

    Raises AifoError when the project's tools could write there, or in one of the ``writable``
    directories that they see as well.
    """
    path = named or files.state_dir() / "audit" / f"{session}.jsonl"
    real = Path(os.path.realpath(path))
    for top in (project, *writable):
        if real.is_relative_to(os.path.realpath(top)):
            raise AifoError(
                str(path), f"calls cannot be recorded below {top}, where tools write",
                hint="export XDG_STATE_HOME=/a/directory/outside" if named is None else "",
            )  # fmt: skip
    files.make_directory(path.parent)
    return path


def masked(argv: Sequence[str]) -> list[str]:
    """The words, long ones and long lists cut, with everything that looks like a secret masked."""
    words: list[str] = []
    hide_next = False
    for whole in argv[:_MOST_WORDS]:
        word = whole[:_MOST_CHARACTERS]
        found = MASK if hide_next and not word.startswith("-") else _masked(word)
        left = len(whole) - len(word)
        words.append(f"{found}… {left} more characters" if left else found)
        hide_next = _OPTION.fullmatch(word) is not None
    if len(argv) > _MOST_WORDS:
        words.append(f"… {len(argv) - _MOST_WORDS} more words")
    return words


def _masked(word: str) -> str:
    assigned = _ASSIGNED if _ASSIGNED.fullmatch(word) else _WITHIN
    word = assigned.sub(rf"\1{MASK}", word)
    word = _HEADER.sub(rf"\1{MASK}", word)
    word = _URL.sub(rf"\1{MASK}@", word)
    return _KNOWN.sub(MASK, word)
