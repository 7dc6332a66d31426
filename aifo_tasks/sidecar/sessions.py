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


def left() -> tuple[str, ...]:
    """Sessions that have an owner, or had one, as far as the run directory tells."""
    found = files.run_dir().glob(f"*/{_LOCK}")
    return tuple(sorted(path.parent.name for path in found if _ID.fullmatch(path.parent.name)))


def remove_directory(session: str) -> None:
    """Remove a session's locks, records and tokens."""
    directory = files.run_dir() / session
    if directory.exists() and log.command(f"rm -rf {shlex.quote(str(directory))}"):
        shutil.rmtree(directory, ignore_errors=True)
