"""cargo: its files, its registry and git caches, its locked fetch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.install import stores, words, workspaces
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import HOME

NAME = "cargo"
DIRECTORY = ""
ENVIRONMENT: tuple[tuple[str, str], ...] = ()

_LOCKFILE = "Cargo.lock"
_MANIFEST = "Cargo.toml"
_ROOT = (
    _LOCKFILE, ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain",
)  # fmt: skip
_MEMBERS = re.compile(rb"^\s*(?:workspace\.)?members\s*=\s*\[([^\]]*)\]", re.MULTILINE)
_PATH = re.compile(rb"""\bpath\s*=\s*["']([^"']+)["']""")
_TEXT = re.compile(rb"""["']([^"']+)["']""")
_CHANGING = frozenset((
    "add", "fetch", "generate-lockfile", "init", "new", "remove", "rm", "update", "vendor",
))  # fmt: skip
_VALUED = ("--color", "--config", "-C", "-Z", "--manifest-path")


def uses(project: Path) -> bool:
    """A manifest without a lockfile."""
    return os.path.lexists(project / _MANIFEST)


def members(project: Path) -> tuple[str, ...]:
    """None: all members share the root's target directory."""
    return ()


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """Lockfile, configuration, toolchain file, and the manifests of members and local crates."""
    return (*workspaces.content(project, _ROOT), *sorted(_manifests(project).items()))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a cargo command that itself makes a lockfile or fetches."""
    return words.subcommand(argv, ("cargo",), _VALUED) in _CHANGING


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """The registry and git directories of cargo's home, each a cache volume."""
    home = declared.get("CARGO_HOME", f"{HOME}/.cargo")
    return Store(target=f"{home}/registry", also=(f"{home}/git",))


def install(plan: Plan, *, offline: bool) -> Commands:
    """The locked fetch, alone in the cache: cargo's own lock lies outside of the volumes."""
    alone = ("flock", f"{plan.store.target}/.aifo-alone")
    return ((*alone, "cargo", "fetch", "--locked", *(["--offline"] if offline else [])),)


def fetch(plan: Plan) -> Commands:
    """The same: cargo installs nothing but its store."""
    return install(plan, offline=False)


def verify(run: Runner, plan: Plan) -> str:
    """Every crate of the lockfile is there without a network."""
    argv = ("cargo", "metadata", "--locked", "--offline", "--format-version", "1")
    if run(argv, on_output=lambda _: None) == 0:
        return ""
    return "cargo fetch ended well but left crates out"


def explain(output: str, plan: Plan) -> str:
    """How to lock again, how to make the cache writable again."""
    if stores.refused(output, plan.store):
        return stores.mend(plan.store)
    if "lock file" in output and "--locked was passed" in output:
        return f"doit run toolchain:{plan.kind} -- cargo update --workspace"
    return ""


def _manifests(project: Path) -> dict[str, bytes | None]:
    """The root's manifest, and those below the project that it leads to; by a scan, not parsed."""
    found: dict[str, bytes | None] = {}
    patterns = [
        pattern.decode("utf-8", "replace")
        for array in _MEMBERS.findall(files.read_below(project, _MANIFEST) or b"")
        for pattern in _TEXT.findall(array)
    ]
    waiting = ["", *workspaces.expand(project, patterns, _MANIFEST)]
    while waiting:
        base = waiting.pop()
        name = f"{base}/{_MANIFEST}" if base else _MANIFEST
        content = found[name] = files.read_below(project, name)
        for path in _PATH.findall(content or b""):
            crate = os.path.normpath(os.path.join(base, path.decode("utf-8", "replace")))
            manifest = f"{crate}/{_MANIFEST}"
            inside = crate != "." and not crate.startswith(("..", "/"))
            if inside and manifest not in found and os.path.lexists(project / manifest):
                waiting.append(crate)
    return found
