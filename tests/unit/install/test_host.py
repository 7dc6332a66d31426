"""The host's side of pnpm, as far as no pnpm is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.errors import InstallError
from aifo_tasks.install import host


@pytest.fixture
def no_pnpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["node_modules/.pnpm/lock.yaml", "pnpm-lock.yaml"], []),
        (
            ["package-lock.json"],
            ["package-lock.json stands in a pnpm project: rm package-lock.json"],
        ),
        (
            ["yarn.lock", "node_modules/.yarn-integrity"],
            [
                "yarn.lock stands in a pnpm project: rm yarn.lock",
                "node_modules was made by yarn: rm -rf node_modules && doit node_install",
            ],
        ),
        (
            ["node_modules/.package-lock.json"],
            ["node_modules was made by npm: rm -rf node_modules && doit node_install"],
        ),
    ],
)
def test_node_guard(
    project: Path, capsys: pytest.CaptureFixture[str], names: list[str], expected: list[str]
) -> None:
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    assert host.node_guard(project) is (not expected)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"warning: node_guard: {start}")


@pytest.mark.parametrize(
    ("task", "names", "problem", "hint"),
    [
        (
            host.node_install,
            ["pnpm-lock.yaml"],
            "is not on this host's PATH",
            "corepack enable pnpm, or doit run toolchain:node",
        ),
        (host.node_install, [], "has no pnpm-lock.yaml", "pnpm install --lockfile-only"),
        (host.node_install, ["yarn.lock"], "has no pnpm-lock.yaml", "doit node_migrate"),
        (
            host.node_migrate,
            ["package-lock.json"],
            "is not on this host's PATH",
            "corepack enable pnpm, or npx --yes pnpm import",
        ),
        (
            host.node_migrate,
            ["bun.lockb"],
            "has none of package-lock.json, npm-shrinkwrap.json, yarn.lock to migrate from",
            "doit run toolchain:node -- pnpm install --lockfile-only",
        ),
        (
            host.node_migrate,
            ["yarn.lock", "pnpm-lock.yaml"],
            "has pnpm-lock.yaml already",
            "rm yarn.lock",
        ),
    ],
)
def test_what_cannot_be_done(
    project: Path,
    no_pnpm: None,
    task: Callable[[Path], None],
    names: list[str],
    problem: str,
    hint: str,
) -> None:
    for name in names:
        (project / name).touch()
    with pytest.raises(InstallError) as caught:
        task(project)
    assert (caught.value.problem, caught.value.hint) == (problem, hint)
    assert sorted(os.listdir(project)) == sorted(names)


def test_a_dry_run_prints_and_touches_nothing(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / "pnpm"
    program.write_text("#!/bin/false\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (project / "pnpm-lock.yaml").touch()
    log.configure(dry_run=True)
    try:
        host.node_install(project)
    finally:
        log.configure(dry_run=False)
    assert os.listdir(project) == ["pnpm-lock.yaml"]
    assert capsys.readouterr().err.splitlines() == [
        f"install -d -m 775 {project}/.pnpm-store",
        f"(cd {project} && pnpm install --frozen-lockfile --store-dir .pnpm-store)",
    ]
