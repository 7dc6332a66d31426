"""What tests against a real engine share."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.project import Project

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
