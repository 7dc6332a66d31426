"""What a cache keeps is found again in another engine's volume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.engine import private
from tests.integration.installing import NOTHING, TOOLCHAINS, Installed
from tests.integration.project import docker
from tests.integration.test_caches import case


@pytest.fixture
def project(engine_endpoint: str, tmp_path: Path) -> Iterator[Installed]:
    project = Installed(tmp_path / "project", case("uv"))
    yield project
    project.remove()


def test_a_cache_moves_to_another_engine(
    project: Installed, private_engine: private.Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has seen no package registry, for another project that has no network."""
    assert project.doit("run", "warm_cache:python").returncode == 0
    archive = project.path.parent / "python.tar"
    exported = project.doit("run", "export_cache:python", f"FILE={archive}")
    assert exported.returncode == 0, exported.stderr
    other = Installed(project.path.parent / "other", project.case, project.prefix)
    other.declare("network: none")

    endpoint = private.start(private_engine)
    (toolchain,) = (each for each in TOOLCHAINS if each.short == "python")
    image = project.path.parent / "image.tar"
    docker("save", "--output", str(image), toolchain.image.name)
    docker("--host", endpoint.url, "load", "--quiet", "--input", str(image))
    image.unlink()
    monkeypatch.setenv("DOCKER_HOST", endpoint.url)
    assert project.case.unreachable in other.fails()
    imported = other.doit("run", "import_cache:python", f"FILE={archive}")
    assert imported.returncode == 0, imported.stderr
    assert NOTHING in other.works()
    other.remove()
