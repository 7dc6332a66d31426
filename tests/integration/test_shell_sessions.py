"""Sessions beside each other and after each other: networks, calls in calls, ends of all kinds."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks import files
from aifo_tasks.sidecar.identity import project_session, session_dir
from tests.integration import sessions
from tests.integration.project import Project, docker, eventually
from tests.integration.proxied import running
from tests.integration.sessions import IMAGE, NOTHING, left, run_dir

BOTH = ("run", "shell", "TOOLCHAINS=node,text")
OUT = "timeout 5 bash -c '</dev/tcp/deb.debian.org/80' 2>/dev/null && echo out || echo no way"


@pytest.fixture(scope="module")
def image(engine_endpoint: str) -> Iterator[None]:
    """The second toolchain's image goes when all have used it."""
    yield
    docker("rmi", f"{IMAGE}:latest", check=False)


@pytest.fixture
def pair(fresh: Project, image: None) -> Project:
    """A project with two toolchains in which nothing is installed."""
    sessions.without_modules(fresh)
    sessions.two_toolchains(fresh)
    return fresh


def lines(project: Project, script: str, *words: str) -> list[str]:
    """What a script prints in a session with both toolchains, of which nothing is left."""
    done = project.doit(*BOTH, *words, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert left() == NOTHING
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("network", "transport", "seen"),
    [("isolated", "tcp", "out"), ("internal", "tcp", "no way"), ("internal", "unix", "no way")],
)
def test_a_network_of_the_session_s_own(
    pair: Project, network: str, transport: str, seen: str
) -> None:
    """Agent and sidecars are in it; asserted from inside each of them."""
    sessions.two_toolchains(pair, node=network, text=network)
    script = f"{OUT}; inside \"{OUT}\"; cat /etc/hostname; inside 'cat /etc/hostname'"
    here, there, agent, sidecar = lines(pair, script, f"TRANSPORT={transport}")
    assert (here, there) == (seen, seen)
    assert agent.removeprefix("shell-") == sidecar.removeprefix("text-")
    assert pair.sidecars() == []  # they were the session's own
    assert sorted(path.name for path in pair.path.iterdir() if path.name == "node_modules") == []


def test_the_agent_gets_no_further_than_the_toolchain_that_gets_least_far(pair: Project) -> None:
    """A sidecar of the project's own stays warm in the network it has."""
    sessions.two_toolchains(pair, text="none")
    assert lines(pair, f'{OUT}; inside "{OUT}"') == ["no way", "no way"]
    assert len(pair.sidecars()) == 2
    refused = pair.doit(*BOTH, "TRANSPORT=tcp", "--", "true")
    assert refused.returncode == 1
    assert "network: none" in refused.stderr
    assert left() == NOTHING


def test_a_network_that_is_another_is_refused(
    pair: Project, request: pytest.FixtureRequest
) -> None:
    """Never a wider one: who asked for no way out gets no session."""
    sessions.two_toolchains(pair, node="internal", text="internal")
    name = f"aifo-test-{IMAGE}"
    docker("network", "create", name)
    request.addfinalizer(lambda: docker("network", "rm", name))
    done = pair.doit(*BOTH, "--", "echo", "ran", env={"AIFO_SESSION_NETWORK": name})
    assert (done.stdout, done.returncode) == ("", 1)
    assert "has a way out, and internal was asked for" in done.stderr
    assert left() == NOTHING
    assert pair.sidecars() == []


def spawning(script: str) -> str:
    """A shell's words that have node's sidecar run a script."""
    program = f"require('child_process').spawnSync('sh', ['-c', {script!r}], {{stdio: 'inherit'}})"
    return f"node -e {shlex.quote(program)}"


def test_tools_call_each_other_and_stop_together(pair: Project) -> None:
    """A call in a call takes no place of its own, and ends with the one it was made in."""
    words = spawning('inside "echo on; exec sleep 1234"')
    env = {**os.environ, "AIFO_TOOLEXEC_CALLS": "1"}
    child = pair.start(*BOTH, "--", "sh", "-c", f"exec {words}", env=env)
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    assert "sleep 1234 " in pair.processes()
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=60) == 143
    child.communicate()
    eventually(lambda: pair.processes() == [])
    assert left() == NOTHING


def test_a_sidecar_has_shims_only_in_calls_of_a_proxy(pair: Project) -> None:
    """A warm one serves any number of them, and plain runs beside them, as if there were none."""
    look = (
        "token=$AIFO_TOOLEEXEC_TOKEN_FILE; command -v upper; echo $AIFO_TOOLEEXEC_URL;"
        "stat -c %a $token; rm -f $token 2>/dev/null; ls $token"
    )
    with running(pair, "TOOLCHAINS=node,text"):
        called = pair.doit(*BOTH, "--", "sh", "-c", spawning(look))
        assert called.returncode == 0, called.stderr
        link, url, mode, token = called.stdout.splitlines()
        directory = Path(url.removeprefix("unix://")).parent
        assert (link, mode) == (f"{directory}/bin/upper", "600")
        assert token == f"{directory}/token"  # which no tool can change
        plain = pair.call("sh", "-c", "command -v upper; env | grep TOOLEEXEC; echo plain")
        assert plain.stdout == "plain\n"
        assert len(pair.sidecars()) == 2
        tokens = [path.stat().st_mode & 0o777 for path in run_dir().glob("*/proxies/*/token")]
        assert tokens == [0o600, 0o600]  # of the proxy that still serves
    assert left() == NOTHING


