"""The task that sends images out, and what it has in common with building them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aifo_tasks.errors import EngineError
from aifo_tasks.spec import Source
from aifo_tasks.tasks import project, variables
from aifo_tasks.tasks.actions import ToolAction

if TYPE_CHECKING:
    from aifo_tasks.engine.api import Engine
    from aifo_tasks.engine.publishing import Publisher
    from aifo_tasks.image.publish import Order
    from aifo_tasks.image.target import Wish
    from aifo_tasks.model import Toolchain

VARIABLES = ("PLATFORMS", "PUSH", "REGISTRY", "TAG", "ATTEST", "BUILDER", "CACHE_FROM", "CACHE_TO")
"""Any of them makes a build one that is published, or one of another name or platform."""

_DEFAULTS: Mapping[str, object] = {
    "platforms": [], "push": False, "registry": "", "tag": "", "attest": False,
    "builder": "default", "cache_from": [], "cache_to": [],
}  # fmt: skip


def task_publish_image() -> Iterator[dict[str, Any]]:
    """build a toolchain's image and push it: REGISTRY=registry.example/team/"""
    yield {"name": None, "doc": "build a toolchain's image and push it to REGISTRY"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"build {toolchain.image.name} and push it to REGISTRY, or write dist/",
            "actions": [ToolAction(publish, kind=word, push=True)],
            "params": project.params(
                *(name for name in VARIABLES if name != "PUSH"), "PULL", "NO_CACHE"
            ),
        }


def task_merge_image() -> Iterator[dict[str, Any]]:
    """put what machines have pushed as TAG-amd64 and TAG-arm64 together under TAG"""
    yield {"name": None, "doc": "put TAG-amd64, TAG-arm64 and so on together under TAG"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"put {toolchain.image.name}:TAG-amd64, TAG-arm64 and so on together under TAG",
            "actions": [ToolAction(merge, kind=word)],
            "params": project.params("PLATFORMS", "REGISTRY", "TAG"),
        }


def task_bake() -> dict[str, Any]:
    """print the builds of images as a file for docker buildx bake"""
    names = (name for name in VARIABLES if name != "BUILDER")
    return {
        "actions": [ToolAction(bake, interactive=True)],
        "params": variables.params("TOOLCHAINS", *names, "NO_CACHE"),
        "meta": {"aifo": {"quiet": True}},
    }


def is_asked(options: Mapping[str, Any]) -> bool:
    """True when a task's options ask for more than the image in the engine under its name."""
    return any(options[name] != default for name, default in _DEFAULTS.items())


def publish(kind: str, *, push: bool, pull: str, no_cache: bool, yes: bool, **options: Any) -> None:
    """Build the image for PLATFORMS and send it where PUSH and REGISTRY say.

    ``options`` are all of the task's.
    """
    from aifo_tasks.image import publish as images
    from aifo_tasks.tasks import locks

    toolchain = project.toolchain(kind)
    assert pull in {"auto", "never", "always"}, pull
    engine, publisher = connect("publish_image", consent=yes)
    order = _order(
        toolchain, {**options, "push": push, "pull": pull, "no_cache": no_cache}, consent=yes
    )
    done = images.publish(engine, publisher, toolchain.image, order)
    locks.record(publisher, toolchain, done)


def merge(kind: str, *, yes: bool, **options: Any) -> None:
    """Make one image of the platforms that were pushed, and record it in a lock that names it."""
    from aifo_tasks.image import merge as images
    from aifo_tasks.tasks import locks

    toolchain = project.toolchain(kind)
    _, publisher = connect("merge_image", consent=yes)
    done = images.merge(publisher, toolchain.image, _wish(toolchain, options, push=True))
    if done is not None:
        locks.record_merged(toolchain, done)


def bake(*, toolchains: Sequence[str], **options: Any) -> None:
    """Print the bake file of these toolchains, or of all."""
    from aifo_tasks import native
    from aifo_tasks.engine import bake as files
    from aifo_tasks.image import bake as images

    targets = {}
    for word in toolchains or [each.short for each in project.config().toolchains]:
        toolchain = project.toolchain(word)
        order = _order(toolchain, {**options, "pull": "auto", "builder": "default"}, consent=False)
        own = f"linux/{native.host_architecture()}"
        targets[toolchain.short] = images.baked(toolchain.image, order, own=own)
    sys.stdout.write(files.text(targets))
    sys.stdout.flush()


def _order(toolchain: Toolchain, options: Mapping[str, Any], *, consent: bool) -> Order:
    """What a task's options ask for."""
    from aifo_tasks.image.publish import Order

    return Order(
        wish=_wish(toolchain, options, push=options["push"]),
        prefixes=project.prefixes(),
        builder=options["builder"],
        cache_from=tuple(options["cache_from"]),
        cache_to=tuple(options["cache_to"]),
        attest=options["attest"],
        no_cache=options["no_cache"],
        pull=options["pull"],
        consent=consent,
    )


def _wish(toolchain: Toolchain, options: Mapping[str, Any], *, push: bool) -> Wish:
    """Where a task's options want the image."""
    from aifo_tasks.image.target import PREFIX, Wish

    registry = options["registry"]
    named = registry or variables.resolve("REGISTRY").source is not Source.DEFAULT
    return Wish(
        platforms=tuple(options["platforms"]),
        push=push,
        registry=registry if named else None,
        prefix=os.environ.get(PREFIX, ""),
        tag=options["tag"] or toolchain.image.tag,
    )


def connect(subject: str, *, consent: bool) -> tuple[Engine, Publisher]:
    """The engine, and buildx as its client; EngineError for an engine without that."""
    from aifo_tasks.engine import preview, publishing
    from aifo_tasks.session import ready

    engine = ready.connect(consent=consent)
    info = engine.info()
    if info.name != "docker":
        raise EngineError(subject, f"{info.name} cannot do it yet", hint="doit engine")
    return engine, publishing.Publisher(preview.client_argv("docker", info.endpoint))
