"""What tests against a real engine share."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks import files
from aifo_tasks.engine import private
from tests.integration.project import ROOT, Project
from tests.integration.registries import Registry, second_engine, small_roots
from tests.integration.small import Roots, Small, put

PAUSE = """\
#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
int main(void) { signal(SIGTERM, end); for (;;) pause(); }
"""


@pytest.fixture(scope="session")
def pause_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A root file system for ``docker import``: one static program, /pause."""
    top = tmp_path_factory.mktemp("pause")
    (top / "pause.c").write_text(PAUSE)
    subprocess.run(["gcc", "-static", "-o", top / "pause", top / "pause.c"], check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(top / "pause", arcname="pause")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def warm(engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose sidecar is warm; for tests that change nothing in it."""
    project = Project(tmp_path_factory.mktemp("warm") / "pnpm-app")
    done = project.call("true")
    assert done.returncode == 0, done.stderr
    yield project
    project.stop()


@pytest.fixture
def fresh(engine_endpoint: str, tmp_path: Path) -> Iterator[Project]:
    """A project nobody has run anything in."""
    project = Project(tmp_path / "pnpm-app")
    yield project
    project.stop()


@pytest.fixture
def bare(fresh: Project) -> Project:
    """One in which there is nothing to install."""
    (fresh.path / "pnpm-lock.yaml").unlink()
    return fresh


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """A small root file system for each of two platforms, made once for all workers."""
    top = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent
    with files.locked(top / "roots.lock"):
        return small_roots(top / "roots")


@pytest.fixture(scope="session")
def small_base(
    engine_endpoint: str, registry: Registry, roots: Roots, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A base for two platforms in the registry, which no engine has; its name, the tag is 1."""
    name = f"{registry.host}/base"
    put(engine_endpoint, f"{name}:1", roots, tmp_path_factory.mktemp("base") / "base.oci.tar")
    return name


@pytest.fixture(scope="session")
def other_engine() -> Iterator[str]:
    """A second engine with nothing in it."""
    directory = tempfile.TemporaryDirectory(prefix="aifo-e")  # a socket's path is short
    with directory as name, second_engine(Path(name)) as endpoint:
        yield endpoint


@pytest.fixture
def small(small_base: str, tmp_path: Path) -> Iterator[Small]:
    """A small project nothing has been built in."""
    project = Small(tmp_path / "p", small_base)
    yield project
    project.remove()


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole package, to be changed."""
    top = tmp_path_factory.mktemp("package")
    for name in ("aifo_tasks", "images", "schema", "shim"):
        shutil.copytree(ROOT / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "toolchains.yaml", top)
    return top


@pytest.fixture
def private_engine() -> Iterator[private.Private]:
    """A private engine that is not started; its directory's name is short for socket paths."""
    top = Path(tempfile.mkdtemp(prefix="aifo-e"))
    one = private.Private(
        data_root=top / "data", run_dir=top / "run", bridge=f"aifo{os.getpid() % 100000}"
    )
    try:
        yield one
    finally:
        private.stop(one)
        shutil.rmtree(top)
