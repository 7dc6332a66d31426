"""A session to work in: a container without toolchains that calls them as if they were there."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import sessions
from tests.integration.project import Project, docker, eventually
from tests.integration.sessions import IMAGE, NOTHING, left

BOTH = ("run", "shell", "TOOLCHAINS=node,text")


@pytest.fixture(scope="module")
def both(engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with two toolchains."""
    project = Project(tmp_path_factory.mktemp("both") / "pnpm-app")
    sessions.two_toolchains(project)
    yield project
    project.stop()
    docker("rmi", f"{IMAGE}:latest", check=False)


def shell(project: Project, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a session with both toolchains; nothing is left of it afterwards."""
    done = project.doit(*BOTH, *words, "--", "sh", "-c", script, program="aifo")
    assert left() == NOTHING
    assert project.processes() == []
    return done


EVERYTHING = """
for tool in node make upper; do command -v $tool; done
node -p 6*7
node -p '"text"' | upper | node -e "process.stdin.on('data', d => process.stdout.write('<' + d))"
pnpm test >/dev/null 2>&1; echo "test $?"
make --silent greeting
cd src && node -p 'process.cwd()'
node -e 'process.exit(7)'
"""


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_tools_are_called_as_if_they_were_there(both: Project, transport: str) -> None:
    """A shim calls make in node's sidecar, whose recipe calls the other's tool."""
    both.write("Makefile", "greeting:\n\t@echo made | upper\n")
    done = shell(both, EVERYTHING, f"TRANSPORT={transport}")
    assert (done.stdout.splitlines(), done.returncode) == (
        [
            "/opt/aifo/bin/node",
            "/opt/aifo/bin/make",
            "/opt/aifo/bin/upper",
            "42",
            "<TEXT",
            "test 0",
            "MADE",
            "/workspace/src",
        ],
        7,
    ), done.stderr


def test_a_container_without_toolchains_hardened_as_they_are(both: Project) -> None:
    script = """
    for tool in node npm make gcc; do ls /usr/bin/$tool /usr/local/bin/$tool; done 2>/dev/null
    grep -E '^(CapEff|NoNewPrivs)' /proc/self/status
    touch /usr/x /etc/x /run/aifo/x /opt/aifo/bin/x 2>/dev/null && echo written
    test -e /var/run/docker.sock && echo socket
    stat -c '%a %u' /run/aifo/token; id -u
    touch /tmp/x "$HOME/x" && echo own
    ls node_modules | head -n 1
    env | grep "$(cat /run/aifo/token)" && echo token
    """
    before = both.tree()
    uid = os.stat(both.path).st_uid
    assert shell(both, script).stdout.split("\n") == [
        "CapEff:\t0000000000000000", "NoNewPrivs:\t1", f"600 {uid}", str(uid), "own", "esbuild", "",
    ]  # fmt: skip
    assert both.tree() == before


@pytest.fixture
def running(both: Project) -> Iterator[subprocess.Popen[bytes]]:
    """A session whose command waits until its input ends."""
    child = both.start(*BOTH, "--", "sh", "-c", "cat /run/aifo/token; echo; cat", stdin=-1)
    yield child
    child.kill()
    child.communicate()


def test_the_engine_is_not_told_the_token(both: Project, running: subprocess.Popen[bytes]) -> None:
    assert running.stdout is not None
    token = running.stdout.readline().decode().strip()
    assert len(token) == 64
    (names,) = sessions.sessions().values()
    (name,) = names
    assert name.startswith("aifo-tc-shell-")
    assert token not in docker("inspect", name, *both.sidecars())
    limits = "{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}}"
    assert docker("inspect", "--format", limits, name) == f"4096 {4 << 30} true\n"
    running.communicate(timeout=60)
    assert running.returncode == 0
    assert left() == NOTHING


def test_a_token_opens_the_proxy_of_its_own_session_alone(
    both: Project, running: subprocess.Popen[bytes]
) -> None:
    """Tried from the one container at the socket of the other."""
    assert running.stdout is not None
    token = running.stdout.readline().decode().strip()
    stolen = both.path / "stolen"
    stolen.write_text(token)
    script = "AIFO_TOOLEEXEC_TOKEN_FILE=stolen node -p 1; echo $?; node -p 2"
    done = both.doit(*BOTH, "--", "sh", "-c", script)
    stolen.unlink()
    assert (done.stdout, done.stderr) == ("86\n2\n", "unauthorized\n")


def test_streams_stay_apart_and_reach_who_asked(both: Project) -> None:
    child = both.start(
        *BOTH, "--", "sh", "-c", "upper; inside 'echo err >&2; exit 3'", stdin=subprocess.PIPE
    )
    assert child.communicate(b"in\n", timeout=60) == (b"IN\n", b"err\n")
    assert child.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_tool_and_nothing_is_left(
    both: Project, number: signal.Signals
) -> None:
    script = "inside 'setsid sleep 1234 & echo on; exec sleep 1234'"
    child = both.start(*BOTH, "--", "sh", "-c", f"exec {script}")
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    child.send_signal(number)
    assert child.wait(timeout=60) == 128 + number
    child.communicate()
    eventually(lambda: both.processes() == [])
    assert left() == NOTHING


def test_what_runs_on_in_the_background_ends_with_the_session(both: Project) -> None:
    script = "inside 'echo on; exec sleep 1234' & read line; upper < /dev/null"
    child = both.start(*BOTH, "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    child.communicate(b"\n", timeout=60)
    assert child.returncode == 0
    eventually(lambda: both.processes() == [])
    assert left() == NOTHING


def test_bash_on_a_terminal(both: Project) -> None:
    """Its tools have one too, of the right size; the host's is as it was."""
    parent, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    before = termios.tcgetattr(terminal)
    child = both.start(
        "run", "shell", "TOOLCHAINS=text", stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    seen = b""
    os.write(parent, b"inside 'stty size; tty'; inside 'echo $((40+2)); exec sleep 1234'\r")
    while b"\r\n42\r\n" not in seen:
        seen += os.read(parent, 1000)
    assert b"31 97\r\n/dev/pts/" in seen
    os.write(parent, b"\x03")  # the tool's
    seen = b""
    while b":/workspace" not in seen:
        seen += os.read(parent, 1000)
    os.write(parent, b"exit 9\r")
    assert child.wait(timeout=60) == 9
    assert termios.tcgetattr(terminal) == before
    os.close(parent)
    os.close(terminal)
    assert left() == NOTHING


def test_without_a_command_and_a_terminal_there_is_nothing_to_do(both: Project) -> None:
    done = both.doit("run", "shell")
    assert done.returncode == 3
    assert "neither a command nor a terminal" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("TOOLCHAINS=text", "--toolchain", "nodes"), "there is no toolchain 'nodes'"),
        (("--toolchain-unix-socket", "TRANSPORT=tcp"), "tcp contradicts"),
    ],
)
def test_what_contradicts_itself_is_refused(
    both: Project, words: tuple[str, ...], message: str
) -> None:
    done = both.doit("run", "shell", *words, "--", "true")
    assert done.returncode == 3
    assert message in done.stderr


