"""Caches and overlays on a real engine: who owns them, and a guard that fires."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from aifo_tasks import cache, overlay
from aifo_tasks.engine.api import ContainerSpec, Engine, ImportSpec, MountSpec, VolumeSpec
from aifo_tasks.engine.docker import connect
from aifo_tasks.engine.sdk import DEFAULT_ENDPOINT
from aifo_tasks.errors import EngineError, OverlayError
from aifo_tasks.model import Cache, Image, Toolchain
from aifo_tasks.overlay import Directory, Place

PROGRAMS = {
    "chown": """
        #include <stdlib.h>
        #include <unistd.h>
        int main(int count, char **words)
        {
            char *rest;
            uid_t uid = (uid_t)strtoul(words[1], &rest, 10);
            gid_t gid = (gid_t)strtoul(rest + 1, NULL, 10);
            for (int i = 2; i < count; i++)
                if (chown(words[i], uid, gid)) return 1;
            return 0;
        }
    """,
    "pause": """
        #include <signal.h>
        #include <unistd.h>
        static void end(int number) { (void)number; _exit(0); }
        int main(void) { signal(SIGTERM, end); for (;;) pause(); }
    """,
}
SENTENCE = (
    "/workspace/node_modules must be a dedicated container volume or tmpfs, "
    "not a bind mount of the host's node_modules"
)


@dataclass(frozen=True)
class Scratch:
    """An engine, an image with two programs, and a prefix for names that are removed after."""

    engine: Engine
    image: str
    name: str


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str]]:
    top = tmp_path_factory.mktemp("image")
    with tarfile.open(top / "root.tar", "w") as archive:
        for name, text in PROGRAMS.items():
            (top / f"{name}.c").write_text(text)
            subprocess.run(["gcc", "-static", "-o", top / name, top / f"{name}.c"], check=True)
            archive.add(top / name, f"bin/{name}")
    tag = f"aifo-volumes-{secrets.token_hex(4)}:test"
    endpoint = os.environ.get("AIFO_TEST_ENGINE") or os.environ.get("DOCKER_HOST")
    with connect(endpoint or DEFAULT_ENDPOINT) as engine:
        engine.import_image(ImportSpec(archive=top / "root.tar", tag=tag))
        yield engine, tag
        engine.remove_image(tag)


@pytest.fixture
def scratch(image: tuple[Engine, str]) -> Iterator[Scratch]:
    engine, tag = image
    name = f"aifo-volumes-{secrets.token_hex(4)}"
    yield Scratch(engine, tag, name)
    engine.remove_container(name)
    for suffix in ("", "-u1234", "-bind", "-tmpfs"):
        engine.remove_volume(name + suffix)


def root_owner(scratch: Scratch, volume: str) -> tuple[int, int]:
    data = b"".join(scratch.engine.read_archive(volume, scratch.image))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        top = archive.getmember(".")
    return top.uid, top.gid


def test_a_volume_belongs_to_its_user_from_the_start(scratch: Scratch) -> None:
    spec = cache.volume_spec(scratch.name, "node", 1234)
    assert cache.ensure(scratch.engine, [spec], (1234, 4321), scratch.image) == (scratch.name,)
    assert root_owner(scratch, scratch.name) == (1234, 4321)


def test_what_a_killed_run_left_to_root_is_repaired(scratch: Scratch) -> None:
    scratch.engine.create_volume(cache.volume_spec(scratch.name, "node", 1234))
    assert root_owner(scratch, scratch.name) == (0, 0)

    def run(argv: Sequence[str], *, on_output: Callable[[bytes], None], **_: object) -> int:
        assert argv[-1] == "/x"
        on_output(b"" if root_owner(scratch, scratch.name)[0] == 1234 else b"0\n")
        return 0

    mounted = {"/x": scratch.name}
    cache.repair(scratch.engine, run, mounted, (1234, 4321), scratch.image)
    assert root_owner(scratch, scratch.name) == (1234, 4321)


def test_a_second_user_gets_a_volume_of_its_own(scratch: Scratch) -> None:
    scratch.engine.create_volume(cache.volume_spec(scratch.name, "node", 1))
    assert cache.volume_for(scratch.engine, scratch.name, 1) == scratch.name
    assert cache.volume_for(scratch.engine, scratch.name, 1234) == f"{scratch.name}-u1234"


def test_export_and_import_keep_the_bytes(scratch: Scratch, tmp_path: Path) -> None:
    kind = Toolchain(
        kind="node",
        image=Image(name="x", context=tmp_path, base=()),
        caches=(Cache(volume=scratch.name, target="/x"),),
    )
    cache.ensure(
        scratch.engine, [cache.volume_spec(scratch.name, "node", 0)], (0, 0), scratch.image
    )
    source = tmp_path / "source"
    (source / "größe/deep").mkdir(parents=True)
    (source / "größe/file").write_bytes(os.urandom(100_000))
    (source / "größe/deep/link").symlink_to("../file")
    with tarfile.open(tmp_path / "source.tar", "w") as archive:
        archive.add(source, ".")
    data = (tmp_path / "source.tar").read_bytes()
    scratch.engine.write_archive(scratch.name, scratch.image, iter([data]))

    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    cache.export_archive(scratch.engine, kind, 0, scratch.image, one)
    cache.import_archive(scratch.engine, kind, (1234, 4321), scratch.image, one)
    cache.export_archive(scratch.engine, kind, 1234, scratch.image, two)
    assert one.read_bytes() == two.read_bytes()
    imported = f"{scratch.name}-u1234"
    assert root_owner(scratch, imported) == (1234, 4321)
    data = b"".join(scratch.engine.read_archive(imported, scratch.image))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {(info.uid, info.gid) for info in archive} == {(1234, 4321)}
        assert len(archive.getnames()) == 5


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project/node_modules").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "project"


def bind(source: Path) -> MountSpec:
    return MountSpec(kind="bind", source=str(source), target="/workspace/node_modules")


def started(scratch: Scratch, project: Path, mounts: Sequence[MountSpec]) -> None:
    workspace = MountSpec(kind="bind", source=str(project), target="/workspace")
    scratch.engine.start(
        ContainerSpec(
            image=scratch.image, name=scratch.name, entrypoint=("/bin/pause",),
            mounts=(workspace, *mounts), network="none",
        )
    )  # fmt: skip


def check_engine(scratch: Scratch, covered: Directory) -> None:
    state = scratch.engine.container(scratch.name)
    assert state is not None
    volume = scratch.engine.volume(covered.volume)
    overlay.check_engine(state, {} if volume is None else {covered.volume: volume}, [covered])


def check_inside(scratch: Scratch, covered: Directory) -> None:
    """The guard, its mountinfo read from the host: the image has no cat."""
    state = scratch.engine.container(scratch.name)
    assert state is not None
    text = Path(f"/proc/{state.pid}/mountinfo").read_bytes()

    def run(argv: Sequence[str], *, on_output: Callable[[bytes], None], **_: object) -> int:
        assert argv == ["cat", "/proc/self/mountinfo"]
        on_output(text)
        return 0

    overlay.guard(run, [covered.target])


def our_volume(scratch: Scratch, project: Path, suffix: str = "", **options: str) -> Directory:
    place = Place(project=project, kind="node", uid=0, machine="m", platform="p")
    covered = Directory(relative="node_modules", volume=scratch.name + suffix)
    spec = overlay.volume_spec(covered, place, "1")
    scratch.engine.create_volume(
        VolumeSpec(name=spec.name, labels=spec.labels, options=tuple(options.items()))
    )
    return covered


def test_a_volume_of_ours_passes_both(scratch: Scratch, project: Path) -> None:
    covered = our_volume(scratch, project)
    started(scratch, project, [overlay.mount_spec(covered)])
    check_engine(scratch, covered)
    check_inside(scratch, covered)


def test_tmpfs_passes_both(scratch: Scratch, project: Path) -> None:
    covered = our_volume(scratch, project, "-tmpfs", type="tmpfs", device="tmpfs", o="size=1m")
    started(scratch, project, [overlay.mount_spec(covered)])
    check_engine(scratch, covered)
    check_inside(scratch, covered)


def test_a_bind_mount_of_the_host_s_node_modules(scratch: Scratch, project: Path) -> None:
    covered = Directory(relative="node_modules", volume=scratch.name)
    started(scratch, project, [bind(project / "node_modules")])
    for check in (check_engine, check_inside):
        with pytest.raises(OverlayError) as caught:
            check(scratch, covered)
        assert str(caught.value).startswith(SENTENCE)


def test_a_bind_mount_of_another_directory(scratch: Scratch, project: Path) -> None:
    started(scratch, project, [bind(project.parent / "elsewhere")])
    with pytest.raises(OverlayError, match="it is a bind mount of"):
        check_engine(scratch, Directory(relative="node_modules", volume=scratch.name))


def test_a_volume_that_is_a_bind_mount(scratch: Scratch, project: Path) -> None:
    device = str(project / "node_modules")
    covered = our_volume(scratch, project, "-bind", type="none", device=device, o="bind")
    started(scratch, project, [overlay.mount_spec(covered)])
    for check in (check_engine, check_inside):
        with pytest.raises(OverlayError) as caught:
            check(scratch, covered)
        assert str(caught.value).startswith(SENTENCE)


def test_a_plain_directory(scratch: Scratch, project: Path) -> None:
    started(scratch, project, [])
    covered = Directory(relative="node_modules", volume=scratch.name)
    for check in (check_engine, check_inside):
        with pytest.raises(OverlayError, match="nothing is mounted there"):
            check(scratch, covered)


def test_a_link_to_somewhere_else(scratch: Scratch, project: Path) -> None:
    (project / "node_modules").rmdir()
    (project / "node_modules").symlink_to("../elsewhere")
    covered = our_volume(scratch, project)
    with pytest.raises(OverlayError, match="is a link"):
        overlay.check_host(project, [covered])
    with contextlib.suppress(EngineError):  # engines differ in whether they start such a thing
        started(scratch, project, [overlay.mount_spec(covered)])
        with pytest.raises(OverlayError, match="nothing is mounted there"):
            check_inside(scratch, covered)
    assert os.listdir(project.parent / "elsewhere") == []
