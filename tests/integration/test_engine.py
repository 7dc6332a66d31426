"""The private engine and Podman's service: really started, really ended, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.engine import bridge, podman, private, provision
from aifo_tasks.engine.endpoint import Endpoint, ask, silence
from aifo_tasks.errors import AifoError, EngineError
from tests.integration.project import eventually


@pytest.fixture
def engine(private_engine: private.Private) -> private.Private:
    """A private engine nobody else knows."""
    return private_engine


def processes(word: str) -> list[int]:
    """Processes that have this word, or a part of one, on their command line."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and word in command_line(entry)
    ]


def traces(engine: private.Private) -> list[str]:
    """Everything on the machine that still speaks of the engine."""
    top = str(engine.run_dir.parent)
    found = [f"process {pid}" for pid in processes(top)]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if top in line]
    found += [path.name for path in (engine.socket, engine.pidfile, engine.config) if path.exists()]
    if bridge.is_there(engine.bridge):
        found.append(engine.bridge)
    for table in ("filter", "nat"):
        rules = subprocess.run(
            ["iptables", "-w", "-t", table, "-S"], check=True, capture_output=True, text=True
        ).stdout
        found += [rule for rule in rules.splitlines() if engine.bridge in rule]
    return found


def command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def pid_of(engine: private.Private) -> int:
    return int(engine.pidfile.read_text())


def kill(engine: private.Private) -> None:
    """Kill the daemon and see its containerd end with it, which the next one would wait for."""
    pid, other = pid_of(engine), engine.exec_root / "containerd/containerd.pid"
    child = Path("/proc") / other.read_text()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    eventually(lambda: not child.exists(), seconds=30)


def docker(engine: private.Private, *arguments: str, data: bytes = b"") -> str:
    done = subprocess.run(
        ["docker", "-H", engine.endpoint.url, *arguments],
        input=data, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return done.stdout.decode().strip()


def test_starts_once_and_ends_without_a_trace(engine: private.Private) -> None:
    endpoint = private.start(engine)
    info = json.loads(ask(endpoint, "/info"))
    assert info["DockerRootDir"] == str(engine.data_root)
    assert info["DriverStatus"] == [["driver-type", "io.containerd.snapshotter.v1"]]
    assert engine.run_dir.stat().st_mode & 0o077 == 0  # nobody else comes near the socket
    device = Path("/sys/class/net") / engine.bridge
    assert (device / "addr_assign_type").read_text() == "3\n"  # containers do not change it
    pid = pid_of(engine)
    assert os.getsid(pid) == pid != os.getsid(0)  # it survives the terminal we run in

    assert private.start(engine) == endpoint
    assert pid_of(engine) == pid

    assert private.stop(engine)
    assert traces(engine) == []
    assert not private.stop(engine)


def test_keeps_its_data(engine: private.Private) -> None:
    private.start(engine)
    docker(engine, "volume", "create", "kept")
    private.stop(engine)
    private.start(engine)
    assert docker(engine, "volume", "ls", "-q") == "kept"


def test_starts_again_after_kill(engine: private.Private) -> None:
    endpoint = private.start(engine)
    first = pid_of(engine)
    kill(engine)
    assert silence(endpoint)
    assert private.start(engine) == endpoint
    assert pid_of(engine) != first


def test_a_stale_pid_file_that_names_somebody_else(engine: private.Private) -> None:
    engine.run_dir.mkdir(mode=0o700)
    engine.pidfile.write_text(str(os.getpid()))
    private.start(engine)
    assert pid_of(engine) != os.getpid()


def test_stop_after_kill_ends_containers_and_networks(
    engine: private.Private, pause_archive: bytes
) -> None:
    private.start(engine)
    docker(engine, "import", "-c", 'ENTRYPOINT ["/pause"]', "-", "pause", data=pause_archive)
    apart = Path("/sys/class/net") / f"br-{docker(engine, 'network', 'create', 'apart')[:12]}"
    docker(engine, "run", "-d", "--network", "apart", "pause")
    kill(engine)
    assert apart.exists()
    assert private.stop(engine)
    assert traces(engine) == []
    assert not apart.exists()


def test_a_daemon_that_cannot_start_is_explained(engine: private.Private) -> None:
    engine.data_root.mkdir()
    (engine.data_root / "engine-id").mkdir()  # dockerd wants a file here
    with pytest.raises(EngineError, match=r"did not start:\n(.|\n)*engine-id"):
        private.start(engine)
    private.stop(engine)
    assert traces(engine) == []


def test_dry_run_touches_nothing(
    engine: private.Private, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(dry_run=True)
    try:
        assert not private.start(engine).running
    finally:
        log.configure(dry_run=False)
    assert list(engine.run_dir.parent.iterdir()) == []
    assert not bridge.is_there(engine.bridge)
    assert f"ip link add {engine.bridge} address 02:42:" in capsys.readouterr().err


def test_a_chosen_engine_that_does_not_answer_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    with pytest.raises(EngineError) as caught:
        provision.ensure(consent=True)
    assert str(caught.value) == (
        f"engine: unix://{tmp_path}/absent.sock does not answer: no such file or directory "
        "(DOCKER_HOST names it) (hint: unset DOCKER_HOST)"
    )


def test_finds_what_docker_host_names(
    engine: private.Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = private.start(engine)
    monkeypatch.setenv("DOCKER_HOST", endpoint.url)
    assert provision.find() == Endpoint(
        url=endpoint.url, source="DOCKER_HOST", why="DOCKER_HOST names it"
    )


def test_podman_serves_as_long_as_somebody_asks() -> None:
    top = Path(tempfile.mkdtemp(prefix="aifo-p"))
    try:
        endpoint = podman.start(top, idle_seconds=1)
        assert json.loads(ask(endpoint, "/version"))["Components"][0]["Name"] == "Podman Engine"
        assert podman.start(top, idle_seconds=1) == endpoint
        (service,) = processes(endpoint.url)
        assert os.waitpid(service, 0) == (service, 0)  # it ends itself
        assert silence(endpoint)
    finally:
        shutil.rmtree(top)


def test_without_consent_the_refusal_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal: AifoError = provision._refusal()
    assert "AIFO_YES=1 doit engine" in str(refusal)
    assert "/var/lib/aifo/engine" in str(refusal)
