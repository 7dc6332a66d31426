"""What toolchains.lock says of an image: made from what is there, and compared with it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping

from aifo_tasks import locked, log
from aifo_tasks.engine.api import Engine
from aifo_tasks.engine.publishing import Publisher
from aifo_tasks.errors import AifoError, EngineError, NotFoundError
from aifo_tasks.image import base as bases
from aifo_tasks.image import bootstrap, build, newest, oci
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.pin import Row, drift, inputs, tools
from aifo_tasks.image.publish import Published
from aifo_tasks.locked import Locked
from aifo_tasks.model import BaseSource, Image, Toolchain
from aifo_tasks.registry import references
from aifo_tasks.registry.references import Prefixes
from aifo_tasks.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where bases are asked for; ``consent`` as ``image.base.ensure`` takes it. ``platforms`` are
    what bases are made for from the archive, if not the engine's own alone."""

    engine: Engine
    publisher: Publisher
    prefixes: Prefixes
    consent: bool = False
    platforms: tuple[str, ...] = ()


def resolve(place: Place, toolchain: Toolchain, before: Locked | None) -> Locked:
    """The toolchain locked to what its first source gives now; registries are asked.

    Where ``before`` names a source that is still declared no other is taken instead. What was
    published stays. Raises AifoError naming every source that gives nothing.
    """
    image = toolchain.image
    build.refuse_taken(image, "locked")
    mine = dataclasses.replace(image, pin=before.base if before else None, strict=False)
    sources = [each for each in image.base if bases.pinned(mine, each)] or list(image.base)
    refused = []
    for source in sources:
        name = bases.named(source, image.version or "")
        try:
            version = bases.given(source, image.version or "")
            base = _base(place, image, source)
        except AifoError as error:
            refused.append(error)
            log.step(image.name, f"no base from {name}: {bases.short(error.problem)}")
            continue
        log.step(image.name, f"{name} is {base.digest}")
        published = before.published if before else ()
        return dataclasses.replace(_locked(toolchain, version, base), published=published)
    lines = "".join(f"\n  {each.subject}: {bases.short(each.problem)}" for each in refused)
    hints = [each.hint for each in refused if each.hint]
    raise AifoError(
        toolchain.kind, f"cannot be locked: no source gives a base{lines}",
        hint=hints[-1] if hints else "",
    )  # fmt: skip


def published(
    publisher: Publisher, toolchain: Toolchain, done: Published, before: Locked | None
) -> Locked:
    """The toolchain locked to what has just been pushed, and the base it was built on.

    Raises AifoError when no registry has that base: nobody else could build on it.
    """
    assert done.content is not None
    base = done.base
    if before is not None and (before.base.reference, before.base.digest) == (
        base.name, base.digest,
    ):  # fmt: skip
        pin = before.base
    elif base.source == "bootstrap":
        pin = _bootstrapped(base, done.target.platforms[0])
        if before is not None and before.base.digest in dict(base.roots).values():
            pin = dataclasses.replace(pin, digest=before.base.digest)
    else:
        reference = f"{references.name(base.reference)}@{base.digest}"
        content = _asked(publisher, reference)
        pin = _registry(base.name, content, done.target.platforms[0])
    entry = _locked(toolchain, done.version, pin)
    entry = dataclasses.replace(entry, published=before.published if before else ())
    content = done.content
    return locked.pushed(
        entry,
        locked.Published(
            reference=done.target.reference,
            digest=content.digest,
            platforms=_platforms(content, done.target.platforms[0]),
        ),
    )


