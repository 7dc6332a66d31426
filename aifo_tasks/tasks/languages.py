"""The task that compiles and runs one source file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import doit

from aifo_tasks.config import build
from aifo_tasks.errors import UsageError
from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction


def task_run_code() -> Iterator[dict[str, Any]]:
    """compile and run one source file: doit run run_code:py FILE=hello.py -- ARGS"""
    yield {"name": None, "doc": "compile and run one source file: run_code:py FILE=hello.py"}
    for word, language in project.codes():
        yield {
            "name": word,
            "doc": f"compile and run a {language.name} file (.{language.extension})",
            "actions": [ToolAction(run, interactive=True, code=language.code)],
            "params": project.params("FILE", "TIME_LIMIT", "MEMORY_LIMIT", "OUTPUT_LIMIT", "PULL"),
            "pos_arg": "arguments",
            "meta": {"aifo": {"quiet": True}},
        }


def run(
    code: str, *, file: str, pull: str, yes: bool, arguments: tuple[str, ...] = (), **options: Any
) -> int:
    """Run ``file`` in a container of its own; its exit status is the task's.

    ``options`` are all of the task's: the limits are among them.
    """
    from aifo_tasks.session import code as codes

    language = project.language(code)
    if not file:
        hint = f"doit run run_code:{code} FILE={language.file}"
        raise UsageError("FILE", "which file is to run?", hint=hint)
    source = Path(doit.get_initial_workdir()) / file
    program = codes.Program(language=language, source=source, arguments=tuple(arguments))
    allowed = codes.bounds(
        language,
        seconds=_seconds(options["time_limit"]),
        memory=_size("MEMORY_LIMIT", options["memory_limit"]),
        output=_size("OUTPUT_LIMIT", options["output_limit"]),
    )
    return codes.run(project.config(), program, allowed, project.choices(pull=pull, yes=yes))


def _seconds(text: str) -> float:
    """A time limit; 0 when none was given."""
    if text and not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        raise UsageError("TIME_LIMIT", f"expected seconds, found '{text}'", hint="TIME_LIMIT=1.5")
    return float(text or 0)


def _size(name: str, text: str) -> int:
    """A limit in bytes; 0 when none was given."""
    if text and not re.fullmatch("[1-9][0-9]{0,14}[kmgt]?", text):
        raise UsageError(name, f"expected a size, found '{text}'", hint=f"{name}=512m")
    return build.size(text or 0)
