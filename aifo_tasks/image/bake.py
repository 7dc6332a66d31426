"""An image's build as a target of a bake file; no engine and no registry is asked."""

from __future__ import annotations

import dataclasses

from aifo_tasks.engine import bake, preview
from aifo_tasks.engine.api import PublishSpec
from aifo_tasks.image import base as bases
from aifo_tasks.image import bootstrap, build, publish, target
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.base import Base
from aifo_tasks.image.publish import Order
from aifo_tasks.image.target import Target
from aifo_tasks.model import Image
from aifo_tasks.registry import references
from aifo_tasks.registry.references import Prefixes


def baked(image: Image, order: Order, *, own: str) -> bake.Target:
    """What ``publish`` would build and where it would go; ``own`` is this machine's platform.

    Raises UsageError for what cannot be meant.
    """
    build.refuse_taken(image, "baked")
    goal = target.target(image.name, order.wish, own=own, containerd=True)
    base = _base(image, order.prefixes, goal.platforms)
    recipe = recipes.recipe(
        image, version=base.version, base=base.digest, platform=",".join(goal.platforms)
    )
    spec = build.build_spec(image, base, recipe, goal.platforms, no_cache=order.no_cache)
    arguments = (*spec.arguments, publish.epoch())
    wanted = PublishSpec(
        build=dataclasses.replace(spec, tag=goal.reference, arguments=arguments),
        platforms=goal.platforms,
        archive=goal.archive or target.DIRECTORY,
        cache_from=tuple(map(publish.cache_from, order.cache_from)),
        cache_to=tuple(map(publish.cache_to, order.cache_to)),
        attest=order.attest,
    )
    tags = [goal.reference]
    if goal.kind == "registry":
        tags.append(f"{references.name(goal.reference)}:{recipes.tag(image)}")
    return bake.target(wanted, tags, _output(goal))


def _base(image: Image, prefixes: Prefixes, platforms: tuple[str, ...]) -> Base:
    """The base that toolchains.lock names, else the first source's, its digest unknown."""
    source = next((each for each in image.base if bases.pinned(image, each)), image.base[0])
    pin, name = bases.pinned(image, source), bases.named(source, image.version or "")
    if source.bootstrap is not None:
        reference, kind = bootstrap.reference(source.bootstrap, *platforms), "bootstrap"
    else:
        reference, kind = references.resolve(name, prefixes).reference, "registry"
        if pin is not None:
            reference = f"{references.name(reference)}@{pin.digest}"
    return Base(
        reference=reference,
        digest=pin.digest if pin is not None else "",
        source="bootstrap" if kind == "bootstrap" else "registry",
        version=bases.given(source, image.version or ""),
        why="it is declared first" if pin is None else "toolchains.lock names it",
        name=name,
    )


def _output(goal: Target) -> str:
    """Into the engine, an archive with the source's times in it, or a registry.

    An engine's own builder refuses to set times in what it pushes.
    """
    if goal.kind == "engine":
        return "type=docker"
    if goal.archive is None:
        return "type=image,push=true"
    return preview.fields("type=oci", f"dest={goal.archive}", "rewrite-timestamp=true")
