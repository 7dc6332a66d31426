"""A thousand calls at one time: some wait, none is refused, lost or mixed up with another."""

from __future__ import annotations

import os
import select
import subprocess
import time

from tests.integration.project import eventually
from tests.load.counting import Count, peak, reset_peak
from tests.load.way import LONG, Report, Way, shown

PLACES = 256
"""Calls that run at once, by default."""

KIB_A_CALL = 256
"""Of the proxy's memory, for one that waits or runs."""


def ends(children: list[subprocess.Popen[bytes]]) -> list[float]:
    """When each child ended."""
    began, found = time.monotonic(), {}
    with select.epoll() as poll:
        for n, child in enumerate(children):
            descriptor = os.pidfd_open(child.pid)
            found[descriptor] = n
            poll.register(descriptor, select.EPOLLIN)
        took = [0.0] * len(children)
        while found:
            for descriptor, _ in poll.poll(LONG):
                took[found.pop(descriptor)] = time.monotonic() - began
                poll.unregister(descriptor)
                os.close(descriptor)
    return took


def test_a_thousand(way: Way, full: bool, report: Report) -> None:
    count = 1000 if full else 400
    pid = way.proxy.process.pid
    before = Count.of(pid)
    reset_peak(pid)
    gate, opener = os.pipe()
    children = [way.popen(f"read x; echo {n}; exit {n % 100}", stdin=gate) for n in range(count)]
    os.close(gate)
    eventually(lambda: len(way.project.processes()) >= PLACES, seconds=60)
    assert all(child.poll() is None for child in children)
    os.close(opener)
    took = ends(children)
    found = [(*child.communicate(), child.returncode) for child in children]
    assert found == [(b"%d\n" % n, b"", n % 100) for n in range(count)]
    report(f"{shown(took)} from the gate's opening to the end, {max(took):.1f} s for all")
    grown = peak(pid) - before.resident
    report(f"{grown // count // 1024} KiB of the proxy's memory a call")
    assert grown < count * KIB_A_CALL * 1024
    eventually(lambda: Count.of(pid).descriptors <= before.descriptors)
    eventually(lambda: not way.project.processes())
