"""The engine killed during a call: what runs goes on, and what is lost says so."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.config import load
from aifo_tasks.engine import docker as sdk
from aifo_tasks.engine import private
from aifo_tasks.image import recipe
from tests.integration.project import Project, docker, eventually
from tests.integration.proxied import running
from tests.integration.test_engine import kill
from tests.load.test_killed import LOST
from tests.load.way import LONG, SETTINGS, Way

PROGRAMS = ("sh", "sleep", "env", "cat", "ls", "mkdir", "chmod", "true")


def rootfs() -> bytes:
    """A root file system of this machine's own programs, and what they are linked with."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        libraries = set()
        for name in PROGRAMS:
            path = shutil.which(name)
            assert path is not None
            archive.add(path, arcname=f"bin/{name}")
            linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
            libraries |= set(re.findall(r"(/\S+) \(0x", linked.stdout))
        for library in libraries:
            archive.add(library, arcname=library.lstrip("/"))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def engine() -> Iterator[private.Private]:
    """An engine of these tests' own, which everything below uses."""
    top = Path(tempfile.mkdtemp(prefix="aifo-l"))
    one = private.Private(
        data_root=top / "data", run_dir=top / "run", bridge=f"aifol{os.getpid() % 100000}"
    )
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv("DOCKER_HOST", private.start(one).url)
            yield one
        finally:
            private.stop(one)
            shutil.rmtree(top)


@pytest.fixture(scope="module")
def small(engine: private.Private, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose image is made of next to nothing, and says it is what was asked for."""
    project = Project(tmp_path_factory.mktemp("small") / "app", example=None)
    project.write("toolchains.yaml", SETTINGS)
    toolchain = load.load(project.path).toolchain("node")
    assert toolchain is not None
    with sdk.connect(engine.endpoint.url) as connected:
        platform = connected.info().platform
    labels = {
        recipe.DECLARED: recipe.inputs(toolchain.image),
        recipe.INPUTS: json.dumps({"platform": platform}),
    }
    changes = [f"--change=LABEL {name}={json.dumps(value)}" for name, value in labels.items()]
    subprocess.run(
        ["docker", "import", *changes, "-", toolchain.image.reference],
        input=rootfs(), check=True, capture_output=True,
    )  # fmt: skip
    return project


@pytest.fixture(scope="module")
def way(small: Project, shims: Path) -> Iterator[Way]:
    """A proxy, with descriptors."""
    with running(small, "TOOLCHAINS=node") as proxy:
        yield Way(proxy, shims, descriptors=True)
    small.stop()


def begun(way: Way, script: str) -> subprocess.Popen[bytes]:
    """A call that has said so."""
    child = way.popen(f"echo on; {script}")
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    return child


def call(project: Project) -> subprocess.CompletedProcess[str]:
    return project.call("sh", "-c", "echo on", program="aifo")


def test_calls_go_on_without_their_engine(
    engine: private.Private, small: Project, way: Way
) -> None:
    """Only its next start ends what it finds: as it would end it itself."""
    ends, stays = begun(way, "read x; echo $x; exit 7"), begun(way, "exec sleep 1234")
    kill(engine)
    assert ends.communicate(b"word\n", LONG) == (b"word\n", b"")
    assert ends.returncode == 7
    assert way.run("echo on") == (0, b"on\n", b"")
    assert call(small).stdout == "on\n"
    assert stays.poll() is None
    private.start(engine)
    assert stays.communicate(timeout=LONG) == (b"", b"")
    assert stays.returncode == 128 + signal.SIGTERM
    assert way.run("echo on") == (0, b"on\n", b"")
    assert call(small).stdout == "on\n"


def test_who_needs_the_engine_is_told(engine: private.Private, small: Project, way: Way) -> None:
    (name,) = small.sidecars()
    init = int(docker("inspect", "--format", "{{.State.Pid}}", name))
    lost = begun(way, "exec sleep 1234")
    kill(engine)
    os.kill(init, signal.SIGKILL)
    assert lost.communicate(timeout=LONG) == (b"", f"{name}: lost\n".encode() + LOST)
    assert lost.returncode == 125
    eventually(lambda: not Path(f"/proc/{init}").exists())
    status, _, said = way.run("echo on")
    assert (status, said.split(b";")[0]) == (
        86, b"tool 'sh' not available in running sidecars",
    )  # fmt: skip
    done = call(small)
    assert done.returncode == 1
    assert f"{engine.endpoint.url} does not answer" in done.stderr
    private.start(engine)
    assert way.run("echo on") == (0, b"on\n", b"")
    assert call(small).stdout == "on\n"
