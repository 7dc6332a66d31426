"""Calls through a proxy whose sidecars get no descriptors: one stream carries them all."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.integration import test_proxy as proxied
from tests.integration import test_proxy_ends as ends
from tests.integration.project import Project, eventually
from tests.integration.proxied import Frames, Proxy, ask, receive, request, running, sh

FORCED = {"AIFO_TOOLEXEC_RELAY": "1"}


@pytest.fixture(autouse=True)
def _forced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FORCED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def proxy(warm: Project) -> Iterator[Proxy]:
    """A proxy whose calls go through a relay."""
    with running(warm, **FORCED) as found:
        before = found.descriptors()
        yield found
        eventually(lambda: found.descriptors() <= before)


@pytest.mark.parametrize(
    "test",
    [
        functools.partial(proxied.test_both_outputs_come_in_order_with_the_status, version=1),
        functools.partial(proxied.test_both_outputs_come_in_order_with_the_status, version=2),
        proxied.test_an_exec_id_is_used_once_at_a_time_and_gets_signals,
        functools.partial(
            proxied.test_a_client_that_leaves_stops_its_call, version=1, script=proxied.HIDDEN
        ),
        functools.partial(
            proxied.test_a_client_that_leaves_stops_its_call, version=2, script=proxied.NOISY
        ),
        functools.partial(
            proxied.test_a_client_that_leaves_stops_its_call, version=3, script=proxied.SILENT
        ),
        proxied.test_64_mib_go_both_ways_in_frames,
        proxied.test_frames_keep_both_outputs_apart,
        proxied.test_signals_in_frames,
        proxied.test_a_stream_without_credit_stops_nothing_else,
        proxied.test_descriptors_are_the_tools_own,
        proxied.test_64_mib_through_passed_pipes,
        proxied.test_a_terminals_master_is_handed_over,
        proxied.test_a_terminal_is_relayed,
    ],
    ids=lambda test: getattr(test, "__name__", "") or f"{test.func.__name__}-{test.keywords}",
)
def test_as_without_a_relay(proxy: Proxy, test: Callable[[Proxy], None]) -> None:
    test(proxy)


def test_there_is_one_relay_for_all(proxy: Proxy, warm: Project) -> None:
    proxied.test_200_calls_at_once(proxy)
    assert len(warm.relays()) == 1


def test_a_killed_relay_is_never_success_and_leaves_nothing(proxy: Proxy, warm: Project) -> None:
    body = sh("echo on; setsid sleep 1234 & sleep 1234")
    first, second = proxy.connect(), proxy.connect()
    first.sendall(request(proxy, "/exec", body, version=1))
    second.sendall(request(proxy, "/exec", body, version=2))
    third = Frames(proxy, body)
    eventually(lambda: sum(line.startswith("sleep ") for line in warm.processes()) == 6)
    for relay in warm.relays():
        os.kill(relay, signal.SIGKILL)
    assert receive(first).exit_code == 125
    answer = receive(second)
    assert (answer.whole, answer.exit_code) == (False, -1)
    assert third.rest() == (b"on\n", b"", None)
    for client in (first, second, third):
        client.close()
    eventually(lambda: not warm.processes())
    assert ask(proxy, request(proxy, "/exec", proxied.NODE)).body == b"42\n"
    assert "the relay there is lost" in proxy.rest


def test_a_lost_sidecar(bare: Project) -> None:
    ends.test_a_lost_sidecar_is_never_success(bare)
