"""Where an image reference is looked for: the two prefixes and what they apply to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

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
class Chosen:
    """What the command line says: prefixes (None: nothing), and whether to ask hosts anew."""

    internal: str | None = None
    mirror: str | None = None
    refresh: bool = False


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


_NONE = Prefix(value="", source="no prefix is set")


def prefixes(
    declared: Registry, environ: Mapping[str, str], chosen: Chosen | None = None
) -> Prefixes:
    """The command line's prefixes, else the environment's, else the file's; blank means none.

    Where nobody names a mirror it is the first of the file's hosts that answers as a
    registry. Raises AifoError for a prefix that no reference can begin with.
    """
    chosen = chosen or Chosen()
    internal = _prefix(INTERNAL, chosen.internal, declared.internal_prefix, environ)
    mirror = _prefix(MIRROR, chosen.mirror, declared.mirror_prefix, environ)
    return Prefixes(
        internal=internal or _NONE,
        mirror=mirror or _probed(declared.probe, refresh=chosen.refresh),
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


def name(reference: str) -> str:
    """The reference without its tag and digest."""
    bare = reference.partition("@")[0]
    path, slash, last = bare.rpartition("/")
    return path + slash + last.partition(":")[0]


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


def _prefix(
    variable: str, chosen: str | None, declared: str, environ: Mapping[str, str]
) -> Prefix | None:
    """What the first says who says anything; None when nobody does."""
    asked = environ.get(variable)
    if chosen is not None:
        value, subject, source = chosen, "command line", "command line"
    elif asked is not None:
        value, subject, source = asked, variable, f"environment ({variable})"
    elif declared.strip():
        value, subject, source = declared, "toolchains.yaml", "toolchains.yaml"
    else:
        return None
    value = normalise(value)
    if value and not _PREFIX.fullmatch(value[:-1]):
        raise AifoError(
            subject, f"a registry prefix is a host and a path, not {value[:-1]!r}",
            hint=f"{variable}=registry.example/mirror/",
        )  # fmt: skip
    return Prefix(value=value, source=source if value else f"{source}, blank")


def _probed(hosts: Sequence[str], *, refresh: bool) -> Prefix:
    """The file's first host that answers as a registry."""
    if not hosts:
        return _NONE
    from aifo_tasks.registry import probe

    found = probe.first(hosts, refresh=refresh)
    if found is None:
        return Prefix(value="", source=f"none of {', '.join(hosts)} answers")
    return Prefix(value=f"{found.host}/", source=f"probe ({found.host} {found.why})")
