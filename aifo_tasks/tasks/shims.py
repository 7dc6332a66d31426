"""The task that lays out a directory of shims for a shell or an image."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction


def task_shims() -> dict[str, Any]:
    """lay out a shim for every declared tool: eval "$(doit shims)"; DIR=… says where"""
    return {
        "actions": [ToolAction(shims, interactive=True)],
        "params": project.params("DIR"),
        "meta": {"aifo": {"quiet": True}},
    }


def shims(*, dir: str) -> None:  # noqa: A002  # the option's name
    """Lay them out, and print on stdout what makes a shell use them."""
    from aifo_tasks import files, native

    config = project.config()
    directory = Path(dir).absolute() if dir else files.cache_dir() / "shims"
    declared = {tool.name for toolchain in config.toolchains for tool in toolchain.tools}
    native.shim_links(directory, declared)
    lines = [
        f'export PATH={shlex.quote(str(directory))}:"$PATH"',
        f"export AIFO_WORKSPACE={shlex.quote(str(config.root.resolve()))}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
