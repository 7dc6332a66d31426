"""The image a toolchain is built on: the first declared source that gives one."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Literal

from aifo_tasks import locked, log
from aifo_tasks.engine.api import Engine, ImageState
from aifo_tasks.errors import AifoError, LockError, NotFoundError
from aifo_tasks.image import bootstrap
from aifo_tasks.model import BaseSource, Image
from aifo_tasks.registry import references
from aifo_tasks.registry.references import Prefixes
from aifo_tasks.value import dataclass

Pull = Literal["auto", "never", "always"]
"""auto pulls what the engine does not have, never pulls nothing, always asks the registry."""

CONNECT_SECONDS = 3.0
"""How long a registry may take to accept a connection."""

_EXACT = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,2}")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base image the engine has. ``version`` is the tool's version that is built over it,
    ``why`` says in words why it is this one, ``name`` is what toolchains.lock calls it; ``roots``
    are the digests of a bootstrapped one by platform."""

    reference: str
    digest: str
    source: Literal["registry", "bootstrap"]
    version: str
    why: str
    name: str = ""
    roots: locked.Pairs = ()


def ensure(
    engine: Engine,
    image: Image,
    *,
    prefixes: Prefixes,
    pull: Pull = "auto",
    consent: bool = False,
    platforms: tuple[str, ...] = (),
) -> Base:
    """The first declared source that gives a base; each that does not is named with its reason.

    ``platforms`` are what is built for, if not the engine's own alone. ``consent`` allows the
    programs to be installed that a bootstrap needs. Raises AifoError listing every source and
    its reason when none gives one, LockError for one that is not what toolchains.lock names.
    """
    asked = image.version or ""
    if asked and not _VERSION.fullmatch(asked):
        raise AifoError(image.name, f"version {asked!r} is not a number such as 20 or 20.19.5")
    refused: list[tuple[str, AifoError]] = []
    for source in image.base:
        if image.strict and pinned(image, source) is None:
            continue
        name = _name(source, asked, prefixes)
        try:
            if source.bootstrap is None:
                found = _from_registry(engine, image, source, prefixes, pull)
            else:
                found = _bootstrapped(engine, image, source, platforms, consent=consent)
        except LockError:
            raise
        except AifoError as error:
            refused.append((name, error))
            log.step(image.name, f"no base from {name}: {short(error.problem)}")
            continue
        return dataclasses.replace(found, why="; ".join([*_reasons(refused), found.why]))
    version = f" for version {asked}" if asked else ""
    lines = "".join(f"\n  {reason}" for reason in _reasons(refused)) or ": none is declared"
    hints = [error.hint for _, error in refused if error.hint]
    raise AifoError(
        image.name, f"no source gives a base image{version}{lines}", hint=hints[-1] if hints else ""
    )


def _from_registry(
    engine: Engine, image: Image, source: BaseSource, prefixes: Prefixes, pull: Pull
) -> Base:
    assert source.reference is not None
    version = given(source, image.version or "")
    name, pin = named(source, version), pinned(image, source)
    resolved = references.resolve(name, prefixes)
    reference = resolved.reference
    if pin is not None:
        reference = f"{references.name(reference)}@{pin.digest}"
    try:
        state, pulled = present(engine, reference, subject=image.name, pull=pull)
    except NotFoundError:
        if pin is None:
            raise
        raise LockError(
            locked.NAME, f"names {name} as {pin.digest}, which {reference} has not",
            hint="doit lock",
        ) from None  # fmt: skip
    why = f"{reference} was in the engine"
    if pulled:
        why = f"{reference} was pulled ({resolved.source})"
    # The registry's digest is the same in every engine, the image's id need not be.
    digest = next((text.partition("@")[2] for text in state.digests if "@" in text), state.id)
    return Base(
        reference=reference, digest=pin.digest if pin is not None else digest,
        source="registry", version=version, why=why, name=name,
    )  # fmt: skip


def present(engine: Engine, reference: str, *, subject: str, pull: Pull) -> tuple[ImageState, bool]:
    """An image that nobody here builds, and whether it was pulled just now."""
    state = None if pull == "always" else engine.image(reference)
    if state is not None:
        return state, False
    if pull == "never":
        raise AifoError(reference, "it is not in the engine, and PULL=never")
    host = references.host(reference)
    if engine.info().local and is_silent(host, os.environ):
        raise AifoError(reference, f"{host} does not answer within {CONNECT_SECONDS:g} s")
    log.step(subject, f"pulling {reference}")
    return engine.pull(reference, lambda line: log.progress(subject, line)), True


