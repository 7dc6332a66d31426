"""One line a call in a file outside the workspace, without the secrets its words hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import AifoError

MASK = "***"

_MOST_WORDS = 200
_MOST_CHARACTERS = 1000
"""What is longer is recorded to here: a line stays readable, and masking it takes no time."""

_NAME = r"[\w.:/-]*(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|auth|credential)[\w.-]*"
_ASSIGNED = re.compile(rf"(?is)(-{{0,2}}{_NAME}=).+")
_OPTION = re.compile(rf"(?i)--?{_NAME}")
_HEADER = re.compile(r"(?is)((?:proxy-)?authorization\s*:\s*).+")
_URL = re.compile(r"(?i)([a-z][a-z0-9+.-]{0,20}://)[^/@\s]+@")
_KNOWN = re.compile(
    r"\b(?:gh[opsur]_|github_pat_|glpat-|npm_|pypi-|sk-|xox[abpr]-|AKIA)[A-Za-z0-9_-]{16,}"
)


class Audit:
    """Appends lines to one file, which is this user's alone."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the time and one line, at once, so that lines of several proxies stay whole."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


def path_for(session: str, project: Path) -> Path:
    """Where a session's lines go; AifoError when the project's tools could write there."""
    directory = files.state_dir() / "audit"
    if Path(os.path.realpath(directory)).is_relative_to(project):
        raise AifoError(
            str(directory), "calls cannot be recorded inside the project",
            hint="export XDG_STATE_HOME=/a/directory/outside",
        )  # fmt: skip
    files.make_directory(directory)
    return directory / f"{session}.jsonl"


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
    word = _ASSIGNED.sub(rf"\1{MASK}", word) if _ASSIGNED.fullmatch(word) else word
    word = _HEADER.sub(rf"\1{MASK}", word)
    word = _URL.sub(rf"\1{MASK}@", word)
    return _KNOWN.sub(MASK, word)
