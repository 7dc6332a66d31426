"""Volumes that belong to one uid: named, made, owned, repaired, listed, purged, moved."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from aifo_tasks import cache, files, log, overlay
from aifo_tasks.engine.api import ContainerSpec, Finished, ImageState, MountSpec, VolumeSpec
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.model import Cache, Config, Image, Registry, Toolchain
from aifo_tasks.overlay import Directory, Place
from aifo_tasks.sidecar.identity import user_label
from tests.contract.fake import Fake

IMAGE = "toolchain:latest"
OWNER = (1000, 1001)
NODE = Toolchain(
    kind="node",
    image=Image(name="toolchain", context=Path("images/node"), base=()),
    caches=(Cache(volume="aifo-x", target="/x"), Cache(volume="aifo-y", target="/y")),
)


class Chown:
    """The ``chown`` of an image: it keeps what it was asked, and may fail."""

    def __init__(self) -> None:
        self.specs: list[ContainerSpec] = []
        self.status = 0

    def __call__(self, spec: ContainerSpec) -> Finished:
        self.specs.append(spec)
        return Finished(status=self.status, output=b"Operation not permitted\n")


@pytest.fixture
def chown() -> Chown:
    return Chown()


@pytest.fixture
def engine(chown: Chown) -> Fake:
    fake = Fake({"chown": chown, "sleep": lambda _: None})
    fake.images[IMAGE] = ImageState(id="sha256:1", platform="linux/amd64")
    return fake


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path, files=(), registry=Registry(), toolchains=(NODE,))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def dry_run() -> Iterator[None]:
    log.configure(dry_run=True)
    yield
    log.configure(dry_run=False)


def make(engine: Fake, name: str, uid: int | None = None, **labels: str) -> None:
    owner = () if uid is None else (("io.aifo.uid", str(uid)),)
    engine.create_volume(VolumeSpec(name=name, labels=(*owner, *labels.items())))


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ({}, "aifo-x"),
        ({"aifo-x": 1000}, "aifo-x"),
        ({"aifo-x": 0}, "aifo-x-u1000"),
        ({"aifo-x": None}, "aifo-x-u1000"),
        ({"aifo-x": 0, "aifo-x-u1000": 1000}, "aifo-x-u1000"),
    ],
)
def test_a_volume_belongs_to_one_uid(
    engine: Fake, volumes: dict[str, int | None], expected: str
) -> None:
    for name, uid in volumes.items():
        make(engine, name, uid)
    assert cache.volume_for(engine, "aifo-x", 1000) == expected


def test_a_volume_of_our_name_and_another_uid_is_refused(engine: Fake) -> None:
    make(engine, "aifo-x", 0)
    make(engine, "aifo-x-u1000", 1)
    with pytest.raises(AifoError, match="aifo-x-u1000: does not belong to uid 1000"):
        cache.volume_for(engine, "aifo-x", 1000)


def test_what_is_missing_is_made_and_owned_by_one_container(engine: Fake, chown: Chown) -> None:
    specs = [cache.volume_spec(name, "node", 1000) for name in ("aifo-x", "aifo-y")]
    make(engine, "aifo-old", 1000)
    specs.append(cache.volume_spec("aifo-old", "node", 1000))
    assert cache.ensure(engine, specs, OWNER, IMAGE) == ("aifo-x", "aifo-y")
    assert [spec.command for spec in chown.specs] == [("1000:1001", "/volumes/0", "/volumes/1")]
    state = engine.volume("aifo-x")
    assert state is not None
    assert (state.labels["io.aifo.uid"], state.labels["io.aifo.kind"]) == ("1000", "node")
    assert cache.ensure(engine, specs, OWNER, IMAGE) == ()
    assert len(chown.specs) == 1


def test_the_owning_container_can_do_nothing_else() -> None:
    assert cache.own_spec(["aifo-x"], OWNER, IMAGE) == ContainerSpec(
        image=IMAGE,
        labels=(
            ("io.aifo.kind", "own"),
            ("io.aifo.run-dir", str(files.run_dir())),
            ("io.aifo.user", user_label()),
        ),
        entrypoint=("chown", "1000:1001", "/volumes/0"),
        mounts=(MountSpec(kind="volume", source="aifo-x", target="/volumes/0"),),
        user="0:0",
        network="none",
        read_only=True,
        cap_drop=("ALL",),
        cap_add=("CHOWN",),
        security_opt=("no-new-privileges",),
        pids_limit=16,
    )


def test_root_owns_what_the_engine_makes(engine: Fake, chown: Chown) -> None:
    cache.ensure(engine, [cache.volume_spec("aifo-x", "node", 0)], (0, 0), IMAGE)
    assert chown.specs == []


def test_a_volume_that_cannot_be_owned_is_an_error(engine: Fake, chown: Chown) -> None:
    chown.status = 1
    with pytest.raises(EngineError, match="cannot be given to uid 1000: Operation not permitted"):
        cache.ensure(engine, [cache.volume_spec("aifo-x", "node", 1000)], OWNER, IMAGE)


def test_a_use_that_cannot_be_noted_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    cache.mark_used(["aifo-x"])
    assert not cache._uses().exists()


def test_a_dry_run_makes_nothing(engine: Fake, dry_run: None) -> None:
    cache.ensure(engine, [cache.volume_spec("aifo-x", "node", 1000)], OWNER, IMAGE)
    cache.mark_used(["aifo-x"])
    assert (engine.calls, engine.volume("aifo-x")) == ([], None)
    assert not cache._uses().exists()


class Sidecar:
    """Answers each ``test -w`` call with the next list of numbers."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def __call__(
        self, argv: Sequence[str], *, on_output: Callable[[bytes], None], **_: object
    ) -> int:
        assert argv[0] == "sh"
        on_output(self.answers.pop(0))
        return 0


