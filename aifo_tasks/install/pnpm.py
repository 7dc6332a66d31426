"""pnpm: its files, its store in the repository, its frozen install."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import InstallError
from aifo_tasks.install import node, pnpm_lock, stores, words, workspaces
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import WORKSPACE

NAME = "pnpm"
DIRECTORY = node.DIRECTORY
ENVIRONMENT: tuple[tuple[str, str], ...] = (("CI", "true"),)
LOCKFILE = pnpm_lock.NAME
STORE = ".pnpm-store"

_MANIFESTS = ("package.json", "package.json5", "package.yaml", ".npmrc")
_ROOT = ("pnpm-workspace.yaml", ".pnpmfile.cjs", ".pnpmfile.mjs")
# fmt: off
_CHANGING = frozenset((
    "add", "audit", "dedupe", "deploy", "fetch", "i", "import", "in", "install", "install-test",
    "it", "link", "ln", "patch-commit", "patch-remove", "prune", "rb", "rebuild", "remove", "rm",
    "un", "uninstall", "unlink", "up", "update", "upgrade",
))
_VALUED = frozenset((
    "-C", "--dir", "-F", "--filter", "--filter-prod", "--loglevel", "--reporter", "--store-dir",
    "--workspace-concurrency",
))
# fmt: on


def uses(project: Path) -> bool:
    """A workspace, or a manifest that asks for packages, without a lockfile."""
    return node.uses(project, NAME)


def members(project: Path) -> tuple[str, ...]:
    """Workspace members that exist, from the lockfile's importers, in its order."""
    lock = files.read_below(project, LOCKFILE)
    if lock is None:
        return ()
    return workspaces.existing(project, pnpm_lock.importers(lock))


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """The lockfile, every manifest and .npmrc, workspace file, hooks and patches."""
    lock = files.read_below(project, LOCKFILE) or b""
    found = workspaces.existing(project, pnpm_lock.importers(lock))
    patches = set(pnpm_lock.patches(lock)) - set(workspaces.listed(project, "patches"))
    root = (*_ROOT, *sorted(patches))
    return ((LOCKFILE, lock), *node.inputs(project, root, found, _MANIFESTS))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a pnpm command that itself makes a lockfile or what it installs.

    Such a call mends what a frozen install refuses (no lockfile, an outdated one), so it
    must not wait for one; what it leaves is not what the stamp says.
    """
    return words.subcommand(argv, ("pnpm", "pnpx"), _VALUED) in _CHANGING


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """The store in the repository, or the one PNPM_STORE_PATH names outside of it."""
    value = environ.get("PNPM_STORE_PATH", "")
    if not value:
        return _store(f"{WORKSPACE}/{STORE}", project / STORE)
    path = Path(value)
    if not path.is_absolute():
        raise InstallError(
            "PNPM_STORE_PATH", f"must be an absolute path, not '{value}'",
            hint="unset PNPM_STORE_PATH",
        )  # fmt: skip
    real = Path(os.path.realpath(path))
    if not path.is_dir() or real.is_relative_to(project) or project.is_relative_to(real):
        problem = "lies inside the project or holds it" if path.is_dir() else "is no directory"
        hint = f"unset PNPM_STORE_PATH, or mkdir -p {path}"
        raise InstallError("PNPM_STORE_PATH", f"{value} {problem}", hint=hint)
    return _store("/mnt/pnpm-store", real, mount=True)


def install(plan: Plan, *, offline: bool) -> Commands:
    """The frozen install, reporting line by line."""
    argv = ("pnpm", "install", "--frozen-lockfile", "--store-dir", plan.store.target)
    return ((*argv, "--reporter=append-only", *(["--offline"] if offline else [])),)


def fetch(plan: Plan) -> Commands:
    """Fill the store; pnpm makes a virtual store beside the lockfile, so it gets a copy."""
    store = ("--store-dir", plan.store.target)
    argv = ("pnpm", "fetch", *store, "--reporter=append-only", "--ignore-scripts")
    return node.aside(plan, argv)


def verify(run: Runner, plan: Plan) -> str:
    """pnpm's own records of an install that had something to install are there.

    The virtual store has one too, unless .npmrc puts it somewhere else.
    """
    if not pnpm_lock.has_packages(files.read_below(plan.project, LOCKFILE) or b""):
        return ""
    script = (
        'test -f "$1/.modules.yaml" && { test ! -d "$1/.pnpm" || test -f "$1/.pnpm/lock.yaml"; }'
    )
    if run(["sh", "-c", script, "sh", plan.targets[0]], on_output=lambda _: None) == 0:
        return ""
    return f"pnpm ended well but left no record of it in {plan.targets[0]}"


def explain(output: str, plan: Plan) -> str:
    """What pnpm's own message does not say: whom the store belongs to, how to lock again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if "ERR_PNPM_OUTDATED_LOCKFILE" in output or "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH" in output:
        return (
            f"doit run toolchain:{plan.kind} -- pnpm install --no-frozen-lockfile --lockfile-only"
        )
    return ""


def _store(target: str, host: Path, *, mount: bool = False) -> Store:
    """pnpm refuses modules that were linked from another store than it is told."""
    environment = (("npm_config_store_dir", target),)
    return Store(target=target, host=host, mount=mount, environment=environment)
