"""One sidecar for all tests of load, a proxy for each way to it, and the figures they report."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aifo_tasks import native
from tests.integration.project import Project
from tests.integration.proxied import running
from tests.load.way import SETTINGS, Report, Way

FIGURE = "figure"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The relay takes its turn at full size: at a small one other tests show more of it."""
    if not config.getoption("--full"):
        relay = [item for item in items if "tests/load/" in item.nodeid and "relay" in item.name]
        config.hook.pytest_deselected(items=relay)
        items[:] = [item for item in items if item not in relay]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests reported, in whichever worker they ran."""
    done = [
        each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, [])
    ]
    lines = [
        f"{each.nodeid.rpartition('::')[2]}: {text}"
        for each in done
        for name, text in each.user_properties
        if (name, each.when) == (FIGURE, "call")
    ]
    if lines:
        terminalreporter.section("figures")
        terminalreporter.line("\n".join(lines))


@pytest.fixture(scope="session", autouse=True)
def _descriptors() -> Iterator[None]:
    """A thousand children have three thousand pipes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Takes a line that is shown after the tests; nothing is asserted of time."""
    return lambda text: record_property(FIGURE, text)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """True with ``--full``; CI runs every test at a smaller size."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def project(engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with nothing to install, whose sidecar offers a shell as a tool."""
    project = Project(tmp_path_factory.mktemp("load") / "app", example=None)
    project.write("toolchains.yaml", SETTINGS)
    done = project.call("true", program="aifo")
    assert done.returncode == 0, done.stderr
    yield project
    project.stop()


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the shim and a link to it for the shell."""
    directory = tmp_path_factory.mktemp("shims")
    native.shim_links(directory, ["sh"])
    return directory


@pytest.fixture(scope="module", params=["descriptors", "frames", "tcp", "relay"])
def way(project: Project, shims: Path, request: pytest.FixtureRequest) -> Iterator[Way]:
    """A proxy, and how the streams of a shim's call go: as descriptors, or in frames.

    With a relay nobody's descriptors reach the sidecar, and all calls share one stream.
    """
    transport = "tcp" if request.param == "tcp" else "unix"
    settings = dict(getattr(request.module, "LIMITS", {}))
    if "relay" in request.param:
        settings["AIFO_TOOLEXEC_RELAY"] = "1"
    with running(project, "TOOLCHAINS=node", f"TRANSPORT={transport}", **settings) as proxy:
        yield Way(proxy, shims, descriptors="frames" not in request.param)
