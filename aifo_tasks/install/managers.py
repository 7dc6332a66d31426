"""Which package manager a project uses, found by lockfile, and what it then installs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from aifo_tasks.errors import InstallError
from aifo_tasks.install import stamp
from aifo_tasks.install.api import Manager, Plan
from aifo_tasks.model import Toolchain
from aifo_tasks.overlay import Directory, Place
from aifo_tasks.value import dataclass

LOCKFILES: Mapping[str, tuple[str, ...]] = {
    "pnpm": ("pnpm-lock.yaml",),
    "npm": ("package-lock.json", "npm-shrinkwrap.json"),
    "yarn": ("yarn.lock",),
    "uv": ("uv.lock",),
    "pip": ("requirements.txt",),
    "cargo": ("Cargo.lock",),
    "go": ("go.work", "go.mod"),
}
"""The package managers there are, and what each locks with."""

_MANIFESTS = dict.fromkeys(("pnpm", "npm", "yarn"), "package.json")
"""Where a project asks for its first package, which makes the lockfile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A project's package manager; without ``locked`` there is nothing to install from.

    Then the overlay still covers the dependency directory, so that the call that makes the
    lockfile leaves nothing else in the project.
    """

    manager: Manager
    locked: bool


def find(project: Path, allowed: Sequence[str]) -> Found | None:
    """The package manager of ``project``; None when it uses none.

    ``allowed`` are the toolchain's, all of one ecosystem. Raises InstallError for lockfiles of
    several of them, or for none but one that the file does not allow.
    """
    locked = [name for name in allowed if _standing(project, name)]
    if len(locked) > 1:
        standing = [_standing(project, name)[0] for name in locked]
        raise InstallError(
            str(project), f"has two lockfiles: {' and '.join(standing)}",
            hint=f"rm {shlex.join(standing[1:])}, or managers: [{locked[0]}] in toolchains.yaml",
        )  # fmt: skip
    if locked:
        return Found(manager=module(locked[0], project), locked=True)
    for name in allowed:
        manager = module(name, project)
        if manager.uses(project):
            return Found(manager=manager, locked=False)
    return None


def may_begin(project: Path, allowed: Sequence[str]) -> bool:
    """True where the next call may install the first package, which no manifest asks for yet."""
    manifests = {_MANIFESTS[name] for name in allowed if name in _MANIFESTS}
    return any(os.path.lexists(project / name) for name in manifests)


def known_lockfiles(names: Sequence[str]) -> tuple[str, ...]:
    """What these package managers lock with."""
    return tuple(lock for name in names for lock in LOCKFILES[name])


def _standing(project: Path, name: str) -> list[str]:
    """The lockfiles of this package manager that stand in the project."""
    return [lock for lock in LOCKFILES[name] if os.path.lexists(project / lock)]


def module(name: str, project: Path) -> Manager:
    """The module of a package manager, for this project's version of it.

    Imported when asked for: a warm call needs one at most.
    """
    if name == "yarn":
        from aifo_tasks.install import berry

        name = "berry" if berry.is_berry(project) else name
    found: Manager = import_module(f"aifo_tasks.install.{name}")
    return found


def plan(
    manager: Manager,
    toolchain: Toolchain,
    *,
    place: Place,
    covered: Sequence[Directory],
    inputs: str,
    environ: Mapping[str, str],
) -> Plan | None:
    """What an install in this project is made of, ``inputs`` being the image's.

    None when no overlay covers the directory it would install into.
    """
    store = manager.store(place.project, dict(toolchain.environment), environ)
    targets, volumes = (store.target, *store.also), tuple(c.volume for c in toolchain.caches)
    if manager.DIRECTORY:
        mine = [c for c in covered if c.relative.rpartition("/")[2] == manager.DIRECTORY]
        targets, volumes = tuple(c.target for c in mine), tuple(c.volume for c in mine)
    if not targets:
        return None
    return Plan(
        kind=toolchain.kind,
        project=place.project,
        manager=manager,
        store=store,
        targets=targets,
        volumes=volumes,
        key=place.key,
        toolchain=inputs,
        platform=f"{place.platform}/{place.libc}",
        sentinel=stamp.sentinel(toolchain, "" if manager.DIRECTORY else place.key, environ),
    )