def test_another_image_and_what_a_sidecar_gets_besides(both: Project) -> None:
    """Options that may be given several times; the image's own tools come after the shims."""
    done = both.doit(
        "run", "shell", "--toolchain", "node", "--toolchain", "text", "--no-toolchain-cache",
        "--toolchain-bootstrap", "ts=global", f"IMAGE={IMAGE}", "--", "sh", "-c",
        "tsc --version; /usr/local/bin/upper < .npmrc; command -v upper", program="aifo",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, *lines = done.stdout.splitlines()
    assert version.startswith("Version ")
    assert lines == [
        *(both.path / ".npmrc").read_text().upper().splitlines(),
        "/opt/aifo/bin/upper",
    ]


def test_a_missing_tool_says_what_to_do(both: Project) -> None:
    """One that nobody's sidecar has, and one that the one it belongs to has not."""
    done = both.doit(
        "run", "shell", "--toolchain", "text", "--", "sh", "-c",
        "node; echo $?; absent; echo $?", program="aifo",
    )  # fmt: skip
    assert done.stdout == "86\n127\n"
    assert done.stderr.startswith("tool 'node' not available in running sidecars")
    assert done.stderr.endswith("absent: not found\n")


def test_the_smoke_tests(both: Project) -> None:
    for task in ("test_proxy_smoke", "test_proxy_unix"):
        done = both.doit("run", task, "TOOLCHAINS=node")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("node: v")
        assert done.stdout.endswith("a wrong token: refused\n")


def test_a_dry_run_touches_nothing_and_can_be_pasted(both: Project, tmp_path: Path) -> None:
    """All but the proxy, which is doit's own."""
    before = both.tree(), sessions.left()
    dry = both.doit(*BOTH, "DRY_RUN=1", "--", "sh", "-c", "echo $((40 + 2)); cat /run/aifo/token")
    assert dry.returncode == 0, dry.stderr
    assert (both.tree(), sessions.left()) == before
    script = tmp_path / "pasted.sh"
    script.write_text(dry.stderr)
    pasted = subprocess.run(
        ["bash", "-e", script], cwd=both.path, capture_output=True, text=True, check=False
    )
    assert pasted.returncode == 0, pasted.stderr
    assert "\n42\n" in f"\n{pasted.stdout}"
    assert not sessions.sessions()
    assert shell(both, "upper < /dev/null").returncode == 0  # what was pasted is reaped
