"""Go: go.mod and go.sum, its module cache, its download and its own verification."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks.install import stores, words, workspaces
from aifo_tasks.install.api import Commands, Plan, Runner, Store

NAME = "go"
DIRECTORY = ""
ENVIRONMENT: tuple[tuple[str, str], ...] = ()

_MODULE = ("go.mod", "go.sum")
_VENDORED = "vendor/modules.txt"
_ROOT = ("go.work", "go.work.sum", _VENDORED)
_LOCAL = re.compile(rb"""(?:^|[\s(])["']?(\.{1,2}/[^\s"')]*|\.)["']?\s*(?:$|\)|//)""", re.MULTILINE)
_TELLING = frozenset(("graph", "verify", "why"))


def uses(project: Path) -> bool:
    """Never: go.mod is manifest and lockfile in one."""
    return False


def members(project: Path) -> tuple[str, ...]:
    """None: modules of a workspace have no directory of their own to cover."""
    return ()


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """go.mod and go.sum of the root and of every local module, the workspace, what is vendored."""
    root = workspaces.content(project, (*_MODULE, *_ROOT))
    local = {path for _, content in root[:3] for path in _modules(content or b"")}
    names = [f"{path}/{name}" for path in sorted(local) for name in _MODULE]
    return (*root, *workspaces.content(project, names))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a go command that itself changes go.mod, go.sum or the module cache."""
    first, second = [*words.plain(argv, ("go",), ("-C",)), "", ""][:2]
    return first in {"get", "work"} or (first == "mod" and second not in _TELLING)


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """The module cache, in a cache volume; ``go clean -modcache`` takes our stamp with it."""
    path = declared.get("GOPATH", "/go")
    return Store(target=declared.get("GOMODCACHE", f"{path}/pkg/mod"))


def install(plan: Plan, *, offline: bool) -> Commands:
    """Nothing may have to be added to go.mod and go.sum; then the modules are downloaded.

    What is vendored lies in the project and only has to agree with go.mod.
    """
    if _is_vendored(plan):
        return (("go", "list", "-mod=vendor", "-m"),)
    without = ("env", "GOPROXY=off") if offline else ()
    return (
        (*without, "go", "list", "-mod=readonly", "-m", "all"),
        (*without, "go", "mod", "download"),
    )


def fetch(plan: Plan) -> Commands:
    """The same: go installs nothing but its store."""
    return install(plan, offline=False)


def verify(run: Runner, plan: Plan) -> str:
    """go's own comparison of what it unpacked with what it downloaded."""
    if _is_vendored(plan):
        return ""
    output = bytearray()
    if run(("go", "mod", "verify"), on_output=output.extend) == 0:
        return ""
    return f"go mod verify: {output.decode('utf-8', 'replace').strip()}"


def explain(output: str, plan: Plan) -> str:
    """How to lock again, how to make the cache writable again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if "inconsistent vendoring" in output:
        return f"doit run toolchain:{plan.kind} -- go mod vendor"
    if "missing go.sum entry" in output or "updates to go.mod needed" in output:
        return f"doit run toolchain:{plan.kind} -- go mod tidy"
    return ""


def _is_vendored(plan: Plan) -> bool:
    return os.path.lexists(plan.project / _VENDORED)


def _modules(content: bytes) -> set[str]:
    """Directories below the project that ``use`` and ``replace`` name."""
    found = {os.path.normpath(path.decode("utf-8", "replace")) for path in _LOCAL.findall(content)}
    return {path for path in found if path != "." and not path.startswith("..")}
