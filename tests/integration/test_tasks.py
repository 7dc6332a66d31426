"""The tasks that show, approve, keep and throw away, through doit on a real engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installing import TOOLCHAINS
from tests.integration.project import Project, docker


def test_toolchains_are_shown(warm: Project) -> None:
    done = warm.doit("run", "toolchains")
    assert done.returncode == 0
    assert "node: aifo-coder-toolchain-node:latest\n" in done.stdout
    assert "  aliases: ts typescript bun\n" in done.stdout
    assert "pnpm" in done.stdout.split("tools: ")[1]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "node:20 "),
        ({"AIFO_CODER_MIRROR_REGISTRY_PREFIX": "mirror.example"}, "mirror.example/node:20 "),
    ],
)
def test_a_reference_is_resolved(warm: Project, environ: dict[str, str], expected: str) -> None:
    done = warm.doit("run", "registry", "REF=node:20", env=environ)
    assert done.stdout.startswith(expected)


def test_the_dockerfile_is_shown(warm: Project) -> None:
    done = warm.doit("run", "render_image:node")
    assert "\nFROM " in done.stdout
    assert "{{" not in done.stdout
    assert done.stderr == ""


def test_the_engine_is_shown(warm: Project, engine_endpoint: str) -> None:
    done = warm.doit("run", "engine")
    assert done.returncode == 0
    assert f"{engine_endpoint}: " in done.stderr


def test_what_reaches_the_host_needs_approval(bare: Project, tmp_path: Path) -> None:
    """Until it is given nothing takes effect; a change takes it back."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "fact").write_text("seen\n")
    mounts = f"    mounts:\n      - {{source: {data}, target: /data}}\n"
    bare.write("toolchains.yaml", f"extends: builtin\ntoolchains:\n  node:\n{mounts}")
    refused = bare.call("cat", "/data/fact")
    assert (refused.stdout, refused.returncode) == ("", 3)
    assert (
        "toolchains.yaml:5:7: not approved to reach the host: toolchains.node.mounts"
        in refused.stderr
    )
    assert "doit trust" in refused.stderr
    approved = bare.doit("run", "trust")
    assert approved.returncode == 0, approved.stderr
    assert bare.call("cat", "/data/fact").stdout == "seen\n"
    with (bare.path / "toolchains.yaml").open("a") as file:
        file.write("# changed\n")
    assert bare.call("cat", "/data/fact").returncode == 3
    assert bare.doit("run", "trust").returncode == 0  # so that the fixture can stop it


@pytest.fixture
def own_cache(fresh: Project) -> Iterator[tuple[Project, str]]:
    """A project with a cache volume that nobody shares, and no other."""
    volume = f"test-cache-{os.getpid()}"
    text = "extends: builtin\ntoolchains:\n"
    for toolchain in TOOLCHAINS:
        own = f"{{volume: {volume}, target: /home/coder/.cache}}"
        text += f"  {toolchain.kind}: {{caches: [{own if toolchain.kind == 'node' else ''}]}}\n"
    fresh.write("toolchains.yaml", text)
    yield fresh, volume
    fresh.stop()
    docker("volume", "rm", "--force", volume)


def test_a_cache_is_listed_exported_purged_and_imported(
    own_cache: tuple[Project, str], tmp_path: Path
) -> None:
    project, volume = own_cache
    write = "mkdir -p $XDG_CACHE_HOME/deep && echo kept > $XDG_CACHE_HOME/deep/fact"
    assert project.call("sh", "-c", write).returncode == 0
    assert volume in project.doit("run", "caches").stdout
    archive = tmp_path / "node.tar"
    exported = project.doit("run", "export_cache:node", f"FILE={archive}")
    assert exported.returncode == 0, exported.stderr
    first = archive.read_bytes()
    project.doit("run", "export_cache:node", f"FILE={archive}")
    assert archive.read_bytes() == first
    used = project.doit("run", "purge_caches", "YES=1")
    assert used.returncode == 1
    assert "doit sidecar_stop" in used.stderr
    assert project.doit("run", "sidecar_stop").returncode == 0
    assert project.doit("run", "purge_caches").returncode == 1  # nobody agreed
    purged = project.doit("run", "purge_caches", "YES=1", "OVERLAYS=1")
    assert purged.returncode == 0, purged.stderr
    assert "freed" in purged.stderr
    assert volume not in docker("volume", "ls", "--quiet").split()
    assert not project.volumes()
    assert project.doit("run", "import_cache:node", f"FILE={archive}").returncode == 0
    assert project.call("cat", "/home/coder/.cache/deep/fact").stdout == "kept\n"


def test_a_run_without_the_cache_leaves_none(own_cache: tuple[Project, str]) -> None:
    project, volume = own_cache
    done = project.doit(
        "run", "toolchain:node", "--no-toolchain-cache", "--", "sh", "-c", "touch $HOME/.cache"
    )
    assert done.returncode == 0, done.stderr
    assert volume not in docker("volume", "ls", "--quiet").split()


def test_a_global_typescript_on_request(warm: Project) -> None:
    done = warm.doit("run", "toolchain:node", "BOOTSTRAP=ts=global", "--", "tsc", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Version ")
    refused = warm.doit("run", "toolchain:node", "BOOTSTRAP=ts=local", "--", "true")
    assert refused.returncode == 3
    assert "typescript=global" in refused.stderr


def test_npm_lockfiles_are_pointed_out(fresh: Project) -> None:
    assert fresh.doit("run", "node_guard").returncode == 0
    fresh.write("package-lock.json", "{}\n")
    found = fresh.doit("run", "node_guard")
    assert found.returncode == 1
    assert "package-lock.json" in found.stderr
