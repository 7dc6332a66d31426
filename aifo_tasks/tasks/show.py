"""Tasks that show decisions, and the one that approves a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aifo_tasks import log
from aifo_tasks.config import load
from aifo_tasks.errors import AifoError, UsageError
from aifo_tasks.model import BaseSource
from aifo_tasks.spec import Wish
from aifo_tasks.tasks import project, variables
from aifo_tasks.tasks.actions import ToolAction


def task_toolchains() -> dict[str, Any]:
    """list the toolchains: image, version, where the image comes from, tools"""
    return {
        "actions": [ToolAction(toolchains, interactive=True)],
        "meta": {"aifo": {"quiet": True}},
    }


def task_registry() -> dict[str, Any]:
    """show where an image reference is looked for: doit registry REF=node:20"""
    return {
        "actions": [ToolAction(show_reference, interactive=True)],
        "params": variables.params("REF", "REFRESH_REGISTRY"),
        "meta": {"aifo": {"quiet": True}},
    }


def task_trust() -> dict[str, Any]:
    """approve what this project's toolchains.yaml asks of the host"""
    return {"actions": [ToolAction(approve)], "params": project.params()}


def toolchains() -> None:
    """One block a toolchain, on stdout."""
    lines = []
    for toolchain in project.config().toolchains:
        chosen = project.choice(toolchain.short)
        image, why = chosen.toolchain.image, f"({chosen.source.words}: {chosen.where})"
        lines.append(f"{toolchain.kind}: {image.reference}")
        if toolchain.aliases:
            lines.append(f"  aliases: {' '.join(toolchain.aliases)}")
        if image.taken:
            lines.append(f"  image: taken as it is {why}")
        else:
            lines.append(f"  version: {image.version or 'not asked for'} {why}")
            lines += [f"  base: {_base(each, image.version or '')}" for each in image.base]
        lines += [f"  instead of {_wish(wish)}" for wish in chosen.passed]
        lines.append(f"  tools: {' '.join(tool.name for tool in toolchain.tools)}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _wish(wish: Wish) -> str:
    """What somebody asked for, and where."""
    what = f"image {wish.spec.image}" if wish.spec.image else f"version {wish.spec.version}"
    return f"{what} ({wish.source.words}: {wish.where})"


def _base(source: BaseSource, asked: str) -> str:
    """Where a base comes from, and which version of the tool it would give."""
    from aifo_tasks.image import base

    version = asked or source.version
    place = (source.reference or "").replace("{version}", version)
    if source.bootstrap is not None:
        place = f"bootstrap of {source.bootstrap.suite}"
    try:
        return f"{place} gives {base.given(source, asked)}"
    except AifoError as error:
        return f"{place}: {error.problem}"


def show_reference(*, ref: str, refresh_registry: bool) -> None:
    """The reference that is asked for and the reason, on stdout."""
    from aifo_tasks.registry import references

    if not ref:
        raise UsageError("registry", "needs a reference", hint="doit registry REF=node:20")
    prefixes = project.prefixes(refresh=refresh_registry)
    built = {toolchain.image.name for toolchain in project.config().toolchains}
    internal = references.name(ref) in built
    resolved = references.resolve(ref, prefixes, internal=internal)
    sys.stdout.write(f"{resolved.reference} ({resolved.source})\n")
    sys.stdout.flush()


def approve() -> None:
    """Show each key that reaches the host, and approve the files as they are now."""
    from aifo_tasks.config import trust

    root = load.find_root(Path.cwd())
    asked = load.requests(root)
    for line in asked.lines:
        log.step("trust", line)
    if not asked.lines:
        log.step("trust", "nothing in this project's files reaches the host")
        return
    trust.approve(asked.files)
    log.done("trust", "approved until one of these files changes")
