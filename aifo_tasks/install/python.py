"""What the package managers of Python share: the virtual environment, calls that change it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aifo_tasks.install import words
from aifo_tasks.install.api import Plan, Runner

DIRECTORY = ".venv"

_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")
_PIP = re.compile(r"pip[0-9.]*")
_CHANGING = {
    "uv": frozenset(("add", "init", "lock", "pip", "remove", "sync", "venv")),
    "pip": frozenset(("download", "install", "uninstall")),
}
_VALUED = ("--directory", "--project", "--python", "--cache-dir", "--index-url", "-i", "--proxy")


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a call of pip or uv that makes a lockfile or what it installs, and for venv."""
    program = argv[0].rsplit("/", 1)[-1] if argv else ""
    if _PYTHON.fullmatch(program) and list(argv[1:2]) == ["-m"]:
        argv = argv[2:]
        program = argv[0] if argv else ""
    if program == "venv":
        return True
    name = "pip" if _PIP.fullmatch(program) else program
    changing = _CHANGING.get(name, frozenset())
    return bool(changing) and words.subcommand(argv, (program,), _VALUED) in changing


def verify(run: Runner, plan: Plan) -> str:
    """The virtual environment is one, and its interpreter runs."""
    script = 'test -f "$1/pyvenv.cfg" && "$1/bin/python" -c "import sys; sys.exit()"'
    if run(["sh", "-c", script, "sh", plan.targets[0]], on_output=lambda _: None) == 0:
        return ""
    return f"{plan.manager.NAME} ended well but {plan.targets[0]} is no virtual environment"
