"""Development toolchains as up-to-date-aware doit tasks."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # a module's attribute may be anything
    """The task creators, for ``from aifo_tasks import task_toolchain`` in a dodo.py."""
    if name.startswith("task_"):
        from aifo_tasks import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
