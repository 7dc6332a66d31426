"""What a cache keeps is found again: by compilers, or by nobody."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installing import CASES, CPP, Case, Installed


def case(name: str) -> Case:
    (found,) = (case for case in (*CASES, CPP) if case.name == name)
    return found


@pytest.fixture
def project(
    request: pytest.FixtureRequest, engine_endpoint: str, tmp_path: Path
) -> Iterator[Installed]:
    """A project of the case that the test names."""
    project = Installed(tmp_path / "project", case(request.param))
    yield project
    project.remove()


def named(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("project", [name], indirect=True)


@named("c-cpp")
def test_ccache_compiles_nothing_twice(project: Installed) -> None:
    """Configuring compiles too, in places with names of their own: that is not counted."""
    project.works()
    project.forget()
    shutil.rmtree(project.path / "build")
    for argv in (
        ("cmake", "--preset", "test"),
        ("ccache", "--zero-stats"),
        ("cmake", "--build", "build"),
    ):
        done = project.call(*argv)
        assert done.returncode == 0, done.stderr
    words = project.call("ccache", "--print-stats").stdout.split()
    counted = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert (counted["direct_cache_hit"], counted["cache_miss"]) == (3, 0)


@named("go")
def test_go_compiles_nothing_twice(project: Installed) -> None:
    """It names the packages that it compiles."""
    first = project.call("go", "build", "-v", "-o", "/tmp/columns")
    assert {"github.com/rivo/uniseg", "example.org/columns"} <= set(first.stderr.split())
    project.forget()
    again = project.call("go", "build", "-v", "-o", "/tmp/columns")
    assert (again.returncode, again.stderr) == (0, "")


@named("cargo")
def test_cargo_downloads_nothing_twice(project: Installed) -> None:
    """What it compiles it has; the build tells of each."""
    first = project.doit("run", "install:rust")
    assert first.returncode == 0, first.stderr
    project.forget()
    project.declare("network: none")
    build = project.call("cargo", "build", "--verbose")
    assert build.returncode == 0, build.stderr
    assert {"Compiling fnv", "Compiling lexopt"} <= set(re.findall(r"Compiling \w+", build.stderr))
    assert "Download" not in build.stderr
    again = project.call("cargo", "build", "--verbose")
    assert "Compiling" not in again.stderr
    assert again.stderr.count("Fresh ") == 3


@named("go")
def test_without_the_cache_nothing_is_kept(project: Installed) -> None:
    """A place to write is there all the same."""
    words = (f"toolchain:{project.kind}", "--no-toolchain-cache", "--", *project.case.works)
    done = project.doit("run", *words)
    assert done.returncode == 0, done.stderr
    assert project.caches() == []


@named("cargo")
def test_a_purge_takes_every_declared_volume(project: Installed) -> None:
    assert project.doit("run", "install:rust").returncode == 0
    listed = project.doit("run", "caches").stdout
    assert len(project.caches()) == 2
    assert all(f"{volume} " in listed for volume in project.caches())
    assert project.doit("run", "sidecar_stop").returncode == 0
    assert project.doit("run", "toolchain_cache_clear", "YES=1").returncode == 0
    assert project.caches() == []
    assert len(project.volumes()) == 1  # the overlay over target is no cache
