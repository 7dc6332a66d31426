"""Several toolchains made ready at once: all of them, or what was started is ended again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

from aifo_tasks import log, process
from aifo_tasks.errors import AifoError
from aifo_tasks.session import additions, ready
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar import record
from aifo_tasks.sidecar.record import Greeted

_STOP_SECONDS = 10.0
_END_SECONDS = 5.0
"""How long a sidecar that nobody uses any more may take to end."""


def get(works: Sequence[Workplace], choices: Choices) -> list[Greeted]:
    """A sidecar of each, ready for calls, made ready at the same time; none in a dry run.

    When one fails the sidecars that were started here end, and the AifoError names it.
    """
    additions.check_wish([work.toolchain for work in works], choices.bootstrap)
    if len(works) == 1 or log.is_dry_run():
        found = [ready.get(work, additions.wished(work.toolchain, choices)) for work in works]
        return [greeted for greeted in found if greeted is not None]
    cold = [work for work in works if not _runs(work)]
    results: list[Greeted | BaseException | None] = [None] * len(works)
    try:
        _in_threads(works, choices, results)
        for work, result in zip(works, results, strict=True):
            if isinstance(result, BaseException):
                raise _named(work, result) from None
    except BaseException:
        for result in results:
            if isinstance(result, Greeted):
                result.connection.close()
        for work in cold:
            _end(work)
        raise
    return [result for result in results if isinstance(result, Greeted)]


def _in_threads(
    works: Sequence[Workplace], choices: Choices, results: list[Greeted | BaseException | None]
) -> None:
    """Each result at its place, an error too."""

    def make_ready(number: int) -> None:
        try:
            work = works[number]
            results[number] = ready.get(work, additions.wished(work.toolchain, choices))
        except BaseException as error:  # noqa: BLE001  # raised again in the main thread
            results[number] = error
            kind = works[number].toolchain.kind
            log.step(f"toolchain {kind}", "failed; what the others do is finished first")

    threads = [
        threading.Thread(target=make_ready, args=(number,), daemon=True)
        for number in range(len(works))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:  # a signal came
        process.kill_all()
        for thread in threads:
            thread.join(_STOP_SECONDS)
        raise


def _named(work: Workplace, error: BaseException) -> BaseException:
    if not isinstance(error, AifoError):
        return error
    subject = f"toolchain {work.toolchain.kind}"
    return AifoError(subject, error.sentence, hint=error.hint)


def _runs(work: Workplace) -> bool:
    """Whether its sidecar runs already, whatever is to be done in it."""
    greeted = record.warm(work.plan.session, work.toolchain.kind, work.plan.digest())
    if greeted is not None:
        greeted.connection.close()
    return greeted is not None


def _end(work: Workplace) -> None:
    """Have the sidecar of this plan end once nobody else's call runs in it; it need not exist."""
    from aifo_tasks.toolexec import launcher

    path = record.path_of(work.plan.session, work.toolchain.kind, work.plan.digest())
    entry = record.read(path)
    if entry is None or not log.command(f"kill -HUP {entry.pid}"):
        return
    log.step(entry.name, "ends again")
    launcher.retire(entry.peer)
    deadline = time.monotonic() + _END_SECONDS
    with contextlib.suppress(launcher.UnreachableError):
        while launcher.start_time(entry.pid) == entry.start_time and time.monotonic() < deadline:
            time.sleep(0.02)
