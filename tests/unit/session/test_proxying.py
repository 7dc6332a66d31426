"""What ends a proxy that runs in the foreground."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

from aifo_tasks.session import proxying


def test_a_signal_ends_it_whichever_thread_it_meets() -> None:
    """The main thread sleeps in the kernel, and is not woken."""

    def take() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        time.sleep(0.2)  # it does by now
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with proxying._signals_kept(), contextlib.ExitStack() as stack:
            ended = proxying._ended_by_signals(stack)
            other = threading.Thread(target=take)
            other.start()
            assert select.select([ended], [], [], 30) == ([ended], [], [])
            other.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
