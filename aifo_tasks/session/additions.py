"""Global tools that a sidecar gets besides its image, when asked for: ``BOOTSTRAP=``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aifo_tasks import log
from aifo_tasks.errors import InstallError, UsageError
from aifo_tasks.model import Toolchain
from aifo_tasks.session.workplace import Choices
from aifo_tasks.sidecar.inside import Inside
from aifo_tasks.sidecar.record import Greeted

_KNOWN = ("typescript=global", "ts=global")
_SCRIPT = "command -v tsc >/dev/null || npm install --global --no-fund --no-audit typescript"


def check(asked: Sequence[str]) -> None:
    """Raises UsageError for what nobody can add."""
    for word in asked:
        if word not in _KNOWN:
            raise UsageError(
                "BOOTSTRAP", f"expected typescript=global, found '{word}'",
                hint="BOOTSTRAP=typescript=global",
            )  # fmt: skip


def wished(toolchain: Toolchain, choices: Choices) -> Choices:
    """The choices for one toolchain of several: what they add is npm's to install."""
    return choices if _takes(toolchain) else replace(choices, bootstrap=())


def check_wish(toolchains: Sequence[Toolchain], asked: Sequence[str]) -> None:
    """Raises UsageError when none of them can take what is to be added."""
    check(asked)
    if asked and not any(map(_takes, toolchains)):
        raise UsageError(
            "BOOTSTRAP", f"none of these toolchains takes {asked[0]}", hint="TOOLCHAINS=node"
        )


def _takes(toolchain: Toolchain) -> bool:
    return any(tool.name == "npm" for tool in toolchain.tools)


def ensure(greeted: Greeted, asked: Sequence[str]) -> None:
    """Make ``tsc`` a command of the running sidecar unless it is one; InstallError if not."""
    if not asked:
        return
    output = bytearray()
    status = Inside(greeted)(["sh", "-c", _SCRIPT], on_output=output.extend)
    if status != 0:
        text = output.decode("utf-8", "replace").rstrip()
        raise InstallError("BOOTSTRAP", f"typescript cannot be installed\n{text}")
    if output:
        log.step(greeted.record.name, "typescript is installed, until the sidecar ends")
