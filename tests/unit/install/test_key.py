"""What changes the key of an install, and what does not."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.errors import UnsafePathError
from aifo_tasks.install.key import key

from .conftest import LOCK, Bench


def write(relative: str, content: str = "x") -> Callable[[Path], None]:
    def change(project: Path) -> None:
        (project / relative).parent.mkdir(exist_ok=True, parents=True)
        (project / relative).write_text(content)

    return change


@pytest.mark.parametrize(
    "change",
    [
        write("pnpm-lock.yaml", LOCK.decode() + "\n"),
        write("package.json", "{}"),
        write("package.yaml"),
        write(".npmrc", "registry=https://example.org"),
        write("pnpm-workspace.yaml"),
        write(".pnpmfile.cjs"),
        write("patches/a.patch"),
        write("packages/a/package.json"),
        write("packages/a/.npmrc"),
        lambda project: (project / "package.json").unlink(),
    ],
)
def test_what_changes_the_result_changes_the_key(
    bench: Bench, change: Callable[[Path], None]
) -> None:
    before = key(bench.plan)
    change(bench.project)
    assert key(bench.plan) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda project: os.utime(project / "pnpm-lock.yaml", (1, 1)),
        lambda project: (project / "package.json").chmod(0o600),
        write("src/main.js"),
        write("packages/b/package.json"),
        write("node_modules/x/package.json"),
        write(".pnpm-store/v3/files/x"),
    ],
)
def test_what_does_not_change_the_result_keeps_the_key(
    bench: Bench, change: Callable[[Path], None]
) -> None:
    before = key(bench.plan)
    change(bench.project)
    assert key(bench.plan) == before


@pytest.mark.parametrize(
    "change", [{"toolchain": "1" * 64}, {"platform": "linux/arm64/glibc"}, {"platform": "x/musl"}]
)
def test_tools_and_platform_belong_to_the_key(bench: Bench, change: dict[str, str]) -> None:
    assert key(dataclasses.replace(bench.plan, **change)) != key(bench.plan)  # type: ignore[arg-type]


def test_the_command_belongs_to_the_key(bench: Bench) -> None:
    store = dataclasses.replace(bench.plan.store, target="/elsewhere")
    assert key(dataclasses.replace(bench.plan, store=store)) != key(bench.plan)


def test_a_missing_file_is_not_an_empty_one(bench: Bench) -> None:
    before = key(bench.plan)
    (bench.project / ".npmrc").write_bytes(b"")
    assert key(bench.plan) != before


def test_content_cannot_move_between_files(bench: Bench) -> None:
    (bench.project / ".npmrc").write_text("a")
    (bench.project / "pnpm-workspace.yaml").write_text("bc")
    before = key(bench.plan)
    (bench.project / ".npmrc").write_text("ab")
    (bench.project / "pnpm-workspace.yaml").write_text("c")
    assert key(bench.plan) != before


def test_a_patch_that_only_the_lockfile_names_counts(bench: Bench) -> None:
    patched = b"patchedDependencies:\n  a@1:\n    hash: x\n    path: fixes/a.patch\n" + LOCK
    (bench.project / "pnpm-lock.yaml").write_bytes(patched)
    before = key(bench.plan)
    write("fixes/a.patch")(bench.project)
    assert key(bench.plan) != before


@pytest.mark.parametrize("name", ["package.json", "pnpm-lock.yaml", "packages", "patches"])
def test_links_are_refused(bench: Bench, name: str, tmp_path: Path) -> None:
    path = bench.project / name
    elsewhere = tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(UnsafePathError):
        key(bench.plan)
