"""Named volumes that projects share: made, owned, listed, purged, exported, imported."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aifo_tasks import __version__, archive, files, log
from aifo_tasks.engine.api import ContainerSpec, Engine, MountSpec, VolumeSpec, VolumeState
from aifo_tasks.errors import AifoError, ConflictError, EngineError
from aifo_tasks.model import Config, Toolchain
from aifo_tasks.overlay import LABEL as OVERLAY_LABEL
from aifo_tasks.overlay import Runner
from aifo_tasks.sidecar.identity import user_label
from aifo_tasks.value import dataclass

UID_LABEL = "io.aifo.uid"
OLDER_NAMES = ("aifo-npm-cache",)
"""What earlier versions made; a purge takes it along."""

_OWN_PREFIX = "/volumes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A volume that exists: ``size`` in bytes, None when the engine does not say;
    ``last_use`` in seconds since the epoch, None when it was never seen."""

    kind: str
    volume: str
    size: int | None
    last_use: float | None


def volume_for(engine: Engine, name: str, uid: int) -> str:
    """The volume of that declared name that belongs to ``uid``.

    A volume that another uid writes, or that nobody labelled, could poison this one's:
    then it is ``<name>-u<uid>``. Raises AifoError when that too is somebody else's.
    """
    found = engine.volume(name)
    if found is None or _owner(found) == uid:
        return name
    other = f"{name}-u{uid}"
    found = engine.volume(other)
    if found is None or _owner(found) == uid:
        return other
    raise AifoError(other, f"does not belong to uid {uid}", hint=f"docker volume rm {other}")


def volume_spec(name: str, kind: str, uid: int) -> VolumeSpec:
    """A cache volume of this uid."""
    labels = (("io.aifo.kind", kind), (UID_LABEL, str(uid)), ("io.aifo.version", __version__))
    return VolumeSpec(name=name, labels=labels)


def ensure(
    engine: Engine, specs: Sequence[VolumeSpec], owner: tuple[int, int], image: str
) -> tuple[str, ...]:
    """Make the volumes that are missing, caches and overlays, and give them to ``owner``.

    Returns the names of those made. Costs a container only when something was made; what a
    killed process left without its owner, ``repair`` finds from inside.
    """
    made = []
    for spec in specs:
        if engine.volume(spec.name) is None:
            with contextlib.suppress(ConflictError):  # another doit was faster, and owns it
                engine.create_volume(spec)
                made.append(spec.name)
    own(engine, made, owner, image)
    return tuple(made)


def own(engine: Engine, names: Sequence[str], owner: tuple[int, int], image: str) -> None:
    """Give volumes to a uid and gid, through one container that can do nothing else."""
    if not names or owner == (0, 0):  # the engine makes them for root
        return
    finished = engine.run(own_spec(names, owner, image))
    if finished.status != 0:
        output = finished.output.decode("utf-8", "replace").strip()
        raise EngineError(", ".join(names), f"cannot be given to uid {owner[0]}: {output}")


def own_spec(names: Sequence[str], owner: tuple[int, int], image: str) -> ContainerSpec:
    """The container that ``own`` runs."""
    targets = [f"{_OWN_PREFIX}/{number}" for number in range(len(names))]
    mounts = [
        MountSpec(kind="volume", source=name, target=target)
        for name, target in zip(names, targets, strict=True)
    ]
    return ContainerSpec(
        image=image,
        labels=(
            ("io.aifo.kind", "own"),
            ("io.aifo.run-dir", str(files.run_dir())),
            ("io.aifo.user", user_label()),
        ),
        entrypoint=("chown", f"{owner[0]}:{owner[1]}", *targets),
        mounts=tuple(mounts),
        user="0:0",
        network="none",
        read_only=True,
        cap_drop=("ALL",),
        cap_add=("CHOWN",),
        security_opt=("no-new-privileges",),
        pids_limit=16,
    )


def repair(
    engine: Engine, run: Runner, mounted: Mapping[str, str], owner: tuple[int, int], image: str
) -> None:
    """Own again what the running sidecar cannot write; one cheap call when all is well.

    ``mounted`` maps a target to its volume. Raises AifoError when it does not help.
    """
    lost = _unwritable(run, tuple(mounted))
    if not lost:
        return
    own(engine, [mounted[target] for target in lost], owner, image)
    still = _unwritable(run, lost)
    if still:
        volume = mounted[still[0]]
        raise AifoError(
            still[0], f"cannot be written by uid {owner[0]}",
            hint=f"doit sidecar_stop && docker volume rm {volume}",
        )  # fmt: skip


def mark_used(names: Sequence[str]) -> None:
    """Remember that a sidecar was started with these volumes, where that can be written."""
    if not log.is_dry_run():
        directory = _uses()
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in names:
                files.write_quietly(directory / name, b"")


def listing(engine: Engine, config: Config, uid: int) -> tuple[Listed, ...]:
    """The volumes of this uid: declared caches, and overlays of every project."""
    sizes = engine.volume_sizes()
    found = [*_caches(engine, config, uid), *_overlays(engine, uid)]
    return tuple(
        Listed(
            kind=state.labels.get("io.aifo.kind", ""),
            volume=state.name,
            size=sizes.get(state.name),
            last_use=_last_use(state.name),
        )
        for state in found
    )


