"""A proxy that serves in a thread, so that the main one has the terminal and the signals."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Self, TypeVar

from aifo_tasks.toolexec.server import Proxy, Settings

T = TypeVar("T")


class Serving:
    """A proxy that takes calls from when it is entered until it is left, which ends them.

    Its methods may be called from any thread but its own.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._proxy: Proxy

    def __enter__(self) -> Self:
        self._thread.start()
        self._proxy = self._done(self._made())
        gc.freeze()  # what there is now stays: looking through it would delay calls
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._done(self._proxy.close())
            self._done(self._loop.shutdown_default_executor())
        finally:
            gc.unfreeze()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def listen_unix(self, path: Path) -> None:
        """Take calls at a socket; see ``Doors``."""

        async def listen() -> None:
            self._proxy.doors.listen_unix(path)

        self._done(listen())

    def listen_tcp(self, host: str, *, early: bool = False) -> int:
        """Take calls at a port of this address, which is returned; see ``Doors``."""

        async def listen() -> int:
            return self._proxy.doors.listen_tcp(host, early=early)

        return self._done(listen())

    async def _made(self) -> Proxy:
        return Proxy(self._settings)

    def _done(self, work: Coroutine[None, None, T]) -> T:
        """The result of something that the proxy's thread does."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
