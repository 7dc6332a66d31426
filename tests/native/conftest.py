"""The two builds of init that every test here runs against."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks import native
from tests.native import compiling
from tests.native.running import Init


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def binary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Init as users get it, and init with every check a compiler can put in."""
    if request.param == "plain":
        return native.init_binary()
    directory = tmp_path_factory.mktemp("sanitized")
    return compiling.build_sanitized(compiling.INIT, directory / "aifo-init")


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

        def starter(*options: str, **how: Any) -> Init:
            return stack.enter_context(Init(binary, short_path, *options, **how))

        yield starter


@pytest.fixture
def init(start: Callable[..., Init]) -> Init:
    """An init with default options."""
    return start()
