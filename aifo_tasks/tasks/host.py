"""Tasks on the host's side of pnpm: its own install, what npm and yarn left, migration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction


def task_node_install() -> dict[str, Any]:
    """install on the host, with its own pnpm, from the lockfile and the repository's store"""
    return {"actions": [ToolAction(node_install)], "params": project.params()}


def task_node_guard() -> dict[str, Any]:
    """warn about what npm or yarn left in a pnpm project"""
    return {"actions": [ToolAction(node_guard)]}


def task_node_migrate() -> dict[str, Any]:
    """make pnpm-lock.yaml from package-lock.json or yarn.lock"""
    return {"actions": [ToolAction(node_migrate)], "params": project.params()}


def node_install() -> None:
    """The host's frozen install."""
    from aifo_tasks.install import host

    host.node_install(Path.cwd())


def node_guard() -> int:
    """1 when something is there that should not be."""
    from aifo_tasks.install import host

    return 0 if host.node_guard(Path.cwd()) else 1


def node_migrate() -> None:
    """pnpm import."""
    from aifo_tasks.install import host

    host.node_migrate(Path.cwd())
