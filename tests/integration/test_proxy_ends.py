"""What ends calls through the proxy from outside: time, loss, rules, the end of another."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import time
from pathlib import Path

import pytest

from aifo_tasks.toolexec.frames import Exit, Type
from tests.integration.project import Project, docker, eventually
from tests.integration.proxied import (
    Frames,
    Proxy,
    ask,
    form,
    receive,
    request,
    running,
    sh,
)

NODE = form(tool="node", cwd="/workspace", arg=["-p", "6*7"])
STUBBORN = "trap '' INT TERM; setsid sleep 1234 & while :; do sleep 1; done"


def configure(project: Project, body: str) -> None:
    project.write("toolchains.yaml", f"extends: builtin\ntoolchains:\n  node:\n    {body}\n")


def test_a_call_over_its_time_is_stopped_before_that_is_said(bare: Project) -> None:
    configure(bare, "limits: {max-seconds: 1}")
    with running(bare) as proxy:
        answer = ask(proxy, request(proxy, "/exec", sh(STUBBORN), version=1))
        assert bare.processes() == []
        assert (answer.status, answer.body, answer.exit_code) == (504, b"timeout\n", 124)
        answer = ask(proxy, request(proxy, "/exec", sh(f"echo on; {STUBBORN}"), version=2))
        assert bare.processes() == []
        found = (answer.status, answer.body, answer.exit_code, answer.whole)
        assert found == (200, b"on\n", 124, True)
        call = Frames(proxy, sh(f"echo on; {STUBBORN}"))
        assert call.rest() == (b"on\n", b"", Exit(signalled=False, value=124))
        assert bare.processes() == []
        call.close()


def test_a_lost_sidecar_is_never_success(bare: Project) -> None:
    with running(bare) as proxy:
        body = sh("echo on; sleep 1234")
        first, second = proxy.connect(), proxy.connect()
        first.sendall(request(proxy, "/exec", body, version=1))
        second.sendall(request(proxy, "/exec", body, version=2))
        third = Frames(proxy, body)
        eventually(lambda: sum(line.startswith("sleep ") for line in bare.processes()) == 3)
        (name,) = bare.sidecars()
        docker("kill", name)
        answer = receive(first)
        text = f"{name}: lost\n".encode()
        assert (answer.status, answer.body, answer.exit_code) == (500, text, 125)
        answer = receive(second)
        assert (answer.status, answer.whole, answer.exit_code) == (200, False, -1)
        frames = []
        while frame := third.next():
            frames.append((frame.type, frame.payload))
        assert frames == [(Type.STDOUT, b"on\n"), (Type.NOTICE, text)]
        for client in (first, second, third):
            client.close()
        assert ask(proxy, request(proxy, "/exec", NODE)).body == b"42\n"


def test_a_lost_sidecar_is_made_ready_again_once_for_all_who_wait(bare: Project) -> None:
    with running(bare) as proxy:
        (name,) = bare.sidecars()
        docker("kill", name)
        clients = [proxy.connect() for _ in range(5)]
        for client in clients:
            client.sendall(request(proxy, "/exec", NODE))
        assert [receive(client).body for client in clients] == [b"42\n"] * 5
        for client in clients:
            client.close()
        assert len(bare.sidecars()) == 1
        assert proxy.rest.count("is made ready again") == 1


def test_a_sidecar_that_cannot_be_made_ready_again_is_said_on_both_sides(fresh: Project) -> None:
    with running(fresh) as proxy:
        docker("kill", *fresh.sidecars())
        modules = fresh.path / "node_modules"
        modules.rmdir()
        modules.symlink_to("src")
        answer = ask(proxy, request(proxy, "/exec", NODE))
        assert (answer.status, answer.exit_code) == (409, 86)
        eventually(lambda: "node cannot be made ready again: " in proxy.rest)
        modules.unlink()
        assert ask(proxy, request(proxy, "/exec", NODE)).body == b"42\n"


def test_a_killed_proxy_leaves_nothing_and_the_next_one_works(warm: Project) -> None:
    proxy = Proxy(warm)
    call = Frames(proxy, sh(STUBBORN))
    client = proxy.connect()
    client.sendall(request(proxy, "/exec", sh("cat; sleep 1234"), version=2))
    eventually(lambda: sum(line.startswith("sleep ") for line in warm.processes()) >= 2)
    assert proxy.end(signal.SIGKILL) == -signal.SIGKILL
    assert call.rest()[2] is None
    eventually(lambda: not warm.processes())
    call.close()
    client.close()
    with running(warm) as proxy:
        assert ask(proxy, request(proxy, "/exec", NODE)).body == b"42\n"


def test_calls_wait_in_order_and_nested_ones_do_not(warm: Project) -> None:
    with running(warm, AIFO_TOOLEXEC_CALLS="1") as proxy:
        outer = proxy.connect()
        body = sh("echo $AIFO_EXEC_ID; sleep 1234")
        outer.sendall(request(proxy, "/exec", body, "X-Aifo-Exec-Id: outer", version=2))
        seen = b""
        while b"outer\n" not in seen:
            seen += outer.recv(4096)
        waiting = proxy.connect()
        waiting.sendall(request(proxy, "/exec", NODE, version=1))
        parent = "X-Aifo-Parent-Id: outer"
        assert ask(proxy, request(proxy, "/exec", NODE, parent)).body == b"42\n"
        nested = proxy.connect()
        nested.sendall(request(proxy, "/exec", sh("echo on; sleep 1234"), parent, version=2))
        assert nested.recv(4096)
        waiting.settimeout(0.2)
        try:
            early = waiting.recv(1)
        except TimeoutError:
            early = b""
        assert early == b""
        outer.close()
        waiting.settimeout(30)
        assert receive(waiting).body == b"42\n"
        tail = b""
        while piece := nested.recv(4096):
            tail += piece
        assert b"X-Exit-Code: " not in tail
        for client in (waiting, nested):
            client.close()


def test_a_slow_reader_loses_nothing_and_a_stalled_one_harms_nobody(warm: Project) -> None:
    code = "process.stdout.write(Buffer.alloc(8 << 20, 'x'))"
    body = form(tool="node", cwd="/workspace", arg=["-e", code])
    with running(warm, AIFO_TOOLEXEC_WRITE="2") as proxy:
        stalled = proxy.connect()
        stalled.sendall(request(proxy, "/exec", sh("yes"), version=2))
        slow = proxy.connect()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(request(proxy, "/exec", body, version=1))
        count, since = 0, time.monotonic()
        while piece := slow.recv(256 * 1024):
            count += piece.count(b"x")
            time.sleep(0.15)
        assert count >= 8 << 20
        assert time.monotonic() - since > 3
        eventually(lambda: not warm.processes())
        slow.close()
        stalled.close()


def test_the_token_of_another_session_opens_nothing(warm: Project, bare: Project) -> None:
    with running(warm) as one, running(bare) as other:
        answer = ask(one, request(one, "/exec", NODE, token=other.token))
        assert (answer.status, answer.body) == (401, b"unauthorized\n")
        assert one.token != other.token
        directory = Path(one.url.removeprefix("unix://")).parent
        assert directory.stat().st_mode & 0o777 == 0o755
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
        assert modes == {"toolexec.sock": 0o666, "token": 0o600}


def test_a_rule_forbids_and_is_named(bare: Project) -> None:
    configure(bare, "policy: [{tool: npm, deny-arguments: [publish]}]")
    assert bare.doit("run", "trust", "YES=1", program="aifo").returncode == 0
    with running(bare) as proxy:
        for words, status in (["--version"], 200), (["publish"], 403):
            body = form(tool="npm", cwd="/workspace", arg=words)
            answer = ask(proxy, request(proxy, "/exec", body))
            assert answer.status == status, answer.body
        assert answer.body == b"forbidden: npm: publish: deny-arguments has 'publish'\n"


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_container_is_let_in_as_the_proxy_says(
    warm: Project, tmp_path: Path, transport: str
) -> None:
    laid = warm.doit("run", "shims", f"DIR={tmp_path}", program="aifo")
    assert laid.returncode == 0, laid.stderr
    with running(warm, f"TRANSPORT={transport}") as proxy:
        (said,) = re.findall(r"^a container: docker (run .*) IMAGE$", proxy.said, re.MULTILINE)
        mount = f"type=bind,source={tmp_path},target=/shims,readonly"
        output = docker(
            *shlex.split(said), "--rm", "--mount", mount, "--workdir", "/workspace",
            "--entrypoint", "/shims/node", "aifo-coder-toolchain-node", "-p", "6*7",
        )  # fmt: skip
    assert output == "42\n"
    assert proxy.token not in said
