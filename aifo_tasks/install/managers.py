"""Which package manager a project uses: found by lockfile."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import InstallError
from aifo_tasks.install import pnpm
from aifo_tasks.install.api import Manager
from aifo_tasks.value import dataclass

FOREIGN = (
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "bun.lock", "bun.lockb",
)  # fmt: skip
"""Lockfiles of other package managers of the same ecosystem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A project's package manager; without ``locked`` there is nothing to install from.

    Then the overlay still covers node_modules, so that the call that makes the lockfile
    leaves nothing else in the project.
    """

    manager: Manager
    locked: bool


def find(project: Path, allowed: Sequence[str]) -> Found | None:
    """The package manager of ``project``; None when it uses none.

    ``allowed`` are the toolchain's. Raises InstallError for two lockfiles of one ecosystem, or
    for only one that no module here can install from.
    """
    if pnpm.NAME not in allowed:
        return None
    locked = files.read_below(project, pnpm.LOCKFILE) is not None
    foreign = foreign_lockfiles(project)
    if foreign and locked:
        names = " and ".join((pnpm.LOCKFILE, *foreign))
        raise InstallError(
            str(project), f"has two lockfiles: {names}",
            hint=f"rm {shlex.join(foreign)}, or doit node_migrate",
        )  # fmt: skip
    if foreign:
        raise InstallError(
            str(project), f"has {' and '.join(foreign)}, and pnpm is the only manager so far",
            hint="doit node_migrate",
        )  # fmt: skip
    if not locked and not _uses_pnpm(project):
        return None
    return Found(manager=pnpm, locked=locked)


def foreign_lockfiles(project: Path) -> tuple[str, ...]:
    """Lockfiles of other package managers that stand in the project."""
    return tuple(name for name in FOREIGN if os.path.lexists(project / name))


def _uses_pnpm(project: Path) -> bool:
    """A manifest that asks for packages, or for pnpm, without a lockfile."""
    if os.path.lexists(project / "pnpm-workspace.yaml"):
        return True
    manifest = files.read_below(project, "package.json")
    if manifest is None:
        return False
    try:
        content = json.loads(manifest)
    except ValueError as error:
        raise InstallError(str(project / "package.json"), f"is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InstallError(str(project / "package.json"), "is not a JSON object")
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    named = str(content.get("packageManager", "")).startswith("pnpm@")
    return named or any(content.get(kind) for kind in kinds)