MOUNTED = {"/x": "aifo-x", "/y": "aifo-y"}


@pytest.mark.parametrize(
    ("answers", "owned"), [([b""], []), ([b"1\n", b""], ["aifo-y"]), ([b"0\n1\n", b""], [*"xy"])]
)
def test_what_a_killed_run_left_is_repaired(
    engine: Fake, chown: Chown, answers: list[bytes], owned: list[str]
) -> None:
    make(engine, "aifo-x", 1000)
    make(engine, "aifo-y", 1000)
    cache.repair(engine, Sidecar(*answers), MOUNTED, OWNER, IMAGE)
    sources = [mount.source for spec in chown.specs for mount in spec.mounts]
    assert [source[-1] for source in sources] == [name[-1] for name in owned]


def test_what_cannot_be_repaired_is_an_error(engine: Fake) -> None:
    make(engine, "aifo-x", 1000)
    with pytest.raises(AifoError) as caught:
        cache.repair(engine, Sidecar(b"0\n", b"0\n"), MOUNTED, OWNER, IMAGE)
    assert str(caught.value) == (
        "/x: cannot be written by uid 1000 (hint: doit sidecar_stop && docker volume rm aifo-x)"
    )


def test_the_question_asked_inside_is_answered_by_a_shell(tmp_path: Path) -> None:
    import subprocess

    def run(argv: Sequence[str], *, on_output: Callable[[bytes], None], **_: object) -> int:
        prefix = ["setpriv", "--bounding-set=-all"] if os.getuid() == 0 else []
        done = subprocess.run([*prefix, *argv], stdout=subprocess.PIPE, check=False)
        on_output(done.stdout)
        return done.returncode

    for name, mode in (("a b", 0o755), ("c", 0o555), ("d", 0o555)):
        (tmp_path / name).mkdir(mode=mode)
    targets = [str(tmp_path / name) for name in ("a b", "c", "missing")]
    assert cache._unwritable(run, targets) == tuple(targets[1:])


def uses(engine: Fake, volume: str) -> None:
    engine.start(
        ContainerSpec(
            image=IMAGE,
            name="aifo-tc-node-1",
            command=("sleep",),
            labels=(("io.aifo.kind", "node"),),
            mounts=(MountSpec(kind="volume", source=volume, target="/x"),),
        )
    )


def test_purge_removes_what_is_declared_and_ours(engine: Fake, config: Config) -> None:
    for name, uid in {
        "aifo-x": 1000, "aifo-x-u1000": 1000, "aifo-y": 0, "aifo-y-u1000": 1000,
        "aifo-npm-cache": None, "aifo-z": 1000, "aifo-x-u1": 1, "mine": None,
    }.items():  # fmt: skip
        make(engine, name, uid)
    engine.write_archive("aifo-x", IMAGE, iter([tar(a=b"123")]))
    cache.mark_used(["aifo-x"])
    assert cache.purge(engine, config, 1000) == 3
    assert sorted(engine._volumes) == ["aifo-x-u1", "aifo-y", "aifo-z", "mine"]
    assert os.listdir(cache._uses()) == []
    assert cache.purge(engine, config, 1000) == 0


