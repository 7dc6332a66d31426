"""A docker engine of our own beside any other: own data, socket, bridge and log."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from aifo_tasks import files, log, process
from aifo_tasks.engine import bridge
from aifo_tasks.engine.endpoint import Endpoint, ask, is_root, silence, unix
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.value import dataclass

START_SECONDS = 60.0
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Private:
    """Where the private engine keeps what: ``data_root`` survives a restart of the machine,
    ``run_dir`` need not; both belong to root alone."""

    data_root: Path = Path("/var/lib/aifo/engine")
    run_dir: Path = Path("/run/aifo/engine")
    bridge: str = "aifo0"

    @property
    def socket(self) -> Path:
        return self.run_dir / "docker.sock"

    @property
    def pidfile(self) -> Path:
        return self.run_dir / "docker.pid"

    @property
    def exec_root(self) -> Path:
        return self.run_dir / "exec"

    @property
    def config(self) -> Path:
        return self.run_dir / "daemon.json"

    @property
    def lock(self) -> Path:
        return self.run_dir / "lock"

    @property
    def log(self) -> Path:
        return self.data_root / "engine.log"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            url=unix(self.socket), source="private", why="the private engine is running"
        )

    @property
    def argv(self) -> list[str]:
        return ["dockerd", "--config-file", str(self.config)]


def config_text(private: Private) -> str:
    """The daemon's configuration file.

    The namespaces keep it apart from another engine where both find one containerd.
    """
    settings = {
        "data-root": str(private.data_root),
        "exec-root": str(private.exec_root),
        "pidfile": str(private.pidfile),
        "hosts": [unix(private.socket)],
        "bridge": private.bridge,
        "containerd-namespace": f"{private.bridge}-moby",
        "containerd-plugins-namespace": f"{private.bridge}-plugins",
        "features": {"containerd-snapshotter": True},
    }
    return json.dumps(settings, indent=2) + "\n"


def is_installed() -> bool:
    """True when there is a dockerd to start."""
    return shutil.which("dockerd") is not None


def start(private: Private) -> Endpoint:
    """Start the engine unless it answers; it outlives this process.

    Raises EngineError with the log's last lines when it does not come up, AifoError for
    anybody but root.
    """
    if not is_root():
        raise AifoError(
            "engine", "a private docker engine needs root",
            hint="use rootless docker or podman: sudo apt-get install podman",
        )  # fmt: skip
    if not silence(private.endpoint):
        return private.endpoint
    files.make_directory(private.run_dir)
    files.make_directory(private.data_root, mode=0o710)  # as dockerd itself would have it
    if log.is_dry_run():
        return _launched(private)
    with files.locked(private.lock, on_wait=_waiting):
        if not silence(private.endpoint):
            return private.endpoint
        return _launched(private)


def stop(private: Private) -> bool:
    """End the engine, its containers and its bridges; False when there is nothing to end.

    An engine that was killed leaves containers behind: it is started once more, since only
    it can end them in good order.
    """
    if not private.run_dir.is_dir():
        return False
    if log.is_dry_run():
        return _ended(private)
    with files.locked(private.lock, on_wait=_waiting):
        return _ended(private)


def _launched(private: Private) -> Endpoint:
    log.step("engine", f"starting a private docker engine, data in {private.data_root}")
    if _pid(private) is None:
        private.pidfile.unlink(missing_ok=True)  # dockerd would believe a pid used anew
    files.write_atomically(private.config, config_text(private).encode())
    bridge.make(private.bridge)
    said_before = private.log.stat().st_size if private.log.exists() else 0
    output = shlex.quote(str(private.log))
    if not log.command(f"setsid {shlex.join(private.argv)} </dev/null >>{output} 2>&1 &"):
        return Endpoint(
            url=unix(private.socket), source="private", why="it would be started", running=False
        )
    pid = process.spawn_daemon(private.argv, output=private.log)

    def settled() -> bool:
        return not silence(private.endpoint) or _has_ended(pid)

    if _wait(settled, START_SECONDS) and not silence(private.endpoint):
        return private.endpoint
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    said = process.tail(private.log.read_bytes()[said_before:])
    raise EngineError(
        "engine", f"the private docker engine did not start:\n{said}", hint=f"less {private.log}"
    )


def _ended(private: Private) -> bool:
    pid = _pid(private)
    if pid is None and any(_leftovers(private)):
        if log.is_dry_run():
            log.command(f"setsid {shlex.join(private.argv)} </dev/null >/dev/null 2>&1 &")
        else:
            _launched(private)
            pid = _pid(private)
    if pid is not None:
        networks = _networks(private)
        if log.command(f"kill -TERM {pid}"):
            os.kill(pid, signal.SIGTERM)
            if not _wait(lambda: _has_ended(pid), STOP_SECONDS):
                raise EngineError(
                    "engine", f"did not end within {STOP_SECONDS:g} s", hint=f"less {private.log}"
                )
        for name in networks:
            bridge.remove(name)
    found = pid is not None or bridge.is_there(private.bridge)
    if found:
        bridge.remove(private.bridge)
    for mount in _mounts(private):
        process.change(["umount", mount])
    for path in (private.socket, private.pidfile, private.config):
        if path.exists() and log.command(f"rm -f {shlex.quote(str(path))}"):
            path.unlink(missing_ok=True)
    return found


def _pid(private: Private) -> int | None:
    """The running daemon's pid; None for a stale file or a pid that is somebody else's now."""
    try:
        pid = int(private.pidfile.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_ours(pid, private) else None


def _is_ours(pid: int, private: Private) -> bool:
    return _arguments(pid)[1:] == private.argv[1:]


def _has_ended(pid: int) -> bool:
    """True when there is no such process, or one that only waits to be waited for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] in {"Z", "X"}


def _arguments(pid: int) -> list[str]:
    """What a process was started with; empty when it has ended, waited for or not."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode("utf-8", "replace").split("\0")[:-1]


def _leftovers(private: Private) -> list[int]:
    """Processes of a daemon that was killed: its containerd and the containers' shims."""
    below = f"{private.exec_root}/"
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and any(below in word for word in _arguments(int(entry.name)))
    ]


def _mounts(private: Private) -> list[str]:
    """What a daemon that was killed left mounted, deepest first; it binds even its data root."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    tops = (str(private.data_root), str(private.run_dir))
    ours = [point for point in points if any(f"{point}/".startswith(f"{top}/") for top in tops)]
    return sorted(ours, key=len, reverse=True)


def _networks(private: Private) -> list[str]:
    """The bridges of networks that users of the engine made; docker makes them anew."""
    try:
        networks = json.loads(ask(private.endpoint, "/networks"))
    except (OSError, ValueError):
        return []
    return [
        f"br-{network['Id'][:12]}"
        for network in networks
        if network["Driver"] == "bridge" and network["Name"] != "bridge"
    ]


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            return False
        time.sleep(0.1)
    return True


def _waiting() -> None:
    log.step("engine", "waiting for another process that starts or stops it")
