"""Directories that patterns name, and nothing that lies elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.errors import InstallError, UnsafePathError
from aifo_tasks.install import workspaces

MEMBERS = ("a", "libs/x", "libs/deep/y", "packages/one", "packages/two", "packages/.hidden")


@pytest.fixture
def tree(project: Path) -> Path:
    for member in (*MEMBERS, "node_modules/z", "packages/one/node_modules/z"):
        (project / member).mkdir(parents=True)
        (project / member / "package.json").touch()
    (project / "package.json").touch()
    (project / "packages/empty").mkdir()
    (project / "packages/file").touch()
    return project


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], ()),
        (["a"], ("a",)),
        (["./a/"], ("a",)),
        (["none"], ()),
        (["."], ()),
        (["packages/*"], ("packages/one", "packages/two")),
        (["packages/t*", "a"], ("a", "packages/two")),
        (["packages/*", "!packages/one"], ("packages/two",)),
        (["!packages/one", "packages/*"], ("packages/one", "packages/two")),
        (["packages/{one,two}", "{a,b}"], ("a", "packages/one", "packages/two")),
        (["libs/**"], ("libs/deep/y", "libs/x")),
        (["**"], ("a", "libs/deep/y", "libs/x", "packages/one", "packages/two")),
        (["*"], ("a",)),
        (["packages/[o]ne"], ("packages/one",)),
    ],
)
def test_patterns(tree: Path, patterns: list[str], expected: tuple[str, ...]) -> None:
    assert workspaces.expand(tree, patterns, "package.json") == expected


@pytest.mark.parametrize("pattern", ["../other", "a/../../b", "/etc", "!../x", "packages/{..,a}"])
def test_a_pattern_that_leaves_the_project_is_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(InstallError, match="outside of the project"):
        workspaces.expand(tree, [pattern], "package.json")


@pytest.mark.parametrize("name", ["../a", "a//b", "/a", "a/./b", ""])
def test_a_member_in_a_lockfile_that_leaves_the_project_is_refused(name: str) -> None:
    with pytest.raises(InstallError, match="outside of the project"):
        workspaces.inside(name, "lock")


def test_links_are_passed_over_by_patterns_and_refused_by_name(tree: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "package.json").touch()
    (tree / "packages/link").symlink_to(elsewhere)
    assert "packages/link" not in workspaces.expand(tree, ["packages/*", "**"], "package.json")
    with pytest.raises(UnsafePathError):
        workspaces.expand(tree, ["packages/link"], "package.json")


def test_files_of_a_directory(tree: Path) -> None:
    assert workspaces.listed(tree, "packages") == ("packages/file",)
    assert workspaces.listed(tree, "none") == workspaces.listed(tree, "a/package.json") == ()
