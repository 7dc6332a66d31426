"""The engines under test, the image they share, and names that are cleaned up behind a test.

``AIFO_TEST_ENGINES`` (``fake,docker,podman``) says which engines must pass; none is skipped
because it is missing. Docker is what ``engine_endpoint`` finds. Podman's API service is
started here, with storage of its own.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.engine.api import ContainerSpec, ContainerState, Engine, ImportSpec
from aifo_tasks.engine.docker import connect
from aifo_tasks.errors import EngineError
from tests.contract.differences import DIFFERENCES
from tests.contract.fake import Fake

HERE = Path(__file__).parent
ENGINES = os.environ.get("AIFO_TEST_ENGINES", "fake,docker,podman").split(",")
REAL = [name for name in ENGINES if name != "fake"]
PODMAN_LIMITS = '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n'


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """An engine, an image with /probe in it, and names nobody else has."""

    engine: Engine
    endpoint: str
    name: str
    image: str = field(default="aifo-contract-probe:latest")

    def differs(self, matter: str) -> bool:
        """True where this engine is known to differ in that from what is asked for."""
        known = DIFFERENCES[self.engine.info().name]
        assert any(matter in matters for matters in DIFFERENCES.values())
        return matter in known

    def containers(self) -> list[str]:
        """Those there are of its image, or of one that has its name."""
        found = self.engine.containers({})
        return [one.id for one in found if self.image in one.image or self.name in one.image]

    def container(self, *command: str, **options: object) -> ContainerSpec:
        """A container of the probe; options are ContainerSpec's."""
        return ContainerSpec(
            image=self.image,
            command=("/probe", *command),
            labels=(("io.aifo.contract", self.name),),
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture(scope="session")
def root_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of one static program and an empty directory."""
    top = tmp_path_factory.mktemp("probe")
    compiler = shutil.which("gcc")
    target = f"{platform.machine()}-linux-musl"
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    words = [compiler] if compiler else zig
    subprocess.run([*words, "-static", "-o", top / "probe", HERE / "probe.c"], check=True)
    (top / "kept-here").mkdir()
    (top / "kept-here" / "kept").write_text("in the image")
    with tarfile.open(top / "root.tar", "w") as archive:
        archive.add(top / "probe", "probe")
        archive.add(top / "kept-here", "kept-here")
    return top / "root.tar"


@pytest.fixture(scope="session")
def podman_endpoint() -> Iterator[str]:
    """Podman's API service with storage of its own; both are gone afterwards."""
    if shutil.which("podman") is None:
        pytest.fail("podman is not installed; apt-get install podman, or set AIFO_TEST_ENGINES")
    top = Path(tempfile.mkdtemp(prefix="aifo-p"))  # Podman wants at most 50 characters
    (top / "containers.conf").write_text(PODMAN_LIMITS)
    argv = ["podman", "--root", f"{top}/root", "--runroot", f"{top}/run", "--tmpdir", f"{top}/tmp"]
    argv += ["--storage-driver", "overlay", "--network-config-dir", f"{top}/networks"]
    argv += ["--cgroup-manager", "cgroupfs"]
    environment = {**os.environ, "CONTAINERS_CONF": str(top / "containers.conf")}
    endpoint = f"unix://{top}/podman.sock"
    with (top / "log").open("wb") as output:
        service = subprocess.Popen(
            [*argv, "system", "service", "--time=0", endpoint],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
        )  # fmt: skip
    try:
        _await_socket(top / "podman.sock", service)
        yield endpoint
    finally:
        service.terminate()
        service.wait(timeout=30)
        # not "system reset": that also takes what belongs to the user's own Podman
        remove = [*argv, "rm", "--force", "--all", "--time", "0"]
        subprocess.run(remove, env=environment, check=False, capture_output=True)
        subprocess.run(["umount", top / "root" / "overlay"], check=False, capture_output=True)
        shutil.rmtree(top, ignore_errors=True)


def _await_socket(path: Path, service: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists():
            return
        if service.poll() is not None:
            break
        time.sleep(0.05)
    service.kill()
    pytest.fail(f"podman's service did not start: {path.with_name('log').read_text()}")


def endpoint_of(name: str, request: pytest.FixtureRequest) -> str:
    """Where the engine of that name is; "" for the fake."""
    if name == "fake":
        return ""
    if name == "podman":
        return str(request.getfixturevalue("podman_endpoint"))
    return str(request.getfixturevalue("engine_endpoint"))


@pytest.fixture(scope="session", params=ENGINES)
def shared(request: pytest.FixtureRequest, root_archive: Path) -> Iterator[Scratch]:
    """An engine with the probe's image, for the whole run."""
    yield from _with_image(request.param, request, root_archive)


@pytest.fixture(scope="session", params=REAL)
def shared_real(request: pytest.FixtureRequest, root_archive: Path) -> Iterator[Scratch]:
    """The same, of the engines that run programs."""
    yield from _with_image(request.param, request, root_archive)


def _with_image(name: str, request: pytest.FixtureRequest, archive: Path) -> Iterator[Scratch]:
    endpoint = endpoint_of(name, request)
    image = f"aifo-contract-{secrets.token_hex(4)}:probe"
    with contextlib.ExitStack() as stack:
        engine: Engine = stack.enter_context(connect(endpoint)) if endpoint else Fake()
        assert not endpoint or engine.info().name == name
        engine.import_image(ImportSpec(archive=archive, tag=image, labels=(("made.by", "test"),)))
        stack.callback(engine.remove_image, image)
        yield Scratch(engine=engine, endpoint=endpoint, name="", image=image)


@pytest.fixture
def scratch(shared: Scratch) -> Iterator[Scratch]:
    """An engine for one test; whatever bears its name is removed afterwards."""
    yield from _cleaned(shared)


@pytest.fixture
def real(shared_real: Scratch) -> Iterator[Scratch]:
    """The same, of the engines that run programs."""
    yield from _cleaned(shared_real)


def await_handler(state: ContainerState) -> None:
    """Wait until the probe catches SIGTERM, which it does a moment after it was started."""
    status = Path(f"/proc/{state.pid}/status")
    if not status.exists():
        return  # the fake's, or another machine's
    for _ in range(500):
        caught = next(line for line in status.read_text().splitlines() if "SigCgt" in line)
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    pytest.fail("the probe does not catch SIGTERM")


def _cleaned(shared: Scratch) -> Iterator[Scratch]:
    engine, name = shared.engine, f"aifo-contract-{secrets.token_hex(4)}"
    yield Scratch(engine=engine, endpoint=shared.endpoint, name=name, image=shared.image)
    log.configure(dry_run=False, verbose=False, sink=log.PlainSink())
    for container in engine.containers({"io.aifo.contract": name}):
        engine.remove_container(container.id)
    for suffix in ("", "-other"):
        engine.remove_container(name + suffix)
        engine.remove_volume(name + suffix)
        engine.remove_network(name + suffix)
        with contextlib.suppress(EngineError):  # two tags of one image
            engine.remove_image(f"{name}{suffix}:1")


class Recording:
    """A sink that keeps the commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def line(self, text: str, *, style: str) -> None:
        if style == "command":
            self.commands.append(text)

    def live(self, *texts: str) -> None:
        pass


@pytest.fixture
def recording() -> Iterator[Recording]:
    """The commands that are announced from now on."""
    sink = Recording()
    log.configure(sink=sink, verbose=True)
    yield sink
    log.configure(dry_run=False, verbose=False, sink=log.PlainSink())
