"""Specs as the JSON the engine's API takes; pure, the twin of ``preview``."""

from __future__ import annotations

from typing import Any

from aifo_tasks.engine.api import ContainerSpec, MountSpec


def container_body(spec: ContainerSpec) -> dict[str, Any]:
    """What ``POST /containers/create`` takes for a container; its name is a parameter there."""
    body: dict[str, Any] = {"Image": spec.image, "HostConfig": host_config(spec)}
    body |= _given(
        User=spec.user,
        WorkingDir=spec.working_dir,
        Hostname=spec.hostname,
        Env=[f"{name}={value}" for name, value in spec.environment],
        Labels=dict(spec.labels),
        Entrypoint=list(spec.entrypoint[:1]),
        Cmd=[*spec.entrypoint[1:], *spec.command],
    )
    return body


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """What of a container is the host's affair: mounts, network, limits, rights."""
    return {"NetworkMode": spec.network} | _given(
        AutoRemove=spec.remove,
        UsernsMode=spec.userns,
        ReadonlyRootfs=spec.read_only,
        CapDrop=[_capability(name) for name in spec.cap_drop],
        CapAdd=[_capability(name) for name in spec.cap_add],
        SecurityOpt=list(spec.security_opt),
        PidsLimit=spec.pids_limit,
        Memory=spec.memory,
        ExtraHosts=[f"{host}:{address}" for host, address in spec.extra_hosts],
        Mounts=[_mount(mount) for mount in spec.mounts if mount.kind != "tmpfs"],
        # a mount of type tmpfs knows no exec, uid and gid
        Tmpfs={mount.target: mount.options for mount in spec.mounts if mount.kind == "tmpfs"},
    )


def _capability(name: str) -> str:
    """The long name, which the docker program sends too."""
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _mount(mount: MountSpec) -> dict[str, Any]:
    body = {"Type": mount.kind, "Source": mount.source, "Target": mount.target}
    return body | _given(ReadOnly=mount.read_only)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
