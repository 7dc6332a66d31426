"""pnpm's members, its store and its frozen install."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.errors import InstallError, UnsafePathError
from aifo_tasks.install import pnpm
from aifo_tasks.install.api import Store

from .conftest import Bench


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


def test_the_store_lies_in_the_repository(project: Path) -> None:
    expected = Store(
        host=project / ".pnpm-store",
        target="/workspace/.pnpm-store",
        environment=(("npm_config_store_dir", "/workspace/.pnpm-store"),),
    )
    assert pnpm.store(project, {}, {}) == expected
    assert pnpm.store(project, {}, {"PNPM_STORE_PATH": ""}) == expected


def test_a_store_elsewhere_is_a_mount_of_its_own(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "store"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    for name in ("store", "link"):
        found = pnpm.store(project, {}, {"PNPM_STORE_PATH": str(tmp_path / name)})
        assert found == Store(
            host=elsewhere,
            target="/mnt/pnpm-store",
            mount=True,
            environment=(("npm_config_store_dir", "/mnt/pnpm-store"),),
        )


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
        pnpm.store(project, {}, {"PNPM_STORE_PATH": value.format(project=project)})
    assert caught.value.problem.endswith(problem)


def test_the_frozen_install(bench: Bench) -> None:
    plan = bench.plan
    argv = f"pnpm install --frozen-lockfile --store-dir {plan.store.target}"
    argv += " --reporter=append-only"
    assert pnpm.install(plan, offline=False) == (tuple(argv.split()),)
    assert pnpm.install(plan, offline=True) == ((*argv.split(), "--offline"),)
