"""The proxy's own part: what clients that do not call keep from those that do."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from aifo_tasks.toolexec.limits import Limits
from aifo_tasks.toolexec.notify import Notifier
from aifo_tasks.toolexec.server import Proxy, Settings

TOKEN = "t" * 64
BODY = b"cmd=sleep&arg=3"
REQUEST = (
    b"POST /notify HTTP/1.1\r\nHost: x\r\nX-Aifo-Proto: 1\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
) % (TOKEN.encode(), len(BODY), BODY)


def test_notifications_keep_no_thread_from_calls() -> None:
    async def check() -> None:
        notifier = Notifier(
            name="sleep", program=Path("/usr/bin/sleep"), arguments=("3",), open_end=False
        )
        settings = Settings(tokens=(TOKEN,), sidecars=(), limits=Limits(), notifier=notifier)
        proxy = Proxy(settings)
        clients = []
        for _ in range(40):
            ours, theirs = socket.socketpair()
            theirs.sendall(REQUEST)
            proxy._welcome(ours)
            clients.append(theirs)
        await asyncio.sleep(0.3)  # they are at it
        async with asyncio.timeout(2):
            await asyncio.to_thread(int)
        for client in clients:
            client.close()
        await proxy.close()

    asyncio.run(check())
