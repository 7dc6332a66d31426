"""Which package manager a project uses, which projects are refused, what a plan is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aifo_tasks import files
from aifo_tasks.config import load
from aifo_tasks.errors import InstallError
from aifo_tasks.install import managers
from aifo_tasks.install.api import Plan, Store
from aifo_tasks.model import Config, Toolchain
from aifo_tasks.overlay import Directory, Place

WITH = '{"dependencies": {"a": "1"}}'
BERRY = "__metadata:\n  version: 8\n"


def write(project: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (project / name).parent.mkdir(exist_ok=True, parents=True)
        (project / name).write_text(text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, None),
        ({"Cargo.toml": ""}, None),
        ({"package.json": "{}"}, None),
        ({"package.json": '{"dependencies": {}}'}, None),
        ({"package.json": '{"packageManager": "bun@1.0.0", "dependencies": {"a": "1"}}'}, None),
        ({"package.json": WITH}, ("pnpm", False)),
        ({"package.json": WITH, "bun.lock": ""}, ("pnpm", False)),
        ({"package.json": '{"devDependencies": {"a": "1"}}'}, ("pnpm", False)),
        ({"package.json": '{"packageManager": "pnpm@9.15.9"}'}, ("pnpm", False)),
        ({"package.json": '{"packageManager": "npm@10.0.0"}'}, ("npm", False)),
        ({"package.json": '{"packageManager": "yarn@1.22.22"}'}, ("yarn", False)),
        ({"pnpm-workspace.yaml": ""}, ("pnpm", False)),
        ({"pnpm-lock.yaml": ""}, ("pnpm", True)),
        ({"pnpm-lock.yaml": "", "package.json": WITH}, ("pnpm", True)),
        ({"package-lock.json": "{}", "package.json": WITH}, ("npm", True)),
        ({"npm-shrinkwrap.json": "{}", "package-lock.json": "{}"}, ("npm", True)),
        ({"yarn.lock": "# yarn lockfile v1\n"}, ("yarn", True)),
        ({"yarn.lock": f"# made by yarn\n\n{BERRY}"}, ("berry", True)),
        ({"package.json": WITH, ".yarnrc": ""}, ("yarn", False)),
        ({"package.json": WITH, ".yarnrc.yml": ""}, ("berry", False)),
    ],
)
def test_found_by_lockfile(
    project: Path, content: dict[str, str], expected: tuple[str, bool] | None
) -> None:
    write(project, content)
    found = managers.find(project, ["pnpm", "npm", "yarn"])
    if expected is None:
        assert found is None
    else:
        assert found is not None
        name, locked = expected
        assert getattr(found.manager, "__name__", "") == f"aifo_tasks.install.{name}"
        assert found.locked is locked
    assert managers.find(project, []) is None


@pytest.mark.parametrize(
    ("allowed", "content", "expected"),
    [
        (["uv", "pip"], {"uv.lock": "", "pyproject.toml": ""}, ("uv", True)),
        (["uv", "pip"], {"pyproject.toml": '[project]\nname = "x"\n'}, ("uv", False)),
        (["uv", "pip"], {"pyproject.toml": "[tool.uv.workspace]\n"}, ("uv", False)),
        (["uv", "pip"], {"pyproject.toml": "[tool.ruff]\n"}, None),
        (["uv", "pip"], {"requirements.txt": ""}, ("pip", True)),
        (["cargo"], {"Cargo.lock": "", "Cargo.toml": ""}, ("cargo", True)),
        (["cargo"], {"Cargo.toml": ""}, ("cargo", False)),
        (["cargo"], {"package.json": WITH}, None),
        (["go"], {"go.mod": "", "go.sum": ""}, ("go", True)),
        (["go"], {"go.work": "", "go.mod": ""}, ("go", True)),
        (["go"], {"main.go": ""}, None),
    ],
)
def test_other_ecosystems(
    project: Path, allowed: list[str], content: dict[str, str], expected: tuple[str, bool] | None
) -> None:
    write(project, content)
    found = managers.find(project, allowed)
    assert (found and (found.manager.NAME, found.locked)) == expected


@pytest.mark.parametrize(
    ("names", "problem", "hint"),
    [
        (
            ["pnpm-lock.yaml", "package-lock.json"],
            "has two lockfiles: pnpm-lock.yaml and package-lock.json",
            "rm package-lock.json, or managers: [pnpm] in toolchains.yaml",
        ),
        (
            ["yarn.lock", "npm-shrinkwrap.json"],
            "has two lockfiles: npm-shrinkwrap.json and yarn.lock",
            "rm yarn.lock, or managers: [npm] in toolchains.yaml",
        ),
    ],
)
def test_lockfiles_of_several_managers(
    project: Path, names: list[str], problem: str, hint: str
) -> None:
    write(project, dict.fromkeys(names, ""))
    with pytest.raises(InstallError) as caught:
        managers.find(project, ["pnpm", "npm", "yarn"])
    assert (caught.value.problem, caught.value.hint) == (problem, hint)


def test_the_file_decides_between_lockfiles(project: Path) -> None:
    write(project, {"pnpm-lock.yaml": "", "package-lock.json": "{}"})
    found = managers.find(project, ["npm"])
    assert found is not None
    assert (found.manager.NAME, found.locked) == ("npm", True)


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "is not JSON"), ("[]", "is not a JSON object")]
)
def test_a_manifest_that_is_none(project: Path, content: str, problem: str) -> None:
    (project / "package.json").write_text(content)
    with pytest.raises(InstallError, match=problem):
        managers.find(project, ["pnpm"])


@pytest.fixture(scope="module")
def shipped() -> Config:
    return load.load(files.resource("toolchains.yaml").parent)


def test_every_declared_manager_is_there(shipped: Config, project: Path) -> None:
    declared = [name for toolchain in shipped.toolchains for name in toolchain.managers]
    assert set(declared) <= set(managers.LOCKFILES)
    for name in declared:
        assert name == managers.module(name, project).NAME


def planned(project: Path, name: str, toolchain: Toolchain, *covered: str) -> object:
    place = Place(project=project, kind=toolchain.kind, uid=0, machine="m", platform="linux/amd64")
    return managers.plan(
        managers.module(name, project),
        toolchain,
        place=place,
        covered=[Directory(relative=path, volume=f"v-{path}") for path in covered],
        inputs="0" * 64,
        environ={},
    )


def test_a_plan_installs_into_the_overlays_of_its_manager(project: Path, shipped: Config) -> None:
    node = shipped.toolchain("node")
    assert node is not None
    found = planned(project, "npm", node, "dist", "node_modules", "packages/a/node_modules")
    assert isinstance(found, Plan)
    assert found.targets == (
        "/workspace/node_modules", "/workspace/packages/a/node_modules",
    )  # fmt: skip
    assert found.volumes == ("v-node_modules", "v-packages/a/node_modules")
    assert found.sentinel == ".aifo-node-overlay"
    assert found.store == Store(target="/home/coder/.cache/npm")
    assert not found.shared


def test_a_manifest_may_ask_for_its_first_package(project: Path) -> None:
    assert not managers.may_begin(project, ("pnpm", "npm"))
    (project / "package.json").write_text("{}")
    assert managers.find(project, ("pnpm", "npm")) is None
    assert managers.may_begin(project, ("pnpm", "npm"))
    assert not managers.may_begin(project, ("uv", "pip"))


def test_where_nothing_is_covered_nothing_is_installed(project: Path, shipped: Config) -> None:
    node = shipped.toolchain("node")
    assert node is not None
    assert planned(project, "npm", replace(node, overlays=()), "dist") is None
