"""How tools in one sidecar call those of the others, as long as a proxy serves both."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.session import access
from aifo_tasks.session.access import Access
from aifo_tasks.session.serving import Serving
from aifo_tasks.session.workplace import Workplace
from aifo_tasks.sidecar.plan import PROXY_DIR


class Entrance:
    """A sidecar's way into a session's proxy, with a token of its own.

    Nothing of it is the container's: every sidecar has an empty directory mounted, in which a
    proxy makes one of its own, and tells each call where that is. So a warm sidecar serves any
    number of sessions, and what is called without a proxy finds no shims.
    """

    def __init__(self, work: Workplace, session: str, tools: tuple[str, ...]) -> None:
        self.token = secrets.token_hex(32)
        self._owner = work.plan.owner
        self._session = session
        self._tools = tools
        self._serving: Serving | None = None
        self._made: list[Path] = []
        inside = f"{PROXY_DIR}/{session}"
        path = work.plan.environment()["PATH"]
        self.environment = {
            "PATH": f"{path}:{inside}/{access.LINKS}",
            **access.variables(f"unix://{inside}/{access.SOCKET}", inside),
        }

    @contextlib.contextmanager
    def opened(self, serving: Serving, sidecar: str) -> Iterator[None]:
        """Take calls from the tools in this sidecar, and in those that come in its place."""
        self._serving = serving
        try:
            self.move(sidecar)
            yield
        finally:
            for directory in self._made:
                shutil.rmtree(directory, ignore_errors=True)

    def move(self, sidecar: str) -> None:
        """Take calls from the tools in another sidecar too."""
        assert self._serving is not None
        directory = files.run_dir() / sidecar / "proxies" / self._session
        self._made.append(directory)
        way = Access(
            directory=directory, token=self.token, owner=self._owner, tools=self._tools
        )  # fmt: skip
        way.lay_out()
        self._serving.listen_unix(way.socket)
