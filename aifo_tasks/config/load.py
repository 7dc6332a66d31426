"""The public door: find toolchains.yaml, read it once, remember it as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aifo_tasks.model import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What a project's own files ask of the host, approved or not.

    ``files`` holds each file with the SHA-256 of what was read, ``lines`` one line
    ``file:line:column: key`` for each key that reaches the host.
    """

    files: tuple[tuple[Path, str], ...]
    lines: tuple[str, ...]


def find_root(cwd: Path) -> Path:
    """The nearest directory upwards with a toolchains.yaml or a dodo.py, else ``cwd``."""
    raise NotImplementedError


def load(start: Path) -> Config:
    """The validated model of the project at ``start``; the shipped toolchains without a file.

    Raises ConfigError with every finding, AifoError for a file that cannot be read and for
    keys that reach the host in a file nobody approved.
    """
    raise NotImplementedError


def chain(start: Path) -> tuple[Path, ...]:
    """The project's own file and what it extends, in that order; empty without a file."""
    return load(start).files


def requests(start: Path) -> Requests:
    """What the files of the project at ``start`` ask of the host, for ``doit trust`` to show.

    Raises as ``load`` does, apart from the missing approval.
    """
    raise NotImplementedError
