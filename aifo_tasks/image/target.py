"""Where a built image goes: the engine, an archive, a registry; decided before it is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from aifo_tasks.errors import EngineError, UsageError
from aifo_tasks.registry import references
from aifo_tasks.value import dataclass

PREFIX = "AIFO_CODER_REGISTRY_PREFIX"
"""The registry that images are pushed to where REGISTRY says nothing."""

DIRECTORY = Path("dist")
CONTAINERD = '{"features": {"containerd-snapshotter": true}}'

_HUB = {"docker.io", "index.docker.io", references.DOCKER_HUB}
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PLATFORM = re.compile(r"linux/[a-z0-9]+(/v[0-9]+)?")
_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for: ``registry`` None where REGISTRY was not given, ``platforms`` empty for
    the engine's own, ``prefix`` the environment's registry."""

    platforms: tuple[str, ...] = ()
    push: bool = False
    registry: str | None = None
    prefix: str = ""
    tag: str = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where it goes: under ``reference`` into the engine or a registry, or into ``archive``.

    ``why`` says in words what decided, where that is not plain.
    """

    kind: Literal["engine", "archive", "registry"]
    reference: str
    platforms: tuple[str, ...]
    archive: Path | None = None
    why: str = ""


def target(name: str, wish: Wish, *, own: str, containerd: bool) -> Target:
    """Where the image ``name`` goes; nothing ever goes to Docker Hub that REGISTRY does not name.

    ``own`` is the engine's platform, ``containerd`` whether it keeps images of several.
    Raises UsageError for what cannot be meant, EngineError for what the engine cannot do.
    """
    if not _TAG.fullmatch(wish.tag):
        raise UsageError("TAG", f"'{wish.tag}' is no tag", hint="TAG=latest")
    platforms = checked_platforms(wish.platforms) or (own,)
    if len(platforms) > 1 and not containerd:
        raise EngineError(
            "PLATFORMS",
            "this engine's image store keeps one platform of an image, not " + ", ".join(platforms),
            hint=f"put {CONTAINERD} into the engine's daemon.json, or doit engine",
        )
    reference = f"{name}:{wish.tag}"
    if wish.push and (registry := _registry(wish)):
        return Target(kind="registry", reference=registry + reference, platforms=platforms)
    if not wish.push and len(platforms) == 1:
        return Target(kind="engine", reference=reference, platforms=platforms)
    archive = DIRECTORY / f"{name.replace('/', '-')}-{wish.tag}.oci.tar"
    why = "PUSH=1 and no REGISTRY" if wish.push else f"{len(platforms)} platforms"
    return Target(
        kind="archive", reference=reference, platforms=platforms, archive=archive, why=why
    )


def checked_platforms(given: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, in their order; UsageError for what is no platform of a toolchain."""
    for platform in given:
        if not _PLATFORM.fullmatch(platform):
            raise UsageError(
                "PLATFORMS", f"'{platform}' is no platform of a toolchain",
                hint="PLATFORMS=linux/amd64,linux/arm64",
            )  # fmt: skip
    return tuple(dict.fromkeys(given))


def _registry(wish: Wish) -> str:
    """The prefix that is pushed to, ending in a slash; "" when nobody names one."""
    if wish.registry is not None:
        subject, asked = "REGISTRY", wish.registry
    else:
        subject, asked = PREFIX, wish.prefix
    registry = references.normalise(asked)
    if not registry:
        return ""
    if not _REGISTRY.fullmatch(registry):
        raise UsageError(
            subject, f"'{asked}' is no registry: a host and a path in lower case",
            hint="REGISTRY=registry.example/team/",
        )  # fmt: skip
    if not references.names_host(registry):
        raise UsageError(
            subject, f"'{asked}' names no host and would mean Docker Hub",
            hint=f"REGISTRY=registry.example/{registry}, or REGISTRY=docker.io/{registry}",
        )  # fmt: skip
    if references.host(registry) == references.DOCKER_HUB and wish.registry is None:
        raise UsageError(
            subject, "Docker Hub is pushed to only where REGISTRY names it",
            hint=f"REGISTRY={registry}",
        )  # fmt: skip
    return registry
