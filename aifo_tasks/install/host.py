"""pnpm on the host: install into the repository's store, look out for npm and yarn, migrate."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from aifo_tasks import log, process
from aifo_tasks.errors import InstallError
from aifo_tasks.install import pnpm, stores

FOREIGN = (
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "bun.lock", "bun.lockb",
)  # fmt: skip
"""Lockfiles of other package managers of the same ecosystem."""

_MIGRATED = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock")
_TRACES = (
    ("node_modules/.package-lock.json", "npm"),
    ("node_modules/.yarn-integrity", "yarn"),
    ("node_modules/.yarn-state.yml", "yarn"),
)


def node_install(project: Path) -> None:
    """Install what pnpm-lock.yaml says with the host's own pnpm.

    Raises InstallError when there is no pnpm or no lockfile, ProcessError when pnpm fails.
    """
    if not (project / pnpm.LOCKFILE).is_file():
        raise InstallError(str(project), f"has no {pnpm.LOCKFILE}", hint=_lock_hint(project))
    program = _program("doit run toolchain:node")
    for finding in _findings(project):
        log.warn("node_install", finding)
    owner = (os.getuid(), os.getgid())
    stores.make(project, pnpm.store(project, {}, {}), owner)
    argv = [program, "install", "--frozen-lockfile", "--store-dir", pnpm.STORE]
    _run(argv, project, "node_install")


def node_guard(project: Path) -> bool:
    """Warn about what npm or yarn left in a pnpm project; True when there is nothing."""
    findings = _findings(project)
    for finding in findings:
        log.warn("node_guard", finding)
    return not findings


def node_migrate(project: Path) -> None:
    """Make pnpm-lock.yaml from another package manager's lockfile, with the host's pnpm.

    Nothing is removed: the last line says what to remove. Raises InstallError when there is
    nothing to migrate from, or a pnpm-lock.yaml already.
    """
    foreign = foreign_lockfiles(project)
    if not any(name in _MIGRATED for name in foreign):
        raise InstallError(
            str(project), f"has none of {', '.join(_MIGRATED)} to migrate from",
            hint="doit run toolchain:node -- pnpm install --lockfile-only",
        )  # fmt: skip
    if os.path.lexists(project / pnpm.LOCKFILE):
        raise InstallError(
            str(project), f"has {pnpm.LOCKFILE} already", hint=f"rm {' '.join(foreign)}"
        )
    program = _program("npx --yes pnpm import")
    _run([program, "import"], project, "node_migrate")
    log.done("node_migrate", f"{pnpm.LOCKFILE} is made; remove the other: rm {' '.join(foreign)}")


def foreign_lockfiles(project: Path) -> tuple[str, ...]:
    """Lockfiles of other package managers that stand in the project."""
    return tuple(name for name in FOREIGN if os.path.lexists(project / name))


def _findings(project: Path) -> list[str]:
    found = [
        f"{name} stands in a pnpm project: rm {name}, or doit node_migrate"
        for name in foreign_lockfiles(project)
    ]
    found += [
        f"node_modules was made by {manager}: rm -rf node_modules && doit node_install"
        for trace, manager in _TRACES
        if os.path.lexists(project / trace)
    ]
    return found


def _program(instead: str) -> str:
    if shutil.which("pnpm") is None:
        raise InstallError(
            "pnpm", "is not on this host's PATH", hint=f"corepack enable pnpm, or {instead}"
        )
    return "pnpm"


def _lock_hint(project: Path) -> str:
    if foreign_lockfiles(project):
        return "doit node_migrate"
    return "pnpm install --lockfile-only"


def _run(argv: list[str], project: Path, subject: str) -> None:
    if log.command(f"(cd {shlex.quote(str(project))} && {shlex.join(argv)})"):
        log.step(subject, " ".join(argv))
        process.stream(argv, lambda line: log.progress(subject, line), directory=project)