def is_silent(host: str, environ: Mapping[str, str]) -> bool:
    """True when packets to a registry vanish, where the engine would wait for minutes.

    A name that does not resolve or a refused connection is left to the engine, which says
    so at once, but in a dry run nobody asks the engine. Where a proxy is set a direct
    connection tells nothing.
    """
    import socket

    if any(environ.get(name) for name in _PROXIES):
        return False
    name, _, port = host.partition(":")
    try:
        socket.create_connection((name, int(port or 443)), timeout=CONNECT_SECONDS).close()
    except TimeoutError:
        return True
    except (OSError, ValueError):
        return log.is_dry_run()
    return False


def _bootstrapped(
    engine: Engine, image: Image, source: BaseSource, platforms: tuple[str, ...], *, consent: bool
) -> Base:
    assert source.bootstrap is not None
    version, own = given(source, image.version or ""), engine.info().platform
    wanted = _locked_roots(image, source, platforms or (own,))
    reference, state, why = bootstrap.ensure(
        engine, source.bootstrap, platforms, subject=image.name, consent=consent
    )
    # the root file system is the same in every engine, the image made of it is not
    digest = state.layers[0] if len(state.layers) == 1 and not platforms else state.id
    roots = {own: digest}
    if platforms:
        from aifo_tasks.image import oci  # and with it tarfile, which no up-to-date image needs

        roots = oci.roots(state.labels)
    for platform, root in wanted.items():
        found = roots.get(platform, "of unknown content")
        if found != root and not log.is_dry_run():
            raise LockError(
                reference, f"for {platform} is {found}, and {locked.NAME} names {root}",
                hint=_lock(platforms),
            )  # fmt: skip
    return Base(
        reference=reference, digest=digest, source="bootstrap", version=version, why=why,
        name=source.bootstrap.suite, roots=tuple(sorted(roots.items())),
    )  # fmt: skip


def _locked_roots(
    image: Image, source: BaseSource, platforms: tuple[str, ...]
) -> Mapping[str, str]:
    """The root file system for each platform that alone will do; LockError where toolchains.lock
    names none. Empty where others do."""
    pin = pinned(image, source)
    if not image.strict or pin is None:
        return {}
    names = dict(pin.platforms)
    if missing := [platform for platform in platforms if platform not in names]:
        raise LockError(
            locked.NAME, f"names no {pin.reference} from the archive for {', '.join(missing)}",
            hint=_lock(platforms),
        )  # fmt: skip
    return {platform: names[platform] for platform in platforms}


def _lock(platforms: tuple[str, ...]) -> str:
    return f"doit lock PLATFORMS={','.join(platforms)}" if platforms else "doit lock"


def named(source: BaseSource, asked: str) -> str:
    """What toolchains.lock calls a source, for the version asked for, if any."""
    if source.bootstrap is not None:
        return source.bootstrap.suite
    return (source.reference or "").replace("{version}", asked or source.version)


def pinned(image: Image, source: BaseSource) -> locked.Base | None:
    """The base that toolchains.lock names, if it is this source's."""
    pin, kind = image.pin, "registry" if source.bootstrap is None else "bootstrap"
    if pin is None or (pin.source, pin.reference) != (kind, named(source, image.version or "")):
        return None
    return pin


def wanted(image: Image, source: str) -> str:
    """The digest that the base must have; "" where toolchains.lock does not say, or says it of
    another source than the one the image was built from and others will do."""
    pin = image.pin
    if pin is None or not any(pinned(image, each) for each in image.base):
        return ""
    return pin.digest if image.strict or pin.source == source == "registry" else ""


def given(source: BaseSource, asked: str) -> str:
    """The version a source gives for the one asked for, "" leaving it to the source.

    AifoError says what it can give.
    """
    asked = asked or source.version
    if source.reference and "{version}" in source.reference:
        return asked  # the registry will tell
    if source.version == asked or source.version.startswith(f"{asked}."):
        return source.version
    if source.exact and _EXACT.fullmatch(asked):
        return asked
    exact = " and any other that is exact to the last number" if source.exact else ""
    raise AifoError(
        "version", f"it gives version {source.version}{exact}, not {asked}",
        hint=f"version: {source.version}",
    )  # fmt: skip


def _name(source: BaseSource, asked: str, prefixes: Prefixes) -> str:
    if source.bootstrap is not None:
        return f"Debian {source.bootstrap.suite}"
    return references.resolve(named(source, asked), prefixes).reference


def _reasons(refused: list[tuple[str, AifoError]]) -> list[str]:
    return [f"{name}: {short(error.problem)}" for name, error in refused]


def short(problem: str) -> str:
    """The end of an engine's long chain of causes, on one line."""
    lines = problem.strip().splitlines() or [""]
    return ": ".join(lines[-1].split(": ")[-2:])
