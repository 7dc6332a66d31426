"""Shim, proxy and sidecar killed during calls: each other party ends its part in time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.project import Project, docker, eventually
from tests.integration.proxied import Proxy
from tests.load.way import LONG, Way

IN_TIME = 10.0
"""KILL comes after five seconds; a busy machine takes a little longer."""

LOST = b"aifo-shim: sh: the connection to the tool-exec proxy was lost\n"

SILENT = "echo on; exec sleep 1234"
FORKED = (
    "trap '' INT TERM; (setsid sh -c 'trap \"\" INT TERM; sleep 1234; sleep 1234' &);"
    " (setsid setsid sleep 1234 &); echo on; while :; do sleep 1234; done"
)
"""A tool with others in sessions of their own, forked twice; none of them listens."""

SLEEPERS = {SILENT: 1, FORKED: 3}

UNREAD = b"x" * 1024 * 1024

SLOW = pytest.mark.parametrize(
    ("transport", "scripts"),
    [("unix", [SILENT, FORKED]), ("tcp", [SILENT]), ("relay", [SILENT])],
    ids=["unix", "tcp", "relay"],
)
"""Whoever does not listen takes five seconds to end, over whatever he was called."""


@contextlib.contextmanager
def serving(project: Project, shims: Path, transport: str) -> Iterator[Way]:
    """A proxy that may be killed meanwhile."""
    word = "TRANSPORT=tcp" if transport == "tcp" else "TRANSPORT=unix"
    settings = {"AIFO_TOOLEXEC_RELAY": "1"} if transport == "relay" else {}
    proxy = Proxy(project, "TOOLCHAINS=node", word, **settings)
    try:
        yield Way(proxy, shims, descriptors=True)
    finally:
        proxy.end()
    assert "bug" not in proxy.rest, proxy.rest


class Busy:
    """Shims in the middle of their calls: of each script, with and without descriptors."""

    def __init__(self, way: Way, *scripts: str) -> None:
        self.way = way
        self.before = way.proxy.descriptors()
        self.children = []
        for script in scripts:
            for descriptors in "01":
                environment = {**way.environment, "AIFO_TOOLEEXEC_DESCRIPTORS": descriptors}
                self.children.append(way.popen(script, env=environment))
        for child in self.children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"on\n"
            threading.Thread(target=_feed, args=(child,), daemon=True).start()
        eventually(lambda: self.sleepers() == 2 * sum(SLEEPERS[script] for script in scripts))

    def sleepers(self) -> int:
        """Processes that do nothing, in the sidecar."""
        return sum(line.startswith("sleep ") for line in self.way.project.processes())

    def ends(self) -> list[tuple[int, bytes]]:
        """How each shim ended, and what it said."""
        found = []
        for child in self.children:
            status = child.wait(LONG)
            assert child.stderr is not None
            assert child.stdout is not None
            found.append((status, child.stderr.read()))
            child.stderr.close()
            child.stdout.close()
        return found


def _feed(child: subprocess.Popen[bytes]) -> None:
    """Write what nobody reads, until somebody dies of it."""
    assert child.stdin is not None
    with contextlib.suppress(OSError), child.stdin as pipe:
        pipe.write(UNREAD)


@SLOW
def test_a_killed_shim_leaves_nothing(
    project: Project, shims: Path, transport: str, scripts: list[str]
) -> None:
    with serving(project, shims, transport) as way:
        busy = Busy(way, *scripts)
        for child in busy.children:
            child.kill()
        assert busy.ends() == [(-signal.SIGKILL, b"")] * len(busy.children)
        eventually(lambda: not project.processes(), IN_TIME)
        eventually(lambda: way.proxy.descriptors() <= busy.before)
        assert way.run("echo on") == (0, b"on\n", b"")


@SLOW
def test_a_killed_proxy_is_a_lost_call(
    project: Project, shims: Path, transport: str, scripts: list[str]
) -> None:
    with serving(project, shims, transport) as way:
        busy = Busy(way, *scripts)
        way.proxy.process.kill()
        assert busy.ends() == [(125, LOST)] * len(busy.children)
        eventually(lambda: not project.processes(), IN_TIME)
        status, _, errors = way.run("echo on")
        assert status == 125
        assert errors.startswith(b"aifo-shim: sh: cannot reach the tool-exec proxy at ")
    with serving(project, shims, transport) as way:
        assert way.run("echo on") == (0, b"on\n", b"")


@pytest.mark.parametrize("transport", ["unix", "tcp", "relay"])
def test_a_killed_sidecar_is_a_lost_call(project: Project, shims: Path, transport: str) -> None:
    with serving(project, shims, transport) as way:
        busy = Busy(way, SILENT, FORKED)
        (name,) = project.sidecars()
        init = int(docker("inspect", "--format", "{{.State.Pid}}", name))
        os.kill(init, signal.SIGKILL)
        assert busy.ends() == [(125, f"{name}: lost\n".encode() + LOST)] * 4
        eventually(lambda: not Path(f"/proc/{init}").exists())
        assert way.run("echo on") == (0, b"on\n", b"")
        eventually(lambda: way.proxy.descriptors() <= busy.before)
    assert project.call("true", program="aifo").returncode == 0
