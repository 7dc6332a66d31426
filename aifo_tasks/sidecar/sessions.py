"""Sessions that end with their process: alive while it holds their lock, orphans afterwards."""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator

from aifo_tasks import files, log
from aifo_tasks.sidecar.identity import session_dir

_ID = re.compile(r"[0-9a-f]{12}")
_LOCK = "lock"
_PROXY_LOCK = "proxy.lock"


@contextlib.contextmanager
def opened() -> Iterator[str]:
    """A session of this process, by its id: 12 hexadecimal digits.

    Its directory goes with it. What else it made its owner removes, or, when that was
    killed, whoever finds the lock free.
    """
    while True:
        session = secrets.token_hex(6)
        if log.is_dry_run():
            yield session
            return
        lock = session_dir(session) / _LOCK
        with files.claimed(lock) as is_held:
            if is_held and lock.exists():  # nobody took it for an orphan before it was held
                try:
                    yield session
                finally:
                    remove_directory(session)
                return


@contextlib.contextmanager
def orphaned(session: str) -> Iterator[bool]:
    """Whether a session's owner is gone; if so, nobody else removes what it left meanwhile."""
    lock = files.run_dir() / session / _LOCK
    if not _ID.fullmatch(session):
        yield False
    elif not lock.exists():
        yield True
    else:
        with files.claimed(lock) as is_free:
            yield is_free


@contextlib.contextmanager
def serving(session: str) -> Iterator[bool]:
    """Held by the proxy of a project, which has one at most; yields whether it is held."""
    with files.claimed(session_dir(session) / _PROXY_LOCK) as is_held:
        yield is_held


@contextlib.contextmanager
def served(session: str) -> Iterator[bool]:
    """Whether a project has a proxy; if not, none begins meanwhile."""
    lock = files.run_dir() / session / _PROXY_LOCK
    if lock.exists():
        with files.claimed(lock) as is_free:
            yield not is_free
    else:
        yield False


def left() -> tuple[str, ...]:
    """Sessions that have an owner, or had one, as far as the run directory tells."""
    found = files.run_dir().glob(f"*/{_LOCK}")
    return tuple(sorted(path.parent.name for path in found if _ID.fullmatch(path.parent.name)))


def remove_directory(session: str) -> None:
    """Remove a session's locks, records and tokens."""
    directory = files.run_dir() / session
    if directory.exists() and log.command(f"rm -rf {shlex.quote(str(directory))}"):
        shutil.rmtree(directory, ignore_errors=True)
