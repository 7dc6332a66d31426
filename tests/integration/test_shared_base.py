"""Toolchains over one base: what they share builds all of them again, what is theirs only them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.project import docker
from tests.integration.registries import Registry
from tests.integration.small import NAME, Roots, Small, put

KINDS = ("one", "two", "three")
TOOLCHAIN = """\
  {kind}:
    image:
      name: {name}-{kind}
      context: {kind}
      base: [{{reference: "{base}:1", version: "1"}}]
"""


@pytest.fixture
def several(
    registry: Registry, roots: Roots, engine_endpoint: str, tmp_path: Path
) -> Iterator[Small]:
    """A project with three small toolchains over one base, which only the registry has."""
    put(engine_endpoint, f"{registry.host}/shared:1", roots, tmp_path / "base.oci.tar")
    project = Small(tmp_path / "p", f"{registry.host}/shared")
    text = "toolchains:\n"
    for kind in KINDS:
        text += TOOLCHAIN.format(kind=kind, name=NAME, base=project.base)
        (project.path / kind).mkdir()
        (project.path / kind / "Dockerfile.j2").write_text("ARG BASE\nFROM ${BASE}\nENV A=1\n")
    (project.path / "toolchains.yaml").write_text(text)
    yield project
    project.remove()


def built(project: Small, *words: str, **environment: str) -> dict[str, str]:
    """Builds all images two at a time; why each of those was built that were."""
    done = project.doit("-n", "2", "build_image", *words, **environment)
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix(f"{NAME}-") for line in done.stderr.splitlines()]
    return {
        line.partition(":")[0]: line.rpartition(": ")[2] for line in lines if ": building " in line
    }


def bases(kinds: Sequence[str]) -> set[str]:
    """Of which bases the engine's images of these toolchains are."""
    found = json.loads(docker("image", "inspect", *(f"{NAME}-{kind}" for kind in kinds)))
    return {each["Config"]["Labels"]["io.aifo.base"] for each in found}


def test_another_base_builds_all_and_each_says_why(
    several: Small, roots: Roots, engine_endpoint: str, tmp_path: Path
) -> None:
    assert built(several) == dict.fromkeys(KINDS, "the engine does not have it")
    (before,) = bases(KINDS)
    assert built(several) == {}
    moved = put(engine_endpoint, f"{several.base}:1", roots[:1], tmp_path / "moved.oci.tar")
    assert built(several) == {}  # no registry was asked
    assert built(several, "PULL=always") == dict.fromkeys(KINDS, "the base changed")
    assert bases(KINDS) == {moved} != {before}
    assert built(several, "PULL=always") == {}


def test_what_all_templates_share_builds_all_and_each_says_why(
    several: Small, package: Path
) -> None:
    where = {"PYTHONPATH": str(package)}
    assert built(several, **where).keys() == set(KINDS)
    path = package / "images" / "shared" / "fetch"
    before = path.read_text()
    path.write_text(before + "# more\n")
    try:
        why = "fetch, which all images share, changed"
        assert built(several, **where) == dict.fromkeys(KINDS, why)
    finally:
        path.write_text(before)
