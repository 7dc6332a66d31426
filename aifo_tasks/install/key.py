"""The key of an install: a digest of everything that changes its result."""

from __future__ import annotations

from aifo_tasks import files
from aifo_tasks.install.api import Plan


def key(plan: Plan) -> str:
    """64 hexadecimal digits; a few file reads, no process, no engine.

    Files count by content, so a touched file changes nothing. Raises UnsafePathError for a
    link among them and InstallError for a lockfile that cannot be read.
    """
    parts: list[str | bytes] = [plan.manager.NAME, plan.toolchain, plan.platform]
    for argv in plan.manager.install(plan, offline=False):
        parts += ["command", *argv]
    parts.append("files")
    for name, content in plan.manager.inputs(plan.project):
        parts += [name, b"-" if content is None else b"+" + content]
    return files.digest(*parts)
