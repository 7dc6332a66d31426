"""Signals of this process while a call runs, without a call."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from aifo_tasks.toolexec.forwarding import FORWARDED, Signals


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Handlers, mask, wakeup descriptor and open files are what they were."""

    def state() -> object:
        handlers = {number: signal.getsignal(number) for number in FORWARDED}
        wakeup = signal.set_wakeup_fd(-1)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return handlers, wakeup, mask, os.listdir("/proc/self/fd")

    before = state()
    yield
    assert state() == before


def raise_here(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_signals_are_taken_in_order() -> None:
    with Signals() as signals:
        assert signals.take() == []
        raise_here(signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM)
        assert signals.take() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM]
        assert signals.take() == []


def test_the_third_interrupt_is_a_kill() -> None:
    with Signals() as signals:
        raise_here(signal.SIGINT)
        assert signals.take() == [signal.SIGINT]
        raise_here(signal.SIGINT, signal.SIGTERM)
        assert signals.take() == [signal.SIGINT, signal.SIGTERM]
        raise_here(signal.SIGINT)
        assert signals.take() == [signal.SIGKILL]


def test_what_comes_after_the_call_means_this_process() -> None:
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        raise_here(signal.SIGINT)  # raises nothing yet
        leave = stack.pop_all()
    with pytest.raises(KeyboardInterrupt):
        leave.close()
    assert signals.descriptor >= 0


def test_what_was_passed_on_does_not_come_again() -> None:
    with Signals() as signals:
        raise_here(signal.SIGINT)
        signals.take()
        raise_here(signal.SIGINT)


def test_what_changes_nothing_is_not_raised_again() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    with Signals():
        raise_here(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals() as signals:
        raise_here(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signals.take() == []
    signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), Signals():
        raise ZeroDivisionError
