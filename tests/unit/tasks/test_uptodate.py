"""Checks and their reasons, run by doit itself."""

from __future__ import annotations

import enum
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from aifo_tasks.tasks.uptodate import changed
from tests.unit.tasks.conftest import Project


@dataclass(frozen=True)
class Point:
    """A value of a configuration."""

    x: int
    path: Path


def digests(**configuration: object) -> dict[str, str]:
    return changed(options=None, **configuration)._configuration


def test_a_digest_depends_on_the_content_alone() -> None:
    one = digests(a={"x": 1, "y": [Point(1, Path("/p"))]}, b={3, 2}, c=b"\0")
    two = digests(a={"y": [Point(1, Path("/p"))], "x": 1}, b=frozenset([2, 3]), c=b"\0")
    assert one == two
    assert one["a"] != digests(a={"x": 1, "y": [Point(2, Path("/p"))]})["a"]


def test_what_has_no_content_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot digest"):
        changed(a=enum.auto())


DODO = """\
configuration = {"secret": os.environ.get("SECRET", "s3cret-text"), "n": 1}
if "EXTRA" in os.environ:
    configuration["extra"] = 2

def task_one():
    return {
        "actions": [ToolAction(lambda: None)],
        "uptodate": [changed(**configuration), changed(options=["file"], other=3)],
        "params": variables.params("FILE", "NO_CACHE", "DRY_RUN", "VERBOSE", "YES"),
    }

def task_two():
    return {"actions": [ToolAction(lambda: None)],
            "uptodate": [changed(options=["pull"], a=1)],
            "params": variables.params("PULL", "ALL")}
"""


def test_reasons(project: Project) -> None:
    project.dodo(DODO)
    up_to_date = "one: up to date\n"

    def run(*words: str, **environment: str) -> str:
        return project.run("aifo", "one", *words, cwd=None, **environment).err

    assert run() == "one: running: first run\n"
    assert run() == up_to_date
    assert run("--verbose") == up_to_date
    assert run("YES=1") == up_to_date
    assert run("--file", "x") == "one: running: configuration changed: --file\n"
    assert run("FILE=x") == up_to_date
    assert run("FILE=x", AIFO_NO_CACHE="1") == "one: running: configuration changed: --no-cache\n"
    assert run(SECRET="t", EXTRA="1", FILE="x") == (
        "one: running: configuration changed: --file, --no-cache, extra, secret\n"
    )


def test_only_named_options_count(project: Project) -> None:
    project.dodo(DODO)
    project.aifo("two")
    assert project.aifo("two", "ALL=1").err == "two: up to date\n"
    assert project.aifo("two", "PULL=never").err.endswith("configuration changed: --pull\n")


def test_only_digests_are_kept(project: Project) -> None:
    project.dodo(DODO)
    project.aifo("one")
    database = project.root / ".aifo" / "doit.db"
    assert b"s3cret-text" not in database.read_bytes()
    with sqlite3.connect(database) as connection:
        ((text,),) = connection.execute("select task_data from doit").fetchall()
    connection.close()
    values = json.loads(text)["_values_:"]
    assert all(len(d) == 64 for kept in values.values() for d in kept.values())


def test_asked_runs_for_the_reason_it_is_told(project: Project) -> None:
    project.dodo(
        "def ask(options):\n"
        "    return None if Path('made').exists() else f\"it is gone, {options['pull']}\"\n"
        "def task_make():\n"
        "    return {'actions': [ToolAction(lambda: Path('made').touch())],\n"
        "            'uptodate': [asked(ask)], 'params': variables.params('PULL')}\n"
    )
    assert project.aifo("make").err == "make: running: it is gone, auto\n"
    assert project.aifo("make").err == "make: up to date\n"
    (project.root / "made").unlink()
    assert project.aifo("make", "PULL=never").err == "make: running: it is gone, never\n"


def test_files_and_targets_have_reasons(project: Project) -> None:
    project.dodo(
        "def task_copy():\n"
        "    return {'actions': [['cp', 'a', 'b']], 'file_dep': ['a'], 'targets': ['b']}\n"
    )
    source = project.root / "a"
    source.write_text("1")
    assert project.aifo("copy").err == "copy: running: b is missing\n"
    assert project.aifo("copy").err == "copy: up to date\n"
    source.write_text("2")
    assert project.aifo("copy").err == "copy: running: changed: a\n"
