"""The console script: the project's root, the user's place, its version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aifo_tasks import __version__
from aifo_tasks.errors import UsageError
from aifo_tasks.tasks.main import project_root
from tests.unit.tasks.conftest import Project

WHERE = """\
import doit
def task_where():
    def show():
        print(os.getcwd(), doit.get_initial_workdir())
    return {"actions": [show], "verbosity": 2}
"""


@pytest.mark.parametrize("marker", ["toolchains.yaml", "dodo.py"])
def test_the_nearest_project_is_the_root(tmp_path: Path, marker: str) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "dodo.py").touch()
    (tmp_path / "a" / marker).touch()
    assert project_root(below) == tmp_path / "a"
    assert project_root(tmp_path) == tmp_path


def test_settings_that_name_our_loader_make_a_project(tmp_path: Path) -> None:
    below = tmp_path / "a"
    below.mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.doit]\nloader = "aifo"\n')
    assert project_root(below) == tmp_path


def test_without_a_project_the_root_is_where_the_user_stands(tmp_path: Path) -> None:
    assert project_root(tmp_path) == tmp_path


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_another_users_dodo_file_is_not_run(tmp_path: Path) -> None:
    below = tmp_path / "mine"
    below.mkdir()
    (tmp_path / "dodo.py").touch()
    os.chown(tmp_path / "dodo.py", 12345, 12345)
    with pytest.raises(UsageError, match="belongs to another user"):
        project_root(below)
    os.chown(below, 12345, 12345)
    assert project_root(below) == tmp_path


def test_it_changes_to_the_root_and_remembers_the_place(project: Project) -> None:
    project.dodo(WHERE)
    below = project.root / "deep" / "down"
    below.mkdir(parents=True)
    ended = project.aifo("where", cwd=below)
    assert ended.out == f"{project.root} {below}\n"
    assert (project.root / ".aifo" / "doit.db").exists()


def test_pyproject_way_remembers_the_place_too(project: Project) -> None:
    project.dodo(WHERE)
    (project.root / "pyproject.toml").write_text('[tool.doit]\nloader = "aifo"\n')
    assert project.run("doit", "where").out == f"{project.root} {project.root}\n"


def test_version(project: Project) -> None:
    assert project.aifo("--version").out == f"aifo-tasks {__version__}\n"


def test_a_directory_that_is_gone(project: Project) -> None:
    gone = project.root / "gone"
    ended = project.run(
        "python", "-c",
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone');"
        "from aifo_tasks.tasks.main import main; sys.exit(main(['list']))",
    )  # fmt: skip
    assert not gone.exists()
    assert ended.status == 3
    assert ended.err == "ERROR: .: the current directory is gone (hint: cd ~)\n"


def test_module_can_be_run(project: Project) -> None:
    project.dodo("def task_a():\n    return {'actions': []}\n")
    ended = project.run("python", "-m", "aifo_tasks.tasks.main", "a")
    assert (ended.status, ended.err) == (0, "")
