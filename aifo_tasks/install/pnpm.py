"""pnpm: its files, its store in the repository, its frozen install."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.errors import InstallError, UnsafePathError
from aifo_tasks.install import pnpm_lock
from aifo_tasks.install.api import Plan, Runner, Store
from aifo_tasks.model import WORKSPACE

NAME = "pnpm"
LOCKFILE = pnpm_lock.NAME
ENVIRONMENT: tuple[tuple[str, str], ...] = (("CI", "true"),)
STORE = ".pnpm-store"

_MANIFESTS = ("package.json", "package.json5", "package.yaml", ".npmrc")
_ROOT = (LOCKFILE, "pnpm-workspace.yaml", ".pnpmfile.cjs", ".pnpmfile.mjs")
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


def members(project: Path) -> tuple[str, ...]:
    """Workspace members that exist, from the lockfile's importers, in its order."""
    lock = files.read_below(project, LOCKFILE)
    if lock is None:
        return ()
    return _existing(project, pnpm_lock.importers(lock))


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """The lockfile, every manifest and .npmrc, workspace file, hooks and patches."""
    lock = files.read_below(project, LOCKFILE) or b""
    names = [*_ROOT[1:], *_MANIFESTS]
    for member in _existing(project, pnpm_lock.importers(lock)):
        names += [f"{member}/{name}" for name in _MANIFESTS]
    names += sorted({*pnpm_lock.patches(lock), *_directory(project, "patches")})
    read = [(name, files.read_below(project, name)) for name in names]
    return ((LOCKFILE, lock), *read)


def install_argv(store: Store, *, offline: bool) -> tuple[str, ...]:
    """The frozen install, reporting line by line."""
    argv = ("pnpm", "install", "--frozen-lockfile", "--store-dir", store.target)
    return (*argv, "--reporter=append-only", *(["--offline"] if offline else []))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a pnpm command that itself makes a lockfile or what it installs.

    Such a call mends what a frozen install refuses (no lockfile, an outdated one), so it
    must not wait for one; what it leaves is not what the stamp says.
    """
    if not argv or argv[0].rsplit("/", 1)[-1] not in ("pnpm", "pnpx"):
        return False
    words = iter(argv[1:])
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif not word.startswith("-"):
            return word in _CHANGING
    return False


def store(project: Path, environ: Mapping[str, str]) -> Store:
    """The store in the repository, or the one PNPM_STORE_PATH names outside of it."""
    value = environ.get("PNPM_STORE_PATH", "")
    if not value:
        return Store(host=project / STORE, target=f"{WORKSPACE}/{STORE}")
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
    return Store(host=real, target="/mnt/pnpm-store", mount=True)


def make_store(project: Path, used: Store, owner: tuple[int, int]) -> None:
    """Make the store in the repository, writable for the group, unknown to git."""
    if used.mount:
        return
    files.make_directory_below(project, STORE, owner=owner, mode=0o775)
    if _in_checkout(project) and not (project / STORE / ".gitignore").exists():
        _write_ignore(project, owner)


def check_store(run: Runner, used: Store) -> bool:
    """True when something was stored before; InstallError when this user cannot write it."""
    script = (
        'for d in "$1" "$1"/v* "$1"/v*/*; do test ! -d "$d" || test -w "$d" || exit 3; done; '
        'test -d "$1" || exit 3; set -- "$1"/v*; test -d "$1"'
    )
    status = run(["sh", "-c", script, "sh", used.target], on_output=_ignore)
    if status == 3:
        raise InstallError(
            str(used.host), "the package store cannot be written", hint=_own(used)
        )  # fmt: skip
    return status == 0


def verify(run: Runner, plan: Plan) -> str:
    """pnpm's own records of an install that had something to install are there.

    The virtual store has one too, unless .npmrc puts it somewhere else.
    """
    if not pnpm_lock.has_packages(files.read_below(plan.project, LOCKFILE) or b""):
        return ""
    script = (
        'test -f "$1/.modules.yaml" && { test ! -d "$1/.pnpm" || test -f "$1/.pnpm/lock.yaml"; }'
    )
    if run(["sh", "-c", script, "sh", plan.targets[0]], on_output=_ignore) == 0:
        return ""
    return f"pnpm ended well but left no record of it in {plan.targets[0]}"


def explain(output: str, used: Store) -> str:
    """What pnpm's own message does not say: whom the store belongs to, how to lock again."""
    if "EACCES" in output and used.target in output:
        return _own(used)
    if "ERR_PNPM_OUTDATED_LOCKFILE" in output or "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH" in output:
        return "doit run toolchain:node -- pnpm install --no-frozen-lockfile --lockfile-only"
    return ""


def fetch_argv(used: Store) -> tuple[str, ...]:
    """Fill the store from the lockfile without touching node_modules.

    pnpm fetch makes a virtual store beside the lockfile: it works on a copy that lies in the
    store itself, where files are linked, not copied.
    """
    script = (  # the manifest keeps pnpm from looking for its root further up
        'set -e; rm -rf "$1"/.aifo-warm.*; d=$(mktemp -d "$1/.aifo-warm.XXXXXX"); '
        "trap 'rm -rf \"$d\"' EXIT; "
        'echo "{}" >"$d/package.json"; cp pnpm-lock.yaml "$d"; '
        "for f in package.json .npmrc pnpm-workspace.yaml .pnpmfile.cjs patches; do "
        'test ! -e "$f" || cp -R "$f" "$d"; done; cd "$d"; '
        'pnpm fetch --store-dir "$1" --reporter=append-only --ignore-scripts'
    )
    return ("sh", "-c", script, "sh", used.target)


def _existing(project: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Those that are directories here: a lockfile outlives a removed member."""
    return tuple(name for name in names if _is_directory(project, name))


def _is_directory(project: Path, relative: str) -> bool:
    try:
        os.close(files.open_below(project, relative, os.O_RDONLY | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _directory(project: Path, relative: str) -> Iterator[str]:
    """Names of the regular files in a directory below the project."""
    try:
        descriptor = files.open_below(project, relative, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        with os.scandir(descriptor) as entries:
            yield from (
                f"{relative}/{entry.name}"
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            )
    finally:
        os.close(descriptor)


def _in_checkout(project: Path) -> bool:
    return any(os.path.lexists(path / ".git") for path in (project, *project.parents))


def _write_ignore(project: Path, owner: tuple[int, int]) -> None:
    """A .gitignore inside the store: the user's own stays as it is."""
    relative = f"{STORE}/.gitignore"
    if not log.command(f"echo '*' > {shlex.quote(str(project / relative))}"):
        return
    try:
        descriptor = files.open_below(
            project, relative, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644
        )
    except PermissionError:  # check_store says so where it matters
        return
    except OSError as error:
        raise UnsafePathError(str(project / relative), str(error.strerror)) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"*\n")
        if owner != (os.getuid(), os.getgid()):
            os.fchown(file.fileno(), *owner)


def _own(used: Store) -> str:
    return f"chown -R $(id -u):$(id -g) {used.host if used.mount else STORE}"


def _ignore(_: bytes) -> None:
    pass
