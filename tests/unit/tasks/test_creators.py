"""The table of creators, and their lazy export."""

from __future__ import annotations

import importlib
import inspect

import pytest

import aifo_tasks
from aifo_tasks import tasks
from tests.unit.tasks.conftest import Project

RESERVED = {
    "clean", "dumpdb", "forget", "help", "ignore", "info", "list", "reset-dep", "run", "strace",
    "tabcompletion",
}  # fmt: skip


@pytest.mark.parametrize("module", tasks.CREATOR_MODULES)
def test_the_table_names_every_creator_of_its_module(module: str) -> None:
    found = importlib.import_module(f"aifo_tasks.tasks.{module}")
    defined = {
        name
        for name, value in inspect.getmembers(found, inspect.isfunction)
        if name.startswith("task_") and value.__module__ == found.__name__
    }
    assert defined == set(tasks.CREATORS[module])


def test_names_are_unique_and_not_doits_commands() -> None:
    names = [name for names in tasks.CREATORS.values() for name in names]
    assert len(names) == len(set(names))
    assert RESERVED.isdisjoint(name.removeprefix("task_") for name in names)


def test_every_creator_is_exported_twice() -> None:
    for names in tasks.CREATORS.values():
        for name in names:
            assert getattr(aifo_tasks, name) is getattr(tasks, name)
            assert name in dir(tasks)


def test_an_unknown_name_is_an_attribute_error() -> None:
    for module in (aifo_tasks, tasks):
        with pytest.raises(AttributeError, match="task_none"):
            module.task_none  # noqa: B018
    with pytest.raises(ImportError):
        exec("from aifo_tasks import anything")


def test_the_export_is_lazy(project: Project) -> None:
    ended = project.python(
        "import sys, aifo_tasks.tasks as t; dir(t);"
        "print([n for n in sys.modules if n.startswith('aifo_tasks.tasks.') or n == 'doit'])"
    )
    assert ended.out == "[]\n"
