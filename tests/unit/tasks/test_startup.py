"""What a start of doit costs: nothing heavy is imported that a warm call does not need."""

from __future__ import annotations

import json

import pytest

from tests.unit.tasks.conftest import Project

HEAVY = ["docker", "ruamel", "jsonschema", "asyncio", "requests", "jinja2"]
DOITS = ["importlib.metadata", "multiprocessing"]
NOOP = "def task_noop():\n    return {'actions': [], 'uptodate': [True]}\n"
REPORT = "import json, sys; {}; print(json.dumps([n for n in {!r} if n in sys.modules]))"


def imported(project: Project, statement: str, names: list[str]) -> list[str]:
    ended = project.python(REPORT.format(statement, names))
    assert ended.status == 0, ended.err
    found: list[str] = json.loads(ended.out.splitlines()[-1])
    return found


@pytest.mark.parametrize("module", ["main", "loader", "reporter", "db"])
def test_importing_the_machinery_is_light(project: Project, module: str) -> None:
    names = [*HEAVY, "sqlite3"]
    assert imported(project, f"import aifo_tasks.tasks.{module}", names) == []


def test_a_run_that_does_nothing_is_light(project: Project) -> None:
    project.dodo(NOOP)
    project.aifo("run", "noop")  # leaves the configuration's cache
    statement = "from aifo_tasks.tasks.main import main; main(['run', 'noop'])"
    assert imported(project, statement, [*HEAVY, "sqlite3", *DOITS]) == []


def test_what_was_kept_away_can_be_imported_afterwards(project: Project) -> None:
    project.dodo(
        "import importlib.metadata, multiprocessing\n"
        "def task_a():\n"
        "    def look():\n"
        "        print(importlib.metadata.version('doit'), multiprocessing.cpu_count())\n"
        "    return {'actions': [look], 'verbosity': 2}\n"
    )
    ended = project.aifo("a")
    assert ended.status == 0
    assert ended.out.startswith("0.3")


def test_plugins_named_in_pyproject_work_with_the_script(project: Project) -> None:
    project.dodo(NOOP)
    (project.root / "mine.py").write_text(
        "from doit.cmd_base import Command\n"
        "class Hello(Command):\n"
        "    def execute(self, opt_values, pos_args):\n"
        "        print('hello')\n"
    )
    (project.root / "pyproject.toml").write_text(
        "[tool.doit.plugins.command]\nhello = 'mine:Hello'\n"
    )
    assert project.aifo("hello", PYTHONPATH=str(project.root)).out == "hello\n"
