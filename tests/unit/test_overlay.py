"""Names and mount points of overlays, and a guard that fires."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from aifo_tasks import overlay
from aifo_tasks.engine.api import ContainerState, MountSpec, MountState, VolumeState
from aifo_tasks.errors import OverlayError
from aifo_tasks.model import Overlay
from aifo_tasks.overlay import Directory, Place

PLACE = Place(project=Path("/p"), kind="node", uid=1000, machine="m", platform="linux/amd64")
ROOT = Directory(relative="node_modules", volume="aifo-node-modules-1")
MEMBER = Directory(relative="packages/a/node_modules", volume="aifo-node-modules-1-a")
SENTENCE = (
    "/workspace/node_modules must be a dedicated container volume or tmpfs, "
    "not a bind mount of the host's node_modules"
)
ME = (os.getuid(), os.getgid())


@pytest.mark.parametrize(
    "change",
    [
        {"project": Path("/q")},
        {"uid": 1001},
        {"machine": "n"},
        {"platform": "linux/arm64"},
        {"libc": "musl"},
        {"version": "22"},
    ],
)
def test_nothing_that_matters_is_shared(change: dict[str, object]) -> None:
    other = dataclasses.replace(PLACE, **change)  # type: ignore[arg-type]
    assert other.key != PLACE.key
    assert len(other.key) == 12


def test_every_member_has_a_volume_of_its_own() -> None:
    declared = Overlay(directory="node_modules", volume="aifo-node-modules", members=True)
    found = overlay.directories([declared], ["packages/a", "packages/b"], PLACE)
    assert [directory.target for directory in found] == [
        "/workspace/node_modules",
        "/workspace/packages/a/node_modules",
        "/workspace/packages/b/node_modules",
    ]
    base = f"aifo-node-modules-{PLACE.key}"
    assert found[0].volume == base
    assert all(directory.volume.startswith(f"{base}-") for directory in found[1:])
    assert len({directory.volume for directory in found}) == 3


def test_without_members_only_the_project_is_covered() -> None:
    declared = Overlay(directory=".venv", volume="aifo-venv")
    assert overlay.directories([declared], ["a"], PLACE) == (
        Directory(relative=".venv", volume=f"aifo-venv-{PLACE.key}"),
    )


def test_a_volume_says_whose_it_is() -> None:
    spec = overlay.volume_spec(ROOT, PLACE, "1.2.3")
    assert (spec.name, spec.options) == ("aifo-node-modules-1", ())
    assert dict(spec.labels) == {
        "io.aifo.project": "/p",
        "io.aifo.kind": "node",
        "io.aifo.uid": "1000",
        "io.aifo.overlay": "node_modules",
        "io.aifo.version": "1.2.3",
    }
    assert overlay.mount_spec(ROOT) == MountSpec(
        kind="volume", source="aifo-node-modules-1", target="/workspace/node_modules"
    )


def test_mount_points_are_made_empty_and_taken_away_again(tmp_path: Path) -> None:
    (tmp_path / "packages/a").mkdir(parents=True)
    made = overlay.make_mount_points(tmp_path, [ROOT, MEMBER], ME)
    assert made == ("node_modules", "packages/a/node_modules")
    assert overlay.make_mount_points(tmp_path, [ROOT, MEMBER], ME) == ()
    (tmp_path / "node_modules/kept").touch()
    overlay.remove_mount_points(tmp_path, made)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a", "kept", "node_modules", "packages",
    ]  # fmt: skip


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make directories for others")
def test_mount_points_belong_to_the_user(tmp_path: Path) -> None:
    overlay.make_mount_points(tmp_path, [ROOT], (4321, 4322))
    status = (tmp_path / "node_modules").stat()
    assert (status.st_uid, status.st_gid) == (4321, 4322)


def link(path: Path) -> None:
    path.symlink_to("/tmp")


@pytest.mark.parametrize(
    ("place", "make", "kind"),
    [
        ("node_modules", link, "a link"),
        ("node_modules", Path.touch, "not a directory"),
        ("node_modules", os.mkfifo, "not a directory"),
    ],
)
def test_the_host_directory_is_looked_at(
    tmp_path: Path, place: str, make: Callable[[Path], None], kind: str
) -> None:
    make(tmp_path / place)
    for check in (
        lambda: overlay.check_host(tmp_path, [ROOT]),
        lambda: overlay.make_mount_points(tmp_path, [ROOT], ME),
    ):
        with pytest.raises(OverlayError) as caught:
            check()
        assert str(caught.value).startswith(f"{SENTENCE} (hint: {tmp_path}/node_modules is {kind}")


def test_a_link_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real/a").mkdir(parents=True)
    (tmp_path / "packages").symlink_to("real")
    with pytest.raises(OverlayError, match=r"/packages is a link: rm /"):
        overlay.check_host(tmp_path, [MEMBER])
    with pytest.raises(OverlayError):
        overlay.make_mount_points(tmp_path, [MEMBER], ME)
    assert os.listdir(tmp_path / "real/a") == []


def test_what_is_missing_or_a_directory_is_fine(tmp_path: Path) -> None:
    overlay.check_host(tmp_path, [ROOT, MEMBER])
    (tmp_path / "node_modules/x").mkdir(parents=True)
    overlay.check_host(tmp_path, [ROOT])


def mounted(kind: str = "volume", **more: str) -> ContainerState:
    mount = MountState(
        kind=kind, target=ROOT.target, source=more.get("source", ""), volume=more.get("volume", "")
    )
    return ContainerState(id="1", name="c", status="running", mounts=(mount,))


def volume(options: Mapping[str, str] | None = None, **more: str) -> dict[str, VolumeState]:
    state = VolumeState(
        name=ROOT.volume,
        driver=more.get("driver", "local"),
        labels={"io.aifo.overlay": more.get("label", "node_modules")},
        options=options or {},
    )
    return {ROOT.volume: state}


OURS = mounted(volume=ROOT.volume)


@pytest.mark.parametrize(
    ("container", "volumes"),
    [
        (OURS, volume()),
        (OURS, volume({"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})),
        (mounted("tmpfs"), {}),
    ],
)
def test_volumes_of_ours_and_tmpfs_are_accepted(
    container: ContainerState, volumes: Mapping[str, VolumeState]
) -> None:
    overlay.check_engine(container, volumes, [ROOT])


BOUND = (
    "volume aifo-node-modules-1 has the options device=/p/node_modules,o=bind,type=none: "
    "docker volume rm aifo-node-modules-1"
)


@pytest.mark.parametrize(
    ("container", "volumes", "reason"),
    [
        (
            mounted("bind", source="/p/node_modules"),
            volume(),
            "it is a bind mount of /p/node_modules: doit sidecar_stop",
        ),
        (
            OURS,
            volume({"type": "none", "o": "bind", "device": "/p/node_modules"}),
            BOUND,
        ),
        (
            OURS,
            volume(driver="nfs"),
            "volume aifo-node-modules-1 has the driver nfs: docker volume rm aifo-node-modules-1",
        ),
        (
            OURS,
            volume(label="target"),
            "volume aifo-node-modules-1 was not made for it: docker volume rm aifo-node-modules-1",
        ),
        (OURS, {}, "the engine has no volume aifo-node-modules-1: doit sidecar_stop"),
        (
            ContainerState(id="1", name="c", status="running"),
            volume(),
            "nothing is mounted there: doit sidecar_stop",
        ),
    ],
)
def test_what_the_engine_reports_is_refused(
    container: ContainerState, volumes: Mapping[str, VolumeState], reason: str
) -> None:
    with pytest.raises(OverlayError) as caught:
        overlay.check_engine(container, volumes, [ROOT])
    assert str(caught.value) == f"{SENTENCE} (hint: {reason})"


WORKSPACE = "100 90 8:1 /home/me/project /workspace rw,relatime - ext4 /dev/sda1 rw"
VOLUME = (
    "101 100 8:1 /var/lib/docker/volumes/v/_data /workspace/node_modules rw,relatime "
    "shared:7 master:2 - ext4 /dev/sda1 rw"
)
TMPFS = "102 100 0:99 / /workspace/node_modules rw,nosuid - tmpfs tmpfs rw,size=1m"
BIND = "103 100 8:1 /home/me/project/node_modules /workspace/node_modules rw - ext4 /dev/sda1 rw"


@pytest.mark.parametrize(
    "lines",
    [
        [WORKSPACE, VOLUME],
        [WORKSPACE, TMPFS],
        [WORKSPACE, BIND, VOLUME],
        [VOLUME],
        ["", "nonsense", WORKSPACE, VOLUME],
        [WORKSPACE.replace("/home/me/project", "/var/lib/docker/volumes/v/_dat"), VOLUME],
    ],
)
def test_the_kernel_shows_a_mount_of_its_own(lines: Sequence[str]) -> None:
    overlay.check_inside("\n".join(lines) + "\n", [ROOT.target])


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([WORKSPACE], "nothing is mounted there"),
        ([WORKSPACE, BIND], "it shows a directory of the project"),
        ([WORKSPACE, VOLUME, BIND], "it shows a directory of the project"),
        (
            [WORKSPACE, BIND.replace("/home/me/project/node_modules", "/home/me/project")],
            "it shows a directory of the project",
        ),
        (
            [WORKSPACE.replace("/home/me/project", "/"), BIND],
            "it shows a directory of the project",
        ),
        ([WORKSPACE, VOLUME.replace("rw,relatime", "ro,relatime")], "its mount is read-only"),
        ([WORKSPACE, TMPFS.replace("rw,size", "ro,size")], "its mount is read-only"),
        (
            [
                WORKSPACE,
                VOLUME.replace("/workspace/node_modules", "/workspace/node_modules//deleted"),
            ],
            "nothing is mounted there",
        ),
        (
            [WORKSPACE, VOLUME.replace("/workspace/node_modules", "/workspace/node_modules/x")],
            "nothing is mounted there",
        ),
        ([WORKSPACE, VOLUME.replace("/workspace", "/Workspace")], "nothing is mounted there"),
    ],
)
def test_the_kernel_shows_something_else(lines: Sequence[str], reason: str) -> None:
    with pytest.raises(OverlayError) as caught:
        overlay.check_inside("\n".join(lines), [ROOT.target])
    assert str(caught.value) == f"{SENTENCE} (hint: {reason}: doit sidecar_stop)"


def test_names_are_unescaped() -> None:
    target = "/workspace/a b\\c\td/node_modules"
    line = VOLUME.replace("/workspace/", "/workspace/a\\040b\\134c\\011d/")
    overlay.check_inside(f"{WORKSPACE}\n{line}\n", [target])
    bind = line.replace("/var/lib/docker/volumes/v/_data", "/home/me/my\\040project/n")
    workspace = WORKSPACE.replace("/home/me/project", "/home/me/my\\040project")
    with pytest.raises(OverlayError, match="it shows a directory of the project"):
        overlay.check_inside(f"{workspace}\n{bind}\n", [target])


def test_every_target_is_checked() -> None:
    with pytest.raises(OverlayError, match=r"^/workspace/packages/a/node_modules must be"):
        overlay.check_inside(f"{WORKSPACE}\n{VOLUME}\n", [ROOT.target, MEMBER.target])


class Answer:
    """A sidecar whose mounts are as given; ``pieces`` arrive one by one."""

    def __init__(self, pieces: Sequence[bytes], status: int = 0) -> None:
        self.pieces, self.status = pieces, status
        self.argvs: list[Sequence[str]] = []

    def __call__(
        self, argv: Sequence[str], *, on_output: Callable[[bytes], None], **_: object
    ) -> int:
        self.argvs.append(argv)
        for piece in self.pieces:
            on_output(piece)
        return self.status


def test_the_guard_asks_inside() -> None:
    text = f"{WORKSPACE}\n{VOLUME}\n".encode()
    sidecar = Answer([text[:20], text[20:]])
    overlay.guard(sidecar, [ROOT.target])
    assert sidecar.argvs == [["cat", "/proc/self/mountinfo"]]
    overlay.guard(Answer([b"\xff" + text[:0], b"\n", text]), [ROOT.target])
    with pytest.raises(OverlayError, match="nothing is mounted there"):
        overlay.guard(Answer([WORKSPACE.encode()]), [ROOT.target])
    with pytest.raises(OverlayError, match="its mounts cannot be read"):
        overlay.guard(Answer([text], status=127), [ROOT.target])


def test_without_overlays_the_guard_asks_nothing() -> None:
    sidecar = Answer([], status=1)
    overlay.guard(sidecar, [])
    assert sidecar.argvs == []
