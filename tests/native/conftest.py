"""The two builds of init and shim that every test here runs against."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks import files, native
from tests.native import compiling
from tests.native.proxying import Proxy
from tests.native.running import Init
from tests.native.shims import Shims


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[native.Program], Path]:
    """Compiles a program with every check there is, once for all processes of this run."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent

    def build(program: native.Program) -> Path:
        target = directory / f"{program.name}-sanitized"
        with files.locked(directory / f"{program.name}.lock"):
            if not target.exists():
                compiling.build_sanitized(program.sources, target)
        return target

    return build


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def binary(request: pytest.FixtureRequest, sanitized: Callable[[native.Program], Path]) -> Path:
    """Init as users get it, and init with every check a compiler can put in."""
    return sanitized(native.INIT) if request.param == "sanitized" else native.init_binary()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="aifo-n"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(binary: Path, short_path: Path) -> Iterator[Callable[..., Init]]:
    """Starts an init with given options; a sanitizer's report fails the test."""
    with ExitStack() as stack:

        def starter(*options: str, directory: Path = short_path, **how: Any) -> Init:
            return stack.enter_context(Init(binary, directory, *options, **how))

        yield starter


@pytest.fixture
def init(start: Callable[..., Init]) -> Init:
    """An init with default options."""
    return start()


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def shim_binary(
    request: pytest.FixtureRequest, sanitized: Callable[[native.Program], Path]
) -> Path:
    """The shim as users get it, and with every check a compiler can put in."""
    return sanitized(native.SHIM) if request.param == "sanitized" else native.shim_binary()


@pytest.fixture(scope="session")
def sidecar() -> Iterator[Init]:
    """The init, as users get it, that starts the tools of every shim."""
    with (
        tempfile.TemporaryDirectory(prefix="aifo-n") as directory,
        Init(native.init_binary(), Path(directory)) as init,
    ):
        yield init


@pytest.fixture(params=["descriptors", "frames", "tcp"])
def proxy(request: pytest.FixtureRequest, sidecar: Init, short_path: Path) -> Iterator[Proxy]:
    """A proxy that gets the caller's own streams, one that gets frames, one on a port."""
    on_socket = request.param != "tcp"
    path = short_path / "proxy.sock" if on_socket else None
    with Proxy(sidecar, path, descriptors=request.param == "descriptors") as proxy:
        yield proxy


@pytest.fixture
def shims(shim_binary: Path, proxy: Proxy, short_path: Path) -> Iterator[Shims]:
    """Shims that reach this proxy."""
    (short_path / "bin").mkdir()
    made = Shims(shim_binary, short_path / "bin", proxy)
    yield made
    made.close()


@pytest.fixture
def alone(shim_binary: Path, short_path: Path) -> Iterator[Shims]:
    """Shims that nobody told of a proxy."""
    (short_path / "bin").mkdir()
    made = Shims(shim_binary, short_path / "bin", None)
    yield made
    made.close()
