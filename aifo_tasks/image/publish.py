"""An image built for other machines: into an archive or a registry, and read back from there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.engine.api import BuildSpec, Engine, Progress, PublishSpec
from aifo_tasks.engine.publishing import Publisher
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.image import base as bases
from aifo_tasks.image import build, oci, target
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.base import Base, Pull
from aifo_tasks.image.target import Target, Wish
from aifo_tasks.model import Image
from aifo_tasks.registry import references
from aifo_tasks.registry.references import Prefixes
from aifo_tasks.value import dataclass

EPOCH = "SOURCE_DATE_EPOCH"
"""The one time that stands in a published image (reproducible-builds.org)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be published: where, from which sources, by which builder.

    ``cache_from`` and ``cache_to`` are buildx's words or a registry's reference.
    """

    wish: Wish
    prefixes: Prefixes
    builder: str = "default"
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    attest: bool = False
    no_cache: bool = False
    pull: Pull = "auto"
    consent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where an image is now, its digest and each platform's; no digest in a dry run."""

    target: Target
    recipe: str
    base: Base
    version: str
    content: oci.Content | None = None


def publish(engine: Engine, publisher: Publisher, image: Image, order: Order) -> Published:
    """Build an image for every platform, send it where it goes, and see that it is there.

    Raises UsageError or EngineError for what cannot be done, before anything is built where
    that can be known. No archive is half written; a push that fails can be run again.
    """
    build.refuse_taken(image, "published")
    info = engine.info()
    goal = target.target(
        image.name, order.wish, own=info.platform, containerd=info.containerd_store
    )
    check_platforms(publisher.platforms(order.builder), goal.platforms)
    foreign = goal.platforms if goal.platforms != (info.platform,) else ()
    base = bases.ensure(
        engine, image, prefixes=order.prefixes, pull=order.pull, consent=order.consent,
        platforms=foreign,
    )  # fmt: skip
    if foreign and base.source == "registry":
        _check_base(publisher, image, base, goal.platforms)
    platform = ",".join(goal.platforms)
    recipe = recipes.recipe(image, version=base.version, base=base.digest, platform=platform)
    build.say(image, base, f"for {platform}" + (f"; {goal.why}" if goal.why else ""))
    spec = build.build_spec(image, base, recipe, goal.platforms, no_cache=order.no_cache)
    arguments = (*spec.arguments, epoch())
    spec = dataclasses.replace(spec, tag=goal.reference, arguments=arguments)
    content = None
    if goal.kind == "engine":
        engine.build(dataclasses.replace(spec, platform=platform), _progress(goal))
        log.step(goal.reference, "is in the engine")
    else:
        content = _sent(engine, publisher, goal, spec, order)
        if goal.kind == "registry":
            name = references.name(goal.reference)
            source = f"{name}@{content.digest}" if content is not None else goal.reference
            publisher.retag(source, f"{name}:{recipes.tag(image)}")
    return Published(
        target=goal, recipe=recipe.digest, base=base, version=base.version, content=content
    )


def _sent(
    engine: Engine, publisher: Publisher, goal: Target, spec: BuildSpec, order: Order
) -> oci.Content | None:
    """Build into an archive, check it, and only then let anybody see it."""
    with _scratch(goal) as archive:
        content = None
        if engine.info().containerd_store:
            content = _built(publisher, archive, goal, spec, order)
        else:
            _saved(engine, archive, goal, spec)
        if goal.archive is not None:
            _keep(archive, goal.archive)
            log.step(goal.reference, f"{goal.why}: written to {goal.archive}{_at(content)}")
        else:
            content = _pushed(engine, publisher, archive, goal, content)
            log.step(goal.reference, f"pushed{_at(content)}")
        return content


def epoch() -> tuple[str, str]:
    """The build argument that holds the time of everything in the image."""
    return EPOCH, os.environ.get(EPOCH) or "0"


