"""Small projects of their own, and doit run in them as people run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PYPROJECT = '[tool.doit]\nloader = "aifo"\n'
IMPORTS = """\
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from aifo_tasks import log, process
from aifo_tasks.errors import AifoError, ConfigError
from aifo_tasks.tasks import variables
from aifo_tasks.tasks.actions import ToolAction
from aifo_tasks.tasks.uptodate import asked, changed

"""
TOOL = """\
def call(command):
    return subprocess.call([os.fsencode(word) for word in command]) if command else 0

def task_tool():
    for name in ("node", "other"):
        yield {
            "name": name, "pos_arg": "command", "meta": {"aifo": {"quiet": True}},
            "actions": [ToolAction(call, interactive=True)],
        }

def task_plain():
    return {"actions": [ToolAction(lambda: log.step("plain", "done"))]}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status and what it wrote."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A directory with a dodo.py and commands that are run there."""

    root: Path
    environment: dict[str, str]

    def dodo(self, text: str, *, name: str = "dodo.py") -> None:
        (self.root / name).write_text(IMPORTS + text)

    def start(
        self,
        *argv: str | bytes,
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python_bin(os.fsdecode(argv[0])), *argv[1:]],
            cwd=cwd or self.root,
            env=self.environment | dict(environment or {}),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def python_bin(self, program: str) -> str:
        """A program beside this Python, else the one on PATH."""
        return str(BIN / program) if (BIN / program).exists() else program

    def run(self, *argv: str | bytes, cwd: Path | None = None, **environment: str) -> Ended:
        child = self.start(*argv, cwd=cwd, environment=environment)
        out, err = child.communicate(timeout=120)
        return Ended(
            child.returncode,
            out.decode("utf-8", "surrogateescape"),
            err.decode("utf-8", "surrogateescape"),
        )

    def aifo(self, *words: str | bytes, cwd: Path | None = None, **environment: str) -> Ended:
        return self.run("aifo", *words, cwd=cwd, **environment)

    def python(self, code: str, *words: str) -> Ended:
        return self.run("python", "-c", code, *words)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return Project(root, environment | {"HOME": str(home), "PYTHONUTF8": "1"})
