"""Whether descriptors reach an init and come back: not where its kernel is another one."""

from __future__ import annotations

import os
import socket

from aifo_tasks.toolexec.frames import Frame, Type
from aifo_tasks.toolexec.launcher import PATIENCE

_ECHO = Frame(type=Type.ECHO).encode()
_COUNT = 3


def works(connection: socket.socket) -> bool:
    """Send three descriptors to a greeted init and look at what it gives back.

    True when they are the same files. The connection stays as it was.
    """
    sent = [*os.pipe(), os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)]
    returned: list[int] = []
    connection.settimeout(PATIENCE)
    try:
        socket.send_fds(connection, [_ECHO], sent)
        return _answer(connection, returned) == _ECHO and _are_same(sent, returned)
    except OSError:
        return False
    finally:
        connection.settimeout(None)
        for descriptor in (*sent, *returned):
            os.close(descriptor)


def _answer(connection: socket.socket, returned: list[int]) -> bytes:
    """A frame without payload; the descriptors that come along are added to ``returned``."""
    answer = b""
    while len(answer) < len(_ECHO):
        left = len(_ECHO) - len(answer)
        data, descriptors, _, _ = socket.recv_fds(connection, left, _COUNT, socket.MSG_CMSG_CLOEXEC)
        returned += descriptors
        if not data:
            break
        answer += data
    return answer


def _are_same(sent: list[int], returned: list[int]) -> bool:
    return len(sent) == len(returned) and all(map(os.path.sameopenfile, sent, returned))
