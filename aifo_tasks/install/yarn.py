"""yarn 1: its files, its cache, its frozen install; later ones are berry's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.install import node, stores, words
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import HOME

NAME = "yarn"
LOCKFILE = "yarn.lock"
DIRECTORY = node.DIRECTORY
ENVIRONMENT: tuple[tuple[str, str], ...] = (("CI", "true"),)

_ROOT = (LOCKFILE, ".yarnrc", ".npmrc")
# fmt: off
CHANGING = frozenset((
    "add", "dedupe", "generate-lock-entry", "import", "install", "link", "rebuild", "remove",
    "set", "unlink", "unplug", "up", "upgrade", "upgrade-interactive", "workspaces",
))
_VALUED = frozenset((
    "--cwd", "--cache-folder", "--registry", "--modules-folder", "--mutex", "--use-yarnrc",
))
_TELLING = frozenset(("-v", "--version", "-h", "--help"))
# fmt: on


def uses(project: Path) -> bool:
    """A manifest that asks for packages, without a lockfile."""
    return node.uses(project, NAME)


def members(project: Path) -> tuple[str, ...]:
    """The workspaces that package.json names."""
    return node.members(project)


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """Lockfile, manifests, .yarnrc, .npmrc, patches."""
    return node.inputs(project, _ROOT, members(project), (node.MANIFEST,))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a yarn command that itself makes a lockfile or what it installs; so does none."""
    word = words.subcommand(argv, ("yarn", "yarnpkg"), _VALUED)
    return word in CHANGING or (word == "" and not _TELLING & set(argv))


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """yarn's cache, in a cache volume."""
    return Store(target=declared.get("YARN_CACHE_FOLDER", f"{HOME}/.cache/yarn"))


def install(plan: Plan, *, offline: bool) -> Commands:
    """The frozen install, alone in the cache: yarn 1 takes what another is still unpacking.

    With its own record there it would not look at hashes.
    """
    cache = plan.store.target
    made, forgotten = ("mkdir", "-p", cache), ("rm", "-f", _record(plan))
    alone = ("flock", f"{cache}/.aifo-alone", "yarn", "install", "--frozen-lockfile")
    quiet = ("--non-interactive", "--no-progress")
    mode = "--offline" if offline else "--prefer-offline"
    return (made, forgotten, (*alone, *quiet, mode))


def fetch(plan: Plan) -> Commands:
    """Fill the cache by an install that is thrown away."""
    made, _, argv = install(plan, offline=False)
    return (made, *node.aside(plan, (*argv, "--ignore-scripts")))


def verify(run: Runner, plan: Plan) -> str:
    """yarn's own record of an install that had something to install is there."""
    record = _record(plan)
    if b"\n  version " not in (files.read_below(plan.project, LOCKFILE) or b""):
        return ""
    if run(["test", "-f", record], on_output=lambda _: None) == 0:
        return ""
    return f"yarn ended well but left no {record}"


def explain(output: str, plan: Plan) -> str:
    """How to lock again, how to make the cache writable again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if "Your lockfile needs to be updated" in output:
        return f"doit run toolchain:{plan.kind} -- yarn install"
    return ""


def _record(plan: Plan) -> str:
    return f"{plan.targets[0]}/.yarn-integrity"
