"""Which projects use pnpm, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.errors import InstallError
from aifo_tasks.install import managers, pnpm

WITH = '{"dependencies": {"a": "1"}}'


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"Cargo.toml": ""}, None),
        ({"package.json": "{}"}, None),
        ({"package.json": '{"dependencies": {}}'}, None),
        ({"package.json": '{"packageManager": "npm@10.0.0"}'}, None),
        ({"package.json": WITH}, False),
        ({"package.json": '{"devDependencies": {"a": "1"}}'}, False),
        ({"package.json": '{"packageManager": "pnpm@9.15.9"}'}, False),
        ({"pnpm-workspace.yaml": ""}, False),
        ({"pnpm-lock.yaml": ""}, True),
        ({"pnpm-lock.yaml": "", "package.json": WITH}, True),
    ],
)
def test_found_by_lockfile(project: Path, files: dict[str, str], expected: bool | None) -> None:
    for name, content in files.items():
        (project / name).write_text(content)
    found = managers.find(project, ["pnpm"])
    assert (None if found is None else found.locked) == expected
    assert found is None or found.manager is pnpm
    assert managers.find(project, []) is None


@pytest.mark.parametrize(
    ("names", "problem", "hint"),
    [
        (
            ["pnpm-lock.yaml", "package-lock.json"],
            "has two lockfiles: pnpm-lock.yaml and package-lock.json",
            "rm package-lock.json, or doit node_migrate",
        ),
        (
            ["pnpm-lock.yaml", "yarn.lock", "bun.lockb"],
            "has two lockfiles: pnpm-lock.yaml and yarn.lock and bun.lockb",
            "rm yarn.lock bun.lockb, or doit node_migrate",
        ),
        (
            ["yarn.lock"],
            "has yarn.lock, and pnpm is the only manager so far",
            "doit node_migrate",
        ),
        (
            ["npm-shrinkwrap.json"],
            "has npm-shrinkwrap.json, and pnpm is the only manager so far",
            "doit node_migrate",
        ),
    ],
)
def test_foreign_lockfiles(project: Path, names: list[str], problem: str, hint: str) -> None:
    for name in names:
        (project / name).touch()
    with pytest.raises(InstallError) as caught:
        managers.find(project, ["pnpm"])
    assert (caught.value.problem, caught.value.hint) == (problem, hint)


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "is not JSON"), ("[]", "is not a JSON object")]
)
def test_a_manifest_that_is_none(project: Path, content: str, problem: str) -> None:
    (project / "package.json").write_text(content)
    with pytest.raises(InstallError, match=problem):
        managers.find(project, ["pnpm"])
