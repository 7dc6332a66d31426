"""The record of a running sidecar: who its init is, written where no container can reach."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.sidecar.identity import session_dir
from aifo_tasks.toolexec import launcher
from aifo_tasks.toolexec.frames import Welcome
from aifo_tasks.toolexec.launcher import Peer, UnreachableError, Way
from aifo_tasks.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A sidecar as its starter saw it: name, spec digest, and the one process that is init.

    ``pid`` is 0 where that runs in another kernel. ``passes`` tells whether descriptors were
    seen to reach it; where they do not, ``endpoint`` is the engine that reaches it, ``engine``
    docker or podman, and ``door`` init's socket in the container.
    """

    name: str
    spec: str
    socket: Path
    pid: int
    start_time: int
    engine: str
    endpoint: str
    door: str
    passes: bool

    @property
    def peer(self) -> Peer:
        return Peer(socket=self.socket, pid=self.pid, start_time=self.start_time)

    @property
    def is_relayed(self) -> bool:
        """True where calls have to go through a relay, or AIFO_TOOLEXEC_RELAY=1 says so."""
        return not self.passes or os.environ.get("AIFO_TOOLEXEC_RELAY") == "1"

    def way(self) -> Way:
        """How calls reach it; for those through one relay to be asked for once."""
        if not self.is_relayed:
            return self.peer
        from aifo_tasks.sidecar import relaying

        return relaying.relay(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeted:
    """An open connection to a sidecar's init, the way it was made, what it said of itself."""

    record: Record
    way: Way
    connection: socket.socket
    welcome: Welcome


def path_of(session: str, kind: str, spec: str) -> Path:
    """Where the record of the sidecar with this spec lies."""
    return session_dir(session) / f"{kind}-{spec[:8]}.json"


def read(path: Path) -> Record | None:
    """The record at ``path``; None when there is none, or none that can be read."""
    try:
        data = json.loads(path.read_bytes())
        return Record(
            name=str(data["name"]),
            spec=str(data["spec"]),
            socket=Path(data["socket"]),
            pid=int(data["pid"]),
            start_time=int(data["start_time"]),
            engine=str(data["engine"]),
            endpoint=str(data["endpoint"]),
            door=str(data["door"]),
            passes=bool(data["passes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, record: Record) -> None:
    """Keep a record, atomically."""
    data = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    data["socket"] = str(record.socket)
    files.write_quietly(path, json.dumps(data).encode())


def greet(record: Record, way: Way | None = None) -> Greeted:
    """Connect to a recorded sidecar and ask what it is; UnreachableError when it is not.

    ``way`` is the record's own unless given.
    """
    way = way or record.way()
    connection = way.connect()
    try:
        welcome = launcher.greet(connection)
        if welcome.spec != record.spec:
            raise UnreachableError(record.name, "has another spec", reason="absent")
    except BaseException:
        connection.close()
        raise
    return Greeted(record=record, way=way, connection=connection, welcome=welcome)


def warm(session: str, kind: str, spec: str) -> Greeted | None:
    """The running sidecar with this spec, greeted, without asking the engine."""
    record = read(path_of(session, kind, spec))
    if record is None or record.spec != spec:
        return None
    try:
        return greet(record)
    except UnreachableError:
        return None


def forget(session: str, name: str) -> None:
    """Remove the records of a sidecar that is gone."""
    for path in session_dir(session).glob("*.json"):
        record = read(path)
        if record is not None and record.name == name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
