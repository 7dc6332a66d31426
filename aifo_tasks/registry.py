"""Where an image reference is looked for: the two prefixes and what they apply to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aifo_tasks.errors import AifoError
from aifo_tasks.model import Registry
from aifo_tasks.value import dataclass

INTERNAL = "AIFO_CODER_INTERNAL_REGISTRY_PREFIX"
MIRROR = "AIFO_CODER_MIRROR_REGISTRY_PREFIX"
DOCKER_HUB = "registry-1.docker.io"

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What is put before a reference, "" or ending in one slash, and who said so."""

    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """``internal`` is for images this package builds, ``mirror`` for all others."""

    internal: Prefix
    mirror: Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The reference to ask the engine for, and why it is that one."""

    reference: str
    source: str


def prefixes(declared: Registry, environ: Mapping[str, str]) -> Prefixes:
    """The environment's prefixes, else the file's; set and blank means none.

    Raises AifoError for a prefix that no reference can begin with.
    """
    return Prefixes(
        internal=_prefix(INTERNAL, declared.internal_prefix, environ),
        mirror=_prefix(MIRROR, declared.mirror_prefix, environ),
    )


def resolve(reference: str, prefixes: Prefixes, *, internal: bool = False) -> Resolved:
    """Put the prefix before a reference that names no registry of its own."""
    if names_host(reference):
        return Resolved(reference=reference, source="the reference names its registry")
    prefix = prefixes.internal if internal else prefixes.mirror
    return Resolved(reference=prefix.value + reference, source=prefix.source)


def names_host(reference: str) -> bool:
    """True when the first component is a registry's host: it has ``.`` or ``:`` or is
    ``localhost``, and something follows it."""
    first, slash, _ = reference.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first)


def host(reference: str) -> str:
    """The registry that is asked for a reference, with its port if one stands there."""
    first = reference.partition("/")[0]
    if not names_host(reference) or first in {"docker.io", "index.docker.io"}:
        return DOCKER_HUB
    return first


def normalise(prefix: str) -> str:
    """Exactly one slash at the end; blank stays blank."""
    bare = prefix.strip().rstrip("/")
    return f"{bare}/" if bare else ""


def _prefix(variable: str, declared: str, environ: Mapping[str, str]) -> Prefix:
    asked = environ.get(variable)
    if asked is not None:
        value, subject, source = normalise(asked), variable, f"environment ({variable})"
    elif declared.strip():
        value, subject, source = normalise(declared), "toolchains.yaml", "toolchains.yaml"
    else:
        return Prefix(value="", source="no prefix is set")
    if value and not _PREFIX.fullmatch(value[:-1]):
        raise AifoError(
            subject, f"a registry prefix is a host and a path, not {value[:-1]!r}",
            hint=f"{variable}=registry.example/mirror/",
        )  # fmt: skip
    return Prefix(value=value, source=source if value else f"{source}, blank")
