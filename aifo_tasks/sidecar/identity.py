"""Whose sidecar it is: the user it runs as, the machine, the project's session."""

from __future__ import annotations

import os
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.value import dataclass

OWNER = "io.aifo.owner"
"""The label of what belongs to a session that ends with its process, whose id it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The user and group that tools run as and that new files in the project get."""

    uid: int
    gid: int

    @property
    def text(self) -> str:
        """As ``docker run --user`` takes it."""
        return f"{self.uid}:{self.gid}"


def owner_of(project: Path) -> Owner:
    """The caller; for root the owner of the project, so that root leaves no files behind that
    the project's owner cannot remove."""
    if os.getuid() != 0:
        return Owner(uid=os.getuid(), gid=os.getgid())
    status = project.stat()
    return Owner(uid=status.st_uid, gid=status.st_gid)


def machine_id() -> str:
    """This machine's id, or its host name where it has none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return os.uname().nodename


def user_label() -> str:
    """``uid@machine-id``: containers of other users and machines are never touched."""
    return f"{os.getuid()}@{machine_id()}"


def project_session(project: Path) -> str:
    """The session of plain runs in a project: 12 hexadecimal digits, the same for every run of
    this user on this machine that uses the same run directory, where its sockets are."""
    parts = (str(project.resolve()), user_label(), str(files.run_dir()))
    return files.digest("session", *parts)[:12]


def session_dir(session: str) -> Path:
    """Where the session's locks and records lie; made when missing, out of containers' reach."""
    path = files.run_dir() / session
    files.make_directory(path)
    return path
