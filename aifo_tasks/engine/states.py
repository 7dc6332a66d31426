"""The engine's JSON as states; the only reader of what its API answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aifo_tasks.engine.api import (
    ContainerState,
    EngineInfo,
    ImageState,
    MountState,
    NetworkState,
    VolumeState,
)

Json = Mapping[str, Any]


def engine_info(endpoint: str, version: Json, info: Json) -> EngineInfo:
    """From ``GET /version`` and ``GET /info``."""
    components = {part.get("Name", "") for part in version.get("Components") or ()}
    options = {
        option.removeprefix("name=").split(",")[0] for option in info.get("SecurityOptions") or ()
    }
    drivers = [tuple(pair) for pair in info.get("DriverStatus") or ()]
    return EngineInfo(
        name="podman" if "Podman Engine" in components else "docker",
        version=version.get("Version", ""),
        platform=f"{version.get('Os', 'linux')}/{version.get('Arch', '')}",
        endpoint=endpoint,
        rootless="rootless" in options,
        userns_remap="userns" in options,
        containerd_store=("driver-type", "io.containerd.snapshotter.v1") in drivers,
        apparmor="apparmor" in options,
    )


def image_state(found: Json) -> ImageState:
    """From ``GET /images/<reference>/json``."""
    platform = (found.get("Os"), found.get("Architecture"), found.get("Variant"))
    return ImageState(
        id=_digest(found["Id"]),
        platform="/".join(part for part in platform if part),
        labels=dict((found.get("Config") or {}).get("Labels") or {}),
        digests=tuple(found.get("RepoDigests") or ()),
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
    )


def container_state(found: Json) -> ContainerState:
    """From ``GET /containers/<name>/json``."""
    state, config = found["State"], found["Config"]
    return ContainerState(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        status=_status(state["Status"]),
        pid=state.get("Pid") or 0,
        exit_status=state.get("ExitCode") or 0,
        image=config.get("Image", ""),
        labels=dict(config.get("Labels") or {}),
        mounts=tuple(sorted(_mounts(found), key=lambda mount: mount.target)),
    )


def listed_container_state(found: Json) -> ContainerState:
    """From one row of ``GET /containers/json``, which tells no pid and no exit status."""
    return ContainerState(
        id=found["Id"],
        name=next(iter(found.get("Names") or ()), "").removeprefix("/"),
        status=_status(found["State"]),
        image=found.get("Image", ""),
        labels=dict(found.get("Labels") or {}),
    )


def _status(word: str) -> str:
    """Docker's word, also where Podman has one of its own."""
    return {"stopped": "exited", "stopping": "removing", "configured": "created"}.get(word, word)


def _mounts(found: Json) -> Iterator[MountState]:
    reported = set()
    for mount in found.get("Mounts") or ():
        reported.add(mount["Destination"])
        yield MountState(
            kind=mount["Type"],
            target=mount["Destination"],
            source=mount.get("Source", ""),
            volume=mount.get("Name", "") if mount["Type"] == "volume" else "",
            read_only=not mount.get("RW", True),
        )
    for target in (found.get("HostConfig") or {}).get("Tmpfs") or {}:
        if target not in reported:
            yield MountState(kind="tmpfs", target=target, source="")


def volume_state(found: Json) -> VolumeState:
    """From ``GET /volumes/<name>`` and from the rows of ``GET /volumes``."""
    return VolumeState(
        name=found["Name"],
        driver=found["Driver"],
        created=found.get("CreatedAt", ""),
        labels=dict(found.get("Labels") or {}),
        options=dict(found.get("Options") or {}),
    )


def network_state(found: Json) -> NetworkState:
    """From ``GET /networks/<name>`` and from the rows of ``GET /networks``."""
    ranges = (found.get("IPAM") or {}).get("Config") or ()
    gateways = [one.get("Gateway") or "" for one in ranges]
    return NetworkState(
        name=found["Name"],
        internal=bool(found.get("Internal")),
        gateway=next((text for text in gateways if "." in text), "").partition("/")[0],
        labels=dict(found.get("Labels") or {}),
    )


def _digest(identifier: str) -> str:
    return identifier if identifier.startswith("sha256:") else f"sha256:{identifier}"
