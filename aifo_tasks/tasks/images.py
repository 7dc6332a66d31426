"""Tasks about images: build one, build it anew, show the Dockerfile."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from aifo_tasks import log
from aifo_tasks.tasks import project, publishing
from aifo_tasks.tasks.actions import ToolAction
from aifo_tasks.tasks.uptodate import Question, asked


def task_build_image() -> Iterator[dict[str, Any]]:
    """build a toolchain's image, unless the engine has it as the files ask for it"""
    yield {"name": None, "doc": "build a toolchain's image unless it is up to date"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"build {toolchain.image.reference} unless it is up to date",
            "actions": [ToolAction(build, kind=word)],
            "uptodate": [asked(_question(word))],
            "params": project.params("PULL", "NO_CACHE", *publishing.VARIABLES),
        }


def task_rebuild_image() -> Iterator[dict[str, Any]]:
    """build a toolchain's image without the build cache"""
    yield {"name": None, "doc": "build a toolchain's image without the build cache"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"build {toolchain.image.reference} without the build cache",
            "actions": [ToolAction(build, kind=word, no_cache=True)],
            "params": project.params("PULL", *publishing.VARIABLES),
        }


def task_render_image() -> Iterator[dict[str, Any]]:
    """print the Dockerfile of a toolchain's image as the builder gets it"""
    yield {"name": None, "doc": "print the Dockerfile of a toolchain's image"}
    for word, toolchain in project.words():
        yield {
            "name": word,
            "doc": f"print the Dockerfile of {toolchain.image.reference}",
            "actions": [ToolAction(render, interactive=True, kind=word)],
            "meta": {"aifo": {"quiet": True}},
        }


def build(kind: str, *, pull: str, no_cache: bool, yes: bool, **options: Any) -> None:
    """Build the image of a toolchain if it is stale; publish it if the options say where."""
    if publishing.is_asked(options):
        publishing.publish(kind, pull=pull, no_cache=no_cache, yes=yes, **options)
        return
    from aifo_tasks.image import build as images
    from aifo_tasks.session import ready

    toolchain = project.toolchain(kind)
    assert pull in {"auto", "never", "always"}, pull
    built = images.ensure(
        ready.connect(consent=yes),
        toolchain,
        prefixes=project.prefixes(),
        pull=pull,  # type: ignore[arg-type]
        no_cache=no_cache,
        consent=yes,
    )
    if built.reason is not None:
        how = "pulled" if built.reason.startswith("pulled") else "built"
        log.step(built.reference, f"{how}; sidecars that run keep the one before: {_NEXT}")


_NEXT = "doit sidecar_stop"


def render(kind: str) -> None:
    """Write the rendered Dockerfile to stdout."""
    from aifo_tasks.image import build as images

    toolchain = project.toolchain(kind)
    sys.stdout.write(images.dockerfile(toolchain))
    sys.stdout.flush()


def _question(kind: str) -> Question:
    """Asks why the image must be built; the engine is asked over its socket, without the SDK."""

    def question(options: Mapping[str, Any]) -> str | None:
        from aifo_tasks.image import build as images

        if options["no_cache"]:
            return "a build without cache was asked for"
        if publishing.is_asked(options):
            return "it is to be published, or to have another name or platform"
        if options["pull"] == "always":
            return "the base's registry is to be asked"
        return images.reason(project.toolchain(kind))

    return question
