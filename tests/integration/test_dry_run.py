"""A dry run touches nothing, and what it prints works when it is pasted into a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.project import BIN, Project, docker


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    return another_user(tmp_path)


def another_user(top: Path) -> dict[str, str]:
    """The variables of one who has run nothing yet: no run directory, no compiled init."""
    found = {}
    for variable in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        directory = top / variable[4:7].lower()
        directory.mkdir(mode=0o700)
        found[variable] = str(directory)
    return found


def test_a_running_sidecar_gets_no_call(fresh: Project) -> None:
    """Neither the call nor an install that is due, nor a stop."""
    assert fresh.call("true").returncode == 0
    with (fresh.path / "pnpm-lock.yaml").open("a") as lock:
        lock.write("\n")
    for words in (
        ("toolchain:node", "DRY_RUN=1", "--", "touch", "touched"),
        ("toolchain:node", "--dry-run", "--", "pnpm", "add", "mri"),
        ("install:node", "DRY_RUN=1"),
        ("sidecar_stop", "DRY_RUN=1"),
    ):
        done = fresh.doit("run", *words)
        assert done.returncode == 0, done.stderr
    assert not (fresh.path / "touched").exists()
    assert len(fresh.sidecars()) == 1
    assert "install node:" in fresh.call("true").stderr  # still due


def test_what_is_printed_works_when_pasted(
    fresh: Project, elsewhere: Mapping[str, str], tmp_path: Path
) -> None:
    """Image, run directory, init binary, volumes, sidecar, install, call."""
    fresh.write(
        "toolchains.yaml",
        "extends: builtin\ntoolchains:\n  node:\n    image:\n      name: aifo-test-pasted\n",
    )
    dry = fresh.doit(
        "run", "toolchain:node", "DRY_RUN=1", "--", "node", "-e",
        "require('kleur'); console.log('it works')", env=elsewhere,
    )  # fmt: skip
    assert dry.returncode == 0, dry.stderr
    script = tmp_path / "pasted.sh"
    script.write_text(dry.stderr)
    try:
        pasted = subprocess.run(
            ["bash", "-e", script], cwd=fresh.path, env={**os.environ, **elsewhere},
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert pasted.returncode == 0, pasted.stderr[-3000:]
        assert pasted.stdout.endswith("it works\n")
        assert len(fresh.sidecars()) == 1
        called = fresh.doit("run", "toolchain:node", "--", "echo", "warm", env=elsewhere)
        assert called.stdout == "warm\n", called.stderr
        assert len(fresh.sidecars()) == 1  # the pasted one is what doit would have started
    finally:
        fresh.doit("run", "sidecar_stop", env=elsewhere)
        fresh.stop()
        docker("rmi", "aifo-test-pasted:latest", check=False)


def test_verbose_prints_while_it_runs(fresh: Project) -> None:
    done = fresh.doit("run", "sidecar:node", "VERBOSE=1")
    assert done.returncode == 0, done.stderr
    assert " run --detach --rm " in done.stderr
    assert len(fresh.sidecars()) == 1


def test_list_and_help_need_no_engine(fresh: Project) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nowhere.sock", "PATH": f"{BIN}:/nowhere"}
    listed = fresh.doit("list", "--all", env=nowhere)
    assert listed.returncode == 0, listed.stderr
    assert "toolchain:node" in listed.stdout
    helped = fresh.doit("help", "build_image:node", env=nowhere)
    assert "--no-cache" in helped.stdout
