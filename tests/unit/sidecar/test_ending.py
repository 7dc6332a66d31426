"""Sessions and their orphans: what is removed, and above all what is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks import files, log
from aifo_tasks.engine.api import ContainerSpec, ImageState, NetworkSpec
from aifo_tasks.sidecar import ending, sessions
from aifo_tasks.sidecar.identity import OWNER, session_dir, user_label
from tests.contract.fake import Fake

IMAGE = "sidecar:latest"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="aifo-e") as name:  # a socket's path is short
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield


@pytest.fixture
def engine() -> Fake:
    fake = Fake({"init": lambda _: None})
    fake.images[IMAGE] = ImageState(id="sha256:1", platform="linux/amd64")
    return fake


def labels(
    session: str, *, owned: bool = False, user: str = "", directory: str = ""
) -> tuple[tuple[str, str], ...]:
    found = {
        "io.aifo.user": user or user_label(),
        "io.aifo.run-dir": directory or str(files.run_dir()),
        "io.aifo.session": session,
        "io.aifo.kind": "node",
    }
    if owned:
        found[OWNER] = "1"
    return tuple(found.items())


def start(engine: Fake, name: str, given: tuple[tuple[str, str], ...]) -> Path:
    """A container of that name and its run directory."""
    directory = files.run_dir() / name
    (directory / "run").mkdir(parents=True)
    engine.start(
        ContainerSpec(image=IMAGE, name=name, command=("init",), labels=given, remove=False)
    )
    return directory


def names(engine: Fake) -> list[str]:
    return sorted(state.name for state in engine.containers({}))


def owner_killed() -> str:
    """A session whose owner is gone and had no time for anything."""
    session = "0123456789ab"
    (session_dir(session) / "lock").touch()
    (session_dir(session) / "token").touch()
    return session


def test_a_session_is_held_as_long_as_it_is_open() -> None:
    with sessions.opened() as session, sessions.opened() as other:
        assert session != other
        assert {session, other} == set(sessions.left())
        with sessions.orphaned(session) as is_orphan:
            assert not is_orphan
    assert list(files.run_dir().iterdir()) == []
    with sessions.orphaned(session) as is_orphan:
        assert is_orphan


def test_a_session_whose_owner_was_killed_is_an_orphan() -> None:
    program = (
        "from aifo_tasks.sidecar import sessions\n"
        "with sessions.opened() as session:\n"
        "    print(session, flush=True)\n"
        "    input()\n"
    )
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        session = owner.stdout.readline().strip()
        with sessions.orphaned(session) as is_orphan:
            assert not is_orphan
        owner.kill()
    assert sessions.left() == (session,)
    with sessions.orphaned(session) as is_orphan:
        assert is_orphan


@pytest.mark.parametrize("name", ["..", "x", "0123456789abc", "0123456789a/"])
def test_what_is_no_session_is_no_orphan(name: str) -> None:
    with sessions.orphaned(name) as is_orphan:
        assert not is_orphan


def test_a_dry_run_opens_none(dry_run: None) -> None:
    with sessions.opened() as session:
        assert len(session) == 12
    assert not list(Path(os.environ["XDG_RUNTIME_DIR"]).glob("aifo/*"))


@pytest.fixture
def dry_run() -> Iterator[None]:
    log.configure(dry_run=True)
    yield
    log.configure(dry_run=False)


def test_everything_of_an_orphan_is_reaped_and_nothing_else(engine: Fake) -> None:
    orphan = owner_killed()
    with sessions.opened() as living:
        start(engine, "aifo-tc-shell-1", labels(orphan, owned=True))
        start(engine, "aifo-tc-node-1", labels(orphan, owned=True))
        start(engine, "living", labels(living, owned=True))
        start(engine, "project", labels("aaaaaaaaaaaa"))
        start(engine, "another-user", labels(orphan, owned=True, user="4@other"))
        start(engine, "another-directory", labels(orphan, owned=True, directory="/elsewhere"))
        for name, session in (("net-orphan", orphan), ("net-living", living)):
            network = labels(session, owned=True)
            engine.create_network(NetworkSpec(name=name, internal=True, labels=network))
        assert sorted(ending.reap(engine)) == ["aifo-tc-node-1", "aifo-tc-shell-1"]
        assert names(engine) == ["another-directory", "another-user", "living", "project"]
        assert engine.network("net-orphan") is None
        assert engine.network("net-living") is not None
        assert sessions.left() == (living,)
        assert not (files.run_dir() / orphan).exists()
        assert not (files.run_dir() / "aifo-tc-shell-1").exists()


def test_an_orphan_is_known_by_its_labels_when_its_directory_is_gone(engine: Fake) -> None:
    start(engine, "agent", labels("0123456789ab", owned=True))
    network = labels("bbbbbbbbbbbb", owned=True)
    engine.create_network(NetworkSpec(name="net", labels=network))
    assert ending.reap(engine) == ("agent",)
    assert engine.network("net") is None


def test_the_directory_of_a_sidecar_that_ended_by_itself_goes(engine: Fake) -> None:
    ended = files.run_dir() / "aifo-tc-node-0123456789ab"
    (ended / "run").mkdir(parents=True)
    running = start(engine, "aifo-tc-node-ba9876543210", labels("ba9876543210"))
    ending.reap(engine)
    assert not ended.exists()
    assert running.exists()


def test_the_directory_of_another_engine_s_sidecar_stays(engine: Fake) -> None:
    directory = files.run_dir() / "aifo-tc-node-0123456789ab"
    (directory / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as init:
        init.bind(str(directory / "run" / "init.sock"))
        init.listen()
        ending.reap(engine)
        assert directory.exists()
    ending.reap(engine)
    assert not directory.exists()


def test_a_directory_stays_while_somebody_starts_a_sidecar(engine: Fake) -> None:
    directory = files.run_dir() / "aifo-tc-node-0123456789ab"
    directory.mkdir()
    with ending.starting():
        ending.reap(engine)
        assert directory.exists()
    ending.reap(engine)
    assert not directory.exists()


def test_what_a_killed_proxy_left_at_a_sidecar_goes(engine: Fake) -> None:
    directory = start(engine, "aifo-tc-node-ba9876543210", labels("ba9876543210"))
    session_dir("ba9876543210")
    for session in ("0123456789ab", "ba9876543210"):
        (directory / "proxies" / session).mkdir(parents=True)
    ending.reap(engine)
    assert [path.name for path in (directory / "proxies").iterdir()] == ["ba9876543210"]


def test_all_that_may_be_stopped_is_what_no_process_holds(engine: Fake) -> None:
    orphan = owner_killed()
    with sessions.opened() as living:
        start(engine, "living", labels(living, owned=True))
        start(engine, "orphan", labels(orphan, owned=True))
        start(engine, "project", labels("aaaaaaaaaaaa"))
        start(
            engine, "of-who-knows-whom", labels("cccccccccccc", owned=True, directory="/elsewhere")
        )
        start(engine, "theirs", labels("dddddddddddd", user="4@other"))
        assert set(ending.stoppable(engine)) == {orphan, "aaaaaaaaaaaa"}


def test_a_stop_takes_the_session_s_networks_along(engine: Fake) -> None:
    directory = start(engine, "project", labels("aaaaaaaaaaaa"))
    engine.create_network(NetworkSpec(name="net", labels=labels("aaaaaaaaaaaa")))
    assert ending.stop(engine, "aaaaaaaaaaaa") == ("project",)
    assert names(engine) == []
    assert engine.network("net") is None
    assert not directory.exists()


def test_a_network_where_a_proxy_listens_goes_once_that_has_ended(engine: Fake) -> None:
    start(engine, "project", labels("aaaaaaaaaaaa"))
    engine.create_network(NetworkSpec(name="net", labels=labels("aaaaaaaaaaaa")))
    with sessions.serving("aaaaaaaaaaaa") as is_held:
        assert is_held
        assert ending.stop(engine, "aaaaaaaaaaaa") == ("project",)
        assert engine.network("net") is not None
    ending.stop(engine, "aaaaaaaaaaaa")
    assert engine.network("net") is None


def test_a_network_that_somebody_joined_stays(engine: Fake) -> None:
    engine.create_network(NetworkSpec(name="net", labels=labels("aaaaaaaaaaaa")))
    guest = ContainerSpec(image=IMAGE, name="guest", command=("init",), network="net")
    engine.start(guest)
    assert ending.stop(engine, "aaaaaaaaaaaa") == ()
    assert engine.network("net") is not None
