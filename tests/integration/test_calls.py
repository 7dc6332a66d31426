"""Calls through doit into a warm sidecar: words, streams, signals, status, nothing left."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import pytest

from aifo_tasks.toolexec.frames import Exit
from tests.integration.project import Project, docker, eventually
from tests.integration.proxied import Frames, ask, form, request, running

GIB = 1 << 30


@pytest.mark.parametrize("program", ["doit", "aifo"])
def test_words_and_status_are_exact(warm: Project, program: str) -> None:
    script = r'A=1; printf "%s|%s|%s\n" "$A" "$1" "$2"; exit 7'
    done = warm.call("sh", "-c", script, "x", "", "é=ü", program=program)
    assert (done.stdout, done.stderr, done.returncode) == ("1||é=ü\n", "", 7)


def test_a_gibibyte_comes_back_as_it_was(warm: Project) -> None:
    """Through stdin and stdout at once; stderr stays apart."""
    child = warm.start(
        "run", "toolchain:node", "--", "sh", "-c", "echo apart >&2; exec cat",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    sent, received = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(1 << 20)

    def feed(pipe: IO[bytes]) -> None:
        with pipe:
            for number in range(GIB >> 20):
                piece = number.to_bytes(8, "big") + block[8:]
                sent.update(piece)
                pipe.write(piece)

    feeder = threading.Thread(target=feed, args=(child.stdin,))
    feeder.start()
    size = 0
    while piece := child.stdout.read(1 << 20):
        received.update(piece)
        size += len(piece)
    feeder.join()
    stderr = child.stderr.read()
    assert child.wait() == 0
    child.stdout.close()
    child.stderr.close()
    assert (size, received.digest(), stderr) == (GIB, sent.digest(), b"apart\n")


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_a_signal_reaches_the_tool_and_leaves_nothing(
    warm: Project, number: signal.Signals, status: int
) -> None:
    child = warm.start("run", "toolchain:node", "--", "sh", "-c", "echo on; exec sleep 1234")
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode == status
    eventually(lambda: not warm.processes())


def test_a_tool_that_handles_the_signal_decides(warm: Project) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo on; while :; do sleep 0.1; done"
    child = warm.start("run", "toolchain:node", "--", "sh", "-c", script)
    assert child.stdout is not None
    child.stdout.readline()
    child.terminate()
    stdout, _ = child.communicate(timeout=60)
    assert (stdout, child.returncode) == (b"caught\n", 5)
    eventually(lambda: not warm.processes())


def test_nothing_outlives_a_killed_doit(warm: Project) -> None:
    """Neither the tool nor what it hid in a session of its own."""
    script = "setsid sh -c 'trap \"\" INT TERM; sleep 1234; sleep 1234' & echo on; sleep 1234"
    child = warm.start("run", "toolchain:node", "--", "sh", "-c", script)
    assert child.stdout is not None
    child.stdout.readline()
    child.kill()
    child.communicate()
    eventually(lambda: not warm.processes())


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["no-such-tool"], 127, "no-such-tool: not found\n"),
        (["/etc/passwd"], 126, "/etc/passwd: permission denied\n"),
    ],
)
def test_what_cannot_be_started(warm: Project, argv: list[str], status: int, message: str) -> None:
    done = warm.call(*argv)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", message)


def test_the_tool_stands_where_the_user_does(warm: Project) -> None:
    assert warm.call("pwd", cwd="src", program="aifo").stdout == "/workspace/src\n"


def test_only_what_may_pass_of_the_environment_does(warm: Project) -> None:
    env = {"NODE_ENV": "mine", "SECRET": "x", "NODE_OPTIONS": "--x", "AIFO_ENV_NODE_ENV": "ours"}
    done = warm.call("sh", "-c", 'echo "$NODE_ENV|$SECRET|$NODE_OPTIONS|$HOME"', env=env)
    assert done.stdout == "ours|||/home/coder\n"


def test_a_terminal_is_a_terminal(warm: Project) -> None:
    """The tool sees one, of the right size; ^C typed into it is the tool's."""
    import fcntl
    import pty
    import struct
    import termios

    parent, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    before = termios.tcgetattr(terminal)
    script = "stty size; tty | sed 's/[0-9]*$//'; echo on; exec sleep 1234"
    child = warm.start(
        "run", "toolchain:node", "--", "sh", "-c", script,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    seen = b""
    while b"on\r\n" not in seen:
        seen += os.read(parent, 1000)
    assert seen == b"31 97\r\n/dev/pts/\r\non\r\n"
    os.write(parent, b"\x03")
    assert child.wait(timeout=60) == 130
    assert termios.tcgetattr(terminal) == before
    os.close(parent)
    os.close(terminal)
    eventually(lambda: not warm.processes())


def test_a_warm_call_asks_neither_engine_nor_docker(warm: Project, tmp_path: Path) -> None:
    """Counted: no docker on PATH, an engine address nobody answers at, no heavy import."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import atexit, sys\n"
        "heavy = ('docker', 'ruamel', 'jsonschema', 'asyncio', 'requests', 'jinja2',\n"
        "         'aifo_tasks.engine.hijack', 'aifo_tasks.toolexec.relay')\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules]))\n"
        "from aifo_tasks.tasks.main import main\n"
        "sys.exit(main())\n"
    )
    env = {**os.environ, "DOCKER_HOST": "unix:///nowhere.sock", "PATH": "/nowhere"}
    done = subprocess.run(
        [sys.executable, probe, "run", "toolchain:node", "--", "echo", "on"],
        cwd=warm.path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("on\n[]\n", "", 0)


def test_an_impostor_gets_nothing(bare: Project) -> None:
    """A tool replaces init's socket by its own: no call is sent there."""
    assert bare.call("true").returncode == 0
    first = bare.sidecars()
    script = (
        "const net = require('net'), fs = require('fs'); fs.unlinkSync('/run/aifo/init.sock');"
        "net.createServer(c => { fs.writeFileSync('/workspace/caught', 'x');"
        "c.on('data', d => fs.appendFileSync('/workspace/caught', d)) })"
        ".listen('/run/aifo/init.sock', () => console.log('on'))"
    )
    child = bare.start("run", "toolchain:node", "--", "node", "-e", script)
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    done = bare.call("echo", "secret")
    child.communicate(timeout=60)
    assert (done.stdout, done.returncode) == ("secret\n", 0)
    assert "listens there" in done.stderr
    caught = bare.path / "caught"
    assert not caught.exists() or caught.read_bytes() == b"x"
    assert bare.sidecars() == first


def test_docker_stop_takes_less_than_its_second(bare: Project) -> None:
    """Init passes TERM on and ends by itself: docker never has to kill."""
    assert bare.call("true").returncode == 0
    name = bare.sidecars()[0]
    child = bare.start(
        "run", "toolchain:node", "--", "sh", "-c", "trap '' TERM; echo on; sleep 1234"
    )
    assert child.stdout is not None
    child.stdout.readline()
    container = docker("inspect", "--format", "{{.Id}}", name).strip()
    since = time.time()
    docker("stop", "--time", "1", name)
    seen = docker(
        "events", "--since", f"{since:.6f}", "--until", f"{time.time() + 1:.6f}",
        "--filter", f"container={container}", "--format", "{{.Action}}",
    ).split()  # fmt: skip
    child.communicate(timeout=60)
    assert "die" in seen
    assert seen.count("kill") == 1
    assert child.returncode in {125, 137}


def test_a_workspace_that_is_not_as_it_should_be(engine_endpoint: str, tmp_path: Path) -> None:
    """Directly on stderr, in version 1 with the output."""
    project = Project(tmp_path / "app", example=None)
    body = form(tool="node", cwd="/workspace", arg=["-p", "6*7"])
    project.write("file", "")
    text = "aifo: /workspace: is not writable in the sidecar: tools can change nothing there\n"
    try:
        with running(project, "TOOLCHAINS=node") as proxy:
            project.path.chmod(0o555)
            done = project.call("node", "-p", "6*7", program="aifo")
            assert (done.stdout, done.stderr, done.returncode) == ("42\n", text, 0)
            answer = ask(proxy, request(proxy, "/exec", body, version=1))
            assert answer.body.decode() == f"{text}42\n"
            call = Frames(proxy, body)
            assert call.rest() == (b"42\n", text.encode(), Exit(signalled=False, value=0))
            call.close()
            project.path.chmod(0o755)
            assert project.call("node", "-p", "6*7", program="aifo").stderr == ""
    finally:
        project.stop()
