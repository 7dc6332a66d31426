"""Volumes and networks, as every engine keeps them."""

from __future__ import annotations

import io
import ipaddress
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.engine.api import MountSpec, NetworkSpec, VolumeSpec
from aifo_tasks.errors import ConflictError, NotFoundError
from tests.contract.conftest import Recording, Scratch


def spec_of(scratch: Scratch, **options: object) -> VolumeSpec:
    labels = (("io.aifo.contract", scratch.name), ("odd", "a b,c=$d"))
    return VolumeSpec(name=scratch.name, labels=labels, **options)  # type: ignore[arg-type]


def test_a_volume_is_as_it_was_asked_for(scratch: Scratch) -> None:
    assert scratch.engine.volume(scratch.name) is None
    made = scratch.engine.create_volume(spec_of(scratch))
    found = scratch.engine.volume(scratch.name)
    assert found is not None
    assert found == made
    assert (found.name, found.driver, dict(found.options)) == (scratch.name, "local", {})
    assert found.labels == {"io.aifo.contract": scratch.name, "odd": "a b,c=$d"}
    assert found.created


def test_driver_options_are_reported(scratch: Scratch, tmp_path: Path) -> None:
    options = (("type", "none"), ("o", "bind"), ("device", str(tmp_path)))
    scratch.engine.create_volume(spec_of(scratch, options=options))
    found = scratch.engine.volume(scratch.name)
    assert found is not None
    assert found.options["device"] == str(tmp_path)
    assert found.options["o"] == "bind"


def test_a_name_is_given_once(scratch: Scratch) -> None:
    scratch.engine.create_volume(spec_of(scratch))
    with pytest.raises(ConflictError, match=scratch.name):
        scratch.engine.create_volume(VolumeSpec(name=scratch.name))


def test_volumes_are_found_by_labels(scratch: Scratch) -> None:
    scratch.engine.create_volume(spec_of(scratch))
    scratch.engine.create_volume(VolumeSpec(name=f"{scratch.name}-other"))

    def names(**labels: str) -> list[str]:
        found = scratch.engine.volumes({key.replace("_", "."): labels[key] for key in labels})
        return [one.name for one in found]

    assert names(io_aifo_contract=scratch.name) == [scratch.name]
    assert scratch.name in names(io_aifo_contract="")
    assert f"{scratch.name}-other" not in names(io_aifo_contract="")
    assert names(io_aifo_contract=scratch.name, odd="else") == []


def test_a_volume_in_use_is_not_removed(scratch: Scratch) -> None:
    scratch.engine.create_volume(spec_of(scratch))
    mount = MountSpec(kind="volume", source=scratch.name, target="/kept-here")
    scratch.engine.start(scratch.container("wait", name=scratch.name, mounts=(mount,)))
    with pytest.raises(ConflictError):
        scratch.engine.remove_volume(scratch.name)
    scratch.engine.remove_container(scratch.name)
    scratch.engine.remove_volume(scratch.name)
    assert scratch.engine.volume(scratch.name) is None


def test_removing_what_is_not_there_is_no_error(scratch: Scratch) -> None:
    scratch.engine.remove_volume(scratch.name)
    scratch.engine.remove_network(scratch.name)


def members() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """A directory, two files of different owners, a link and an empty file."""
    directory = tarfile.TarInfo("sub")
    directory.type, directory.mode, directory.uid, directory.gid = tarfile.DIRTYPE, 0o750, 1000, 7
    yield directory, b""
    for name, uid, data in (("sub/file", 1000, b"content"), ("other", 0, b"x" * 300_000)):
        file = tarfile.TarInfo(name)
        file.size, file.uid, file.gid, file.mode, file.mtime = len(data), uid, 9, 0o640, 1_000_000
        yield file, data
    link = tarfile.TarInfo("link")
    link.type, link.linkname, link.uid = tarfile.SYMTYPE, "sub/file", 1000
    yield link, b""


def packed() -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, data in members():
            archive.addfile(member, io.BytesIO(data))
    for start in range(0, buffer.tell(), 50_000):
        yield buffer.getvalue()[start : start + 50_000]


