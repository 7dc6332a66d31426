"""Filling a toolchain's cache from the lockfile, without installing."""

from __future__ import annotations

import contextlib

from aifo_tasks import files, log
from aifo_tasks.errors import InstallError
from aifo_tasks.install import stamp
from aifo_tasks.install.api import Plan
from aifo_tasks.model import WORKSPACE
from aifo_tasks.session import ready
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.inside import Inside


def reason(work: Workplace) -> str | None:
    """Why the cache has to be warmed; None when it was, from this very lockfile.

    The stamp lies in the store itself, so that removing the store is noticed; a sidecar that
    runs can read it.
    """
    if work.install is None or not work.locked:
        return None
    greeted = ready.warm(work, changing=True)
    if greeted is None:
        return "no sidecar runs that could look into the store"
    with contextlib.closing(greeted.connection):
        found = stamp.read_warm(Inside(greeted), work.install)
    if not found:
        return "the store was not warmed yet"
    return None if found == work.wanted() else "the lockfile changed"


def warm_cache(work: Workplace, choices: Choices) -> None:
    """Fetch everything the lockfile names; raises InstallError with the manager's output."""
    subject = f"warm_cache {work.toolchain.kind}"
    install = work.install
    if install is None or not work.locked:
        log.step(subject, "there is no lockfile: nothing to fetch")
        return
    online = ready.networked(work)
    greeted = ready.prepare(online, choices, changing=True)
    if greeted is None:
        from aifo_tasks.session.preview import print_call

        for argv in install.manager.fetch(install):
            print_call(work.plan.name, argv, WORKSPACE, dict(install.manager.ENVIRONMENT))
        return
    greeted.connection.close()
    run = Inside(greeted)
    try:
        with files.locked(work.lock, on_wait=lambda: log.step(subject, "waiting")) as lock:
            wanted = work.wanted()
            if stamp.read_warm(run, install) != wanted:
                log.step(subject, "fetching")
                _fetch(run, install, lock, subject)
                stamp.write_warm(run, install, wanted)
    finally:
        if online is not work:
            ready.end(ready.connect(consent=False), online)
    log.step(subject, "the store holds what the lockfile names")


def _fetch(run: Inside, install: Plan, lock: int, subject: str) -> None:
    output = bytearray()

    def show(data: bytes) -> None:
        output.extend(data)
        del output[:-8192]
        for line in data.decode("utf-8", "replace").splitlines():
            log.progress(subject, line)

    environment = dict(install.manager.ENVIRONMENT)
    for argv in install.manager.fetch(install):
        status = run(argv, environment=environment, stdin=lock, on_output=show)
        if status != 0:
            text = output.decode("utf-8", "replace").rstrip()
            raise InstallError(subject, f"exit status {status}\n{text}")
