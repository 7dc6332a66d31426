"""A toolchain's image: is it what the files ask for, and if not, building it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aifo_tasks
from aifo_tasks import certificates, log, native
from aifo_tasks.engine.api import BuildSpec, Engine, ImageState
from aifo_tasks.errors import AifoError, EngineError, NotFoundError
from aifo_tasks.image import base as bases
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.base import Base, Pull
from aifo_tasks.image.bootstrap import alone
from aifo_tasks.image.recipe import Recipe
from aifo_tasks.locked import NAME
from aifo_tasks.model import PROXIES, Image, Toolchain
from aifo_tasks.registry import references
from aifo_tasks.registry.references import Prefixes
from aifo_tasks.value import dataclass

MISSING = "the engine does not have it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A toolchain's image the engine has; ``reason`` is why it was built just now, None when
    it was up to date."""

    reference: str
    id: str
    reason: str | None = None


def ensure(
    engine: Engine,
    toolchain: Toolchain,
    *,
    prefixes: Prefixes,
    pull: Pull = "auto",
    no_cache: bool = False,
    consent: bool = False,
) -> Built:
    """Build the image unless the engine, or the internal registry, has it as the files ask for it.

    ``no_cache`` builds always. ``pull="always"`` asks the base's registry too. ``consent``
    allows programs to be installed that a bootstrapped base needs. An image that is taken as
    it is is pulled unless the engine has it.
    """
    image, platform = toolchain.image, engine.info().platform
    if image.taken:
        refuse_taken(image, "built", when=no_cache)
        return _taken(engine, image, pull)
    force = no_cache or pull == "always"
    state = engine.image(image.reference)
    if not force and stale(state, image, platform=platform) is None:
        return _up_to_date(image, state)
    with alone(f"image-{image.name}", image.name):
        state = engine.image(image.reference)
        if not force and stale(state, image, platform=platform) is None:
            return _up_to_date(image, state)  # another process built it while we waited
        if not force and pull != "never":
            found = _pulled(engine, image, prefixes)
            if found is not None:
                return found
        base = bases.ensure(engine, image, prefixes=prefixes, pull=pull, consent=consent)
        recipe = recipes.recipe(image, version=base.version, base=base.digest, platform=platform)
        reason = "a build without cache was asked for"
        if not no_cache:
            reason = _difference(state, recipe)
        if not reason:
            return _up_to_date(image, state)
        return _build(engine, image, base, recipe, reason, no_cache=no_cache)


def _taken(engine: Engine, image: Image, pull: Pull) -> Built:
    state, pulled = bases.present(engine, image.taken, subject=image.name, pull=pull)
    return Built(reference=image.taken, id=state.id, reason=MISSING if pulled else None)


def reason(toolchain: Toolchain) -> str | None:
    """Why a toolchain's image has to be built, None when it is up to date.

    Asks a local engine over its socket, without the SDK; says so when none answers.
    """
    from aifo_tasks.engine import light, provision

    endpoint = provision.find()
    if endpoint is None:
        return "no engine answers"
    reference = toolchain.image.reference
    return stale(light.image_labels(endpoint.url, [reference])[reference], toolchain.image)


def stale(state: ImageState | None, image: Image, *, platform: str = "") -> str | None:
    """Why the image has to be built, None when it is up to date; no registry is asked.

    ``state`` is the engine's image of that name, its labels being enough. ``platform`` is
    the engine's, "" where nobody asked it. Nothing is rendered as long as nothing changed.
    """
    if state is None:
        return MISSING
    if image.taken:
        return None
    labels = state.labels
    built_for = recipes.recorded(labels).get("platform", "")
    fits = not platform or platform in built_for.split(",")
    was = labels.get(recipes.BASE, "")
    base = bases.wanted(image, labels.get(recipes.BASE_SOURCE, "")) or was
    if fits and base == was and labels.get(recipes.DECLARED) == recipes.inputs(image):
        return None
    recipe = recipes.recipe(
        image,
        version=labels.get(recipes.TOOL_VERSION, ""),
        base=base,
        platform=built_for if fits else platform,
    )
    return _difference(state, recipe) or None


def dockerfile(toolchain: Toolchain, labels: Mapping[str, str] | None = None) -> str:
    """The Dockerfile as it is given to the builder.

    ``labels`` are the built image's, if there is one: they tell which of the declared
    sources gave the base and so the version, where the file leaves that open.
    """
    image, labels = toolchain.image, labels or {}
    refuse_taken(image, "rendered")
    version = image.version or (image.base[0].version if image.base else "")
    if recipes.recorded(labels).get("version") == (image.version or ""):
        version = labels.get(recipes.TOOL_VERSION, version)
    return recipes.render(image, version)


