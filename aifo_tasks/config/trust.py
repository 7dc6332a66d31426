"""Which contents of which files the user approved to reach the host."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def is_approved(path: Path, digest: str) -> bool:
    """True when the user approved exactly this content (SHA-256) of this absolute path."""
    raise NotImplementedError


def approve(files: Iterable[tuple[Path, str]]) -> None:
    """Approve these contents: absolute paths with their SHA-256, as ``load.requests`` gives."""
    raise NotImplementedError
