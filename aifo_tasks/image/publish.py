"""An image built for other machines: into an archive or a registry, and read back from there."""

from __future__ import annotations

import dataclasses
import os
import shlex

from aifo_tasks import files, log
from aifo_tasks.engine.api import Engine, Progress, PublishSpec
from aifo_tasks.engine.publishing import Publisher
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.image import base as bases
from aifo_tasks.image import build, oci, target
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.base import Pull
from aifo_tasks.image.recipe import Recipe
from aifo_tasks.image.target import Target, Wish
from aifo_tasks.model import Image
from aifo_tasks.registry import references
from aifo_tasks.registry.references import Prefixes
from aifo_tasks.value import dataclass

EPOCH = "SOURCE_DATE_EPOCH"
"""The one time that stands in a published image (reproducible-builds.org)."""

RECIPE_TAG = "recipe-"
"""What begins the tag that names a published image by what it was made of."""


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
    base: str
    version: str
    content: oci.Content | None = None


def publish(engine: Engine, publisher: Publisher, image: Image, order: Order) -> Published:
    """Build an image for every platform, send it where it goes, and see that it is there.

    Raises UsageError or EngineError for what cannot be done, before anything is built where
    that can be known. No archive is half written; a push that fails can be run again.
    """
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
    platform = ",".join(goal.platforms)
    recipe = recipes.recipe(image, version=base.version, base=base.digest, platform=platform)
    build.say(image, base, f"for {platform}" + (f"; {goal.why}" if goal.why else ""))
    spec = build.build_spec(image, base, recipe, goal.platforms, no_cache=order.no_cache)
    arguments = (*spec.arguments, (EPOCH, os.environ.get(EPOCH) or "0"))
    spec = dataclasses.replace(spec, tag=goal.reference, arguments=arguments)
    if goal.kind == "engine":
        spec = dataclasses.replace(spec, platform=platform)
        engine.build(spec, _progress(goal))
        log.step(goal.reference, "is in the engine")
        return Published(target=goal, recipe=recipe.digest, base=base.digest, version=base.version)
    wanted = PublishSpec(
        build=spec,
        platforms=goal.platforms,
        builder=order.builder,
        cache_from=tuple(map(_cache_from, order.cache_from)),
        cache_to=tuple(map(_cache_to, order.cache_to)),
        attest=order.attest,
    )
    send = _archived if goal.kind == "archive" else _pushed
    content = send(publisher, wanted, goal, recipe)
    return Published(
        target=goal, recipe=recipe.digest, base=base.digest, version=base.version, content=content
    )


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


def recipe_tag(reference: str, recipe: str) -> str:
    """The reference that names an image by its recipe's digest, beside one with another tag."""
    return f"{references.name(reference)}:{RECIPE_TAG}{recipe[:32]}"


def _archived(
    publisher: Publisher, spec: PublishSpec, goal: Target, _recipe: Recipe
) -> oci.Content | None:
    """Build into a file beside the archive's place, check it, and only then give it its name."""
    assert goal.archive is not None
    part = goal.archive.with_name(f".{goal.archive.name}.part")
    files.make_directory(goal.archive.parent, mode=0o755)
    try:
        spec = dataclasses.replace(spec, archive=part.absolute())
        digest = publisher.publish(spec, _progress(goal))
        content = None
        if digest:
            content = oci.read(part)
            _check_digest(str(goal.archive), content.digest, digest)
            check_content(str(goal.archive), content, goal.platforms)
        if log.command(f"mv -f {shlex.quote(str(part))} {shlex.quote(str(goal.archive))}"):
            part.replace(goal.archive)
    finally:
        if not log.is_dry_run():
            part.unlink(missing_ok=True)
    log.step(goal.reference, f"{goal.why}: written to {goal.archive}" + _at(digest))
    return content


def _pushed(
    publisher: Publisher, spec: PublishSpec, goal: Target, recipe: Recipe
) -> oci.Content | None:
    """Push, read back what the registry has now, and name it by its recipe as well."""
    digest = publisher.publish(spec, _progress(goal))
    source, content = goal.reference, None
    if digest:
        source = f"{references.name(goal.reference)}@{digest}"
        document = publisher.manifest(goal.reference)
        if document is None:
            raise EngineError(
                goal.reference, "was pushed, and the registry has none", hint="run it again"
            )
        _check_digest(goal.reference, oci.digest_of(document), digest)
        content = oci.content(digest, document)
        check_content(goal.reference, content, goal.platforms)
    publisher.retag(source, recipe_tag(goal.reference, recipe.digest))
    log.step(goal.reference, "pushed" + _at(digest))
    return content


def _check_digest(subject: str, found: str, expected: str) -> None:
    if found != expected:
        raise AifoError(subject, f"is {found} there, and {expected} was built", hint="run it again")


def _progress(goal: Target) -> Progress:
    return lambda line: log.progress(goal.reference, line)


def _at(digest: str) -> str:
    return f", {digest}" if digest else ""


def _cache_from(word: str) -> str:
    """buildx's own words as they are; else a directory or a registry's reference."""
    if "=" in word:
        return word
    return f"type=local,src={word}" if _is_directory(word) else f"type=registry,ref={word}"


def _cache_to(word: str) -> str:
    if "=" in word:
        return word
    kind = f"type=local,dest={word}" if _is_directory(word) else f"type=registry,ref={word}"
    return f"{kind},mode=max"


def _is_directory(word: str) -> bool:
    return word.startswith(("/", "./", "../"))