def test_a_sidecar_that_was_lost_is_let_in_again(pair: Project) -> None:
    """The one that takes its place calls the others as it did."""
    script = "echo on; read line; "
    child = pair.start(
        *BOTH, "--", "sh", "-c", script + spawning("echo again | upper"), stdin=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    docker("rm", "--force", *(name for name in pair.sidecars() if "-node-" in name))
    output, errors = child.communicate(b"\n", timeout=60)
    assert output == b"AGAIN\n", errors
    assert left() == NOTHING


def test_when_one_fails_the_other_is_ended_again_unless_it_ran_before(pair: Project) -> None:
    broken = pair.path / "images" / "text" / "Dockerfile.j2"
    broken.write_text("ARG BASE\nFROM ${BASE}\nRUN echo because >&2; exit 3\n")
    for sidecars in (0, 1):
        done = pair.doit(*BOTH, "--", "echo", "ran")
        assert (done.stdout, done.returncode) == ("", 1)
        assert "ERROR: toolchain text: " in done.stderr
        assert "because" in done.stderr
        eventually(lambda: len(pair.sidecars()) == sidecars)  # noqa: B023
        assert left() == NOTHING
        assert pair.call("true").returncode == 0


def test_a_session_s_own_mounts_leave_the_project_as_it_was(fresh: Project, image: None) -> None:
    """Its sidecar installs into the volume that the project's own has too."""
    sessions.two_toolchains(fresh, node="isolated")
    before = fresh.tree()
    script = "node -p 'require(\"kleur\") && 1'; ls node_modules | wc -l"
    done = fresh.doit("run", "shell", "TOOLCHAINS=node", "--", "sh", "-c", script)
    assert done.stdout == "1\n3\n", done.stderr
    assert fresh.tree() == before
    assert left() == NOTHING


def test_the_owner_of_the_project_works_in_it_when_root_asks(pair: Project) -> None:
    """The agent, its token and the tools that it calls are that user's."""
    if os.getuid() != 0:
        pytest.fail("this test gives a project to another user: run it as root")
    for path in [pair.path, *pair.path.rglob("*")]:
        shutil.chown(path, 4321, 4321)
    script = f"id -u; touch new; stat -c '%u %a' /run/aifo/token; {spawning('id -un | upper')}"
    assert lines(pair, script, "--no-toolchain-cache") == ["4321", "4321 600", "CODER"]
    assert (pair.path / "new").stat().st_uid == 4321


def test_a_stop_waits_for_who_starts(pair: Project) -> None:
    lock = session_dir(project_session(pair.path)) / "starts.lock"
    with files.locked(lock, shared=True):
        child = pair.start("run", "sidecar_stop", stderr=subprocess.STDOUT)
        assert child.stdout is not None
        while b"waiting for a start" not in (line := child.stdout.readline()):
            assert line
        assert child.poll() is None
    child.communicate(timeout=60)
    assert child.returncode == 0


def test_what_a_killed_session_left_goes_with_the_next_run(pair: Project) -> None:
    """And nothing of one that lives."""
    sessions.two_toolchains(pair, text="isolated")
    script = "inside 'echo on; exec sleep 1234'"
    killed, living = (pair.start(*BOTH, "--", "sh", "-c", script) for _ in range(2))
    for child in (killed, living):
        assert child.stdout is not None
        assert child.stdout.readline() == b"on\n"
    before = sessions.sessions()
    assert sorted(map(len, before.values())) == [2, 2]
    assert len(sessions.networks()) == 2
    owners = dict(
        line.split() for line in docker(
            "ps", "--filter", "label=io.aifo.owner",
            "--format", '{{.Label "io.aifo.owner"}} {{.Label "io.aifo.session"}}',
        ).splitlines()
    )  # fmt: skip
    dead, alive = owners[str(killed.pid)], owners[str(living.pid)]
    killed.kill()
    killed.communicate()
    eventually(lambda: pair.processes().count("sleep 1234 ") == 1)
    done = pair.doit("run", "shell", "TOOLCHAINS=node", "--", "true")
    assert done.returncode == 0, done.stderr
    assert sessions.sessions() == {alive: before[alive]}
    assert sessions.networks() == [f"aifo-net-{alive}"]
    assert not [path for path in run_dir().iterdir() if dead in path.name]
    living.send_signal(signal.SIGTERM)
    assert living.wait(timeout=60) == 143
    living.communicate()
    assert left() == NOTHING
