"""A dry run touches nothing, and what it prints works when it is pasted into a shell."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.project import BIN, Project, docker


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The variables of a user who has run nothing yet: no run directory, no compiled init."""
    found = {}
    for variable in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        directory = tmp_path / variable[4:7].lower()
        directory.mkdir(mode=0o700)
        found[variable] = str(directory)
    return found


def engine_content() -> list[str]:
    """Everything the engine has, by name and id."""
    return [
        docker("ps", "--all", "--no-trunc", "--format", "{{.ID}}"),
        docker("images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"),
        docker("volume", "ls", "--quiet"),
        docker("network", "ls", "--quiet"),
    ]


def files_below(*directories: str | Path) -> list[str]:
    """Every path but the cache of the parsed configuration, which is written when read."""
    found = [path for top in directories for path in Path(top).rglob("*")]
    config = [path for path in found if path.parent.name == "config" or path.name == "config"]
    return sorted(str(path) for path in found if path not in config and path.name != "aifo")


def test_nothing_is_touched(fresh: Project, elsewhere: Mapping[str, str]) -> None:
    """Not the engine (its own record of events says so), not a file of project or user."""
    since = time.time()
    seen = f"aifo-test-seen-{os.getpid()}"  # shows that the engine's record is complete
    docker("volume", "create", seen)
    docker("volume", "rm", seen)
    before = fresh.tree(), engine_content(), files_below(fresh.path, *elsewhere.values())
    for words in (
        ("toolchain:node", "--dry-run", "--", "pnpm", "test"),
        ("build_image:node", "DRY_RUN=1", "NO_CACHE=1"),
        ("install:node", "DRY_RUN=1"),
        ("warm_cache:node", "DRY_RUN=1"),
        ("sidecar_stop", "DRY_RUN=1"),
        ("purge_caches", "DRY_RUN=1", "OVERLAYS=1", "YES=1"),
        ("node_install", "DRY_RUN=1"),
        ("engine", "DRY_RUN=1"),
    ):
        done = fresh.doit("run", *words, env=elsewhere)
        assert "Traceback" not in done.stderr
        # there is no pnpm on the host, and somebody's sidecar may use the cache
        refused = words[0] in {"node_install", "purge_caches"}
        assert done.returncode in ({0, 1} if refused else {0}), done.stderr
    assert (fresh.tree(), engine_content(), files_below(fresh.path, *elsewhere.values())) == before
    record = docker(
        "events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}",
        "--format", "{{.Type}} {{.Action}} {{json .Actor}}",
    )  # fmt: skip
    assert seen in record
    changing = ("create", "start", "destroy", "kill", "pull", "tag", "delete", "build", "mount")
    ours = [line for line in record.splitlines() if line.split()[1] in changing]
    assert not [line for line in ours if "aifo" in line and seen not in line]


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
