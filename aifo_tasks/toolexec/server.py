"""The proxy: listens, lets in who has the token, and leads each request to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Coroutine
from pathlib import Path

from aifo_tasks import log
from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import answers, audit, policy, requests, routing
from aifo_tasks.toolexec.answers import Answer, RefusalError
from aifo_tasks.toolexec.audit import Audit
from aifo_tasks.toolexec.calls import Call, Calls, Sidecar
from aifo_tasks.toolexec.connection import Connection, GoneError
from aifo_tasks.toolexec.duplex import duplex
from aifo_tasks.toolexec.exchange import Exchange, Order, Outcome
from aifo_tasks.toolexec.http import Reader
from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.listener import Listener
from aifo_tasks.toolexec.merged import streamed, whole
from aifo_tasks.toolexec.notify import Notifier
from aifo_tasks.toolexec.requests import Endpoint, ExecRequest
from aifo_tasks.value import dataclass

_BACKLOG = 1024
_MOST_REFUSED = 64
"""Clients told at one time that there is no room; further ones are not even told."""

_EXHAUSTED_PAUSE = 0.1
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
    """Takes calls on any number of listeners, in the event loop that made it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._calls = Calls(settings.limits.calls)
        self._listeners: list[socket.socket] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._serving = 0
        self._ending = False

    def listen_unix(self, path: Path) -> None:
        """Listen on a socket that everybody may connect to who reaches its directory."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(str(path))
        os.chmod(path, 0o666)  # noqa: S103  # the token authenticates
        self._listen(listener)

    def listen_tcp(self, host: str, port: int = 0) -> int:
        """Listen on one address, never on all of them; returns the port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            problem = os.strerror(error.errno or 0).lower()
            raise AifoError(f"proxy {host}:{port}", f"cannot listen: {problem}") from None
        self._listen(listener)
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        """Take nobody more, let calls end for a while, then stop them; all clients are told."""
        loop = asyncio.get_running_loop()
        self._ending = True
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())
            listener.close()
        await self._calls.ended(self._limits.drain)
        self._calls.stop_all()
        await self._calls.ended(_STOP_SECONDS)
        if self._clients:
            await asyncio.wait(self._clients, timeout=_LAST_SECONDS)
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    def _listen(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        listener.listen(_BACKLOG)
        self._listeners.append(listener)
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError | ConnectionError):
                self._pause(listener)  # out of descriptors: whoever ends gives some back
            return
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(client, deadline=self._limits.write)
        if self._serving < self._limits.connections:
            self._serving += 1
            self._spawn(self._serve(connection))
        elif len(self._clients) < self._limits.connections + _MOST_REFUSED:
            self._spawn(self._turn_away(connection))
        else:
            connection.drop()

    def _pause(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())

        def resume() -> None:
            if listener.fileno() >= 0:
                loop.add_reader(listener.fileno(), self._accept, listener)

        loop.call_later(_EXHAUSTED_PAUSE, resume)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._clients.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warn("proxy", f"a bug ended a connection: {error!r}")

    async def _turn_away(self, connection: Connection) -> None:
        await _finish(connection, answers.busy().answer)

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
            async with asyncio.timeout(self._limits.progress):
                data = await connection.receive()
        except TimeoutError:
            raise answers.timeout() from None
        if not data:
            raise answers.bad("the request ends too early")
        reader.feed(data)

    async def _notify(self, body: bytes) -> Answer:
        request = requests.notify_request(body)
        if self._settings.notifier is None:
            raise answers.forbidden("notify", "no notifications-command is configured")
        return await asyncio.to_thread(self._settings.notifier.run, request)

    async def _exec(
        self, connection: Connection, endpoint: Endpoint, request: ExecRequest, rest: bytes
    ) -> None:
        if self._ending:
            raise answers.busy()
        with self._calls.registered(endpoint.exec_id, endpoint.parent) as call:
            order = self._order(request, call)
            outcome: Outcome | None = None
            refusal: RefusalError | None = None
            listener = Listener(connection, rest)
            try:
                exchange = Exchange(connection, listener, call, order, self._limits)
                outcome = await self._run(exchange, endpoint.version)
            except RefusalError as error:
                refusal = error
                raise
            finally:
                await listener.close()
                self._record(call, order, outcome, refusal)

    async def _run(self, exchange: Exchange, version: int) -> Outcome:
        async with contextlib.AsyncExitStack() as stack:
            place = stack.enter_async_context(self._calls.place(exchange.call))
            if self._calls.full:
                await exchange.listener.first(place)
            else:
                await place  # at once
            if exchange.call.cut:
                raise answers.lost(exchange.order.sidecar.name)
            words = [exchange.order.tool, *map(os.fsdecode, exchange.order.arguments)]
            if (work := exchange.order.sidecar.before(words)) is not None:
                await asyncio.to_thread(work)
            return await _VERSIONS[version](exchange)

    def _order(self, request: ExecRequest, call: Call) -> Order:
        """What is started for a request; RefusalError when it is nobody's or not allowed."""
        running = [(sidecar.toolchain, sidecar) for sidecar in self._settings.sidecars]
        has = {each.toolchain.kind: each.development for each in self._settings.sidecars}
        found = routing.route(request.tool, running, has)
        if found is None:
            raise answers.unavailable(request.tool)
        tool, sidecar = found
        cwd = policy.directory(tool, os.fsdecode(request.cwd))
        if cwd is None:
            raise answers.bad(f"cwd: '{answers.shown(request.cwd)}' is outside the workspace")
        arguments = [os.fsdecode(argument) for argument in request.arguments]
        denial = policy.denial(sidecar.toolchain.policy, request.tool, arguments, cwd)
        if denial is not None:
            raise answers.forbidden(*denial)
        given = {os.fsdecode(name): os.fsdecode(value) for name, value in request.environment}
        if (name := policy.never(given)) is not None:
            raise answers.forbidden(f"environment {name}", "no tool gets it from a caller")
        variables = policy.forwarded(given, sidecar.toolchain.forward, sidecar.own)
        limits = sidecar.toolchain.limits
        return Order(
            sidecar=sidecar,
            programs=routing.programs(request.tool),
            arguments=request.arguments,
            cwd=os.fsencode(cwd),
            environment=tuple(
                (os.fsencode(name), os.fsencode(value))
                for name, value in (*variables, ("AIFO_EXEC_ID", call.id))
            ),
            terminal=request.terminal,
            seconds=tool.max_seconds or limits.max_seconds,
        )

    def _record(
        self, call: Call, order: Order, outcome: Outcome | None, refusal: RefusalError | None
    ) -> None:
        if self._settings.audit is None:
            return
        signal = None
        if outcome is not None and outcome.end is not None and outcome.end.signalled:
            signal = outcome.end.value
        exit_code = outcome.status if outcome is not None else answers.LOST
        if refusal is not None:
            exit_code = refusal.answer.exit_code or 0
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
        await connection.close()
    except GoneError:
        pass
    finally:
        connection.drop()
