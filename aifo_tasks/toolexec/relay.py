"""The way to a sidecar's init where no descriptor gets: all calls in one stream of frames.

``aifo-init --relay`` is at the stream's other end, in the sidecar. A call number is a connection
to init: here too it is a socket on which init's own words are said, so that callers notice no
difference.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

from aifo_tasks import log
from aifo_tasks.engine.api import ExecStream
from aifo_tasks.errors import EngineError
from aifo_tasks.toolexec.frames import Decoder, Frame, FrameError, Type
from aifo_tasks.toolexec.launcher import UnreachableError
from aifo_tasks.toolexec.relayed import Relayed

_NUMBERS = 1 << 24


class Relay:
    """A ``Way`` to a sidecar's init. Its stream is opened with the first connection, and once
    more when it was lost; it ends ``linger`` seconds after the last. May be used by several
    threads.
    """

    stays = False  # a connection costs nothing here

    def __init__(
        self, name: str, open_stream: Callable[[], ExecStream], *, linger: float = 5.0
    ) -> None:
        self._name = name
        self._open_stream = open_stream
        self._linger = linger
        self._lock = threading.Lock()
        self._carrier: Future[Carrier] | None = None

    def connect(self, *, blocking: bool = True) -> socket.socket:
        """A connection as to init; UnreachableError when the engine gives no stream.

        Without ``blocking`` that is said with reason busy as long as the stream is opened.
        """
        while True:
            opening = self._opening()
            if not blocking and not opening.done():
                raise UnreachableError(self._name, "is being reached", reason="busy")
            try:
                connection = opening.result().connect()
            except EngineError as error:
                self._forget(opening)
                raise UnreachableError(error.subject, error.problem) from None
            if connection is not None:
                return connection
            self._forget(opening)

    def place(self) -> object:
        """The stream that lives; None when there is none."""
        opening = self._carrier
        if opening is None or not opening.done() or opening.exception() is not None:
            return None
        carrier = opening.result()
        return None if carrier.is_over else carrier

    def _opening(self) -> Future[Carrier]:
        with self._lock:
            if self._carrier is None:
                self._carrier = Future()
                threading.Thread(target=self._open, args=(self._carrier,), daemon=True).start()
            return self._carrier

    def _open(self, opening: Future[Carrier]) -> None:
        try:
            opening.set_result(Carrier(self._name, self._open_stream(), self._linger))
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            opening.set_exception(error)

    def _forget(self, opening: Future[Carrier]) -> None:
        with self._lock:
            if self._carrier is opening:
                self._carrier = None


class Carrier:
    """One stream and the calls it carries, by number."""

    def __init__(self, name: str, stream: ExecStream, linger: float) -> None:
        self._name = name
        self._stream = stream
        self._linger = linger
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._calls: dict[int, Relayed] = {}
        self._leaving: set[int] = set()  # numbers whose last frame is still to come
        self._number = 0
        self._timer: threading.Timer | None = None
        self.is_over = False
        threading.Thread(target=self._receive, daemon=True).start()
        self._await_calls()

    def connect(self) -> socket.socket | None:
        """The caller's end of a connection; None when the stream has ended."""
        with self._lock:
            if self.is_over:
                return None
            ours, theirs = socket.socketpair()
            number = self._free_number()
            call = Relayed(ours, self._sender(number), lambda over: self._left(number, over=over))
            self._calls[number] = call
        call.start()
        return theirs

    def _free_number(self) -> int:
        while True:
            self._number = (self._number + 1) % _NUMBERS
            if self._number not in self._calls and self._number not in self._leaving:
                return self._number

    def _sender(self, number: int) -> Callable[[Type, bytes], None]:
        """That the stream has ended shows when it is read."""

        def send(kind: Type, payload: bytes = b"") -> None:
            data = Frame(type=kind, call=number, payload=payload).encode()
            with self._turn, contextlib.suppress(OSError):
                self._stream.send(data)

        return send

    def _left(self, number: int, *, over: bool) -> None:
        with self._lock:
            del self._calls[number]
            if not over:
                self._leaving.add(number)
            if self._calls or self.is_over:
                return
        self._await_calls()

    def _await_calls(self) -> None:
        """End the stream if nobody uses it for a while."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._linger, self._end_unless_used, (self._number,))
        self._timer.daemon = True
        self._timer.start()

    def _end_unless_used(self, number: int) -> None:
        with self._lock:
            if self._calls or self._number != number or self.is_over:
                return
            self.is_over = True
        self._stream.close()

    def _receive(self) -> None:
        problem = ""
        decoder = Decoder()
        try:
            while data := self._stream.receive():
                for frame in decoder.feed(data):
                    self._hand_on(frame)
        except FrameError as error:
            problem = error.problem
        with self._lock:
            expected, self.is_over = self.is_over, True
            for call in self._calls.values():
                call.hear(Frame(type=Type.CLOSED))
        self._stream.close()
        if not expected:
            said = self._stream.complaint or problem or "its stream ended"
            log.warn(self._name, f"the relay there is lost: {said}")

    def _hand_on(self, frame: Frame) -> None:
        with self._lock:
            call = self._calls.get(frame.call)
            if call is not None:
                call.hear(frame)
            elif frame.is_last:
                self._leaving.discard(frame.call)
