"""yarn 2 and later, which a project brings along itself and yarn 1 calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import InstallError
from aifo_tasks.install import node, stores, words, yarn
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import HOME, WORKSPACE

NAME = "yarn"
DIRECTORY = node.DIRECTORY
ENVIRONMENT: tuple[tuple[str, str], ...] = (("CI", "true"),)

_SETTINGS = ".yarnrc.yml"
_ROOT = (yarn.LOCKFILE, _SETTINGS)
_SETTING = re.compile(rb"""^(nodeLinker|yarnPath):[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)
_OFFLINE = ("env", "YARN_ENABLE_NETWORK=0")


def is_berry(project: Path) -> bool:
    """True for a project that yarn 2 or later has locked, or is set up for."""
    lock = files.read_below(project, yarn.LOCKFILE)
    if lock is None:
        return files.read_below(project, _SETTINGS) is not None
    return b"\n__metadata:" in lock


def uses(project: Path) -> bool:
    """A manifest that asks for packages, without a lockfile."""
    return node.uses(project, NAME)


def members(project: Path) -> tuple[str, ...]:
    """The workspaces that package.json names."""
    return node.members(project)


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """Lockfile, settings, which name the version of yarn, manifests, patches."""
    return node.inputs(project, _ROOT, members(project), (node.MANIFEST,))


def changes_modules(argv: Sequence[str]) -> bool:
    """As yarn 1, and settings too."""
    return yarn.changes_modules(argv) or words.subcommand(argv, ("yarn",)) == "config"


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """yarn's global cache, in a cache volume, and its state in the overlay.

    Raises InstallError for a project that has no yarn of its own to call, or whose install
    would lie in the project itself.
    """
    settings = _settings(project)
    if "yarnPath" not in settings:
        raise InstallError(
            str(project / yarn.LOCKFILE), f"is of yarn 2 or later, and {_SETTINGS} has no yarnPath",
            hint="yarn set version berry --yarn-path",
        )  # fmt: skip
    if settings.get("nodeLinker") != "node-modules":
        raise InstallError(
            str(project / _SETTINGS), "has yarn write its install into the project itself",
            hint=f"echo 'nodeLinker: node-modules' >>{_SETTINGS}",
        )  # fmt: skip
    folder = declared.get("YARN_CACHE_FOLDER", f"{HOME}/.cache/yarn") + "/berry"
    environment = (
        ("YARN_ENABLE_GLOBAL_CACHE", "true"),
        ("YARN_ENABLE_TELEMETRY", "false"),
        ("YARN_GLOBAL_FOLDER", folder),
        ("YARN_INSTALL_STATE_PATH", f"{WORKSPACE}/{DIRECTORY}/.yarn-install-state.gz"),
    )
    return Store(target=folder, environment=environment)


def install(plan: Plan, *, offline: bool) -> Commands:
    """The immutable install."""
    return ((*(_OFFLINE if offline else ()), "yarn", "install", "--immutable"),)


def fetch(plan: Plan) -> Commands:
    """Fill the cache by an install that is thrown away."""
    state = ("env", "YARN_INSTALL_STATE_PATH=./state.gz")
    argv = (*state, "yarn", "install", "--immutable", "--mode=skip-build")
    return node.aside(plan, argv, also=(_settings(plan.project)["yarnPath"],))


def verify(run: Runner, plan: Plan) -> str:
    """yarn's own record is there; it leaves one of every install."""
    record = f"{plan.targets[0]}/.yarn-state.yml"
    if run(["test", "-f", record], on_output=lambda _: None) == 0:
        return ""
    return f"yarn ended well but left no {record}"


def explain(output: str, plan: Plan) -> str:
    """How to lock again, how to make the cache writable again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if "YN0028" in output:
        return f"doit run toolchain:{plan.kind} -- yarn install --mode=update-lockfile"
    return ""


def _settings(project: Path) -> dict[str, str]:
    text = files.read_below(project, _SETTINGS) or b""
    return {key.decode(): value.decode("utf-8", "replace") for key, value in _SETTING.findall(text)}
