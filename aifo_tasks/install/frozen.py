"""The frozen install: look, lock, look again, install, verify, stamp."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.errors import InstallError
from aifo_tasks.install import stamp, stores
from aifo_tasks.install.api import Plan, Runner
from aifo_tasks.install.key import key
from aifo_tasks.process import TAIL_LINES

_STALE_TRIES = 2

_PASSING = re.compile(
    r"connection reset|i/o timeout|TLS handshake timeout|unexpected EOF"
    r"|EAI_AGAIN|temporary failure in name resolution|server misbehaving"
    r"|\b(?:429 Too Many|50[0234] (?:Internal|Bad|Service|Gateway))",
    re.IGNORECASE,
)
"""What a bad moment of a registry or a name server looks like. Some package managers ask again
themselves; go never does."""


def ensure(run: Runner, plan: Plan, lock_path: Path) -> bool:
    """Install what the lockfile says unless the stamp says it is there; True when it ran.

    ``lock_path`` is a file of the run dir, one a project. The install inherits the lock's
    descriptor as its input: it keeps others out until its last process is gone, also when
    this process is killed. Raises InstallError; then nothing is recorded.
    """
    if stamp.read(run, plan) == key(plan):
        return False
    with files.locked(lock_path, on_wait=lambda: _waiting(plan, lock_path)) as lock:
        files.write_quietly(_beside(lock_path, "holder"), str(os.getpid()).encode())
        wanted, found = key(plan), stamp.read(run, plan)
        if found == wanted:
            return False
        log.step(plan.subject, _reason(plan, found))
        try:
            _install(run, plan, lock, wanted)
        except InstallError as error:
            raise _counted(error, plan, lock_path) from None
        with contextlib.suppress(FileNotFoundError):
            _beside(lock_path, "failed").unlink()
        return True


@contextlib.contextmanager
def forgotten(run: Runner, plan: Plan, lock_path: Path) -> Iterator[None]:
    """Drop the stamp for a call that changes what it stands for, such as ``pnpm add``.

    Nobody else installs meanwhile: what they would record is not what the call leaves.
    """
    with files.locked(lock_path, on_wait=lambda: _waiting(plan, lock_path)):
        stamp.clear(run, plan)
        yield


def _install(run: Runner, plan: Plan, lock: int, wanted: str) -> None:
    warm = stores.check(run, plan)
    stamp.clear(run, plan)
    offline = _attempt(run, plan, lock, offline=True) if warm else None
    if offline is None or offline.status != 0:
        if offline is not None:
            log.step(plan.subject, "the store lacks something: asking the package registry")
        online = _attempt(run, plan, lock, offline=False)
        passing = _PASSING.search("\n".join(online.last))
        if online.status != 0 and passing:
            log.step(plan.subject, f"{passing[0]}: asking the package registry once more")
            online = _attempt(run, plan, lock, offline=False)
        if online.status != 0:
            raise _failed(plan, offline, online)
    problem = plan.manager.verify(run, plan)
    if problem:
        raise InstallError(plan.subject, problem, hint=_removal(plan))
    if key(plan) != wanted:
        raise InstallError(
            plan.subject, "the lockfile or a manifest changed during the install",
            hint="run it again",
        )  # fmt: skip
    stamp.write(run, plan, wanted)


class _Attempt:
    """One run of the package manager's commands: the last one, its status, the last lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.argv: tuple[str, ...] = ()
        self.status = 0
        self.last: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._show = show
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > 65536:
            self.end()

    def end(self) -> None:
        if self._rest:
            self._line(self._rest)
        self._rest = b""

    def _line(self, raw: bytes) -> None:
        text = "".join(c if c.isprintable() else " " for c in raw.decode("utf-8", "replace"))
        self.last.append(text.rstrip())
        self._show(text.rstrip())


def _attempt(run: Runner, plan: Plan, lock: int, *, offline: bool) -> _Attempt:
    attempt = _Attempt(lambda line: log.progress(plan.subject, line))
    environment = dict(plan.manager.ENVIRONMENT)
    for attempt.argv in plan.manager.install(plan, offline=offline):
        attempt.status = run(
            attempt.argv, environment=environment, stdin=lock, on_output=attempt.feed
        )
        attempt.end()
        if attempt.status != 0:
            break
    return attempt


def _failed(plan: Plan, offline: _Attempt | None, online: _Attempt) -> InstallError:
    argv = shlex.join(online.argv)
    text = "\n".join(online.last)
    if offline is not None:
        text = "\n".join(["offline:", *offline.last, "online:", text])
    return InstallError(
        plan.subject, f"{argv} failed with exit status {online.status}\n{text}",
        hint=plan.manager.explain(text, plan),
    )  # fmt: skip


def _counted(error: InstallError, plan: Plan, lock_path: Path) -> InstallError:
    """The error, naming the overlays to remove once the same failed again.

    Another lockfile is another try. A cache is everybody's, and no failure makes it stale.
    """
    record, wanted = _beside(lock_path, "failed"), key(plan)
    known, _, count = (record.read_text() if record.exists() else "").partition(" ")
    tries = int(count) + 1 if known == wanted and count.isdecimal() else 1
    files.write_quietly(record, f"{wanted} {tries}".encode())
    if tries < _STALE_TRIES or error.hint or plan.shared:
        return error
    return InstallError(error.subject, f"{error.problem}\n({tries} tries)", hint=_removal(plan))


def _removal(plan: Plan) -> str:
    if plan.shared:
        return "doit sidecar_stop && doit purge_caches"
    return f"doit sidecar_stop && docker volume rm {shlex.join(plan.volumes)}"


def _reason(plan: Plan, found: str) -> str:
    if not found:
        place = "cache" if plan.shared else "overlay"
        return f"the {place} holds no finished install"
    return "the lockfile, or what else decides the result, changed"


def _waiting(plan: Plan, lock_path: Path) -> None:
    try:
        holder = f"process {int(_beside(lock_path, 'holder').read_bytes())}"
    except (OSError, ValueError):
        holder = "another process"
    log.step(plan.subject, f"waiting for {holder}, which installs in this project")


def _beside(lock_path: Path, suffix: str) -> Path:
    return lock_path.with_name(f"{lock_path.name}.{suffix}")
