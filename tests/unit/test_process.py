"""Children that never outlive their call."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from aifo_tasks import process
from aifo_tasks.tasks import signals


@pytest.fixture
def alarm() -> Iterator[None]:
    """The alarm clock for a test; whose it was gets it back."""
    handler, left = signal.getsignal(signal.SIGALRM), signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *left)


def test_a_signal_at_any_moment_of_its_start_ends_a_child(alarm: None) -> None:
    for microseconds in range(100, 4000, 20):
        with pytest.raises(signals.Stopped):
            start_and_stop(microseconds / 1e6)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


def start_and_stop(seconds: float) -> None:
    """Start a child that stays a while; the signal comes so soon.

    One that comes right before we wait for the child is seen when that ends.
    """
    with signals.raised():
        signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        process.stream(["sleep", "1"], lambda _: None)
