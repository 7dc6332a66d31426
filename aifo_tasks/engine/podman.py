"""Podman's API service, started for the time it is needed: it ends itself when nobody asks."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from aifo_tasks import files, log, process
from aifo_tasks.engine.endpoint import Endpoint, is_root, silence, unix
from aifo_tasks.errors import EngineError

IDLE_SECONDS = 300
START_SECONDS = 30.0

OPEN_FILES = 1048576
"""The hard limit rootful Podman gives a container when nothing else is configured."""

CAP_SYS_RESOURCE = 24

MODEST_LIMITS = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'


def is_installed() -> bool:
    """True when there is a podman to start."""
    return shutil.which("podman") is not None


def service_sockets(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a Podman service listens that somebody else, such as systemd, started."""
    if is_root():
        return (Path("/run/podman/podman.sock"),)
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    return (Path(runtime) / "podman" / "podman.sock",) if runtime.startswith("/") else ()


def start(directory: Path, *, idle_seconds: int = IDLE_SECONDS) -> Endpoint:
    """Start the service of the calling user below ``directory`` unless it answers there.

    It ends when nobody was connected for ``idle_seconds``. Raises EngineError with what it
    said when it does not come up.
    """
    socket, output = directory / "podman.sock", directory / "podman.log"
    endpoint = Endpoint(url=unix(socket), source="podman", why="Podman is installed")
    if log.is_dry_run() and silence(endpoint):
        _announced(_argv(directory, socket, idle_seconds), output)
        return Endpoint(url=endpoint.url, source="podman", why=endpoint.why, running=False)
    with files.locked(directory / "podman.lock"):
        if not silence(endpoint):
            return endpoint
        argv = _argv(directory, socket, idle_seconds)
        output.unlink(missing_ok=True)
        _announced(argv, output)
        process.spawn_daemon(argv, output=output)
        limit = time.monotonic() + START_SECONDS
        while reason := silence(endpoint):
            if time.monotonic() > limit:
                said = process.tail(output.read_bytes()) or reason
                raise EngineError("podman", f"did not start:\n{said}", hint="podman info")
            time.sleep(0.05)
    return endpoint


def needs_modest_limits(hard_open_files: int, capabilities: int) -> bool:
    """True when rootful Podman's own limits for a container cannot be set on this machine."""
    return 0 <= hard_open_files < OPEN_FILES and not capabilities >> CAP_SYS_RESOURCE & 1


def _argv(directory: Path, socket: Path, idle_seconds: int) -> list[str]:
    argv = ["podman", "system", "service", f"--time={idle_seconds}", unix(socket)]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if (
        not is_root()
        or "CONTAINERS_CONF" in os.environ
        or not needs_modest_limits(hard, _capabilities())
    ):
        return argv
    path = directory / "containers.conf"
    files.write_atomically(path, MODEST_LIMITS.encode())
    return ["env", f"CONTAINERS_CONF={path}", *argv]


def _announced(argv: list[str], output: Path) -> None:
    log.command(f"setsid {shlex.join(argv)} </dev/null >>{shlex.quote(str(output))} 2>&1 &")


def _capabilities() -> int:
    """This process's effective capabilities, as a bit set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
