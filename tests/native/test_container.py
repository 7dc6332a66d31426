"""Init in a container of a real engine, whose image holds one static program and no library."""

from __future__ import annotations

import os
import secrets
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks import native
from aifo_tasks.engine.api import ContainerSpec, ContainerState, Engine, ImportSpec, MountSpec
from aifo_tasks.engine.docker import connect
from aifo_tasks.errors import SidecarLostError
from aifo_tasks.toolexec import launcher
from tests.native import compiling
from tests.native.running import wait_for, waits

TOOL = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int greeted(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char hello[8] = {16}, answer[8];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		return 2;
	return write(fd, hello, sizeof hello) > 0 && read(fd, answer, sizeof answer) > 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "exit") == 0)
		return atoi(argv[2]);
	if (strcmp(what, "greet") == 0)
		return signal(SIGPIPE, SIG_IGN), greeted(argv[2]);
	if (strcmp(what, "identity") == 0)
		return printf("%d %d %s\n", getuid(), getpid() > 1, getenv("SET")) < 0;
	if (strcmp(what, "kill all") == 0)
		return kill(-1, SIGKILL);
	if (strcmp(what, "stubborn") == 0) {
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
	}
	printf("ready\n");
	fflush(stdout);
	if (fork() == 0)
		setsid();
	for (;;)
		pause();
}
"""
USER = 54321 if os.getuid() == 0 else os.getuid()
DIRECTORY = "/run/aifo"


@pytest.fixture(scope="session")
def image(engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with /tool alone."""
    top = tmp_path_factory.mktemp("tool")
    (top / "tool.c").write_text(TOOL)
    compiling.build([compiling.compiler("gcc"), "-static", str(top / "tool.c")], [], top / "tool")
    with tarfile.open(top / "root.tar", "w") as archive:
        archive.add(top / "tool", "tool")
    tag = f"aifo-native-{secrets.token_hex(4)}:tool"
    with connect(engine_endpoint) as engine:
        engine.import_image(ImportSpec(archive=top / "root.tar", tag=tag))
        yield tag
        engine.remove_image(tag)


class Sidecar:
    """A container with init as its first process."""

    def __init__(self, engine: Engine, state: ContainerState, socket: Path) -> None:
        self.engine = engine
        self.state = state
        wait_for("init's socket", socket.exists)
        self.peer = launcher.Peer(
            socket=socket, pid=state.pid, start_time=launcher.start_time(state.pid)
        )

    def run(self, *argv: str, **environment: str) -> tuple[int, bytes]:
        connection = launcher.connect(self.peer)
        assert launcher.greet(connection).spec == "feed"
        output: list[bytes] = []
        call = launcher.Call(argv=argv, cwd="/", environment=environment)
        return launcher.capture(connection, call, on_output=output.append), b"".join(output)

    def ended(self) -> bool:
        return not Path(f"/proc/{self.state.pid}").exists()


@pytest.fixture
def sidecar(engine_endpoint: str, image: str, short_path: Path) -> Iterator[Sidecar]:
    """A sidecar of a user without any capability."""
    name = f"aifo-native-{secrets.token_hex(4)}"
    os.chown(short_path, USER, USER)
    spec = ContainerSpec(
        image=image,
        name=name,
        entrypoint=("/opt/aifo/bin/aifo-init",),
        command=("--socket", f"{DIRECTORY}/init.sock", "--spec", "feed"),
        user=f"{USER}:{USER}",
        network="none",
        read_only=True,
        cap_drop=("ALL",),
        security_opt=("no-new-privileges",),
        mounts=(
            MountSpec(
                kind="bind", source=str(native.init_binary()), read_only=True,
                target="/opt/aifo/bin/aifo-init",
            ),
            MountSpec(kind="bind", source=str(short_path), target=DIRECTORY),
        ),
    )  # fmt: skip
    with connect(engine_endpoint) as engine:
        try:
            yield Sidecar(engine, engine.start(spec), short_path / "init.sock")
        finally:
            engine.remove_container(name)


def test_calls(sidecar: Sidecar) -> None:
    assert sidecar.run("/tool", "exit", "7") == (7, b"")
    assert sidecar.run("/tool", "identity", SET="é") == (0, f"{USER} 1 é\n".encode())
    assert sidecar.run("nonesuch") == (127, b"nonesuch: not found\n")


def test_no_tool_gets_a_call_from_init(sidecar: Sidecar) -> None:
    """It could outlive the one in which it was made."""
    assert sidecar.run("/tool", "greet", f"{DIRECTORY}/init.sock") == (0, b"")
    assert sidecar.run("/tool", "exit", "7") == (7, b"")


def test_stopping_it_is_quick_and_kills_what_does_not_listen(sidecar: Sidecar) -> None:
    """An engine waits ten seconds for a first process that does nothing."""
    stops: list[float] = []

    def stop(_: bytes) -> None:
        stops.append(time.monotonic())
        sidecar.engine.stop(sidecar.state.name, seconds=10)
        stops.append(time.monotonic())

    connection = launcher.connect(sidecar.peer)
    call = launcher.Call(argv=["/tool", "stubborn"], cwd="/")
    assert launcher.capture(connection, call, on_output=stop) == 137
    assert sidecar.ended()
    assert stops[1] - stops[0] < 8


def test_a_tool_that_kills_all_it_can_does_not_end_init(sidecar: Sidecar) -> None:
    with pytest.raises(SidecarLostError):
        sidecar.run("/tool", "kill all")
    assert sidecar.run("/tool", "exit", "3") == (3, b"")


def test_a_cut_call_leaves_nothing_in_the_container(sidecar: Sidecar) -> None:
    class CutError(Exception):
        pass

    def cut(_: bytes) -> None:
        raise CutError

    connection = launcher.connect(sidecar.peer)
    call = launcher.Call(argv=["/tool", "stubborn"], cwd="/")
    with pytest.raises(CutError):
        launcher.capture(connection, call, on_output=cut)
    children = Path(f"/proc/{sidecar.state.pid}/task/{sidecar.state.pid}/children")
    wait_for("an empty container", lambda: all(map(waits, map(int, children.read_text().split()))))


def test_retired_it_ends_with_its_last_call(sidecar: Sidecar) -> None:
    def retire(_: bytes) -> None:
        launcher.retire(sidecar.peer)
        wait_for("the socket's end", lambda: not sidecar.peer.socket.exists())
        with pytest.raises(launcher.UnreachableError):
            launcher.connect(sidecar.peer)
        assert not sidecar.ended()
        held.shutdown(2)

    with launcher.connect(sidecar.peer) as held:
        launcher.greet(held)
        call = launcher.Call(argv=["/tool", "identity"], cwd="/")
        connection = launcher.connect(sidecar.peer)
        assert launcher.capture(connection, call, on_output=retire) == 0
    wait_for("its end", sidecar.ended)
    launcher.retire(sidecar.peer)  # nobody's process is no error