def purge(engine: Engine, config: Config, uid: int, *, overlays: bool = False) -> int:
    """Remove the declared caches of this uid and older names; returns the bytes freed.

    With ``overlays`` also those of this project. Raises AifoError, before anything is
    removed, when a sidecar uses one of them.
    """
    found = _caches(engine, config, uid)
    if overlays:
        found += _overlays(engine, uid, project=config.root)
    names = [state.name for state in found]
    _refuse_used(engine, names)
    sizes = engine.volume_sizes() if names else {}
    for name in names:
        try:
            engine.remove_volume(name)
        except ConflictError as error:
            raise AifoError(
                name, f"is in use: {error.problem}",
                hint=f"docker ps --all --filter volume={name}",
            ) from None  # fmt: skip
        if not log.is_dry_run():
            (_uses() / name).unlink(missing_ok=True)
    return sum(sizes.get(name, 0) for name in names)


def export_archive(engine: Engine, toolchain: Toolchain, uid: int, image: str, path: Path) -> None:
    """Write the toolchain's cache volumes to a tar file, the same for the same content.

    A store in the repository, such as pnpm's, is not a volume and not in it. Raises AifoError
    when there is no volume yet.
    """
    names = [cache.volume for cache in toolchain.caches]
    volumes = {name: volume_for(engine, name, uid) for name in names}
    existing = {name: mine for name, mine in volumes.items() if engine.volume(mine) is not None}
    if not existing:
        hint = f"doit warm_cache:{toolchain.short}"
        raise AifoError(f"cache {toolchain.kind}", "there is no volume to export", hint=hint)
    try:
        _export(engine, existing, image, path)
    except OSError as error:
        raise AifoError(str(path), f"cannot be written: {error.strerror}") from None


def import_archive(
    engine: Engine, toolchain: Toolchain, owner: tuple[int, int], image: str, path: Path
) -> None:
    """Unpack what ``export_archive`` wrote into the volumes of this uid, owned by ``owner``.

    Raises AifoError, before anything is written, for an archive that could lead out of them.
    """
    declared = [cache.volume for cache in toolchain.caches]
    streams = archive.unpacked(path, declared, owner)
    for name, stream in streams.items():
        volume = volume_for(engine, name, owner[0])
        ensure(engine, [volume_spec(volume, toolchain.kind, owner[0])], owner, image)
        engine.write_archive(volume, image, stream)


def _owner(state: VolumeState) -> int | None:
    value = state.labels.get(UID_LABEL, "")
    return int(value) if value.isascii() and value.isdecimal() else None


def _caches(engine: Engine, config: Config, uid: int) -> list[VolumeState]:
    """Declared and older names that exist and are this uid's, or nobody's."""
    declared = [cache.volume for kind in config.toolchains for cache in kind.caches]
    found = []
    for name in dict.fromkeys([*declared, *OLDER_NAMES]):
        for candidate in (name, f"{name}-u{uid}"):
            state = engine.volume(candidate)
            if state is not None and _owner(state) in (uid, None):
                found.append(state)
    return found


def _overlays(engine: Engine, uid: int, *, project: Path | None = None) -> list[VolumeState]:
    labels = {OVERLAY_LABEL: "", UID_LABEL: str(uid)}
    if project is not None:
        labels["io.aifo.project"] = os.path.realpath(project)
    return list(engine.volumes(labels))


def _refuse_used(engine: Engine, names: Sequence[str]) -> None:
    for listed in engine.containers({"io.aifo.kind": ""}) if names else ():
        container = engine.container(listed.name)
        for mount in container.mounts if container is not None else ():
            if mount.volume in names:
                raise AifoError(
                    mount.volume, f"is in use by {listed.name}", hint="doit sidecar_stop"
                )


def _unwritable(run: Runner, targets: Sequence[str]) -> tuple[str, ...]:
    output = bytearray()
    script = 'n=0; for d do test -w "$d" || echo "$n"; n=$((n + 1)); done'
    if run(["sh", "-c", script, "sh", *targets], on_output=output.extend) != 0:
        return tuple(targets)
    return tuple(targets[int(number)] for number in output.split())


def _uses() -> Path:
    return files.cache_dir() / "volumes"


def _last_use(name: str) -> float | None:
    try:
        return (_uses() / name).stat().st_mtime
    except OSError:
        return None


def _export(engine: Engine, volumes: Mapping[str, str], image: str, path: Path) -> None:
    """The volumes one by one through files without a name, since sorting needs them whole."""
    with contextlib.ExitStack() as stack:
        spools = {}
        for name, volume in volumes.items():
            spools[name] = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
            for piece in engine.read_archive(volume, image):
                spools[name].write(piece)
            spools[name].seek(0)
        if not log.is_dry_run():
            _write(path, archive.normalised(spools))


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a large file so that it is there whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
