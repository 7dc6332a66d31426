"""uv: its files, its cache, its frozen sync."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.install import python, stores, workspaces
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import HOME

NAME = "uv"
DIRECTORY = python.DIRECTORY
ENVIRONMENT: tuple[tuple[str, str], ...] = (("UV_NO_PROGRESS", "1"),)

_LOCKFILE = "uv.lock"
_MANIFEST = "pyproject.toml"
_ROOT = (_LOCKFILE, "uv.toml", ".python-version")
_BUILD = (_MANIFEST, "setup.py", "setup.cfg")
_LOCAL = re.compile(rb'^source = \{ (?:editable|virtual|directory) = "([^"]+)" \}', re.MULTILINE)
_PROJECT = re.compile(rb"^\[(?:project|tool\.uv)[\].]", re.MULTILINE)

_ASIDE = (
    "d=$(mktemp -d) || exit; trap 'rm -rf \"$d\"' EXIT; "
    'UV_PROJECT_ENVIRONMENT=$d/venv uv sync --frozen'
)  # fmt: skip


def uses(project: Path) -> bool:
    """A manifest of a project, without a lockfile."""
    return _PROJECT.search(files.read_below(project, _MANIFEST) or b"") is not None


def members(project: Path) -> tuple[str, ...]:
    """None: all members share the root's environment."""
    return ()


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """Lockfile, settings, and the manifest of every local package that the lockfile names."""
    lock = files.read_below(project, _LOCKFILE) or b""
    local = {match.decode("utf-8", "replace") for match in _LOCAL.findall(lock)} - {"."}
    inside = [workspaces.inside(path, _LOCKFILE) for path in sorted(local)]
    places = ["", *(f"{path}/" for path in workspaces.existing(project, inside))]
    names = [*_ROOT, *(f"{place}{name}" for place in places for name in _BUILD)]
    return workspaces.content(project, names)


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a call that itself makes a lockfile or the environment."""
    return python.changes_modules(argv)


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """uv's cache, in a cache volume."""
    return Store(target=declared.get("UV_CACHE_DIR", f"{HOME}/.cache/uv"))


def install(plan: Plan, *, offline: bool) -> Commands:
    """The lockfile is compared with the manifests, then what it says is put into a new environment.

    What is installed already uv would compare with no hash, and what a killed uv left it refuses.
    """
    mode = ("--offline",) if offline else ()
    return (
        ("find", plan.targets[0], "-mindepth", "1", "-delete"),
        ("uv", "lock", "--check", *mode),
        ("uv", "sync", "--frozen", *mode),
    )


def fetch(plan: Plan) -> Commands:
    """Fill the cache by an environment that is thrown away."""
    return (("sh", "-c", _ASIDE),)


def verify(run: Runner, plan: Plan) -> str:
    """The environment is one."""
    return python.verify(run, plan)


def explain(output: str, plan: Plan) -> str:
    """How to lock again, how to make the cache writable again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if f"{_LOCKFILE}` needs to be updated" in output:
        return f"doit run toolchain:{plan.kind} -- uv lock"
    return ""
