"""Global tools that a sidecar gets besides its image, when asked for: ``BOOTSTRAP=``."""

from __future__ import annotations

from collections.abc import Sequence

from aifo_tasks import log
from aifo_tasks.errors import InstallError, UsageError
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
