"""Far more clients at one time than there is room for: each is told, and comes again."""

from __future__ import annotations

import contextlib
import subprocess

import pytest

from tests.integration.proxied import form, receive, request
from tests.load.way import LONG, Way

LIMITS = {"AIFO_TOOLEXEC_CONNECTIONS": "16", "AIFO_TOOLEXEC_CALLS": "8"}

pytestmark = pytest.mark.parametrize("way", ["descriptors", "tcp"], indirect=True)


def test_shims_come_again_until_there_is_room(way: Way, full: bool) -> None:
    count = 600 if full else 200
    children = [
        way.popen(f"echo {n}; exit {n % 100}", stdin=subprocess.DEVNULL) for n in range(count)
    ]
    found = [(*child.communicate(timeout=LONG), child.returncode) for child in children]
    assert found == [(b"%d\n" % n, b"", n % 100) for n in range(count)]


def test_nobody_is_left_without_an_answer(way: Way) -> None:
    """More at one time than those who are served and those who are being told."""
    body = form(tool="sh", cwd="/workspace", arg=["-c", "true"])
    found = set()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(way.proxy.connect()) for _ in range(400)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(request(way.proxy, "/exec", body))
            found.add(receive(client).status)
    assert found == {200, 503}