def refuse_taken(image: Image, what: str, *, when: bool = True) -> None:
    """AifoError for an image of somebody else's, which cannot be built, rendered or published."""
    if image.taken and when:
        raise AifoError(
            image.taken, f"is taken as it is and cannot be {what}",
            hint="leave out TOOLCHAIN_IMAGE and the environment's AIFO_*_TOOLCHAIN_IMAGE",
        )  # fmt: skip


def build_arguments(
    image: Image, base: Base, environ: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """The base, the file's own arguments, and the proxies of the host's environment."""
    proxies = tuple((name, environ[name]) for name in PROXIES if environ.get(name))
    return (("BASE", base.reference), *image.arguments, *proxies)


def _build(
    engine: Engine, image: Image, base: Base, recipe: Recipe, reason: str, *, no_cache: bool
) -> Built:
    say(image, base, reason)
    spec = build_spec(image, base, recipe, (engine.info().platform,), no_cache=no_cache)
    state = engine.build(spec, lambda line: log.progress(image.name, line))
    return Built(reference=image.reference, id=state.id, reason=reason)


def _pulled(engine: Engine, image: Image, prefixes: Prefixes) -> Built | None:
    """The image as somebody published it from the same recipe; None when nobody did.

    Only the internal registry is asked: a name of ours means nothing to any other. Where
    nothing else than toolchains.lock's will do, it is one that was locked when it was pushed.
    """
    if not prefixes.internal.value or (image.strict and not image.published):
        return None
    published = f"{image.name}:{recipes.tag(image)}"
    reference = references.resolve(published, prefixes, internal=True).reference
    try:
        state = engine.pull(reference, lambda line: log.progress(image.name, line))
    except NotFoundError:
        return None
    except EngineError as error:
        log.step(image.name, f"not pulled from {reference}: {bases.short(error.problem)}")
        return None
    if log.is_dry_run():
        return None
    wrong = stale(state, image, platform=engine.info().platform)
    digests = {text.partition("@")[2] for text in state.digests}
    if image.strict and digests.isdisjoint(image.published):
        wrong = f"it is not what {NAME} names"
    if wrong is not None:
        log.step(image.name, f"not taken from {reference}: {wrong}")
        return None
    state = engine.tag(reference, image.reference)
    return Built(reference=image.reference, id=state.id, reason=f"pulled as {reference}")


def say(image: Image, base: Base, reason: str) -> None:
    """What is built over which base, and why."""
    log.step(image.name, f"building over {base.reference}: {reason}")
    log.step(image.name, f"base {base.digest[:19]}: {base.why}")
    for name, host in local_proxies(os.environ):
        log.warn(image.name, f"{name} names {host}, which in a build is the build itself")


def build_spec(
    image: Image, base: Base, recipe: Recipe, platforms: Sequence[str], *, no_cache: bool
) -> BuildSpec:
    """The build of a recipe for these platforms, under the image's own reference."""
    bundle = certificates.bundle(os.environ)
    return BuildSpec(
        tag=image.reference,
        context=image.context,
        dockerfile=recipe.dockerfile,
        arguments=build_arguments(image, base, os.environ),
        secrets=() if bundle is None else (("ca", bundle),),
        contexts=_contexts(image, platforms),
        labels=_labels(image, base, recipe),
        no_cache=no_cache,
    )


def _contexts(image: Image, platforms: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """What the Dockerfile copies from and mounts besides the image's own context."""
    contexts = () if image.shared is None else ((recipes.SHARED_CONTEXT, image.shared),)
    if not image.shims:
        return contexts
    architectures = [platform.split("/")[1] for platform in platforms]
    return (*contexts, (recipes.SHIM_CONTEXT, native.shims_by_architecture(architectures)))


def _labels(image: Image, base: Base, recipe: Recipe) -> tuple[tuple[str, str], ...]:
    return (
        *recipe.labels,
        (recipes.BASE, base.digest),
        (recipes.BASE_REFERENCE, base.reference),
        (recipes.BASE_SOURCE, base.source),
        (recipes.TOOL_VERSION, base.version),
        (recipes.PACKAGE_VERSION, aifo_tasks.__version__),
        ("org.opencontainers.image.title", image.name),
        ("org.opencontainers.image.version", base.version),
        ("org.opencontainers.image.base.name", base.reference),
        ("org.opencontainers.image.base.digest", base.digest),
    )


def _difference(state: ImageState | None, recipe: Recipe) -> str:
    return MISSING if state is None else recipes.explain(state.labels, recipe)


def _up_to_date(image: Image, state: ImageState | None) -> Built:
    return Built(reference=image.reference, id=state.id if state else "")


def local_proxies(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Proxy variables and their host where that is this machine's own loopback."""
    for name in PROXIES:
        value = environ.get(name, "")
        host = urlsplit(value if "://" in value else f"//{value}").hostname or ""
        if not name.lower().startswith("no_") and host in {"localhost", "127.0.0.1", "::1"}:
            yield name, host
