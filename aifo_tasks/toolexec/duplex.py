"""Version 3: frames both ways, the client's own descriptors where it brings them."""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable
from typing import Self

from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.connection import Connection, GoneError
from aifo_tasks.toolexec.exchange import Exchange, Outcome, leave
from aifo_tasks.toolexec.frames import Decoder, Exit, Frame, FrameError, Type, carrying
from aifo_tasks.toolexec.passed import Passed
from aifo_tasks.toolexec.pumps import Credit, Input, Output, Stops
from aifo_tasks.toolexec.requests import SIGNALS
from aifo_tasks.toolexec.upstream import Tool

_CREDIT = struct.Struct(">BI")
_WINDOW = struct.Struct(">HH")
_STREAMS = 3
_OUTPUTS = {1: Type.STDOUT, 2: Type.STDERR}
_TSTP, _CONT = SIGNALS["TSTP"], SIGNALS["CONT"]
_LAST_WORDS = 0.1
"""Seconds to wait for a terminal's last output, when somebody keeps it open."""


async def duplex(exchange: Exchange) -> Outcome:
    """Version 3: descriptors that came with the request are the tool's, else all is relayed."""
    if exchange.connection.descriptors:
        return await _passed(exchange)
    return await _relayed(exchange)


async def _passed(exchange: Exchange) -> Outcome:
    """Only signals and the exit status cross the proxy, and a terminal's master once.

    A client that has terminals brings something in their places; nobody gets that.
    """
    given = Passed(exchange.connection.descriptors)
    exchange.connection.descriptors = []
    try:
        terminal = exchange.order.terminal
        tool = await exchange.start(await given.streams(terminal.streams if terminal else 0))
    finally:
        given.close()
    try:
        conversation = _Conversation(exchange, tool)
        masters = [tool.master] if tool.master >= 0 else []
        await exchange.connection.send(answers.switching(exchange.call.id), descriptors=masters)
        if masters:
            os.close(tool.master)
            tool.master = -1
        exchange.listener.attach(conversation.take)
        outcome = await exchange.follow(tool, inputs=conversation.inputs)
        await conversation.finish(outcome)
        return outcome
    finally:
        await leave(tool)


async def _relayed(exchange: Exchange) -> Outcome:
    """Every stream is relayed in frames, through pipes or a terminal of the sidecar's."""
    terminal = exchange.order.terminal
    mask = terminal.streams if terminal else 0
    with _Pipes(mask) as pipes:
        tool = await exchange.start(pipes.theirs)
        pipes.close_theirs()
        try:
            conversation = _Conversation(exchange, tool)
            outputs = [
                conversation.write(n, source) for n, source in pipes.ours.items() if n in _OUTPUTS
            ]
            if 0 in pipes.ours:
                conversation.read(pipes.ours[0], lambda: pipes.close_one(0))
            if tool.master >= 0:
                if mask & 1:
                    conversation.read(tool.master, _keep)
                stream = 2 if mask & 6 == 4 else 1
                outputs.append(conversation.show(stream, tool.master))
            await exchange.connection.send(answers.switching(exchange.call.id))
            exchange.listener.attach(conversation.take)
            outcome = await exchange.follow(tool, outputs, conversation.inputs)
            await conversation.finish(outcome)
            return outcome
        finally:
            await leave(tool)


def _keep() -> None:
    """A terminal's master is not ours to close."""