def outdated(place: Place, toolchain: Toolchain, found: Locked | None) -> Iterator[Row]:
    """What is locked and what is there now, newer releases of packages last; registries are
    asked, nothing is changed."""
    kind, image = toolchain.kind, toolchain.image
    if found is None:
        yield Row(kind=kind, what="toolchain", locked="", now="is not locked")
        return
    yield from drift(found, image)
    mine = dataclasses.replace(image, pin=found.base)
    if not any(bases.pinned(mine, source) for source in image.base):
        yield Row(
            kind=kind, what=f"base {found.base.reference}", locked=found.base.digest,
            now="is not declared",
        )  # fmt: skip
    elif found.base.source == "bootstrap":
        now = _bootstrap_now(place, image, found)
        yield _row(kind, f"base {found.base.reference}", found.base.digest, lambda: now)
    else:
        reference = references.resolve(found.base.reference, place.prefixes).reference
        yield _row(
            kind, f"base {reference}", found.base.digest,
            lambda: _asked(place.publisher, reference).digest,
        )  # fmt: skip
    for each in found.published:
        reference = each.reference
        yield _row(
            kind, f"published {reference}", each.digest,
            lambda reference=reference: _asked(place.publisher, reference).digest,  # type: ignore[misc]
        )  # fmt: skip
    yield from _newer(found, newest.versions(image))


def _newer(found: Locked, versions: Mapping[str, str]) -> Iterator[Row]:
    """One line for each locked package of which the registry has another release, or none."""
    locks = {tool.name: tool.version for tool in found.tools}
    for name, version in locks.items():
        if versions.get(name, version) != version:
            yield Row(kind=found.kind, what=name, locked=version, now=versions[name], told=True)


def _row(kind: str, what: str, digest: str, ask: Callable[[], str]) -> Row:
    try:
        now = ask()
    except NotFoundError:
        now = "is gone"
    except AifoError as error:
        now = bases.short(error.problem)
    return Row(kind=kind, what=what, locked=digest, now=now, same=now == digest)


def _bootstrap_now(place: Place, image: Image, found: Locked) -> str:
    """The root file system that the engine has; the archive itself cannot be asked."""
    source = next(each for each in image.base if bases.named(each, "") == found.base.reference)
    assert source.bootstrap is not None
    reference = bootstrap.reference(source.bootstrap, place.engine.info().platform)
    state = place.engine.image(reference)
    return state.layers[0] if state is not None and len(state.layers) == 1 else found.base.digest


def _base(place: Place, image: Image, source: BaseSource) -> locked.Base:
    """What a source gives now, as a lock has it."""
    platform = place.engine.info().platform
    name = bases.named(source, image.version or "")
    if source.bootstrap is None:
        reference = references.resolve(name, place.prefixes).reference
        return _registry(name, _asked(place.publisher, reference), platform)
    alone = dataclasses.replace(image, base=(source,), pin=None)
    foreign = place.platforms if place.platforms != (platform,) else ()
    made = bases.ensure(
        place.engine, alone, prefixes=place.prefixes, consent=place.consent, platforms=foreign
    )
    return _bootstrapped(made, platform)


def _bootstrapped(base: bases.Base, platform: str) -> locked.Base:
    """One from the archive by its root file system for ``platform``, and all others' beside."""
    return locked.Base(
        source="bootstrap", reference=base.name,
        digest=dict(base.roots).get(platform, base.digest), platforms=base.roots,
    )  # fmt: skip


def _registry(name: str, content: oci.Content, platform: str) -> locked.Base:
    return locked.Base(
        source="registry", reference=name, digest=content.digest,
        platforms=_platforms(content, platform),
    )  # fmt: skip


def _asked(publisher: Publisher, reference: str) -> oci.Content:
    """What a registry has under a reference; NotFoundError when it has nothing."""
    host = references.host(reference)
    if bases.is_silent(host, os.environ):
        raise EngineError(reference, f"{host} does not answer in {bases.CONNECT_SECONDS:g} s")
    document = publisher.manifest(reference)
    if document is None:
        raise NotFoundError(reference, f"{host} does not have it")
    return oci.content(oci.digest_of(document), document)


def _platforms(content: oci.Content, platform: str) -> locked.Pairs:
    """Each platform's digest; a single manifest, which names none, is for ``platform``."""
    return tuple(sorted((name or platform, digest) for name, digest in content.platforms.items()))


def _locked(toolchain: Toolchain, version: str, base: locked.Base) -> Locked:
    image = toolchain.image
    return Locked(
        kind=toolchain.kind,
        image=image.name,
        version=version,
        declared=recipes.inputs(image),
        base=base,
        inputs=inputs(image, version),
        tools=tools(image),
    )
