"""What the package managers of Node share: package.json, workspaces, a fetch that installs
nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aifo_tasks import files
from aifo_tasks.errors import InstallError
from aifo_tasks.install import workspaces
from aifo_tasks.install.api import Commands, Plan

DIRECTORY = "node_modules"
MANIFEST = "package.json"

_TRACES = ((".yarnrc.yml", "yarn"), (".yarnrc", "yarn"), ("pnpm-workspace.yaml", "pnpm"))

# In the store itself, where files can be linked instead of copied. The manifest keeps package
# managers from looking for their root further up.
_ASIDE = (
    'set -e; d=$1; shift; rm -rf "$d"; mkdir -p "$d"; trap \'rm -rf "$d"\' EXIT; '
    'while test "$1" != --; do cp --parents -- "$1" "$d"; shift; done; shift; cd "$d"; '
    f'test -e {MANIFEST} || echo "{{}}" >{MANIFEST}; "$@"'
)


def uses(project: Path, name: str) -> bool:
    """True when manifest or settings name this manager, or none but the manifest asks for
    packages."""
    content = manifest(project)
    named = str(content.get("packageManager", "")).partition("@")[0]
    settings = [found for trace, found in _TRACES if os.path.lexists(project / trace)]
    if named or settings:
        return name == (named or settings[0])
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    return any(content.get(kind) for kind in kinds)


def members(project: Path) -> tuple[str, ...]:
    """The workspace members that package.json names and that are there."""
    patterns = manifest(project).get("workspaces") or ()
    if isinstance(patterns, dict):  # yarn's longer form
        patterns = patterns.get("packages") or ()
    return workspaces.expand(project, map(str, patterns), MANIFEST)


def inputs(
    project: Path, root: Sequence[str], members: Sequence[str], manifests: Sequence[str]
) -> tuple[tuple[str, bytes | None], ...]:
    """Files of the root, the manifests of root and members, and every patch."""
    names = [*root, *manifests]
    names += [f"{member}/{name}" for member in members for name in manifests]
    return workspaces.content(project, [*names, *workspaces.listed(project, "patches")])


def manifest(project: Path) -> dict[str, Any]:
    """The root's package.json, {} without one. Raises InstallError when it is not an object."""
    data = files.read_below(project, MANIFEST)
    if data is None:
        return {}
    try:
        content = json.loads(data)
    except ValueError as error:
        raise InstallError(str(project / MANIFEST), f"is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InstallError(str(project / MANIFEST), "is not a JSON object")
    return content


def aside(plan: Plan, argv: Sequence[str], *, also: Sequence[str] = ()) -> Commands:
    """Run a command in a copy of the files that decide the install, in the store, then drop it.

    ``also`` are further files that it needs.
    """
    directory = f"{plan.store.target}/.aifo-{plan.key}-aside"
    there = [name for name, content in plan.manager.inputs(plan.project) if content is not None]
    return (("sh", "-c", _ASIDE, "sh", directory, *there, *also, "--", *argv),)
