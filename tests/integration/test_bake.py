"""A build as a target of a bake file, as docker's own reader takes it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.engine import bake
from aifo_tasks.engine.api import BuildSpec, PublishSpec
from tests.integration.project import docker
from tests.integration.registries import PLATFORMS, Registry
from tests.integration.small import BOTH, NAME, Small

DOCKERFILE = 'ARG BASE\nFROM ${BASE}\nRUN echo "$HOME ${x:-%{y}} ü" $${z}\n'
SPEC = PublishSpec(
    build=BuildSpec(
        tag="registry.example/team/node:latest",
        context=Path("/p/images/${odd}"),
        dockerfile=DOCKERFILE,
        arguments=(("BASE", "node@sha256:x"), ("A", "%{b} ${c}"), ("HTTPS_PROXY", "http://u:p@h")),
        secrets=(("ca", Path("/etc/hosts")),),
        contexts=(("aifo-shared", Path("/p/images/shared")),),
        labels=(("io.aifo.inputs", '{"a": "${b}"}'),),
    ),
    platforms=("linux/amd64", "linux/arm64"),
    archive=Path("dist"),
    cache_from=("type=registry,ref=r.example/cache",),
    cache_to=("type=registry,ref=r.example/cache,mode=max",),
)
TAGS = ("registry.example/team/node:latest", "registry.example/team/node:recipe-1")


@pytest.fixture
def baked(engine_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads a bake file as ``docker buildx bake --print`` does."""
    monkeypatch.setenv("HTTPS_PROXY", "http://theirs.example:3128")

    def read(text: str) -> dict[str, Any]:
        path = tmp_path / "bake.json"
        path.write_text(text)
        argv = ["docker", "buildx", "bake", "--print", "--file", str(path)]
        done = subprocess.run(argv, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return read


def test_every_word_comes_through_as_it_is(baked: Any) -> None:
    text = bake.text({"node": bake.target(SPEC, TAGS, "type=image,push=true")})
    assert "u:p@h" not in text
    found = baked(text)
    assert found["group"]["default"]["targets"] == ["node"]
    assert found["target"]["node"] == {
        "context": "/p/images/${odd}",
        "contexts": {"aifo-shared": "/p/images/shared"},
        "dockerfile": "Dockerfile",
        "dockerfile-inline": DOCKERFILE,
        "args": {
            "BASE": "node@sha256:x", "A": "%{b} ${c}", "HTTPS_PROXY": "http://theirs.example:3128"
        },
        "labels": {"io.aifo.inputs": '{"a": "${b}"}'},
        "tags": list(TAGS),
        "platforms": ["linux/amd64", "linux/arm64"],
        "secret": ["id=ca,src=/etc/hosts"],
        "cache-from": ["type=registry,ref=r.example/cache"],
        "cache-to": ["type=registry,ref=r.example/cache,mode=max"],
        "attest": ["type=provenance,disabled=true"],
        "output": ["type=image,push=true"],
    }  # fmt: skip


def test_several_targets_are_one_group_and_nothing_empty_is_written(baked: Any) -> None:
    plain = dataclasses.replace(
        SPEC, build=BuildSpec(tag="a", context=Path("/p"), dockerfile="FROM x\n", no_cache=True),
        cache_from=(), cache_to=(), attest=True,
    )  # fmt: skip
    text = bake.text({name: bake.target(plain, [name], "type=docker") for name in ("b", "a")})
    found = baked(text)
    assert found["group"]["default"]["targets"] == ["b", "a"]
    assert found["target"]["a"]["no-cache"] is True
    assert found["target"]["a"]["attest"] == ["type=provenance,mode=max", "type=sbom"]
    assert json.loads(text)["target"]["a"].keys() == {
        "context", "dockerfile-inline", "tags", "platforms", "attest", "output", "no-cache",
    }  # fmt: skip


def test_what_is_baked_is_what_would_have_been_built(small: Small) -> None:
    assert small.doit("lock").returncode == 0
    printed = small.doit("bake")
    assert printed.returncode == 0, printed.stderr
    (small.path / "bake.json").write_text(printed.stdout)
    docker("buildx", "bake", "--file", str(small.path / "bake.json"))
    assert "build_image:small: up to date" in small.doit("build_image:small").stderr


def test_it_follows_the_variables_of_a_push(small: Small, registry: Registry) -> None:
    target = f"{registry.host}/baked"
    words = [BOTH, "PUSH=1", f"REGISTRY={target}", "TOOLCHAINS=small", "CACHE_FROM=/tmp/layers"]
    printed = small.doit("bake", *words)
    assert printed.returncode == 0, printed.stderr
    found = json.loads(printed.stdout)["target"]["small"]
    latest, recipe = found["tags"]
    assert latest == f"{target}/{NAME}:latest"
    assert recipe.startswith(f"{target}/{NAME}:recipe-")
    assert found["platforms"] == list(PLATFORMS)
    assert found["cache-from"] == ["type=local,src=/tmp/layers"]
    assert found["output"] == ["type=image,push=true"]
    (small.path / "bake.json").write_text(printed.stdout)
    docker("buildx", "bake", "--file", str(small.path / "bake.json"))
    assert registry.tags(f"baked/{NAME}") == ["latest", recipe.rpartition(":")[2]]
    archive = json.loads(small.doit("bake", BOTH).stdout)["target"]["small"]
    assert archive["output"] == [f"type=oci,dest=dist/{NAME}-latest.oci.tar,rewrite-timestamp=true"]
    refused = small.doit("bake", "PUSH=1", "REGISTRY=team/")
    assert refused.returncode == 3
    assert "names no host and would mean Docker Hub" in refused.stderr
