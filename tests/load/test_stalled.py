"""Readers that stop: each is dropped at the deadline, its tool is stopped, and nobody is slower."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.integration.project import eventually
from tests.integration.proxied import Proxy, form, receive, request
from tests.load.counting import settled
from tests.load.downloads import Download, Pace
from tests.load.way import LONG, Report, Way, several, shown

LIMITS = {"AIFO_TOOLEXEC_WRITE": "3"}
"""Less than the seconds after which a shim says that it lives although its reader waits."""


def asked(proxy: Proxy, script: str, version: int) -> socket.socket:
    """A client of version 1 or 2 that has asked and reads nothing."""
    client = proxy.connect()
    body = form(tool="sh", cwd="/workspace", arg=["-c", script])
    client.sendall(request(proxy, "/exec", body, version=version))
    return client


@pytest.mark.parametrize("way", ["frames", "tcp", "frames and relay"], indirect=True)
def test_a_stalled_reader_is_dropped_and_slows_nobody(way: Way, report: Report) -> None:
    report(f"alone: {shown(several(way, 200))}")
    before = settled(way.proxy.process.pid).descriptors
    first = asked(way.proxy, "yes | head -c 67108864", 1)
    second = asked(way.proxy, "echo on; exec yes", 2)
    answer = Download(second)
    third = way.popen("exec yes")
    eventually(lambda: way.project.processes().count("yes ") >= 2)
    report(f"beside stalled readers: {shown(several(way, 200))}")
    eventually(lambda: not way.project.processes(), seconds=30)
    eventually(lambda: way.proxy.descriptors() <= before, seconds=30)
    _, errors = third.communicate(timeout=LONG)
    lost = b"aifo-shim: sh: the connection to the tool-exec proxy was lost\n"
    assert (third.returncode, errors) == (125, lost)
    with first, second, contextlib.suppress(ConnectionError):
        assert not receive(first).whole
        Pace().drink(answer.read)
    answer.close()
    assert answer.exit_code == -1
