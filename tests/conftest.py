"""What every test gets: its own user's directories, and for those who ask a real engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

OUTSIDE = dict(os.environ)
"""The environment the tests were started with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Sizes that a machine with more time can raise."""
    parser.addoption(
        "--fuzz", type=int, default=1, metavar="N", help="give the fuzzers N times as many inputs"
    )
    parser.addoption("--full", action="store_true", help="run the tests of load at full size")


@pytest.fixture(scope="session", autouse=True)
def _user_directories() -> Iterator[None]:
    """No test reads or writes the caches, approvals, records and sockets of whoever runs it.

    The names are short: a socket's path has at most 107 bytes. What zig compiled
    and pip fetched stays shared.
    """
    top = Path(tempfile.mkdtemp(prefix="aifo-t"))
    shared = Path(OUTSIDE.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        for name in OUTSIDE:
            if name.startswith("AIFO_"):
                patch.delenv(name)
        for variable, name in {
            "XDG_RUNTIME_DIR": "run",
            "XDG_CACHE_HOME": "cache",
            "XDG_CONFIG_HOME": "config",
            "XDG_STATE_HOME": "state",
        }.items():
            (top / name).mkdir(mode=0o700)
            patch.setenv(variable, str(top / name))
        for variable, name in {"ZIG_GLOBAL_CACHE_DIR": "zig", "PIP_CACHE_DIR": "pip"}.items():
            patch.setenv(variable, OUTSIDE.get(variable, str(shared / name)))
        yield
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="session")
def engine_endpoint(_user_directories: None) -> Iterator[str]:
    """The address of the container engine that tests use, also set as DOCKER_HOST.

    AIFO_TEST_ENGINE, else what ``doit engine`` finds, or with AIFO_YES=1 starts. Without an
    engine the tests fail.
    """
    from aifo_tasks.engine import provision

    with pytest.MonkeyPatch.context() as patch:
        if named := OUTSIDE.get("AIFO_TEST_ENGINE"):
            patch.setenv("DOCKER_HOST", named)
        with pytest.MonkeyPatch.context() as outside:
            if runtime := OUTSIDE.get("XDG_RUNTIME_DIR"):
                outside.setenv("XDG_RUNTIME_DIR", runtime)  # rootless engines listen there
            else:
                outside.delenv("XDG_RUNTIME_DIR")
            url = provision.ensure(consent=OUTSIDE.get("AIFO_YES") == "1").url
        patch.setenv("DOCKER_HOST", url)
        yield url
