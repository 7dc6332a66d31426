"""A project in a temporary directory and a sidecar that is this host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.install import pnpm
from aifo_tasks.install.api import Manager, Plan, Store

LOCK = b"""lockfileVersion: '9.0'

importers:

  .:
    dependencies:
      kleur: {specifier: 4.1.5, version: 4.1.5}

  packages/a: {}

packages:

  kleur@4.1.5:
    resolution: {integrity: sha512-x}
"""

PNPM = r"""#!/bin/sh
# A package manager that does what the files in $CONTROL say, and writes down how it was called.
echo "$@" >>"$CONTROL/calls"
echo "stdin: $(readlink /proc/self/fd/0)" >>"$CONTROL/stdin"
case " $* " in
*" --offline "*) test -e "$CONTROL/stored" || { echo "ERR_PNPM_NO_OFFLINE_TARBALL"; exit 1; } ;;
esac
if test -e "$CONTROL/output"; then cat "$CONTROL/output"; fi
if test -e "$CONTROL/once"; then
	mv "$CONTROL/once" "$CONTROL/had"
	cat "$CONTROL/had"
	exit 1
fi
if test -e "$CONTROL/status"; then echo "going wrong"; exit "$(cat "$CONTROL/status")"; fi
if test -e "$CONTROL/touch"; then echo >>"$(cat "$CONTROL/touch")"; fi
if test -e "$CONTROL/hang"; then echo $$ >"$CONTROL/pid"; exec sleep 60; fi
mkdir -p node_modules/.pnpm
: >node_modules/.modules.yaml
: >node_modules/.pnpm/lock.yaml
test ! -e "$CONTROL/lazy" || rm "$(cat "$CONTROL/lazy")"
mkdir -p "$CONTROL/../project/.pnpm-store/v3/files"
: >"$CONTROL/stored"
"""


@dataclass
class Host:
    """Runs commands of a sidecar on this host, in the project's directory."""

    project: Path
    path: str
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    argvs: list[Sequence[str]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "/workspace",
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
        on_output: Callable[[bytes], None],
    ) -> int:
        assert cwd.startswith("/workspace")
        self.argvs.append(argv)
        with subprocess.Popen(
            [*self.prefix, *argv],
            cwd=self.project / cwd.removeprefix("/workspace").lstrip("/"),
            env={**os.environ, **self.environment, **(environment or {}), "PATH": self.path},
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            assert child.stdout is not None
            while data := os.read(child.stdout.fileno(), 4096):
                on_output(data)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode


@dataclass
class Bench:
    """A project with a lockfile, a stand-in for pnpm, and a plan to install it."""

    project: Path
    control: Path
    run: Host
    plan: Plan
    lock_path: Path

    @property
    def stamp(self) -> Path:
        return self.project / "node_modules" / ".aifo-pnpm-lock.hash"

    @property
    def calls(self) -> list[str]:
        path = self.control / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def tell(self, name: str, value: str = "") -> None:
        (self.control / name).write_text(value)

    def untell(self, name: str) -> None:
        (self.control / name).unlink()


def make_plan(
    project: Path, manager: Manager, *, store: Store, targets: Sequence[str] = (), **more: Any
) -> Plan:
    """A plan of an install in ``project``; without ``targets`` into the store itself."""
    facts: dict[str, Any] = {
        "kind": "node",
        "volumes": (),
        "key": "0123456789ab",
        "toolchain": "0" * 64,
        "platform": "linux/amd64/glibc",
        "sentinel": ".aifo-node-overlay",
        **more,
    }
    targets = targets or (store.target, *store.also)
    return Plan(project=project, manager=manager, store=store, targets=targets, **facts)


def make_bench(tmp: Path) -> Bench:
    project, control, programs = tmp / "project", tmp / "control", tmp / "bin"
    for path in (project, control, programs, project / "packages/a", project / ".pnpm-store"):
        path.mkdir(parents=True, exist_ok=True)
    (project / "pnpm-lock.yaml").write_bytes(LOCK)
    (project / "package.json").write_text('{"dependencies": {"kleur": "4.1.5"}}')
    (programs / "pnpm").write_text(PNPM)
    (programs / "pnpm").chmod(0o755)
    targets = [project / "node_modules", project / "packages/a/node_modules"]
    for target in targets:
        target.mkdir(exist_ok=True)
    host = project / ".pnpm-store"
    plan = make_plan(
        project,
        pnpm,
        store=Store(host=host, target=str(host)),
        targets=tuple(map(str, targets)),
        volumes=("aifo-node-modules-1", "aifo-node-modules-1-a"),
    )
    search = f"{programs}:{os.environ['PATH']}"
    run = Host(project, search, {"CONTROL": str(control)})
    return Bench(project, control, run, plan, tmp / "install.lock")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path
