"""What changes the key of an install, and what does not, for every package manager."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.errors import UnsafePathError
from aifo_tasks.install import managers
from aifo_tasks.install.api import Plan, Store
from aifo_tasks.install.key import key

from .conftest import LOCK, Bench, make_plan

PACKAGE = '{"workspaces": ["packages/*"]}'
BERRY_SETTINGS = "nodeLinker: node-modules\nyarnPath: .yarn/releases/yarn-4.5.0.cjs\n"
PATCHED = "patchedDependencies:\n  a@1:\n    hash: x\n    path: fixes/a.patch\n" + LOCK.decode()

# What stands in the project, and what else counts when it comes.
PROJECTS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "pnpm": (
        {"pnpm-lock.yaml": PATCHED, "package.json": "{}", "packages/a/package.json": "{}"},
        (
            "package.yaml", ".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", "patches/a.patch",
            "fixes/a.patch", "packages/a/.npmrc",
        ),
    ),
    "npm": (
        {
            "package-lock.json": '{"packages": {"node_modules/l": '
            '{\n"resolved": "lib/l",\n"link": true}}}',
            "package.json": PACKAGE,
            "packages/a/package.json": "{}",
        },
        (
            "npm-shrinkwrap.json", ".npmrc", "patches/a.patch", "packages/b/package.json",
            "lib/l/package.json",
        ),
    ),
    "yarn": (
        {"yarn.lock": "", "package.json": PACKAGE, "packages/a/package.json": "{}"},
        (".yarnrc", ".npmrc", "patches/a.patch", "packages/b/package.json"),
    ),
    "berry": (
        {
            "yarn.lock": "#\n\n__metadata:\n",
            "package.json": '{"workspaces": {"packages": ["packages/*"]}}',
            ".yarnrc.yml": BERRY_SETTINGS,
            "packages/a/package.json": "{}",
        },
        ("patches/a.patch", "packages/b/package.json"),
    ),
    "uv": (
        {
            "uv.lock": '[[package]]\nname = "a"\nsource = { editable = "libs/a" }\n'
            '[[package]]\nname = "b"\nsource = { virtual = "." }\n',
            "pyproject.toml": "[project]\n",
            "libs/a/pyproject.toml": "[project]\n",
        },
        ("uv.toml", ".python-version", "setup.py", "libs/a/setup.cfg"),
    ),
    "pip": (
        {
            "requirements.txt": "-r base/more.txt\n--constraint=limits.txt\na==1 # -r no.txt\n",
            "base/more.txt": "-rless.txt\n-r ../requirements.txt\n-r ../../outside.txt\n",
            "base/less.txt": "b==1\n",
            "limits.txt": "c==1\n",
        },
        ("pyproject.toml", "setup.py"),
    ),
    "cargo": (
        {
            "Cargo.lock": "version = 4\n",
            "Cargo.toml": '[workspace]\nmembers = [\n  "crates/*", # "none"\n]\n',
            "crates/a/Cargo.toml": '[lib]\npath = "src/a.rs"\n[dependencies]\n'
            'deep = { version = "1", path = "../../libs/deep" }\n'
            'out = { path = "../../../out" }\n',
            "libs/deep/Cargo.toml": '[dependencies]\nback = { path = "../../crates/a" }\n',
        },
        (
            ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain",
            "crates/b/Cargo.toml",
        ),
    ),
    "go": (
        {
            "go.work": "go 1.22\n\nuse (\n\t./a // here\n\t.\n\t../out\n)\n",
            "go.mod": "module x\n\nreplace y => ./libs/y\nreplace z v1 => example.org/z v2\n",
            "go.sum": "y v1 h1:x\n",
            "a/go.mod": "module a\n",
            "libs/y/go.mod": "module y\n",
        },
        ("go.work.sum", "vendor/modules.txt", "a/go.sum", "libs/y/go.sum"),
    ),
}  # fmt: skip
NAMES = {"berry": "yarn"}


def plan_of(name: str, project: Path) -> Plan:
    for path, content in PROJECTS[name][0].items():
        write(path, content)(project)
    manager = managers.module(NAMES.get(name, name), project)
    assert getattr(manager, "__name__", "").endswith(f".{name}")
    return make_plan(project, manager, store=Store(target="/store"))


def write(relative: str, content: str = "x") -> Callable[[Path], None]:
    def change(project: Path) -> None:
        (project / relative).parent.mkdir(exist_ok=True, parents=True)
        (project / relative).write_text(content)

    return change


def touch(project: Path) -> None:
    for path in project.rglob("*.*"):
        if path.is_file():
            os.utime(path, (1, 1))
            path.chmod(0o600)


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name, (there, more) in PROJECTS.items() for path in (*there, *more)],
)
def test_what_changes_the_result_changes_the_key(project: Path, name: str, path: str) -> None:
    plan = plan_of(name, project)
    before = key(plan)
    old = PROJECTS[name][0].get(path, "")
    write(path, old + ("\n" if old else "{}"))(project)
    assert key(plan) != before


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize(
    "change",
    [
        touch,
        write("src/main.js"),
        write("src/lib.rs"),
        write("target/package/x/Cargo.toml"),
        write("main.go"),
        write("other/b/package.json"),
        write("node_modules/x/package.json"),
        write(".pnpm-store/v3/files/x"),
        write("README.md"),
    ],
)
def test_what_does_not_change_the_result_keeps_the_key(
    project: Path, name: str, change: Callable[[Path], None]
) -> None:
    plan = plan_of(name, project)
    before = key(plan)
    change(project)
    assert key(plan) == before


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
