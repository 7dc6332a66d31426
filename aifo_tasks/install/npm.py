"""npm: its files, its cache, its clean install."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.install import node, stores, words, workspaces
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import HOME

NAME = "npm"
DIRECTORY = node.DIRECTORY
ENVIRONMENT: tuple[tuple[str, str], ...] = (("CI", "true"),)

_LOCKFILES = ("npm-shrinkwrap.json", "package-lock.json")  # npm prefers the first
_LINK = re.compile(rb'"resolved": "([^":]+)",\s+"link": true')
_QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--no-progress")
# fmt: off
_CHANGING = frozenset((
    "add", "audit", "ci", "cit", "clean-install", "clean-install-test", "ddp", "dedupe",
    "find-dupes", "i", "ic", "in", "ins", "inst", "insta", "instal", "install",
    "install-ci-test", "install-clean", "install-test", "isnt", "isnta", "isntal", "isntall",
    "isntall-clean", "it", "link", "ln", "prune", "r", "rb", "rebuild", "remove", "rm",
    "shrinkwrap", "sit", "udpate", "un", "uninstall", "unlink", "up", "update", "upgrade",
    "version",
))
_VALUED = frozenset(("-C", "--prefix", "-w", "--workspace", "--loglevel", "--registry", "--cache"))
# fmt: on


def uses(project: Path) -> bool:
    """A manifest that asks for packages, without a lockfile."""
    return node.uses(project, NAME)


def members(project: Path) -> tuple[str, ...]:
    """The workspaces, and the directories of the project that the lockfile links."""
    links = [match.decode("utf-8", "replace") for match in _LINK.findall(_lock(project))]
    inside = [workspaces.inside(link, "package-lock.json") for link in links]
    return workspaces.existing(project, sorted({*node.members(project), *inside}))


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """Lockfile, manifests, .npmrc, patches."""
    root = (*_LOCKFILES, ".npmrc")
    return node.inputs(project, root, members(project), (node.MANIFEST,))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for an npm command that itself makes a lockfile or what it installs."""
    return words.subcommand(argv, ("npm",), _VALUED) in _CHANGING


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """npm's cache, in a cache volume."""
    return Store(target=declared.get("NPM_CONFIG_CACHE", f"{HOME}/.npm"))


def install(plan: Plan, *, offline: bool) -> Commands:
    """The clean install: npm empties node_modules itself."""
    return (("npm", "ci", *_QUIET, "--offline" if offline else "--prefer-offline"),)


def fetch(plan: Plan) -> Commands:
    """Fill the cache by an install that is thrown away."""
    (argv,) = install(plan, offline=False)
    return node.aside(plan, (*argv, "--ignore-scripts"))


def verify(run: Runner, plan: Plan) -> str:
    """npm's own record of an install that had something to install is there."""
    record = f"{plan.targets[0]}/.package-lock.json"
    if b'"node_modules/' not in _lock(plan.project):
        return ""
    if run(["test", "-f", record], on_output=lambda _: None) == 0:
        return ""
    return f"npm ended well but left no {record}"


def explain(output: str, plan: Plan) -> str:
    """How to lock again, how to make the cache writable again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if "npm ci` can only install packages when your package.json" in output:
        return f"doit run toolchain:{plan.kind} -- npm install --package-lock-only"
    return ""


def _lock(project: Path) -> bytes:
    found = (files.read_below(project, name) for name in _LOCKFILES)
    return next((lock for lock in found if lock is not None), b"")
