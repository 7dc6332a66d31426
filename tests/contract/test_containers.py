"""Containers, as every engine starts, shows and ends them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.engine.api import ContainerSpec, Finished, MountSpec
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError
from tests.contract.conftest import Recording, Scratch, await_handler


def test_a_started_container_tells_its_state(scratch: Scratch, tmp_path: Path) -> None:
    mounts = (
        MountSpec(kind="volume", source=scratch.name, target="/volume", read_only=True),
        MountSpec(kind="bind", source=str(tmp_path), target="/host"),
        MountSpec(kind="tmpfs", target="/tmp", options="exec,size=1m"),
    )
    state = scratch.engine.start(scratch.container("wait", name=scratch.name, mounts=mounts))
    assert state.running
    assert state.name == scratch.name
    assert state.pid > 0
    assert state.labels == {"made.by": "test", "io.aifo.contract": scratch.name}
    assert state.image.removeprefix("localhost/") == scratch.image
    assert {(one.kind, one.target, one.volume, one.read_only) for one in state.mounts} == {
        ("volume", "/volume", scratch.name, True),
        ("bind", "/host", "", False),
        ("tmpfs", "/tmp", "", False),
    }
    assert {one.source for one in state.mounts if one.kind == "bind"} == {str(tmp_path)}
    assert scratch.engine.container(scratch.name) == state
    assert scratch.engine.container(state.id) == state


def test_what_is_not_there_is_none(scratch: Scratch) -> None:
    assert scratch.engine.container(scratch.name) is None
    assert scratch.engine.containers({"io.aifo.contract": scratch.name}) == ()


def test_a_name_is_given_once_and_its_container_lives_on(scratch: Scratch) -> None:
    first = scratch.engine.start(scratch.container("wait", name=scratch.name))
    with pytest.raises(ConflictError, match=scratch.name):
        scratch.engine.start(scratch.container("wait", name=scratch.name))
    with pytest.raises(ConflictError):
        scratch.engine.run(scratch.container("print", "x", name=scratch.name))
    assert scratch.engine.container(scratch.name) == first


@pytest.mark.parametrize("remove", [True, False])
def test_what_cannot_start_leaves_nothing(scratch: Scratch, *, remove: bool) -> None:
    missing = ContainerSpec(
        image=scratch.image,
        name=scratch.name,
        command=("/no-such-program",),
        remove=remove,
        labels=(("io.aifo.contract", scratch.name),),
    )
    for attempt in (scratch.engine.start, scratch.engine.run):
        with pytest.raises(EngineError) as caught:
            attempt(missing)
        assert not isinstance(caught.value, ConflictError)
        assert scratch.engine.containers({"io.aifo.contract": scratch.name}) == ()


def test_an_image_that_is_missing_is_never_pulled(scratch: Scratch) -> None:
    spec = ContainerSpec(image=f"{scratch.name}:1", command=("/probe", "wait"))
    for attempt in (scratch.engine.start, scratch.engine.run):
        with pytest.raises(NotFoundError):
            attempt(spec)


def test_a_network_that_is_missing_is_an_error(scratch: Scratch) -> None:
    with pytest.raises(NotFoundError):
        scratch.engine.start(
            scratch.container("wait", name=scratch.name, network=f"{scratch.name}-none")
        )
    assert scratch.engine.container(scratch.name) is None


def test_a_directory_that_is_missing_is_not_made(scratch: Scratch, tmp_path: Path) -> None:
    mount = MountSpec(kind="bind", source=str(tmp_path / "none"), target="/host")
    with pytest.raises(EngineError):
        scratch.engine.start(scratch.container("wait", name=scratch.name, mounts=(mount,)))
    assert not (tmp_path / "none").exists()
    assert scratch.engine.container(scratch.name) is None


def test_stopping_removes_what_was_to_be_removed(scratch: Scratch) -> None:
    for _ in range(2):  # the name is free again at once
        await_handler(scratch.engine.start(scratch.container("wait", name=scratch.name)))
        scratch.engine.stop(scratch.name)
        assert scratch.engine.container(scratch.name) is None
    scratch.engine.stop(scratch.name)


def test_a_kept_container_tells_how_it_ended(scratch: Scratch) -> None:
    spec = scratch.container("wait", name=scratch.name, remove=False)
    await_handler(scratch.engine.start(spec))
    scratch.engine.stop(scratch.name)
    state = scratch.engine.container(scratch.name)
    assert state is not None
    assert (state.running, state.status, state.exit_status, state.pid) == (False, "exited", 143, 0)
    scratch.engine.remove_container(scratch.name)
    assert scratch.engine.container(scratch.name) is None


def test_removing_ends_what_runs(scratch: Scratch) -> None:
    scratch.engine.start(scratch.container("wait", name=scratch.name))
    scratch.engine.remove_container(scratch.name)
    assert scratch.engine.container(scratch.name) is None
    scratch.engine.remove_container(scratch.name)


def test_containers_are_found_by_labels_running_or_not(scratch: Scratch) -> None:
    scratch.engine.start(scratch.container("wait", name=scratch.name))
    other = scratch.container("exit", "3", name=f"{scratch.name}-other", remove=False)
    scratch.engine.start(other)
    found = scratch.engine.containers({"io.aifo.contract": scratch.name})
    assert {one.name for one in found} == {scratch.name, f"{scratch.name}-other"}
    assert all(one.labels["io.aifo.contract"] == scratch.name for one in found)
    assert {scratch.name} <= {one.name for one in scratch.engine.containers({})}
    assert len(scratch.containers()) == 2
    assert scratch.name in {one.name for one in scratch.engine.containers({"io.aifo.contract": ""})}
    assert scratch.engine.containers({"io.aifo.contract": scratch.name, "more": ""}) == ()


def test_run_gives_status_and_output_and_leaves_nothing(scratch: Scratch) -> None:
    def run(*words: str) -> Finished:
        return scratch.engine.run(scratch.container(*words))

    assert run("print", "a b é") == Finished(status=0, output="a b é\n".encode())
    assert run("warn", "to stderr") == Finished(status=0, output=b"to stderr\n")
    assert run("exit", "7") == Finished(status=7, output=b"")
    assert scratch.engine.containers({"io.aifo.contract": scratch.name}) == ()


def test_user_and_entrypoint(scratch: Scratch) -> None:
    spec = scratch.container(user="1234:56")
    named = ContainerSpec(image=spec.image, user=spec.user, entrypoint=("/probe", "id"))
    assert scratch.engine.run(named) == Finished(status=0, output=b"1234 56\n")


def test_a_dry_run_only_says_what_it_would_do(scratch: Scratch, recording: Recording) -> None:
    log.configure(dry_run=True)
    spec = scratch.container("print", "x y", name=scratch.name)
    assert scratch.engine.start(spec).status == ""
    assert scratch.engine.run(spec) == Finished(status=0, output=b"")
    scratch.engine.stop(scratch.name)
    scratch.engine.remove_container(scratch.name)
    log.configure(dry_run=False)
    assert scratch.engine.container(scratch.name) is None
    assert [text.rpartition(" /probe ")[2] for text in recording.commands[:2]] == [
        "print 'x y'"
    ] * 2
    assert [text.split()[-1] for text in recording.commands[2:]] == [scratch.name] * 2
