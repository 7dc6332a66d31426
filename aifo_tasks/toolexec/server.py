"""The proxy: listens, lets in who has the token, and leads each request to its end."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

from aifo_tasks import log
from aifo_tasks.toolexec import answers, audit, requests
from aifo_tasks.toolexec.answers import Answer, RefusalError
from aifo_tasks.toolexec.audit import Audit
from aifo_tasks.toolexec.calls import Call, Calls
from aifo_tasks.toolexec.connection import Connection, GoneError
from aifo_tasks.toolexec.doors import Doors
from aifo_tasks.toolexec.duplex import duplex
from aifo_tasks.toolexec.exchange import Exchange, Outcome
from aifo_tasks.toolexec.http import Reader
from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.listener import Listener
from aifo_tasks.toolexec.merged import streamed, whole
from aifo_tasks.toolexec.notify import Notifier
from aifo_tasks.toolexec.orders import Order, Orders
from aifo_tasks.toolexec.requests import Endpoint, ExecRequest
from aifo_tasks.toolexec.sidecars import Sidecar
from aifo_tasks.value import dataclass

_MOST_REFUSED = 64
"""Clients told at one time that there is no room; further ones wait outside to be told."""

_MOST_NOTIFICATIONS = 4
"""Commands of the host that run at one time; they keep no thread from calls."""

_STOP_SECONDS = 10.0
_LAST_SECONDS = 1.0
"""For clients to read their last words when the proxy ends."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS = {1: whole, 2: streamed, 3: duplex}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a proxy serves: who may come, and which sidecars take calls.

    ``tokens`` are what clients may show, each a secret of its own.
    """

    tokens: tuple[str, ...]
    sidecars: tuple[Sidecar, ...]
    limits: Limits
    notifier: Notifier | None = None
    audit: Audit | None = None


class Proxy:
    """Takes calls in the event loop that made it, from whoever comes to its ``doors``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._orders = Orders(settings.sidecars)
        self._calls = Calls(settings.limits.calls)
        self._clients: set[asyncio.Task[None]] = set()
        self._serving = 0
        self._ending = False
        self._notifying = ThreadPoolExecutor(_MOST_NOTIFICATIONS, "notify")
        self.doors = Doors(self._welcome)

    async def close(self) -> None:
        """Take nobody more, let calls end for a while, then stop them; all clients are told."""
        self._ending = True
        self.doors.close()
        await self._calls.ended(self._limits.drain)
        self._calls.stop_all()
        await self._calls.ended(_STOP_SECONDS)
        if self._clients:
            await asyncio.wait(self._clients, timeout=_LAST_SECONDS)
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)
        self._notifying.shutdown(wait=False, cancel_futures=True)

    def _welcome(self, client: socket.socket) -> None:
        connection = Connection(client, deadline=self._limits.write)
        if self._serving < self._limits.connections:
            self._serving += 1
            self._spawn(self._serve(connection))
        else:
            self._spawn(_finish(connection, answers.busy().answer))
        if self._crowded:
            self.doors.shut()

    @property
    def _crowded(self) -> bool:
        return len(self._clients) >= self._limits.connections + _MOST_REFUSED

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._clients.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if self._crowded:
            self.doors.open()
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warn("proxy", f"a bug ended a connection: {error!r}")

    async def _serve(self, connection: Connection) -> None:
        """One client from its first byte to the end of its connection."""
        answer: Answer | None = None
        try:
            answer = await self._answer(connection)
        except RefusalError as error:
            answer = error.answer
        except GoneError:
            connection.drop()
        except BaseException:
            connection.drop()
            raise
        finally:
            self._serving -= 1
        await _finish(connection, answer)

    async def _answer(self, connection: Connection) -> Answer | None:
        """Lead a request to its end; None when everything has been said."""
        reader = Reader(body_limit=self._limits.body)
        while reader.head is None:
            await self._feed(reader, connection)
        endpoint = requests.endpoint(reader.head, self._settings.tokens)
        reader.check_length()
        reader.feed(b"")
        if reader.wants_continue:
            await connection.send(_CONTINUE)
        while not reader.complete:
            await self._feed(reader, connection)
        if endpoint.path == "/signal":
            wish = requests.signal_request(reader.body)
            self._calls.signal(wish.exec_id, wish.signal)
            return answers.signalled()
        if endpoint.path == "/notify":
            return await self._notify(reader.body)
        if endpoint.version == 3 and not requests.wants_frames(reader.head):
            raise answers.bad("version 3 needs Connection: Upgrade and Upgrade: aifo-exec")
        if connection.descriptors and endpoint.version != 3:
            raise answers.bad("descriptors: only version 3 takes them")
        request = requests.exec_request(reader.body, endpoint.version)
        await self._exec(connection, endpoint, request, reader.rest)
        return None

    async def _feed(self, reader: Reader, connection: Connection) -> None:
        try:
            data = await connection.receive(self._limits.progress)
        except TimeoutError:
            raise answers.timeout() from None
        if not data:
            raise answers.bad("the request ends too early")
        reader.feed(data)

    async def _notify(self, body: bytes) -> Answer:
        request = requests.notify_request(body)
        if self._settings.notifier is None:
            raise answers.forbidden("notify", "no notifications-command is configured")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._notifying, self._settings.notifier.run, request)

    async def _exec(
        self, connection: Connection, endpoint: Endpoint, request: ExecRequest, rest: bytes
    ) -> None:
        if self._ending:
            raise answers.busy()
        call = self._calls.register(endpoint.exec_id, endpoint.parent)
        order: Order | None = None
        outcome: Outcome | None = None
        refused: Answer | None = None
        try:
            order = self._orders.order(request, call)
            with Listener(connection, rest) as listener:
                await self._calls.place(call)
                if call.cut:
                    raise answers.lost(order.sidecar.name)
                exchange = Exchange(connection, listener, call, order, self._limits)
                outcome = await _VERSIONS[endpoint.version](exchange)
        except RefusalError as error:
            refused = error.answer  # the error itself would keep all of this alive
            raise
        finally:
            self._calls.forget(call)
            if order is not None:  # once the client has its answer
                loop = asyncio.get_running_loop()
                loop.call_soon(self._record, call, order, outcome, refused)

    def _record(
        self, call: Call, order: Order, outcome: Outcome | None, refused: Answer | None
    ) -> None:
        if self._settings.audit is None:
            return
        signal = None
        if outcome is not None and outcome.end is not None and outcome.end.signalled:
            signal = outcome.end.value
        exit_code = outcome.status if outcome is not None else answers.LOST
        if refused is not None:
            exit_code = refused.exit_code or 0
        words = [order.tool, *map(os.fsdecode, order.arguments)]
        self._settings.audit.write(
            {
                "exec_id": call.id,
                "parent": call.parent,
                "tool": order.tool,
                "argv": audit.masked(words),
                "cwd": os.fsdecode(order.cwd),
                "sidecar": order.sidecar.name,
                "exit": exit_code,
                "signal": signal,
                "milliseconds": round((time.monotonic() - call.began) * 1000, 3),
                "bytes": outcome.count if outcome is not None and outcome.count >= 0 else None,
            }
        )


async def _finish(connection: Connection, answer: Answer | None) -> None:
    """Say the last words and end the connection."""
    try:
        if answer is not None:
            await connection.send(answer.encode())
        await connection.close(early=answer is not None)
    except GoneError:
        pass
    finally:
        connection.drop()
