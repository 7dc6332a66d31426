"""doit's database and file checker, safe for several doit processes on one project."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from doit.dependency import FileChangedChecker, SqliteDB
from doit.exceptions import InvalidCommand

from aifo_tasks import files, log

BUSY_SECONDS = 60
"""How long one process waits for another one's transaction."""

_TABLE = "create table if not exists doit (task_id text not null primary key, task_data json)"


class SharedDB(SqliteDB):
    """Task results in SQLite: read row by row when asked for, written once, at the end.

    Nothing is opened before the first question and nothing is made before there is
    something to write. What is written are the rows this process changed, in one short
    transaction, so that processes side by side lose nothing of one another's.
    """

    desc = "SQLite, shared by several processes"

    def __init__(self, name: str, codec: Any, *, module_name: str | None = None) -> None:  # noqa: ARG002
        # not the parent's constructor: that one opens the file
        self.name = name
        self.codec = codec
        self._connection: Any = None
        self._cache: dict[str, dict[str, Any]] = {}
        self._stored: dict[str, str] = {}
        self._dirty: set[str] = set()
        self._removed: set[str] = set()
        self._emptied = False

    def _get_task_data(self, task_id: str) -> dict[str, Any]:
        if self._emptied or task_id in self._removed or not self._readable():
            return {}
        with self._translated():
            row = self._connected().execute(
                "select task_data from doit where task_id = ?", (task_id,)
            ).fetchone()  # fmt: skip
            if row is None:
                return {}
            self._stored[task_id] = row[0]
            data: dict[str, Any] = self.codec.decode(row[0])
            return data

    def set(self, task_id: str, dependency: str, value: object) -> None:
        if task_id not in self._cache:
            self._cache[task_id] = self._get_task_data(task_id)
        self._cache[task_id][dependency] = value
        self._dirty.add(task_id)

    def in_(self, task_id: str) -> bool:
        return task_id in self._dirty or bool(self._cache.get(task_id)) or bool(
            self._get_task_data(task_id)
        )  # fmt: skip

    def remove(self, task_id: str) -> None:
        self._cache[task_id] = {}
        self._dirty.discard(task_id)
        self._removed.add(task_id)

    def remove_all(self) -> None:
        self._cache = {}
        self._dirty = set()
        self._removed = set()
        self._emptied = True

    def dump(self) -> None:
        """Write what changed and close. Raises InvalidCommand, with the remedy."""
        try:
            rows = {task_id: self.codec.encode(self._cache[task_id]) for task_id in self._dirty}
            rows = {
                task_id: row
                for task_id, row in rows.items()
                if task_id in self._removed or self._emptied or row != self._stored.get(task_id)
            }
            gone = self._removed if self._readable() else ()
            emptied = self._emptied and self._readable()
            if (rows or gone or emptied) and not log.is_dry_run():
                with self._translated():
                    self._write(rows, gone, emptied=emptied)
        finally:
            self._dirty = set()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self, rows: dict[str, str], gone: Collection[str], *, emptied: bool) -> None:
        self._make_directory()
        connection = self._connected()
        connection.execute("begin immediate")
        try:
            if emptied:
                connection.execute("delete from doit")
            connection.executemany(
                "delete from doit where task_id = ?", [(task_id,) for task_id in sorted(gone)]
            )
            connection.executemany("insert or replace into doit values (?, ?)", rows.items())
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise

    def _readable(self) -> bool:
        return self._connection is not None or Path(self.name).exists()

    def _connected(self) -> Any:
        if self._connection is None:
            import sqlite3

            path = Path(self.name)
            for part in (path, path.parent):
                if part.is_symlink():
                    raise InvalidCommand(
                        f"{part}: is a link and may lead out of the project\n"
                        f"hint: rm {shlex.quote(str(part))}"
                    )
            made = not path.exists()
            connection = sqlite3.connect(self.name, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection = connection
            connection.execute(_TABLE)
            if made:
                _give_to_owner(path)
        return self._connection

    def _make_directory(self) -> None:
        directory = Path(self.name).parent
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            _give_to_owner(directory)
        ignore = directory / ".gitignore"
        if directory.name == ".aifo" and not ignore.exists():
            files.write_quietly(ignore, b"*\n", mode=0o644)
            _give_to_owner(ignore)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """doit shows an InvalidCommand without a traceback, wherever it comes from."""
        import sqlite3

        hint = f"hint: rm {shlex.quote(self.name)}; every task then runs once more"
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InvalidCommand(f"{self.name}: cannot be used: {error}") from None
        except (sqlite3.DatabaseError, ValueError) as error:
            raise InvalidCommand(f"{self.name}: is damaged: {error}\n{hint}") from None
        except OSError as error:
            raise InvalidCommand(f"{self.name}: cannot be used: {error.strerror}") from None


def _give_to_owner(path: Path) -> None:
    """What root makes in somebody's project belongs to that somebody."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


class ContentChecker(FileChangedChecker):
    """A file changed when its content did, whatever its times say."""

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: object) -> bool:
        return _content(file_path) != state and file_stat is not None

    def get_state(self, dep: str, current_state: object) -> str | None:
        state = _content(dep)
        return None if state == current_state else state


def _content(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
