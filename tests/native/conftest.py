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
from tests.native.screens import Screen, Show
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
def build(request: pytest.FixtureRequest) -> str:
    """As users get it, or with every check a compiler can put in."""
    return str(request.param)


@pytest.fixture(scope="session")
def binary(build: str, sanitized: Callable[[native.Program], Path]) -> Path:
    """Init."""
    return sanitized(native.INIT) if build == "sanitized" else native.init_binary()


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


@pytest.fixture(scope="session")
def shim_binary(build: str, sanitized: Callable[[native.Program], Path]) -> Path:
    """The shim."""
    return sanitized(native.SHIM) if build == "sanitized" else native.shim_binary()


@pytest.fixture(scope="session")
def sidecar(binary: Path) -> Iterator[Init]:
    """The init that starts the tools of every shim."""
    with (
        tempfile.TemporaryDirectory(prefix="aifo-n") as directory,
        Init(binary, Path(directory)) as init,
    ):
        yield init


@pytest.fixture(params=["descriptors", "frames", "tcp"])
def proxy(request: pytest.FixtureRequest, sidecar: Init, short_path: Path) -> Iterator[Proxy]:
    """A proxy that gets the caller's own streams, one that gets frames, one on a port."""
    path = None if request.param == "tcp" else short_path / "proxy.sock"
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


@pytest.fixture
def show(shims: Shims, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """Shows programs, tools among them by their names, on terminals of their own."""
    for tool in ("sh", "cat", "seq", "less", "python3"):
        shims.link(tool)
    monkeypatch.chdir(shims.cwd)
    with ExitStack() as stack:

        def starter(*argv: str, rows: int = 24) -> Screen:
            environment = shims.environment(PS1="next>", S=str(shims.directory), TERM="xterm")
            shown = Screen(list(argv), environment, rows=rows)
            stack.callback(shown.close)
            return shown

        yield starter


@pytest.fixture
def tool(show: Show, shims: Shims) -> Show:
    """Shows a tool's shim, run in this very process."""

    def starter(name: str, *arguments: str, rows: int = 24) -> Screen:
        return show(str(shims.directory / name), *arguments, rows=rows)

    return starter
