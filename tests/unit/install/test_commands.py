"""Commands, calls that change what is installed, and hints, for every package manager."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from aifo_tasks.install import berry, cargo, go, managers, npm, pip, pnpm, uv, yarn
from aifo_tasks.install.api import Commands, Manager

from .conftest import Host
from .test_key import NAMES, PROJECTS, plan_of

CALLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pnpm": (
        (
            "pnpm install", "/usr/bin/pnpm i --lockfile-only", "pnpm add -D x",
            "pnpm --filter a add x", "pnpm -r update", "pnpm -C packages/a remove x",
        ),
        (
            "pnpm test", "pnpm run install", "pnpm --filter install test", "pnpm exec add",
            "pnpm --version", "pnpm", "npm install", "",
        ),
    ),
    "npm": (
        ("npm ci", "npm i x", "npm -w a install x", "npm --prefix . uninstall x", "npm version 2"),
        ("npm test", "npm run ci", "npm exec install", "npm", "npx install", "pnpm install", ""),
    ),
    "yarn": (
        ("yarn", "yarnpkg --frozen-lockfile", "yarn add x", "yarn --cwd a install", "yarn upgrade"),
        ("yarn test", "yarn run add", "yarn --version", "yarn -h", "npm install", ""),
    ),
    "berry": (
        ("yarn", "yarn up x", "yarn config set nodeLinker node-modules", "yarn set version 4"),
        ("yarn test", "yarn node", "yarn --version", "npm install", ""),
    ),
    "uv": (
        (
            "uv sync", "uv add x", "uv --directory a lock", "uv pip install x",
            "python -m venv .venv",
        ),
        ("uv run sync", "uv tree", "uvx add", "python -m pytest", "python lock", "uv", ""),
    ),
    "pip": (
        (
            "pip install x", ".venv/bin/pip3 uninstall x", "python3.12 -m pip install -r r.txt",
            "uv pip install x",
        ),
        ("pip list", "pip", "python -m pip list", "python -m install", "python", "python -m", ""),
    ),
    "cargo": (
        ("cargo add x", "cargo +nightly update", "cargo --color never fetch", "cargo init"),
        ("cargo build", "cargo test add", "cargo", "rustc add", "cargo install x", ""),
    ),
    "go": (
        ("go get x", "go mod tidy", "go -C a mod download", "go work use b", "go mod"),
        ("go build", "go mod verify", "go mod graph", "go test get", "go", "gofmt get", ""),
    ),
}  # fmt: skip

HINTS = [
    (
        "npm",
        "`npm ci` can only install packages when your package.json and package-lock.json are in",
        "doit run toolchain:node -- npm install --package-lock-only",
    ),
    (
        "npm",
        "EACCES: permission denied, open '/store/_cacache/x'",
        "doit sidecar_stop && doit purge_caches",
    ),
    ("npm", "EACCES: permission denied, open '/etc/x'", ""),
    (
        "yarn",
        "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.",
        "doit run toolchain:node -- yarn install",
    ),
    (
        "berry",
        "➤ YN0028: │ The lockfile would have been modified by this install",
        "doit run toolchain:node -- yarn install --mode=update-lockfile",
    ),
    (
        "uv",
        "error: The lockfile at `uv.lock` needs to be updated, but `--check` was provided.",
        "doit run toolchain:node -- uv lock",
    ),
    ("pip", "Permission denied: '/store/x.whl'", "doit sidecar_stop && doit purge_caches"),
    (
        "cargo",
        "error: the lock file /workspace/Cargo.lock needs to be updated but --locked was passed",
        "doit run toolchain:node -- cargo update --workspace",
    ),
    (
        "go",
        "missing go.sum entry for go.mod file; to add it:",
        "doit run toolchain:node -- go mod tidy",
    ),
    (
        "go",
        "go: inconsistent vendoring in /workspace:",
        "doit run toolchain:node -- go mod vendor",
    ),
]


@pytest.mark.parametrize(
    ("name", "call", "expected"),
    [
        (name, call, expected)
        for name, (changing, others) in CALLS.items()
        for calls, expected in ((changing, True), (others, False))
        for call in calls
    ],
)
def test_calls_that_change_what_is_installed(
    project: Path, name: str, call: str, expected: bool
) -> None:
    manager = plan_of(name, project).manager
    assert manager.changes_modules(call.split()) is expected


@pytest.mark.parametrize(("name", "output", "hint"), HINTS)
def test_a_hint_is_a_command_that_mends(project: Path, name: str, output: str, hint: str) -> None:
    plan = plan_of(name, project)
    assert plan.manager.explain(f"\nsome lines\n{output}\n", plan) == hint
    if " -- " in hint:
        assert plan.manager.changes_modules(hint.partition(" -- ")[2].split())


EVERY: tuple[Manager, ...] = (pnpm, npm, yarn, berry, uv, pip, cargo, go)
"""Here the type checker sees that each module satisfies the Protocol."""


def test_every_manager_is_in_the_tables() -> None:
    names = [str(getattr(manager, "__name__", "")).rpartition(".")[2] for manager in EVERY]
    assert names == list(CALLS) == list(PROJECTS)


@pytest.mark.parametrize("name", CALLS)
def test_an_install_without_a_network_differs(project: Path, name: str) -> None:
    plan = plan_of(name, project)
    online = plan.manager.install(plan, offline=False)
    assert plan.manager.install(plan, offline=True) != online
    assert NAMES.get(name, name) == plan.manager.NAME
    assert plan.manager.NAME in managers.LOCKFILES


def shown(commands: Commands) -> list[str]:
    """The commands without the text of scripts."""
    return [
        " ".join(["script", *argv[4:]] if argv[:2] == ("sh", "-c") else argv) for argv in commands
    ]


PIP = "/workspace/.venv/bin/python -m pip"
REQUIRED = "--find-links /store --require-hashes --requirement requirements.txt"
YARN = "flock /store/.aifo-alone yarn install --frozen-lockfile --non-interactive --no-progress"
COMMANDS = {
    "npm": (
        ["npm ci --no-audit --no-fund --no-update-notifier --no-progress --prefer-offline"],
        ["npm ci --no-audit --no-fund --no-update-notifier --no-progress --offline"],
    ),
    "yarn": (
        [
            "mkdir -p /store",
            "rm -f /workspace/node_modules/.yarn-integrity",
            f"{YARN} --prefer-offline",
        ],
        [
            "mkdir -p /store",
            "rm -f /workspace/node_modules/.yarn-integrity",
            f"{YARN} --offline",
        ],
    ),
    "berry": (
        ["yarn install --immutable"],
        ["env YARN_ENABLE_NETWORK=0 yarn install --immutable"],
    ),
    "uv": (
        [
            "find /workspace/.venv -mindepth 1 -delete",
            "uv lock --check",
            "uv sync --frozen",
        ],
        [
            "find /workspace/.venv -mindepth 1 -delete",
            "uv lock --check --offline",
            "uv sync --frozen --offline",
        ],
    ),
    "pip": (
        [
            "script /workspace/.venv -m venv --clear /workspace/.venv",
            "mkdir -p /store",
            f"flock /store/.aifo-alone {PIP} download --dest /store {REQUIRED}",
            f"{PIP} install {REQUIRED}",
        ],
        [
            "script /workspace/.venv -m venv --clear /workspace/.venv",
            f"{PIP} install --no-index {REQUIRED}",
        ],
    ),
    "cargo": (
        ["flock /store/.aifo-alone cargo fetch --locked"],
        ["flock /store/.aifo-alone cargo fetch --locked --offline"],
    ),
    "go": (
        ["go list -mod=readonly -m all", "go mod download"],
        ["env GOPROXY=off go list -mod=readonly -m all", "env GOPROXY=off go mod download"],
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_whole_install(project: Path, name: str) -> None:
    plan = plan_of(name, project)
    if name == "pip":
        (project / "requirements.txt").write_text("a==1 --hash=sha256:0\n")
    directory = plan.manager.DIRECTORY
    if directory:
        plan = dataclasses.replace(plan, targets=(f"/workspace/{directory}",))
    online, offline = COMMANDS[name]
    assert shown(plan.manager.install(plan, offline=False)) == online
    assert shown(plan.manager.install(plan, offline=True)) == offline


def test_hashes_are_required_only_where_they_stand(project: Path) -> None:
    plan = plan_of("pip", project)
    assert not any("--require-hashes" in argv for argv in pip.install(plan, offline=False))


def test_what_is_vendored_is_not_fetched(project: Path) -> None:
    plan = plan_of("go", project)
    (project / "vendor").mkdir()
    (project / "vendor/modules.txt").touch()
    assert go.install(plan, offline=False) == (("go", "list", "-mod=vendor", "-m"),)
    assert go.verify(nobody, plan) == ""


def nobody(argv: object, **_: object) -> int:
    raise AssertionError(argv)


@pytest.mark.parametrize("name", ["npm", "yarn", "berry", "uv", "pip", "cargo", "go"])
def test_an_install_without_its_record_is_not_believed(
    project: Path, tmp_path: Path, name: str
) -> None:
    """Each has packages to install, and nothing is there."""
    plan = plan_of(name, project)
    lock = {
        "npm": ("package-lock.json", '{"packages": {"node_modules/a": {}}}'),
        "yarn": ("yarn.lock", 'a@1:\n  version "1"\n'),
    }
    if name in lock:
        (project / lock[name][0]).write_text(lock[name][1])
    (tmp_path / "bin").mkdir()
    for program in ("cargo", "go"):
        (tmp_path / "bin" / program).write_text("#!/bin/sh\necho modified; exit 1\n")
        (tmp_path / "bin" / program).chmod(0o755)
    run = Host(project, f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert plan.manager.verify(run, plan) != ""
