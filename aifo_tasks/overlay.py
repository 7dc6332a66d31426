"""Dependency directories that volumes cover: their names, mount points and guard."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from aifo_tasks import files
from aifo_tasks.errors import OverlayError, UnsafePathError
from aifo_tasks.model import WORKSPACE, Overlay
from aifo_tasks.value import dataclass

if TYPE_CHECKING:
    from aifo_tasks.engine.api import ContainerState, MountSpec, MountState, VolumeSpec, VolumeState

LABEL = "io.aifo.overlay"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Runner(Protocol):
    """Runs a command inside the running sidecar and returns its exit status.

    ``stdin`` is a descriptor of this process, None meaning an empty input; both outputs come
    joined to ``on_output`` in pieces of any size. The runner announces what it runs.
    """

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: str = WORKSPACE,
        environment: Mapping[str, str] = _NOTHING,
        stdin: int | None = None,
        on_output: Callable[[bytes], None],
    ) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """All that one overlay may not share with another: project, user, machine, what runs in it.

    ``project`` is the real path on the host, ``uid`` the user inside the container, ``version``
    the tool's version the file declares ("" for the default): two terminals with two versions
    keep both their overlays.
    """

    project: Path
    kind: str
    uid: int
    machine: str
    platform: str
    libc: str = "glibc"
    version: str = ""

    @property
    def key(self) -> str:
        """12 hexadecimal digits, part of every volume's name."""
        parts = (str(self.project), str(self.uid), self.machine)
        return files.digest(*parts, self.platform, self.libc, self.version)[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory below the project (``packages/a/node_modules``) and the volume over it."""

    relative: str
    volume: str

    @property
    def target(self) -> str:
        """Its path inside the sidecar."""
        return f"{WORKSPACE}/{self.relative}"


def directories(
    overlays: Sequence[Overlay], members: Sequence[str], place: Place
) -> tuple[Directory, ...]:
    """Every directory to cover: each overlay's own first, then the members' in their order."""
    found = []
    for overlay in overlays:
        name = f"{overlay.volume}-{place.key}"
        found.append(Directory(relative=overlay.directory, volume=name))
        found += [
            Directory(
                relative=f"{member}/{overlay.directory}",
                volume=f"{name}-{files.digest(member)[:8]}",
            )
            for member in (members if overlay.members else ())
        ]
    return tuple(found)


def volume_spec(directory: Directory, place: Place, version: str) -> VolumeSpec:
    """The volume over ``directory``; ``version`` is the package's own."""
    from aifo_tasks.engine.api import VolumeSpec

    return VolumeSpec(
        name=directory.volume,
        labels=(
            ("io.aifo.project", str(place.project)),
            ("io.aifo.kind", place.kind),
            ("io.aifo.uid", str(place.uid)),
            (LABEL, directory.relative),
            ("io.aifo.version", version),
        ),
    )


def mount_spec(directory: Directory) -> MountSpec:
    """The mount that covers ``directory``."""
    from aifo_tasks.engine.api import MountSpec

    return MountSpec(kind="volume", source=directory.volume, target=directory.target)


def check_host(project: Path, covered: Sequence[Directory]) -> None:
    """Look at each directory on the host, component by component, before anything starts.

    Raises OverlayError for a link or something that is no directory on the way; what is
    missing is fine.
    """
    for directory in covered:
        path = project
        for part in directory.relative.split("/"):
            path = path / part
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                break
            if not stat.S_ISDIR(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "not a directory"
                raise _refused(directory.target, f"{path} is {kind}: rm {shlex.quote(str(path))}")


def make_mount_points(
    project: Path, covered: Sequence[Directory], owner: tuple[int, int]
) -> tuple[str, ...]:
    """Make the missing host directories, empty, before the engine makes them as root.

    Returns those that were made, relative to the project, so that the end of the sidecar can
    take the empty ones away again (``remove_mount_points``).
    """
    made = []
    for directory in covered:
        try:
            if files.make_directory_below(project, directory.relative, owner=owner):
                made.append(directory.relative)
        except UnsafePathError as error:
            raise _refused(directory.target, f"{error.subject} {error.problem}") from None
    return tuple(made)


def remove_mount_points(project: Path, made: Sequence[str]) -> None:
    """Remove what ``make_mount_points`` made, as far as it is still empty."""
    for relative in reversed(made):
        files.remove_empty_below(project, relative)


def check_engine(
    container: ContainerState, volumes: Mapping[str, VolumeState], covered: Sequence[Directory]
) -> None:
    """What the engine reports: a volume of ours without driver options, or tmpfs.

    ``volumes`` has the volumes of ``covered`` by name. Raises OverlayError otherwise.
    """
    for directory in covered:
        mounts = [mount for mount in container.mounts if mount.target == directory.target]
        reason = _engine_reason(mounts[-1] if mounts else None, volumes, directory)
        if reason:
            raise _refused(directory.target, reason)


def _engine_reason(
    mount: MountState | None, volumes: Mapping[str, VolumeState], directory: Directory
) -> str:
    """Why this mount is not an overlay, with the remedy; "" when it is one."""
    if mount is None:
        return "nothing is mounted there: doit sidecar_stop"
    if mount.kind == "tmpfs":
        return ""
    if mount.kind != "volume":
        return f"it is a {mount.kind} mount of {mount.source}: doit sidecar_stop"
    volume = volumes.get(mount.volume)
    if volume is None:
        return f"the engine has no volume {mount.volume}: doit sidecar_stop"
    reason = _volume_reason(volume, directory)
    return f"{reason}: docker volume rm {shlex.quote(volume.name)}" if reason else ""


def _volume_reason(volume: VolumeState, directory: Directory) -> str:
    if volume.labels.get(LABEL) != directory.relative:
        return f"volume {volume.name} was not made for it"
    if volume.driver != "local":
        return f"volume {volume.name} has the driver {volume.driver}"
    # mount(2) ignores the type where it is told to bind
    binds = {"bind", "rbind"} & set(volume.options.get("o", "").split(","))
    if volume.options and (volume.options.get("type") != "tmpfs" or binds):
        options = ",".join(f"{name}={value}" for name, value in sorted(volume.options.items()))
        return f"volume {volume.name} has the options {options}"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mounted:
    device: str
    root: str
    target: str
    read_only: bool


def check_inside(mountinfo: str, targets: Sequence[str], *, workspace: str = WORKSPACE) -> None:
    """What the kernel says inside, from the text of ``/proc/self/mountinfo``.

    Each target is a mount point of its own, the last one there is writable, and it shows
    nothing of the file tree that is mounted at ``workspace``. Raises OverlayError.
    """
    mounted = {mount.target: mount for mount in map(_mounted, mountinfo.splitlines()) if mount}
    base = mounted.get(workspace)
    for target in targets:
        mount = mounted.get(target)
        if mount is None:
            raise _refused(target, "nothing is mounted there: doit sidecar_stop")
        if mount.read_only:
            raise _refused(target, "its mount is read-only: doit sidecar_stop")
        if base and mount.device == base.device and _at_or_below(mount.root, base.root):
            raise _refused(target, "it shows a directory of the project: doit sidecar_stop")


def guard(run: Runner, targets: Sequence[str]) -> None:
    """``check_inside`` for a running sidecar; before anything is installed in it."""
    if not targets:
        return
    output = bytearray()
    status = run(["cat", "/proc/self/mountinfo"], on_output=output.extend)
    if status != 0:
        raise _refused(targets[0], "its mounts cannot be read: doit sidecar_stop")
    check_inside(output.decode("utf-8", "surrogateescape"), targets)


def _mounted(line: str) -> _Mounted | None:
    """One line of mountinfo (proc(5)): fields, optional fields, a hyphen, type, source, options."""
    fields = line.split(" ")
    try:
        hyphen = fields.index("-", 6)
        options = fields[5].split(",") + fields[hyphen + 3].split(",")
    except (ValueError, IndexError):
        return None
    return _Mounted(
        device=fields[2],
        root=_unescaped(fields[3]),
        target=_unescaped(fields[4]),
        read_only="ro" in options,
    )


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _at_or_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _refused(target: str, reason: str) -> OverlayError:
    return OverlayError(
        target,
        "must be a dedicated container volume or tmpfs, "
        f"not a bind mount of the host's {target.rsplit('/', 1)[-1]}",
        hint=reason,
    )