def described(stream: Iterator[bytes]) -> dict[str, tuple[object, ...]]:
    """What a tar stream holds, whatever the order: name to all that is kept."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in ("", "."):
                continue
            file = archive.extractfile(member) if member.isreg() else None
            owner = (member.uid, member.gid)
            mode = 0 if member.issym() else member.mode & 0o7777
            content = file.read() if file else member.linkname.encode()
            found[name] = (member.type, owner, mode, content)
    return found


def ownerless(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {name: (kind, *rest) for name, (kind, _, *rest) in found.items()}


def test_an_archive_comes_back_as_it_went_in(scratch: Scratch) -> None:
    scratch.engine.create_volume(spec_of(scratch))
    scratch.engine.write_archive(scratch.name, scratch.image, packed())
    back = described(scratch.engine.read_archive(scratch.name, scratch.image))
    sent = described(packed())
    if scratch.differs("archive owners"):
        back, sent = ownerless(back), ownerless(sent)
    assert back == sent
    assert scratch.engine.volume_sizes()[scratch.name] >= 300_007


def test_an_empty_volume_is_an_empty_archive(scratch: Scratch) -> None:
    scratch.engine.create_volume(spec_of(scratch))
    assert described(scratch.engine.read_archive(scratch.name, scratch.image)) == {}


def test_an_archive_leaves_no_container_and_makes_no_volume(scratch: Scratch) -> None:
    with pytest.raises(NotFoundError):
        list(scratch.engine.read_archive(scratch.name, scratch.image))
    with pytest.raises(NotFoundError):
        scratch.engine.write_archive(scratch.name, scratch.image, packed())
    assert scratch.engine.volume(scratch.name) is None
    scratch.engine.create_volume(spec_of(scratch))
    with pytest.raises(NotFoundError):
        scratch.engine.write_archive(scratch.name, f"{scratch.name}:1", packed())
    assert scratch.containers() == []


def test_a_network_is_as_it_was_asked_for(scratch: Scratch) -> None:
    spec = NetworkSpec(name=scratch.name, internal=True, labels=(("a", "b c"),))
    assert scratch.engine.network(scratch.name) is None
    scratch.engine.create_network(spec)
    state = scratch.engine.network(scratch.name)
    assert state is not None
    assert (state.name, state.internal, state.labels) == (scratch.name, True, {"a": "b c"})
    if scratch.differs("internal gateway"):
        assert state.gateway == ""
    else:
        assert ipaddress.IPv4Address(state.gateway).is_private
    with pytest.raises(ConflictError):
        scratch.engine.create_network(spec)
    scratch.engine.remove_network(scratch.name)
    assert scratch.engine.network(scratch.name) is None


def test_networks_are_found_by_all_of_their_labels(scratch: Scratch) -> None:
    mine = (("io.aifo.contract", scratch.name), ("number", "1"))
    scratch.engine.create_network(NetworkSpec(name=scratch.name, labels=mine))

    def found(**labels: str) -> list[str]:
        wanted = {"io.aifo.contract": scratch.name, **labels}
        return [one.name for one in scratch.engine.networks(wanted)]

    assert found() == found(number="1") == found(number="") == [scratch.name]
    assert found(number="2") == []


def test_a_network_in_use_is_not_removed(scratch: Scratch) -> None:
    scratch.engine.create_network(NetworkSpec(name=scratch.name))
    scratch.engine.start(scratch.container("wait", name=scratch.name, network=scratch.name))
    with pytest.raises(ConflictError):
        scratch.engine.remove_network(scratch.name)


def test_a_dry_run_only_says_what_it_would_do(scratch: Scratch, recording: Recording) -> None:
    log.configure(dry_run=True)
    made = scratch.engine.create_volume(spec_of(scratch))
    assert (made.name, made.driver) == (scratch.name, "")
    scratch.engine.create_network(NetworkSpec(name=scratch.name))
    scratch.engine.write_archive("any", scratch.image, packed())
    assert list(scratch.engine.read_archive("any", scratch.image)) == []
    scratch.engine.remove_volume(scratch.name)
    scratch.engine.remove_network(scratch.name)
    log.configure(dry_run=False)
    assert scratch.engine.volume(scratch.name) is None
    assert scratch.engine.network(scratch.name) is None
    assert len(recording.commands) == 6
