"""A store in the repository: made for the group, hidden from git, looked at inside."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.errors import InstallError, UnsafePathError
from aifo_tasks.install import npm, stores
from aifo_tasks.install.api import Store

from .conftest import Host, make_plan

ME = (os.getuid(), os.getgid())


def in_project(project: Path) -> Store:
    return Store(target="/workspace/.pnpm-store", host=project / ".pnpm-store")


def test_the_store_is_made_for_the_group_and_unknown_to_git(project: Path) -> None:
    (project / ".git").mkdir()
    stores.make(project, in_project(project), ME)
    made = project / ".pnpm-store"
    assert stat.S_IMODE(made.stat().st_mode) == 0o775
    assert (made / ".gitignore").read_text() == "*\n"
    assert not (project / ".gitignore").exists()
    (made / ".gitignore").write_text("mine")
    stores.make(project, in_project(project), ME)
    assert (made / ".gitignore").read_text() == "mine"


def test_without_git_nothing_is_written_into_the_store(project: Path) -> None:
    stores.make(project, in_project(project), ME)
    assert os.listdir(project / ".pnpm-store") == []


def test_a_store_elsewhere_is_not_made(project: Path, tmp_path: Path) -> None:
    stores.make(project, Store(host=tmp_path / "x", target="/x", mount=True), ME)
    assert os.listdir(project) == []
    assert not (tmp_path / "x").exists()


def test_a_store_that_is_a_link_is_refused(project: Path, tmp_path: Path) -> None:
    (project / ".git").mkdir()
    (project / ".pnpm-store").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError, match="is a link"):
        stores.make(project, in_project(project), ME)
    assert sorted(os.listdir(tmp_path)) == ["project"]


def test_a_gitignore_that_is_a_link_is_not_followed(project: Path, tmp_path: Path) -> None:
    (project / ".git").mkdir()
    (project / ".pnpm-store").mkdir()
    (project / ".pnpm-store/.gitignore").symlink_to(tmp_path / "victim")
    with pytest.raises(UnsafePathError):
        stores.make(project, in_project(project), ME)
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files for others")
def test_the_store_belongs_to_the_user(project: Path) -> None:
    (project / ".git").mkdir()
    stores.make(project, in_project(project), (4321, 4322))
    for path in (project / ".pnpm-store", project / ".pnpm-store/.gitignore"):
        assert (path.stat().st_uid, path.stat().st_gid) == (4321, 4322)


def test_a_dry_run_prints_what_makes_the_store(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".git").mkdir()
    log.configure(dry_run=True)
    try:
        stores.make(project, in_project(project), ME)
    finally:
        log.configure(dry_run=False)
    assert os.listdir(project) == [".git"]
    store = project / ".pnpm-store"
    assert capsys.readouterr().err == (
        f"install -d -m 775 {store}\necho '*' > {store}/.gitignore\n"
    )


def test_a_store_in_a_volume_is_the_engine_s_to_make(project: Path) -> None:
    stores.make(project, Store(target="/home/coder/.cache/npm"), ME)
    assert os.listdir(project) == []


def looked_at(project: Path, store: Path) -> bool:
    run = Host(project, os.environ["PATH"])
    if os.getuid() == 0:  # whom only a lost capability stops
        run.prefix = ("setpriv", "--bounding-set=-all")
    return stores.check(run, make_plan(project, npm, store=Store(target=str(store))))


def test_a_store_may_be_missing_empty_or_filled(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert looked_at(project, store) is False
    store.mkdir()
    (store / ".hidden").touch()
    assert looked_at(project, store) is False
    (store / "a/b").mkdir(parents=True)
    assert looked_at(project, store) is True


def test_what_is_read_only_below_is_fine_when_it_is_one_s_own(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "store/a/b").mkdir(parents=True)
    (tmp_path / "store/a/b").chmod(0o555)
    assert looked_at(project, tmp_path / "store") is True


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files for others")
@pytest.mark.parametrize("whose", [".", "a", "a/b"])
def test_a_store_of_somebody_else_s_is_refused(project: Path, tmp_path: Path, whose: str) -> None:
    store = tmp_path / "store"
    (store / "a/b").mkdir(parents=True)
    os.chown(store / whose, 4321, 4321)
    with pytest.raises(InstallError) as caught:
        looked_at(project, store)
    assert str(caught.value) == (
        f"{store}: the package store cannot be written "
        "(hint: doit sidecar_stop && doit purge_caches)"
    )
