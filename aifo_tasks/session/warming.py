"""Filling a toolchain's cache from the lockfile, without installing."""

from __future__ import annotations

from aifo_tasks import files, log
from aifo_tasks.errors import InstallError
from aifo_tasks.install.api import Plan
from aifo_tasks.model import WORKSPACE
from aifo_tasks.session import ready
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.inside import Inside

_STAMP = ".aifo-warm"


def reason(work: Workplace) -> str | None:
    """Why the cache has to be warmed; None when it was, from this very lockfile.

    The stamp lies in the store itself, so that removing the store is noticed.
    """
    if work.install is None or not work.locked:
        return None
    try:
        found = files.read_below(work.install.store.host, _STAMP)
    except FileNotFoundError:  # no store yet
        found = None
    if found is None:
        return "the store was not warmed yet"
    return None if found.strip() == work.wanted().encode() else "the lockfile changed"


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

        argv = install.manager.fetch_argv(install.store)
        print_call(work.plan.name, argv, WORKSPACE, dict(install.manager.ENVIRONMENT))
        return
    greeted.connection.close()
    try:
        with files.locked(work.lock, on_wait=lambda: log.step(subject, "waiting")) as lock:
            log.step(subject, "fetching")
            _fetch(Inside(greeted), install, lock, work.wanted(), subject)
    finally:
        if online is not work:
            ready.end(ready.connect(consent=False), online)
    log.step(subject, "the store holds what the lockfile names")


def _fetch(run: Inside, install: Plan, lock: int, wanted: str, subject: str) -> None:
    output = bytearray()

    def show(data: bytes) -> None:
        output.extend(data)
        del output[:-8192]
        for line in data.decode("utf-8", "replace").splitlines():
            log.progress(subject, line)

    path = f"{install.store.target}/{_STAMP}"
    script = 'printf "%s\\n" "$1" >"$2.new" && mv -f "$2.new" "$2"'
    status = run(
        install.manager.fetch_argv(install.store),
        environment=dict(install.manager.ENVIRONMENT),
        stdin=lock,
        on_output=show,
    ) or run(["sh", "-c", script, "sh", wanted, path], on_output=show)
    if status != 0:
        text = output.decode("utf-8", "replace").rstrip()
        raise InstallError(subject, f"exit status {status}\n{text}")
