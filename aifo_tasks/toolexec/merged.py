"""Versions 1 and 2: no input, both outputs in one pipe, sent whole or as it comes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from typing import IO

from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.answers import Answer
from aifo_tasks.toolexec.exchange import Exchange, Outcome, leave
from aifo_tasks.toolexec.listener import ignore
from aifo_tasks.toolexec.pumps import BLOCK, Output

_IN_MEMORY = 1024 * 1024
"""Bytes of a version 1 answer kept in memory; what is more waits in a file without a name."""


async def whole(exchange: Exchange) -> Outcome:
    """Version 1: the exit status stands before the output, which is kept until the end."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        kept = _Kept(exchange, spool)
        outcome = await _run(exchange, kept.add)
        if outcome.timed_out:
            raise answers.over_time()
        if outcome.end is None:
            raise answers.lost(exchange.order.sidecar.name)
        fields = (("X-Exec-Id", exchange.call.id),)
        answer = Answer(status=200, exit_code=outcome.status, fields=fields)
        await exchange.connection.send(answer.encode_head(kept.count))
        spool.seek(0)
        while block := spool.read(BLOCK):
            await exchange.connection.send(block)
    return outcome


async def streamed(exchange: Exchange) -> Outcome:
    """Version 2: chunks as they come, the exit status in the trailer.

    The head goes with the first of them. A stream whose end was lost has no last chunk.
    """
    begun = False

    async def add(*parts: bytes | memoryview) -> None:
        nonlocal begun
        start = () if begun else (answers.stream_head(exchange.call.id),)
        begun = True
        await exchange.connection.send(*start, *parts)

    outcome = await _run(exchange, lambda data: add(*answers.chunk(data)))
    if outcome.timed_out or outcome.end is not None:
        await add(answers.last_chunk(outcome.status))
    elif not begun:
        await add()
    return outcome


class _Kept:
    """Output in a file until the exit status is known."""

    def __init__(self, exchange: Exchange, spool: IO[bytes]) -> None:
        self._tool = exchange.order.tool
        self._most = exchange.limits.spool
        self._spool = spool
        self.count = 0

    async def add(self, data: memoryview) -> None:
        self.count += len(data)
        if self.count > self._most:
            raise answers.failed(self._tool, "more output than version 1 carries", answers.LOST)
        try:
            self._spool.write(data)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise answers.failed(
                self._tool, f"its output cannot be kept: {reason}", answers.LOST
            ) from None


async def _run(exchange: Exchange, sink: Callable[[memoryview], Awaitable[None]]) -> Outcome:
    exchange.listener.attach(ignore)
    with contextlib.ExitStack() as stack:
        source, target = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, source)
        with contextlib.ExitStack() as theirs:
            theirs.callback(os.close, target)
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            theirs.callback(os.close, null)
            tool = await exchange.start([null, target, target])
        try:
            return await exchange.follow(tool, [Output(source, sink)])
        finally:
            await leave(tool)
