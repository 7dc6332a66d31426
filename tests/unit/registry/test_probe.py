"""Asking hosts whether they are registries: real servers on loopback, real refusals."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aifo_tasks import files
from aifo_tasks.model import Registry
from aifo_tasks.registry import probe, references
from aifo_tasks.registry.probe import Answer


class Server(ThreadingHTTPServer):
    """Answers every HEAD with one status, and remembers the paths."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:  # the library's name
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[int], Server]]:
    servers: list[Server] = []

    def start(status: int) -> Server:
        servers.append(Server(status))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _own_run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def refused() -> str:
    """A host where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("status", "answers"), [(200, True), (401, True), (404, False)])
def test_a_registry_says_come_in_or_who_are_you(
    serve: Callable[[int], Server], status: int, answers: bool
) -> None:
    server = serve(status)
    expected = Answer(host=server.host, answers=answers, why=f"answers {status}")
    assert probe.answers([server.host]) == [expected]
    assert server.asked == ["/v2/"]


def test_the_first_in_the_files_order_is_taken(
    serve: Callable[[int], Server], refused: str
) -> None:
    one, two = serve(200), serve(200)
    found = probe.first([refused, two.host, one.host])
    assert found == Answer(host=two.host, answers=True, why="answers 200")


def test_an_answer_is_kept_and_asked_anew_when_that_is_wanted(
    serve: Callable[[int], Server],
) -> None:
    server = serve(200)
    for _ in range(3):
        probe.first([server.host])
    assert len(server.asked) == 1
    probe.first([server.host], refresh=True)
    assert len(server.asked) == 2


def test_an_old_answer_is_not_believed(serve: Callable[[int], Server]) -> None:
    server = serve(200)
    probe.first([server.host])
    path = files.run_dir() / "registries.json"
    record = json.loads(path.read_text())
    record[server.host]["at"] = time.time() - probe.LIFETIME - 1
    path.write_text(json.dumps(record))
    probe.first([server.host])
    assert len(server.asked) == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"at": 0}}'])
def test_a_cache_that_cannot_be_read_is_asked_anew(
    serve: Callable[[int], Server], text: str
) -> None:
    (files.run_dir() / "registries.json").write_text(text)
    server = serve(200)
    assert probe.first([server.host]) is not None


def test_nobody_listening_is_said(refused: str) -> None:
    expected = Answer(host=refused, answers=False, why="cannot be reached")
    assert probe.answers([refused]) == [expected]


def test_a_host_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        (answer,) = probe.answers([host])
    assert answer == Answer(host=host, answers=False, why="does not answer in 2 s")


def test_a_certificate_nobody_vouches_for_is_refused(
    tmp_path: Path, serve: Callable[[int], Server]
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(200)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    assert probe._head(f"https://{server.host}/v2/", proxied=False) == (
        "has a certificate that is not trusted"
    )


def test_where_the_proxy_fails_the_host_is_asked_without(
    serve: Callable[[int], Server], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(200)
    monkeypatch.setenv("http_proxy", f"http://{refused}")
    assert probe.answers([server.host]) == [
        Answer(host=server.host, answers=True, why="answers 200 without the proxy")
    ]


def test_a_proxy_that_works_is_used(
    serve: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(401)
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
    assert probe.answers(["localhost:1"]) == [
        Answer(host="localhost:1", answers=True, why="answers 401")
    ]
    assert proxy.asked == ["http://localhost:1/v2/"]


def test_the_probe_is_the_last_source(serve: Callable[[int], Server], refused: str) -> None:
    server = serve(200)
    declared = Registry(probe=(refused, server.host))
    found = references.prefixes(declared, {})
    assert found.mirror == references.Prefix(
        value=f"{server.host}/", source=f"probe ({server.host} answers 200)"
    )
    named = references.prefixes(declared, {references.MIRROR: "env.example"})
    assert named.mirror.value == "env.example/"
    assert len(server.asked) == 1


def test_no_host_that_answers_means_no_prefix(refused: str) -> None:
    found = references.prefixes(Registry(probe=(refused,)), {})
    assert found.mirror == references.Prefix(value="", source=f"none of {refused} answers")
