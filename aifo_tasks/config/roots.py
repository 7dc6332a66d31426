"""What says that a project begins in a directory: light, every command asks it."""

from __future__ import annotations

import re
from pathlib import Path

MARKERS = ("toolchains.yaml", "dodo.py")
"""A directory with one of these is a project's root."""

_SETTINGS = "pyproject.toml"
_LOADER = re.compile(rb"^\[tool\.doit\][^\[]*^loader\s*=\s*[\"']aifo[\"']", re.MULTILINE)
_MOST = 1 << 20


def settings(directory: Path) -> Path | None:
    """A pyproject.toml there whose doit uses our loader; None without one."""
    path = directory / _SETTINGS
    try:
        with path.open("rb") as file:
            return path if _LOADER.search(file.read(_MOST)) else None
    except OSError:
        return None
