"""How much a proxy takes on, and the descriptors that this needs."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from dataclasses import replace

from aifo_tasks import log, process
from aifo_tasks.toolexec.http import BODY_LIMIT
from aifo_tasks.value import dataclass

DESCRIPTORS_A_CALL = 5
_OTHERS = 64
"""Descriptors for everything that is no call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Counts, seconds and bytes.

    ``progress`` is how long a request may stand still while it comes in, ``write`` how long a
    client may take nothing of what waits for it and not say either that it lives, ``drain`` how
    long calls may go on when the proxy is told to end. ``calls`` run at once, further ones wait
    in order.
    """

    connections: int = 2048
    calls: int = 256
    progress: float = 10.0
    write: float = 30.0
    drain: float = 2.0
    body: int = BODY_LIMIT
    spool: int = 8 * 1024**3


@contextlib.contextmanager
def carried(limits: Limits) -> Iterator[Limits]:
    """The limits that this process's descriptors carry, said when that is fewer connections.

    While it lasts the soft limit on descriptors is the hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections * DESCRIPTORS_A_CALL + _OTHERS
    high = wanted if hard == resource.RLIM_INFINITY else hard
    most = max(1, (high - _OTHERS) // DESCRIPTORS_A_CALL)
    if most < limits.connections:
        log.warn("proxy", f"{high} descriptors carry {most} connections")
        limits = replace(limits, connections=most)
    raised = high if soft == resource.RLIM_INFINITY else max(soft, high)
    with process.more_descriptors(raised):
        yield limits