def check_platforms(buildable: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """EngineError for a platform that the builder can neither build nor emulate."""
    missing = [platform for platform in wanted if platform not in buildable]
    if missing:
        names = ",".join(platform.split("/")[1] for platform in missing)
        raise EngineError(
            "PLATFORMS",
            f"nothing here runs programs for {', '.join(missing)}: no emulation is registered",
            hint=f"docker run --privileged --rm tonistiigi/binfmt --install {names}, "
            "or apt-get install qemu-user-binfmt",
        )


def check_content(subject: str, content: oci.Content, wanted: tuple[str, ...]) -> None:
    """AifoError when an image lacks a platform it was built for."""
    if list(content.platforms) == [""] and len(wanted) == 1:
        return
    missing = [platform for platform in wanted if platform not in content.platforms]
    if missing:
        raise AifoError(subject, f"lacks {', '.join(missing)}", hint="run it again")


def _check_base(publisher: Publisher, image: Image, base: Base, wanted: tuple[str, ...]) -> None:
    """AifoError for a base that lacks a platform, by the lock's word, else its registry's.

    A registry that does not say is left to the build.
    """
    pin = image.pin
    if pin is not None and pin.digest == base.digest:
        has = dict(pin.platforms)
    else:
        document = None
        with contextlib.suppress(EngineError):
            document = publisher.manifest(base.reference)
        has = dict(oci.content("", document).platforms) if document is not None else {}
    missing = [platform for platform in wanted if platform not in has]
    if missing and has and "" not in has:
        hint = f"PLATFORMS={','.join(sorted(has))}"
        raise AifoError(base.reference, f"lacks {', '.join(missing)}", hint=hint)


@contextlib.contextmanager
def _scratch(goal: Target) -> Iterator[Path]:
    """Where the archive is written; beside its own place, if it has one, and gone afterwards."""
    name = f".{references.name(goal.reference).rpartition('/')[2]}-{os.getpid()}.part"
    directory = goal.archive.parent if goal.archive else files.cache_dir() / "publish"
    files.make_directory(directory, mode=0o755)
    path = directory.absolute() / name
    try:
        yield path
    finally:
        if not log.is_dry_run():
            path.unlink(missing_ok=True)


def _built(
    publisher: Publisher, archive: Path, goal: Target, spec: BuildSpec, order: Order
) -> oci.Content | None:
    """Build into ``archive``: whole, of the digest that was built, and for every platform."""
    wanted = PublishSpec(
        build=spec,
        platforms=goal.platforms,
        archive=archive,
        builder=order.builder,
        cache_from=tuple(map(cache_from, order.cache_from)),
        cache_to=tuple(map(cache_to, order.cache_to)),
        attest=order.attest,
    )
    digest = publisher.publish(wanted, _progress(goal))
    if not digest:
        return None
    content = oci.read(archive)
    _check_digest(goal.reference, content.digest, digest)
    check_content(goal.reference, content, goal.platforms)
    return content


def _saved(engine: Engine, archive: Path, goal: Target, spec: BuildSpec) -> None:
    """The same where the engine's store keeps one platform of an image; its format may be
    docker's own."""
    with _in_engine(engine, goal):
        (platform,) = goal.platforms
        engine.build(dataclasses.replace(spec, platform=platform), _progress(goal))
        engine.save(goal.reference, archive)


def _keep(archive: Path, place: Path) -> None:
    if log.command(f"mv -f {shlex.quote(str(archive))} {shlex.quote(str(place))}"):
        archive.replace(place)


def _pushed(
    engine: Engine, publisher: Publisher, archive: Path, goal: Target, built: oci.Content | None
) -> oci.Content | None:
    """Push through the engine, and see what the registry has now."""
    with _in_engine(engine, goal):
        engine.load(archive, goal.reference)
        engine.push(goal.reference, _progress(goal))
    if log.is_dry_run():
        return None
    document = publisher.manifest(goal.reference)
    if document is None:
        raise EngineError(goal.reference, "was pushed and is not there", hint="run it again")
    content = oci.content(oci.digest_of(document), document)
    if built is not None:
        _check_digest(goal.reference, content.digest, built.digest)
    check_content(goal.reference, content, goal.platforms)
    return content


@contextlib.contextmanager
def _in_engine(engine: Engine, goal: Target) -> Iterator[None]:
    """The engine forgets the name again, unless it knew it before."""
    was_there = engine.image(goal.reference) is not None
    try:
        yield
    finally:
        if not was_there:
            engine.remove_image(goal.reference)


def _check_digest(subject: str, found: str, expected: str) -> None:
    if found != expected:
        raise AifoError(subject, f"is {found}, and {expected} was built", hint="run it again")


def _progress(goal: Target) -> Progress:
    return lambda line: log.progress(goal.reference, line)


def _at(content: oci.Content | None) -> str:
    return f", {content.digest}" if content is not None else ""


def cache_from(word: str) -> str:
    """buildx's own words as they are; else a directory or a registry's reference."""
    if "=" in word:
        return word
    return f"type=local,src={word}" if _is_directory(word) else f"type=registry,ref={word}"


def cache_to(word: str) -> str:
    """The same for where layers go."""
    if "=" in word:
        return word
    kind = f"type=local,dest={word}" if _is_directory(word) else f"type=registry,ref={word}"
    return f"{kind},mode=max"


def _is_directory(word: str) -> bool:
    return word.startswith(("/", "./", "../"))
