"""One call of a program, each way with the least a client can do for it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping

from aifo_tasks.toolexec import frames


def posix_spawn(
    argv: list[str], environment: Mapping[str, str] | None = None
) -> Callable[[], None]:
    """Start a program and wait for its end, which has to be a good one."""
    program = shutil.which(argv[0])
    assert program is not None, argv[0]
    variables = dict(os.environ if environment is None else environment)

    def run() -> None:
        pid = os.posix_spawn(program, argv, variables)
        _, status = os.waitpid(pid, 0)
        assert status == 0

    return run


def straight(path: str) -> Callable[[], None]:
    """``true`` from init: connect, a frame with three descriptors, wait for the end's frame."""
    call = frames.Call(argv=(b"true",), cwd=b"/").encode()
    request = frames.Frame(type=frames.Type.CALL, payload=call).encode()
    null = os.open(os.devnull, os.O_RDWR)
    end = frames.Frame(
        type=frames.Type.EXIT, payload=frames.Exit(signalled=False, value=0).encode()
    ).encode()

    def run() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            socket.send_fds(connection, [request], [null] * 3)
            answer = b""
            while data := connection.recv(256):
                answer += data
            assert answer.endswith(end)

    return run


def sdk(endpoint: str, container: str) -> Callable[[], None]:
    """``true`` through the docker SDK; its client is kept open."""
    import docker

    found = docker.DockerClient(base_url=endpoint).containers.get(container)

    def run() -> None:
        assert found.exec_run(["true"]).exit_code == 0

    return run
