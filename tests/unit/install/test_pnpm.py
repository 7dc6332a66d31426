"""pnpm's members, store and commands."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.errors import InstallError, UnsafePathError
from aifo_tasks.install import pnpm
from aifo_tasks.install.api import Store

ME = (os.getuid(), os.getgid())


def test_members_are_those_that_exist(project: Path) -> None:
    (project / "packages/a").mkdir(parents=True)
    (project / "packages/file").touch()
    lock = "importers:\n  .: {}\n  packages/a: {}\n  packages/gone: {}\n  packages/file: {}\n"
    (project / "pnpm-lock.yaml").write_text(lock)
    assert pnpm.members(project) == ("packages/a",)


def test_no_lockfile_has_no_members(project: Path) -> None:
    assert pnpm.members(project) == ()


def test_a_member_that_is_a_link_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "a").symlink_to(tmp_path)
    (project / "pnpm-lock.yaml").write_text("importers:\n  a: {}\n")
    with pytest.raises(UnsafePathError):
        pnpm.members(project)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["pnpm", "install"], True),
        (["/usr/bin/pnpm", "i", "--lockfile-only"], True),
        (["pnpm", "add", "-D", "x"], True),
        (["pnpm", "--filter", "a", "add", "x"], True),
        (["pnpm", "-r", "update"], True),
        (["pnpm", "-C", "packages/a", "remove", "x"], True),
        (["pnpm", "test"], False),
        (["pnpm", "run", "install"], False),
        (["pnpm", "--filter", "install", "test"], False),
        (["pnpm", "exec", "add"], False),
        (["pnpm", "--version"], False),
        (["pnpm"], False),
        (["npm", "install"], False),
        ([], False),
    ],
)
def test_calls_that_change_what_is_installed(argv: list[str], expected: bool) -> None:
    assert pnpm.changes_modules(argv) is expected


def test_the_store_lies_in_the_repository(project: Path) -> None:
    expected = Store(host=project / ".pnpm-store", target="/workspace/.pnpm-store")
    assert pnpm.store(project, {}) == pnpm.store(project, {"PNPM_STORE_PATH": ""}) == expected
    assert expected.environment == (("npm_config_store_dir", "/workspace/.pnpm-store"),)


def test_a_store_elsewhere_is_a_mount_of_its_own(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "store"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    for name in ("store", "link"):
        found = pnpm.store(project, {"PNPM_STORE_PATH": str(tmp_path / name)})
        assert found == Store(host=elsewhere, target="/mnt/pnpm-store", mount=True)
    assert found.environment == (("npm_config_store_dir", "/mnt/pnpm-store"),)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("store", "must be an absolute path, not 'store'"),
        ("{project}", "lies inside the project or holds it"),
        ("{project}/s", "lies inside the project or holds it"),
        ("{project}/..", "lies inside the project or holds it"),
        ("/", "lies inside the project or holds it"),
        ("{project}/missing", "is no directory"),
    ],
)
def test_a_store_that_is_refused(project: Path, value: str, problem: str) -> None:
    (project / "s").mkdir()
    with pytest.raises(InstallError) as caught:
        pnpm.store(project, {"PNPM_STORE_PATH": value.format(project=project)})
    assert caught.value.problem.endswith(problem)


def test_the_store_is_made_for_the_group_and_unknown_to_git(project: Path) -> None:
    (project / ".git").mkdir()
    pnpm.make_store(project, pnpm.store(project, {}), ME)
    made = project / ".pnpm-store"
    assert stat.S_IMODE(made.stat().st_mode) == 0o775
    assert (made / ".gitignore").read_text() == "*\n"
    assert not (project / ".gitignore").exists()
    (made / ".gitignore").write_text("mine")
    pnpm.make_store(project, pnpm.store(project, {}), ME)
    assert (made / ".gitignore").read_text() == "mine"


def test_without_git_nothing_is_written_into_the_store(project: Path) -> None:
    pnpm.make_store(project, pnpm.store(project, {}), ME)
    assert os.listdir(project / ".pnpm-store") == []


def test_a_store_elsewhere_is_not_made(project: Path, tmp_path: Path) -> None:
    pnpm.make_store(project, Store(host=tmp_path / "x", target="/x", mount=True), ME)
    assert os.listdir(project) == []
    assert not (tmp_path / "x").exists()


def test_a_store_that_is_a_link_is_refused(project: Path, tmp_path: Path) -> None:
    (project / ".git").mkdir()
    (project / ".pnpm-store").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError, match="is a link"):
        pnpm.make_store(project, pnpm.store(project, {}), ME)
    assert sorted(os.listdir(tmp_path)) == ["project"]


def test_a_gitignore_that_is_a_link_is_not_followed(project: Path, tmp_path: Path) -> None:
    (project / ".git").mkdir()
    (project / ".pnpm-store").mkdir()
    (project / ".pnpm-store/.gitignore").symlink_to(tmp_path / "victim")
    with pytest.raises(UnsafePathError):
        pnpm.make_store(project, pnpm.store(project, {}), ME)
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files for others")
def test_the_store_belongs_to_the_user(project: Path) -> None:
    (project / ".git").mkdir()
    pnpm.make_store(project, pnpm.store(project, {}), (4321, 4322))
    for path in (project / ".pnpm-store", project / ".pnpm-store/.gitignore"):
        assert (path.stat().st_uid, path.stat().st_gid) == (4321, 4322)


def test_a_dry_run_prints_what_makes_the_store(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".git").mkdir()
    log.configure(dry_run=True)
    try:
        pnpm.make_store(project, pnpm.store(project, {}), ME)
    finally:
        log.configure(dry_run=False)
    assert os.listdir(project) == [".git"]
    store = project / ".pnpm-store"
    assert capsys.readouterr().err == (
        f"install -d -m 775 {store}\necho '*' > {store}/.gitignore\n"
    )


def test_the_frozen_install() -> None:
    store = Store(host=Path("/p/.pnpm-store"), target="/workspace/.pnpm-store")
    argv = "pnpm install --frozen-lockfile --store-dir /workspace/.pnpm-store"
    argv += " --reporter=append-only"
    assert " ".join(pnpm.install_argv(store, offline=False)) == argv
    assert " ".join(pnpm.install_argv(store, offline=True)) == f"{argv} --offline"
