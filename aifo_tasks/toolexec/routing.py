"""Which toolchain a tool's call goes to; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from aifo_tasks.model import WORKSPACE, Tool, Toolchain

DEVELOPMENT_ORDER = ("c-cpp", "rust", "go", "node", "python")
"""Who is asked first for a tool that several kinds have."""

_OWN = {
    "tsc": (f"{WORKSPACE}/node_modules/.bin/tsc",),
    "python": (f"{WORKSPACE}/.venv/bin/python",),
    "python3": (f"{WORKSPACE}/.venv/bin/python3",),
}
"""What the project's own dependencies have instead, if they have it."""

T = TypeVar("T")


def route(
    tool: str, running: Iterable[tuple[Toolchain, T]], has: Mapping[str, frozenset[str]]
) -> tuple[Tool, T] | None:
    """The tool as declared, and what stands beside the toolchain it goes to; None: nobody's.

    ``running`` are the toolchains whose sidecars run; ``has`` gives, by kind, those
    development tools that the sidecar's image was seen to have.
    """
    candidates = []
    for toolchain, sidecar in running:
        for declared in toolchain.tools:
            if declared.name != tool:
                continue
            if not declared.development:
                return declared, sidecar
            if tool in has.get(toolchain.kind, frozenset()):
                candidates.append((_rank(toolchain.kind), declared, sidecar))
    if not candidates:
        return None
    _, declared, sidecar = min(candidates, key=lambda candidate: candidate[0])
    return declared, sidecar


def reachable(
    own: Toolchain, others: Iterable[Toolchain], has: Mapping[str, frozenset[str]]
) -> tuple[str, ...]:
    """The tools of the others that a sidecar has not itself, sorted; ``has`` as for ``route``."""
    theirs = {name for toolchain in others for name in _offered(toolchain, has)}
    return tuple(sorted(theirs - _offered(own, has)))


def _offered(toolchain: Toolchain, has: Mapping[str, frozenset[str]]) -> frozenset[str]:
    seen = has.get(toolchain.kind, frozenset())
    return frozenset(
        tool.name for tool in toolchain.tools if not tool.development or tool.name in seen
    )


def programs(tool: str) -> tuple[str, ...]:
    """What is tried for a tool, in order: the project's own, then the name on the PATH."""
    return (*_OWN.get(tool, ()), tool)


def _rank(kind: str) -> int:
    known = kind in DEVELOPMENT_ORDER
    return DEVELOPMENT_ORDER.index(kind) if known else len(DEVELOPMENT_ORDER)
