"""Calls straight from doit to sidecars that get no descriptors, or run in another kernel."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from aifo_tasks.config import load
from aifo_tasks.engine import docker as engines
from aifo_tasks.engine.api import ContainerSpec, ContainerState
from aifo_tasks.engine.docker import DockerEngine
from aifo_tasks.session import mounts
from aifo_tasks.session.workplace import Workplace, workplace
from aifo_tasks.sidecar import life, record
from aifo_tasks.sidecar.inside import Inside
from tests.integration import test_calls as calls
from tests.integration import test_proxy as proxied
from tests.integration import test_proxy_ends as ends
from tests.integration.project import Project, docker, eventually
from tests.integration.proxied import ask, request, running

SAID = "descriptors do not reach it"


@pytest.fixture(autouse=True)
def _forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFO_TOOLEXEC_RELAY", "1")


@pytest.mark.parametrize(
    "test",
    [
        functools.partial(calls.test_words_and_status_are_exact, program="aifo"),
        functools.partial(
            calls.test_a_signal_reaches_the_tool_and_leaves_nothing,
            number=signal.SIGINT,
            status=130,
        ),
        functools.partial(
            calls.test_a_signal_reaches_the_tool_and_leaves_nothing,
            number=signal.SIGTERM,
            status=143,
        ),
        calls.test_a_tool_that_handles_the_signal_decides,
        calls.test_nothing_outlives_a_killed_doit,
        functools.partial(
            calls.test_what_cannot_be_started,
            argv=["no-such-tool"],
            status=127,
            message="no-such-tool: not found\n",
        ),
        calls.test_a_terminal_is_a_terminal,
    ],
    ids=lambda test: getattr(test, "__name__", "") or f"{test.func.__name__}-{test.keywords}",
)
def test_a_call_as_without_a_relay(warm: Project, test: Callable[[Project], None]) -> None:
    test(warm)
    eventually(lambda: not warm.relays())


def test_64_mib_come_back_as_they_were(warm: Project, tmp_path: Path) -> None:
    data = os.urandom(64 << 20)
    source = tmp_path / "source"
    source.write_bytes(data)
    with source.open("rb") as stdin:
        child = warm.start(
            "run", "toolchain:node", "--", "sh", "-c", "echo apart >&2; exec cat", stdin=stdin
        )
        stdout, stderr = child.communicate(timeout=120)
    assert (child.returncode, stderr) == (0, b"apart\n")
    assert hashlib.sha256(stdout).digest() == hashlib.sha256(data).digest()


def test_a_call_whose_relay_is_killed_is_lost(warm: Project) -> None:
    child = warm.start("run", "toolchain:node", "--", "sh", "-c", "echo on; exec sleep 1234")
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    (relay,) = warm.relays()
    os.kill(relay, signal.SIGKILL)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 125
    assert b"the relay there is lost" in stderr
    eventually(lambda: not warm.processes())


def test_a_killed_proxy_leaves_nothing(warm: Project) -> None:
    ends.test_a_killed_proxy_leaves_nothing_and_the_next_one_works(warm)
    eventually(lambda: not warm.relays())


def test_the_relay_is_announced(warm: Project) -> None:
    done = warm.doit("run", "toolchain:node", "VERBOSE=1", "--", "true")
    assert done.returncode == 0
    (name,) = warm.sidecars()
    assert f"exec --interactive {name} /opt/aifo/bin/aifo-init --relay " in done.stderr


# an engine whose containers run in another kernel


class Elsewhere(DockerEngine):
    """An engine that tells pids which no process here has, as one in a virtual machine does."""

    def container(self, name: str) -> ContainerState | None:
        state = super().container(name)
        return None if state is None else dataclasses.replace(state, pid=1 << 22)

    def start(self, spec: ContainerSpec) -> ContainerState:
        return dataclasses.replace(super().start(spec), pid=1 << 22)


@pytest.fixture
def elsewhere(
    fresh: Project, engine_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Elsewhere, Workplace, Mapping[str, str]]]:
    """Such an engine, and what it takes to start a sidecar in it."""
    monkeypatch.delenv("AIFO_TOOLEXEC_RELAY")
    assert fresh.call("true").returncode == 0
    with engines.connect(engine_endpoint) as here:
        config = load.load(fresh.path)
        toolchain = config.toolchain("node")
        assert toolchain is not None
        work = workplace(config, toolchain)
        yield Elsewhere(here._api, engine_endpoint), work, mounts.ensure_volumes(here, work)


def test_a_sidecar_in_another_kernel(
    fresh: Project,
    elsewhere: tuple[Elsewhere, Workplace, Mapping[str, str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One that runs already is found there; another one is started there."""
    engine, work, volumes = elsewhere
    before = fresh.sidecars()
    found = life.ensure(engine, work.plan, volumes)
    assert found is not None
    found.connection.close()
    assert (found.record.name, found.record.passes) == (before[0], False)
    assert capfd.readouterr().err.count(SAID) == 1
    done = fresh.call("sh", "-c", "echo on; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("on\n", "", 7)
    docker("rm", "-f", *before)
    found = life.ensure(engine, work.plan, volumes)
    assert found is not None
    assert capfd.readouterr().err.count(SAID) == 1
    with found.connection:
        output: list[bytes] = []
        assert Inside(found)(["echo", "on"], on_output=output.append) == 0
        assert output == [b"on\n"]
        assert len(fresh.relays()) == 1
    warm = record.warm(work.plan.session, "node", work.plan.digest())
    assert warm is not None
    assert not warm.record.passes
    warm.connection.close()
    with running(fresh) as proxy:
        answer = ask(proxy, request(proxy, "/exec", proxied.NODE, version=2))
        assert (answer.body, answer.exit_code) == (b"42\n", 0)


def test_where_descriptors_pass_no_relay_runs(
    warm: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIFO_TOOLEXEC_RELAY")
    with running(warm) as proxy:
        assert ask(proxy, request(proxy, "/exec", proxied.NODE)).body == b"42\n"
        assert SAID not in proxy.rest
        assert warm.relays() == []
