"""The database with several doit processes on it, damaged, redirected, and the checker."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from doit.dependency import JSONCodec
from doit.exceptions import InvalidCommand

from aifo_tasks.tasks.db import ContentChecker, SharedDB
from tests.unit.tasks.conftest import PYPROJECT, Project


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / ".aifo" / "doit.db")


def opened(path: str) -> SharedDB:
    return SharedDB(path, JSONCodec())


def stored(path: str | Path) -> dict[str, object]:
    connection = sqlite3.connect(path)
    rows = connection.execute("select task_id, task_data from doit").fetchall()
    connection.close()
    return {name: json.loads(data) for name, data in rows}


def test_values_come_back(path: str) -> None:
    database = opened(path)
    database.set("a", "x", [1, "é"])
    database.set("b", "y", {"k": None})
    assert database.get("a", "x") == [1, "é"]
    assert not Path(path).exists()
    database.dump()
    again = opened(path)
    assert again.get("a", "x") == [1, "é"]
    assert again.get("a", "none") is None
    assert again.get("none", "x") is None
    assert (again.in_("b"), again.in_("none")) == (True, False)
    again.dump()
    assert (Path(path).parent / ".gitignore").read_text() == "*\n"


def test_a_value_is_added_to_what_is_stored(path: str) -> None:
    for key in ("x", "y"):
        database = opened(path)
        database.set("a", key, 1)
        database.dump()
    assert stored(path) == {"a": {"x": 1, "y": 1}}


def test_removed_is_gone_at_once_and_stored_at_the_end(path: str) -> None:
    first = opened(path)
    first.set("a", "x", 1)
    first.set("b", "x", 1)
    first.dump()
    second = opened(path)
    second.remove("a")
    second.remove("b")
    assert second.get("a", "x") is None
    assert not second.in_("a")
    second.set("b", "y", 2)
    assert stored(path) == {"a": {"x": 1}, "b": {"x": 1}}
    second.dump()
    assert stored(path) == {"b": {"y": 2}}


def test_remove_all(path: str) -> None:
    first = opened(path)
    first.set("a", "x", 1)
    first.dump()
    second = opened(path)
    second.remove_all()
    assert second.get("a", "x") is None
    second.set("b", "x", 1)
    second.dump()
    assert stored(path) == {"b": {"x": 1}}


def test_nothing_to_write_makes_nothing(path: str) -> None:
    database = opened(path)
    assert database.get("a", "x") is None
    database.remove("a")
    database.dump()
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 999]
)
def test_a_damaged_file_is_an_error_with_a_remedy(path: str, content: bytes) -> None:
    Path(path).parent.mkdir()
    Path(path).write_bytes(content)
    with pytest.raises(InvalidCommand, match=r"is damaged: .*\nhint: rm .*doit\.db; every task"):
        opened(path).get("a", "x")


def test_a_damaged_row_is_an_error_too(path: str) -> None:
    database = opened(path)
    database.set("a", "x", 1)
    database.dump()
    connection = sqlite3.connect(path)
    connection.execute("update doit set task_data = '{'")
    connection.commit()
    connection.close()
    with pytest.raises(InvalidCommand, match="is damaged"):
        opened(path).get("a", "x")


def test_an_empty_file_is_an_empty_database(path: str) -> None:
    Path(path).parent.mkdir()
    Path(path).touch()
    database = opened(path)
    assert database.get("a", "x") is None
    database.set("a", "x", 1)
    database.dump()
    assert stored(path) == {"a": {"x": 1}}


@pytest.mark.parametrize("link", [".aifo", ".aifo/doit.db"])
def test_a_link_is_refused(tmp_path: Path, path: str, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / link).parent.mkdir(exist_ok=True)
    if link == ".aifo":
        elsewhere.mkdir()
    (tmp_path / link).symlink_to(elsewhere)

    def keep() -> None:
        database = opened(path)
        database.set("a", "x", 1)
        database.dump()

    with pytest.raises(InvalidCommand, match="is a link and may lead out of the project"):
        keep()
    assert not elsewhere.is_file()


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes files for somebody else")
def test_what_root_makes_belongs_to_the_projects_owner(tmp_path: Path, path: str) -> None:
    os.chown(tmp_path, 12345, 54321)
    database = opened(path)
    database.set("a", "x", 1)
    database.dump()
    for made in (Path(path).parent, Path(path), Path(path).parent / ".gitignore"):
        assert (made.stat().st_uid, made.stat().st_gid) == (12345, 54321)


MANY = """\
name = os.environ["NAME"]
fail = os.environ.get("FAIL") == "1"

def task_t():
    for number in range(12):
        yield {"name": f"{name}-{number}", "uptodate": [changed(a=1)],
               "actions": [ToolAction(lambda number=number: 1 if fail and number % 3 == 0 else 0)]}
"""


@pytest.mark.parametrize("way", ["aifo", "doit"])
def test_processes_side_by_side_lose_nothing(project: Project, way: str) -> None:
    project.dodo(MANY)
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    names = ["a", "b", "c", "d"]
    for round_number in range(4):
        fail = str(round_number % 2)
        children = [
            project.start(way, "run", "-c", "t", environment={"NAME": name, "FAIL": fail})
            for name in names
        ]
        for child in children:
            _, err = child.communicate(timeout=120)
            assert child.returncode == int(fail), err
            assert b"Traceback" not in err
        good = {
            f"t:{name}-{number}"
            for name in names
            for number in range(12)
            if number % 3 or fail == "0"
        }
        assert {task for task in stored(project.root / ".aifo/doit.db") if "-" in task} == good
        project.run(way, "forget", "--all", NAME="a")
    assert stored(project.root / ".aifo/doit.db") == {}


def test_a_run_with_a_damaged_database_says_what_to_do(project: Project) -> None:
    project.dodo("def task_a():\n    return {'actions': [['true']]}\n")
    (project.root / ".aifo").mkdir()
    (project.root / ".aifo" / "doit.db").write_text("garbage " * 100)
    ended = project.aifo("a")
    assert ended.status == 3
    assert ended.err == (
        "ERROR: .aifo/doit.db: is damaged: file is not a database\n"
        "hint: rm .aifo/doit.db; every task then runs once more\n"
    )


def test_a_result_that_cannot_be_kept_does_not_change_the_status(project: Project) -> None:
    project.dodo("def task_a():\n    return {'actions': [ToolAction(lambda: 0)]}\n")
    (project.root / ".aifo").write_text("a file where the directory should be")
    ended = project.aifo("a")
    assert ended.status == 0
    assert "warning: nothing was recorded: .aifo/doit.db: cannot be used: " in ended.err


def test_the_checker_looks_at_content_only(tmp_path: Path) -> None:
    checker = ContentChecker()
    file = tmp_path / "file"
    file.write_text("1")
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    state = checker.get_state(str(file), None)
    assert checker.get_state(str(file), state) is None
    os.utime(file)
    assert not checker.check_modified(str(file), file.stat(), state)
    file.write_text("2")
    os.utime(file, ns=times)
    assert checker.check_modified(str(file), file.stat(), state)
    assert checker.get_state(str(file), state) not in (None, state)


def test_a_change_that_keeps_the_time_is_noticed(project: Project) -> None:
    project.dodo("def task_a():\n    return {'actions': [['true']], 'file_dep': ['f']}\n")
    file = project.root / "f"
    file.write_text("1")
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    project.aifo("a")
    os.utime(file)
    assert project.aifo("a").err == "a: up to date\n"
    file.write_text("2")
    os.utime(file, ns=times)
    assert project.aifo("a").err == "a: running: changed: f\n"
