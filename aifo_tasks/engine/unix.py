"""One question over an engine's socket, without http.client: importing that takes longer."""

from __future__ import annotations

import re
import socket

_BLOCK = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


def get(path: str, target: str, *, seconds: float) -> tuple[int, bytes]:
    """The status and the content that whoever listens at ``path`` answers to a GET.

    Asked in HTTP/1.0, the content is not in chunks, and the connection ends where it does.
    Raises OSError when there is no answer, or a pause in it of more than ``seconds``.
    """
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(seconds)
        link.connect(path)
        link.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii"))
        while data := link.recv(_BLOCK):
            answer += data
    head, end, content = bytes(answer).partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    if not end or status is None:
        raise OSError("does not speak HTTP")
    return int(status[1]), content