class _Pipes:
    """A pipe for each stream that is no terminal: the tool's ends, in order, and ours."""

    def __init__(self, mask: int) -> None:
        self._mask = mask
        self.theirs: list[int] = []
        self.ours: dict[int, int] = {}

    def __enter__(self) -> Self:
        try:
            for n in range(_STREAMS):
                if not self._mask >> n & 1:
                    read, write = os.pipe2(os.O_CLOEXEC)
                    self.theirs.append(write if n > 0 else read)
                    self.ours[n] = read if n > 0 else write
        except OSError:  # nothing was started yet
            self._close()
            raise answers.busy() from None
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self.close_theirs()
        for n in tuple(self.ours):
            self.close_one(n)

    def close_theirs(self) -> None:
        """The tool has them now."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close_one(self, n: int) -> None:
        """Close our end of a stream, once."""
        if n in self.ours:
            os.close(self.ours.pop(n))


class _Conversation:
    """The frames of one call, ours and the client's."""

    def __init__(self, exchange: Exchange, tool: Tool) -> None:
        self._exchange = exchange
        self._tool = tool
        self._decoder = Decoder()
        self._credits: dict[int, Credit] = {}
        self._input: Input | None = None
        self.inputs: list[Input | Stops] = []
        if exchange.order.terminal:
            self._tell_stops()

    def read(self, target: int, close: Callable[[], None]) -> None:
        """Carry the client's input to the tool."""
        connection = self._exchange.connection

        async def grant(count: int) -> None:  # not a method: it would hold us, who hold it
            await _send(connection, Type.CREDIT, _CREDIT.pack(0, count))

        self._input = Input(target, grant, close)
        self.inputs.append(self._input)

    def write(self, n: int, source: int) -> Output:
        """What carries an output to the client."""
        self._credits[n] = Credit(self._exchange.limits.write)
        return Output(source, self._sink(n))

    def show(self, n: int, master: int) -> Output:
        """What carries a terminal's output to the client's terminal."""
        self._credits[n] = Credit(None)
        return Output(master, self._sink(n), patience=_LAST_WORDS)

    def _tell_stops(self) -> None:
        connection = self._exchange.connection

        async def tell(number: int) -> None:
            await _send(connection, Type.SIGNAL, bytes([number]))

        stops = Stops(tell)
        self._tool.on_stop(stops.put)
        self.inputs.append(stops)

    def take(self, data: bytes) -> None:
        """Obey what the client says; raises GoneError for what it cannot say."""
        try:
            for frame in self._decoder.feed(data):
                self._obey(frame)
        except (FrameError, struct.error) as error:
            raise GoneError(f"speaks no frames: {error}") from None

    async def finish(self, outcome: Outcome) -> None:
        """Say how the call ended, if that is known."""
        if outcome.timed_out:
            end = Exit(signalled=False, value=answers.TIMED_OUT)
        elif outcome.end is not None:
            end = outcome.end
        else:
            text = f"{self._exchange.order.sidecar.name}: lost\n"
            await self._send(Type.NOTICE, text.encode())
            return
        await self._send(Type.EXIT, end.encode())

    def _obey(self, frame: Frame) -> None:
        if frame.type is Type.STDIN and self._input is not None:
            if not self._input.feed(frame.payload):
                raise FrameError("more input than there is credit for")
        elif frame.type is Type.STDIN_CLOSED and self._input is not None:
            self._input.close()
        elif frame.type is Type.SIGNAL and len(frame.payload) == 1:
            self._signal(frame.payload[0])
        elif frame.type is Type.WINDOW:
            self._tool.resize(*_WINDOW.unpack(frame.payload))
        elif frame.type is Type.FOREGROUND and len(frame.payload) == 1:
            self._tool.foreground(front=frame.payload[0] != 0)
        elif frame.type is Type.CREDIT:
            self._credit(*_CREDIT.unpack(frame.payload))
        else:
            raise FrameError(f"a client sends no {frame.type.name} here")

    def _signal(self, number: int) -> None:
        self._tool.signal(number)
        if number in {_TSTP, _CONT}:
            self._exchange.connection.is_stopped = number == _TSTP
            for credit in self._credits.values():
                credit.stop(stopped=number == _TSTP)

    def _credit(self, stream: int, count: int) -> None:
        if stream not in _OUTPUTS:
            raise FrameError(f"{stream} is no output")
        if stream in self._credits:
            self._credits[stream].add(count)

    def _sink(self, n: int) -> Callable[[memoryview], Awaitable[None]]:
        async def send(data: memoryview) -> None:
            while data:
                size = await self._credits[n].take(len(data))
                await self._exchange.connection.send(*carrying(_OUTPUTS[n], data[:size]))
                data = data[size:]

        return send

    async def _send(self, kind: Type, payload: bytes) -> None:
        await _send(self._exchange.connection, kind, payload)


async def _send(connection: Connection, kind: Type, payload: bytes) -> None:
    await connection.send(Frame(type=kind, payload=payload).encode())
