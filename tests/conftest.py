"""What every test gets: its own user's directories, and for those who ask a real engine."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
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


APART = ("/test_installs.py", "/test_installed.py")
"""Modules that take long, for one thing after another."""


def share(nodeid: str) -> str:
    """What several workers share the tests out in: a module, of which one has all, or what a
    module has for one thing.

    Those of Podman are together: all Podmans of a machine have their locks in one place.
    """
    path, _, test = nodeid.partition("::")
    if "podman" in test:
        return "podman"
    if is_alone(nodeid):
        return "alone"
    return path + (test.partition("[")[2] if path.endswith(APART) else "")


def is_alone(nodeid: str) -> bool:
    """Tests in test_engine*.py start engines, which set up the machine's packet filter, or look
    at everything that an engine has: no other worker runs a test meanwhile."""
    path, _, test = nodeid.partition("::")
    return "/test_engine" in path and "podman" not in test


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """The one of ``--dist loadscope``, whose scopes are the shares above."""
    from xdist.scheduler import LoadScopeScheduling

    if config.option.dist != "loadscope":
        return None
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = share
    return scheduler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers begin what comes last when nothing else is left."""
    items.sort(key=lambda item: is_alone(item.nodeid))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Who is to be alone waits until no other worker runs a test, and they for him."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with Path(__file__).open("rb") as place:
        fcntl.flock(place, fcntl.LOCK_EX if is_alone(item.nodeid) else fcntl.LOCK_SH)
        return (yield)


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
