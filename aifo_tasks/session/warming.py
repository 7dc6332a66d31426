"""Filling a toolchain's cache from the lockfile, without installing."""

from __future__ import annotations

from aifo_tasks import files, log
from aifo_tasks.errors import InstallError
from aifo_tasks.session import ready
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.inside import Inside


def reason(work: Workplace) -> str | None:
    """Why the cache has to be warmed; None when it was, from this very lockfile.

    The stamp lies in the store itself, so that removing the store is noticed.
    """
    if work.install is None or not work.locked:
        return None
    stamp = work.install.store.host / _STAMP
    try:
        found = stamp.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "the store was not warmed yet"
    return None if found == work.wanted() else "the lockfile changed"


def warm_cache(work: Workplace, choices: Choices) -> None:
    """Fetch everything the lockfile names; raises InstallError with the manager's output."""
    subject = f"warm_cache {work.toolchain.kind}"
    install = work.install
    if install is None or not work.locked:
        log.step(subject, "there is no lockfile: nothing to fetch")
        return
    greeted = ready.prepare(work, choices, changing=True)
    argv = install.manager.fetch_argv(install.store)
    if greeted is None:
        from aifo_tasks.session.preview import print_call

        print_call(work, argv, "/workspace", dict(install.manager.ENVIRONMENT))
        return
    greeted.connection.close()
    wanted = work.wanted()
    output = bytearray()
    with files.locked(work.lock) as lock:
        log.step(subject, "fetching")

        def show(data: bytes) -> None:
            output.extend(data)
            del output[:-8192]
            for line in data.decode("utf-8", "replace").splitlines():
                log.progress(subject, line)

        run = Inside(greeted)
        status = run(
            argv, environment=dict(install.manager.ENVIRONMENT), stdin=lock, on_output=show
        )
        if status != 0:
            text = output.decode("utf-8", "replace").rstrip()
            raise InstallError(subject, f"exit status {status}\n{text}")
        script = 'printf "%s\\n" "$1" >"$2.new"; mv -f "$2.new" "$2"'
        path = f"{install.store.target}/{_STAMP}"
        run(["sh", "-c", script, "sh", wanted, path], on_output=output.extend)
    log.step(subject, "the store holds what the lockfile names")


_STAMP = ".aifo-warm"
