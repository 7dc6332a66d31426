"""A command in a running container, its input and output one connection to a local engine."""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import socket
import struct
import urllib.parse
from collections.abc import Sequence
from typing import Any

from aifo_tasks import log
from aifo_tasks.engine import preview
from aifo_tasks.engine.failure import refused, unreachable
from aifo_tasks.errors import EngineError

_BLOCK = 256 * 1024
_HEAD = struct.Struct(">BxxxI")
_UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
_STDERR = 2
_MOST_COMPLAINT = 4096


def open_stream(
    endpoint: str, container: str, argv: Sequence[str], client: preview.Argv = preview.DOCKER
) -> HijackedStream:
    """Start a command in a container; see ``Engine.exec_stream``.

    No SDK is imported. ``client`` is what the announced command line begins with.
    """
    if not endpoint.startswith("unix://"):
        raise EngineError(container, f"{endpoint} is not on this machine: no command runs there")
    if not log.command(shlex.join(preview.exec_argv(container, argv, client))):
        return HijackedStream.ended()
    connection = _Connection(endpoint.removeprefix("unix://"))
    try:
        wanted = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": [*argv]}
        name = urllib.parse.quote(container, safe="")
        created = _post(connection, container, f"/containers/{name}/exec", wanted)
        start = f"/exec/{_identifier(created)}/start"
        response = _asked(connection, start, {"Detach": False}, **_UPGRADE)
        if response.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            raise _refused(container, response.status, response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise unreachable(endpoint, error) from None
    except BaseException:
        connection.close()
        raise
    assert connection.sock is not None
    connection.sock.settimeout(None)
    return HijackedStream(connection.sock, response)


class HijackedStream:
    """An ``ExecStream``: what was a connection for HTTP carries both directions."""

    def __init__(self, link: socket.socket, response: http.client.HTTPResponse | None) -> None:
        self._link = link
        self._response = response
        self._demultiplexer = Demultiplexer()

    @classmethod
    def ended(cls) -> HijackedStream:
        """One whose command has ended, as a dry run has it."""
        link, other = socket.socketpair()
        other.close()
        return cls(link, None)

    @property
    def complaint(self) -> str:
        return self._demultiplexer.complaint.decode("utf-8", "replace").strip()

    def receive(self) -> bytes:
        while data := self._read():
            if output := self._demultiplexer.feed(data):
                return output
        return b""

    def send(self, data: bytes) -> None:
        self._link.sendall(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)  # wakes who receives
        if self._response is not None:
            self._response.close()
        self._link.close()

    def _read(self) -> bytes:
        if self._response is None:
            return b""
        try:  # it may have taken more from the connection than the answer's head
            return self._response.fp.read1(_BLOCK)
        except (OSError, ValueError):
            return b""


class Demultiplexer:
    """Both outputs of a command apart, which an engine sends in one stream of pieces; pure.

    A piece's head is the stream's number (8 bits), 24 bits of nothing, and its length.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.complaint = b""

    def feed(self, data: bytes) -> bytes:
        """The standard output that ``data`` completes; what begins ``complaint`` is kept."""
        self._buffer += data
        output = bytearray()
        position = 0
        while len(self._buffer) - position >= _HEAD.size:
            stream, length = _HEAD.unpack_from(self._buffer, position)
            end = position + _HEAD.size + length
            if len(self._buffer) < end:
                break
            piece = self._buffer[position + _HEAD.size : end]
            if stream != _STDERR:
                output += piece
            elif len(self.complaint) < _MOST_COMPLAINT:
                self.complaint += piece
            position = end
        del self._buffer[:position]
        return bytes(output)


def _post(connection: http.client.HTTPConnection, subject: str, path: str, wanted: object) -> Any:
    response = _asked(connection, path, wanted)
    content = response.read()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise _refused(subject, response.status, content)
    return json.loads(content)


def _asked(
    connection: http.client.HTTPConnection, path: str, wanted: object, **fields: str
) -> http.client.HTTPResponse:
    fields["Content-Type"] = "application/json"
    connection.request("POST", path, json.dumps(wanted), fields)
    return connection.getresponse()


def _identifier(created: object) -> str:
    if not isinstance(created, dict) or not isinstance(created.get("Id"), str):
        raise ValueError("its answer to an exec has no id")
    return urllib.parse.quote(created["Id"], safe="")


def _refused(subject: str, status: int, content: bytes) -> EngineError:
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, TypeError, KeyError):
        message = content.decode("utf-8", "replace")
    return refused(subject, status, message)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
