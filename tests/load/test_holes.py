"""What others get wrong and what attackers try, at the proxy and at the sidecar's socket."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import pytest

from aifo_tasks import files
from tests.integration.project import docker, eventually
from tests.integration.proxied import Frames, ask, form, request
from tests.load.downloads import Download
from tests.load.way import LONG, Way
from tests.native.running import descendants, stat_of

ON_BOTH = pytest.mark.parametrize("way", ["descriptors", "tcp"], indirect=True)
ON_UNIX = pytest.mark.parametrize("way", ["descriptors"], indirect=True)

TRAPPED = ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"]
SAYS_SIGNALS = (
    f'exec 2>/dev/null; for s in {" ".join(TRAPPED)} CONT; do trap "echo $s" $s; done; echo on;'
    " while :; do sleep 0.05; done"
)


def states(way: Way) -> set[str]:
    """Of the sidecar's processes that say signals."""
    (name,) = way.project.sidecars()
    init = int(docker("inspect", "--format", "{{.State.Pid}}", name))
    found = set()
    for pid in descendants(init):
        with contextlib.suppress(OSError):
            if b"for s in INT " in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add((stat_of(pid) or ("",))[0])
    return found


@ON_BOTH
def test_a_signal_that_is_accepted_arrives(way: Way) -> None:
    def send(name: str) -> None:
        body = form(exec_id="signalled", signal=name)
        assert ask(way.proxy, request(way.proxy, "/signal", body)).status == 204

    body = form(tool="sh", cwd="/workspace", arg=["-c", SAYS_SIGNALS])
    with way.proxy.connect() as client:
        field = "X-Aifo-Exec-Id: signalled"
        client.sendall(request(way.proxy, "/exec", body, field, version=2))
        with contextlib.closing(Download(client)) as answer:
            assert answer.read(100) == b"on\n"
            for name in TRAPPED:
                send(name)
                assert answer.read(100) == f"{name}\n".encode()
            send("TSTP")
            eventually(lambda: states(way) == {"T"})
            send("CONT")
            assert answer.read(100) == b"CONT\n"
            send("KILL")
            assert answer.read(100) == b""
            assert answer.exit_code == 128 + signal.SIGKILL


def test_who_ignores_signals_ignores_them_alone(way: Way) -> None:
    """As a job that a shell has put in the background does."""
    words = [way.shim, "-c", "grep SigIgn /proc/self/status"]
    shell = ["sh", "-c", 'trap "" INT QUIT TERM; exec "$@"', "sh", *words]
    done = subprocess.run(
        shell, env=way.environment, cwd=way.project.path, capture_output=True, check=False,
        timeout=LONG,
    )  # fmt: skip
    assert (done.stdout.split(), done.returncode) == ([b"SigIgn:", b"0" * 16], 0)


IDS = [
    "../../x", "../../../workspace/x", "..", ".hidden", "a/b", "$(touch x)", "`touch x`", "x;y",
    "a b", "x\ty", "é", "x" * 65, "",
]  # fmt: skip


@ON_BOTH
@pytest.mark.parametrize("exec_id", IDS)
def test_an_exec_id_is_no_path_and_no_script(way: Way, exec_id: str) -> None:
    before = way.project.tree(), sorted(files.run_dir().rglob("*"))
    body = form(tool="sh", cwd="/workspace", arg=["-c", "true"])
    for name in ("X-Aifo-Exec-Id", "X-Aifo-Parent-Id"):
        found = ask(way.proxy, request(way.proxy, "/exec", body, f"{name}: {exec_id}"))
        assert (found.status, found.exit_code) == (400, 86)
        assert found.body.startswith(b"bad request: ")
        assert found.body.decode().rstrip("\n").isprintable()
    found = ask(way.proxy, request(way.proxy, "/signal", form(exec_id=exec_id)))
    assert (found.status, found.exit_code) == (400, 86)
    assert (way.project.tree(), sorted(files.run_dir().rglob("*"))) == before


@ON_BOTH
@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "LD_AUDIT", "LD_X", "PATH", "HOME", "BASH_ENV", "NODE_OPTIONS"]
)
def test_a_forbidden_variable_forbids_the_call(way: Way, name: str) -> None:
    body = form(tool="sh", cwd="/workspace", arg=["-c", "true"], env=["CI=1", f"{name}=x"])
    call = Frames(way.proxy, body)
    assert call.status == 403
    text = f"forbidden: environment {name}: no tool gets it from a caller\n"
    assert call.client.recv(1000) == text.encode()
    call.close()


@ON_BOTH
def test_no_other_variable_reaches_a_tool(way: Way) -> None:
    names = ("AIFO_TOOLEEXEC_TOKEN", "AIFO_EXEC_ID", "IFS", "ENV", "DOCKER_HOST", "PYTHONPATH")
    given = [f"{name}=stolen" for name in names]
    body = form(tool="sh", cwd="/workspace", arg=["-c", "env"], env=given)
    call = Frames(way.proxy, body)
    output, _, end = call.rest()
    call.close()
    assert end is not None
    assert (b"stolen" in output, end.status) == (False, 0)


IMPOSTORS = {
    "listener": (
        "const net = require('net'), fs = require('fs'); fs.unlinkSync(SOCKET);"
        "net.createServer(c => c.on('data', d => fs.appendFileSync('/workspace/caught', d)))"
        ".listen(SOCKET, () => { fs.writeFileSync('/workspace/there', ''); })"
    ),
    "link": (
        "const net = require('net'), fs = require('fs'); fs.unlinkSync(SOCKET);"
        "net.createServer(c => c.on('data', d => fs.appendFileSync('/workspace/caught', d)))"
        ".listen('/tmp/other.sock', () => { fs.symlinkSync('/tmp/other.sock', SOCKET);"
        "fs.writeFileSync('/workspace/there', ''); })"
    ),
    "file": (
        "const fs = require('fs'); fs.unlinkSync(SOCKET); fs.writeFileSync(SOCKET, '');"
        "fs.writeFileSync('/workspace/there', ''); setInterval(() => 0, 1000)"
    ),
    "directory": (
        "const fs = require('fs'); fs.unlinkSync(SOCKET); fs.mkdirSync(SOCKET);"
        "fs.writeFileSync('/workspace/there', ''); setInterval(() => 0, 1000)"
    ),
}


@ON_UNIX
@pytest.mark.parametrize("kind", IMPOSTORS)
def test_an_impostor_gets_no_call(way: Way, kind: str) -> None:
    """A tool puts something of its own where init's socket was."""
    script = IMPOSTORS[kind].replace("SOCKET", "'/run/aifo/init.sock'")
    caught, there = way.project.path / "caught", way.project.path / "there"
    body = form(tool="node", cwd="/workspace", arg=["-e", script])
    with way.proxy.connect() as client:
        client.sendall(request(way.proxy, "/exec", body, version=2))
        eventually(there.exists)
        for n in range(3):
            assert way.run(f"echo secret {n}") == (0, b"secret %d\n" % n, b"")
    assert not caught.exists()
    there.unlink()
    assert way.project.doit("run", "sidecar_stop", program="aifo").returncode == 0
