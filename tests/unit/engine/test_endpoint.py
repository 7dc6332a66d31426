"""Which engine the user chose, and what silence is."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.engine.endpoint import Endpoint, Tls, ask, chosen, default_sockets, silence
from aifo_tasks.errors import AifoError


def write_context(home: Path, name: str, meta: object) -> Path:
    directory = home / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text(json.dumps(meta))
    return directory


def naming(host: str, **more: object) -> dict[str, object]:
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": host, **more}}}


def test_nothing_chosen(tmp_path: Path) -> None:
    assert chosen({"DOCKER_CONFIG": str(tmp_path)}) is None
    assert chosen({"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": ""}) is None
    assert chosen({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "default"}) is None


def test_docker_host_comes_first(tmp_path: Path) -> None:
    environment = {
        "DOCKER_CONFIG": str(tmp_path),
        "DOCKER_HOST": "unix:///x.sock",
        "DOCKER_CONTEXT": "absent",
    }
    assert chosen(environment) == Endpoint(
        url="unix:///x.sock", source="DOCKER_HOST", why="DOCKER_HOST names it"
    )


def test_docker_host_with_certificates(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    found = chosen(
        {
            "DOCKER_HOST": "tcp://build:2376",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(tmp_path),
        }
    )
    assert found is not None
    assert found.tls == Tls(
        ca=tmp_path / "ca.pem", certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem"
    )


def test_current_context_of_the_configuration_file(tmp_path: Path) -> None:
    write_context(tmp_path, "büro", naming("unix:///büro.sock"))
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "büro"}))
    assert chosen({"DOCKER_CONFIG": str(tmp_path)}) == Endpoint(
        url="unix:///büro.sock", source="context", why="docker's current context is büro"
    )


def test_context_variable_beats_the_file_and_brings_its_certificates(tmp_path: Path) -> None:
    meta = write_context(tmp_path, "far", naming("tcp://far:2376", SkipTLSVerify=True))
    files = tmp_path / "contexts" / "tls" / meta.name / "docker"
    files.mkdir(parents=True)
    (files / "ca.pem").touch()
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "absent"}))
    assert chosen({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"}) == Endpoint(
        url="tcp://far:2376",
        source="context",
        why="DOCKER_CONTEXT names the context far",
        tls=Tls(ca=files / "ca.pem", certificate=None, key=None, verify=False),
    )


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "docker context c: does not exist (hint: docker context ls)"),
        ([], "docker context c: names no engine (hint: docker context inspect c)"),
        ({"Endpoints": {}}, "docker context c: names no engine (hint: docker context inspect c)"),
        (
            {"Endpoints": {"docker": []}},
            "docker context c: names no engine (hint: docker context inspect c)",
        ),
    ],
)
def test_bad_context(tmp_path: Path, meta: object, message: str) -> None:
    if meta is not None:
        write_context(tmp_path, "c", meta)
    with pytest.raises(AifoError) as caught:
        chosen({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "c"})
    assert str(caught.value) == message


def test_broken_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(AifoError, match=r"config\.json: cannot be read"):
        chosen({"DOCKER_CONFIG": str(tmp_path)})


def test_default_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert default_sockets({"XDG_RUNTIME_DIR": "/run/user/7"}) == (
        Path("/var/run/docker.sock"),
        Path("/run/user/7/docker.sock"),
        Path("/home/anna/.docker/run/docker.sock"),
    )
    assert default_sockets({"XDG_RUNTIME_DIR": "relative"}) == (
        Path("/var/run/docker.sock"),
        Path("/home/anna/.docker/run/docker.sock"),
    )


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        yield server


def answering(server: socket.socket, reply: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", ""),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503 for /_ping"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
    ],
)
def test_silence(listener: socket.socket, tmp_path: Path, reply: bytes, reason: str) -> None:
    thread = answering(listener, reply)
    endpoint = Endpoint(url=f"unix://{tmp_path}/s", source="context", why="")
    assert silence(endpoint) == reason
    thread.join()


def test_ask_returns_the_body(listener: socket.socket, tmp_path: Path) -> None:
    thread = answering(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
    endpoint = Endpoint(url=f"unix://{tmp_path}/s", source="context", why="")
    assert ask(endpoint, "/networks") == b"[]"
    thread.join()


def test_nobody_listens(tmp_path: Path) -> None:
    missing = Endpoint(url=f"unix://{tmp_path}/absent", source="context", why="")
    assert silence(missing) == "no such file or directory"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "stale"))
    stale = Endpoint(url=f"unix://{tmp_path}/stale", source="context", why="")
    assert silence(stale) == "connection refused"


def test_nobody_listens_on_tcp() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert silence(Endpoint(url=url, source="context", why="")) == "connection refused"


@pytest.mark.parametrize("url", ["ssh://host", "npipe:////./pipe/docker", "tcp://", "nonsense"])
def test_an_address_that_needs_a_helper_is_refused(url: str) -> None:
    with pytest.raises(AifoError, match="no address of an engine that can be reached directly"):
        silence(Endpoint(url=url, source="context", why=""))