def test_overlays_are_purged_on_request_and_only_this_project_s(
    engine: Fake, config: Config
) -> None:
    for number, (project, uid) in enumerate(
        [(config.root, 1000), (config.root, 0), (Path("/other"), 1000)]
    ):
        place = Place(project=project, kind="node", uid=uid, machine="m", platform="p")
        directory = Directory(relative="node_modules", volume=f"aifo-node-modules-{number}")
        engine.create_volume(overlay.volume_spec(directory, place, "1"))
    cache.purge(engine, config, 1000)
    assert len(engine._volumes) == 3
    cache.purge(engine, config, 1000, overlays=True)
    assert sorted(engine._volumes) == ["aifo-node-modules-1", "aifo-node-modules-2"]


def test_nothing_is_purged_while_a_sidecar_uses_one(engine: Fake, config: Config) -> None:
    make(engine, "aifo-x", 1000)
    make(engine, "aifo-y", 1000)
    uses(engine, "aifo-y")
    with pytest.raises(AifoError) as caught:
        cache.purge(engine, config, 1000)
    assert str(caught.value) == "aifo-y: is in use by aifo-tc-node-1 (hint: doit sidecar_stop)"
    assert sorted(engine._volumes) == ["aifo-x", "aifo-y"]


def test_a_dry_purge_removes_nothing(engine: Fake, config: Config, dry_run: None) -> None:
    log.configure(dry_run=False)
    make(engine, "aifo-x", 1000)
    cache.mark_used(["aifo-x"])
    log.configure(dry_run=True)
    cache.purge(engine, config, 1000)
    assert "aifo-x" in engine._volumes
    assert os.listdir(cache._uses()) == ["aifo-x"]


def test_listing(engine: Fake, config: Config) -> None:
    engine.create_volume(cache.volume_spec("aifo-x", "node", 1000))
    engine.create_volume(cache.volume_spec("aifo-y", "node", 0))
    engine.write_archive("aifo-x", IMAGE, iter([tar(a=b"123")]))
    cache.mark_used(["aifo-x"])
    os.utime(cache._uses() / "aifo-x", (5.0, 7.0))
    assert cache.listing(engine, config, 1000) == (
        cache.Listed(kind="node", volume="aifo-x", size=3, last_use=7.0),
    )


def tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.uid, info.mtime = len(data), 4321, 99
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_export_and_import(engine: Fake, tmp_path: Path) -> None:
    make(engine, "aifo-x", 0)
    for name in ("aifo-x-u1000", "aifo-y"):
        engine.create_volume(cache.volume_spec(name, "node", 1000))
    engine.write_archive("aifo-x-u1000", IMAGE, iter([tar(b=b"2", a=b"1")]))
    engine.write_archive("aifo-y", IMAGE, iter([tar(c=b"3")]))
    path, again = tmp_path / "one.tar", tmp_path / "two.tar"
    cache.export_archive(engine, NODE, 1000, IMAGE, path)
    with tarfile.open(path) as archive:
        names = ["aifo-x", "aifo-x/a", "aifo-x/b", "aifo-y", "aifo-y/c"]
        assert archive.getnames() == names

    cache.import_archive(engine, NODE, (7, 8), IMAGE, path)
    assert {info.uid for info, _ in engine._contents["aifo-x-u7"].values()} == {7}
    cache.export_archive(engine, NODE, 7, IMAGE, again)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["one.tar", "two.tar"]


def test_a_bad_archive_is_refused_before_anything_is_written(engine: Fake, tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(tar(**{"aifo-x": b"1"}))
    with pytest.raises(AifoError, match="cannot be imported"):
        cache.import_archive(engine, NODE, OWNER, IMAGE, path)
    assert engine._volumes == {}


def test_nothing_to_export_is_an_error(engine: Fake, tmp_path: Path) -> None:
    with pytest.raises(AifoError) as caught:
        cache.export_archive(engine, NODE, 1000, IMAGE, tmp_path / "x.tar")
    assert caught.value.hint == "doit warm_cache:node"
    assert not (tmp_path / "x.tar").exists()


def test_a_failed_export_leaves_no_file(engine: Fake, tmp_path: Path) -> None:
    engine.create_volume(cache.volume_spec("aifo-x", "node", 1000))
    engine.write_archive("aifo-x", IMAGE, iter([tar(a=b"1")]))
    (tmp_path / "out").mkdir()
    with pytest.raises(AifoError, match="out: cannot be written: Is a directory"):
        cache.export_archive(engine, NODE, 1000, IMAGE, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


def test_a_dry_export_writes_nothing(engine: Fake, tmp_path: Path, dry_run: None) -> None:
    log.configure(dry_run=False)
    engine.create_volume(cache.volume_spec("aifo-x", "node", 1000))
    log.configure(dry_run=True)
    cache.export_archive(engine, NODE, 1000, IMAGE, tmp_path / "x.tar")
    assert os.listdir(tmp_path) == []
