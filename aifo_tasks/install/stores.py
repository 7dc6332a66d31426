"""Where package managers keep what they fetched: made on the host, looked at inside."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.errors import InstallError, UnsafePathError
from aifo_tasks.install.api import Plan, Runner, Store

# The upper directories must be writable, or at least the user's own: Go takes its writing
# permission from what it unpacked. Status 3: not so; 1: there is nothing in it yet.
_LOOK = (
    'test ! -d "$1" || test -w "$1" || exit 3; for d in "$1"/* "$1"/*/*; do '
    'test ! -d "$d" || test -w "$d" || test -O "$d" || exit 3; done; '
    'set -- "$1"/*; test -e "$1"'
)


def make(project: Path, used: Store, owner: tuple[int, int]) -> None:
    """Make a store that lies in the project, writable for the group, unknown to git."""
    if used.host is None or used.mount:
        return
    name = used.host.name
    files.make_directory_below(project, name, owner=owner, mode=0o775)
    if _in_checkout(project) and not (used.host / ".gitignore").exists():
        _write_ignore(project, f"{name}/.gitignore", owner)


def check(run: Runner, plan: Plan) -> bool:
    """True when something was stored before; InstallError when this user cannot write it."""
    status = run(["sh", "-c", _LOOK, "sh", plan.store.target], on_output=lambda _: None)
    if status == 3:
        where = plan.store.host or plan.store.target
        raise InstallError(
            str(where), "the package store cannot be written", hint=mend(plan.store)
        )  # fmt: skip
    return status == 0


def mend(used: Store) -> str:
    """The command that makes a store writable for this user again."""
    if used.host is None:
        return "doit sidecar_stop && doit purge_caches"
    return f"chown -R $(id -u):$(id -g) {used.host if used.mount else used.host.name}"


def refused(output: str, used: Store) -> bool:
    """True when a package manager's output says that it could not write its store."""
    return used.target in output and ("EACCES" in output or "ermission denied" in output)


def _in_checkout(project: Path) -> bool:
    return any(os.path.lexists(path / ".git") for path in (project, *project.parents))


def _write_ignore(project: Path, relative: str, owner: tuple[int, int]) -> None:
    """A .gitignore inside the store: the user's own stays as it is."""
    if not log.command(f"echo '*' > {shlex.quote(str(project / relative))}"):
        return
    try:
        descriptor = files.open_below(
            project, relative, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644
        )
    except PermissionError:  # check says so where it matters
        return
    except OSError as error:
        raise UnsafePathError(str(project / relative), str(error.strerror)) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"*\n")
        if owner != (os.getuid(), os.getgid()):
            os.fchown(file.fileno(), *owner)
