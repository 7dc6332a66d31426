"""One image of several platforms, from images that native machines have pushed one by one."""

from __future__ import annotations

from aifo_tasks import log
from aifo_tasks.engine.publishing import Publisher
from aifo_tasks.errors import AifoError, EngineError, UsageError
from aifo_tasks.image import build, oci, publish, target
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.target import Wish
from aifo_tasks.locked import Published
from aifo_tasks.model import Image
from aifo_tasks.registry import references


def merge(publisher: Publisher, image: Image, wish: Wish) -> Published | None:
    """Put ``TAG-amd64``, ``TAG-arm64`` and so on under ``TAG``, and under the recipe's tag.

    Each must be for its platform alone and made of what is declared now. None in a dry run.
    Raises UsageError or AifoError before anything is written.
    """
    build.refuse_taken(image, "merged")
    if len(wish.platforms) < 2:  # several are merged
        raise UsageError(
            "PLATFORMS", "which platforms are to be merged?",
            hint="PLATFORMS=linux/amd64,linux/arm64",
        )  # fmt: skip
    goal = target.target(image.name, wish, own="", containerd=True)
    if goal.kind != "registry":
        raise UsageError(
            "REGISTRY", "which registry has them?", hint="REGISTRY=registry.example/team/"
        )
    parts = [part(goal.reference, platform) for platform in goal.platforms]
    for reference, platform in zip(parts, goal.platforms, strict=True):
        _check(publisher, image, reference, platform)
    name = references.name(goal.reference)
    publisher.merge(parts, goal.reference, f"{name}:{recipes.tag(image)}")
    if log.is_dry_run():
        return None
    document = publisher.manifest(goal.reference)
    if document is None:
        raise EngineError(goal.reference, "was pushed and is not there", hint="run it again")
    content = oci.content(oci.digest_of(document), document)
    publish.check_content(goal.reference, content, goal.platforms)
    log.step(goal.reference, f"merged, {content.digest}")
    return Published(
        reference=goal.reference,
        digest=content.digest,
        platforms=tuple(sorted(content.platforms.items())),
    )


def part(reference: str, platform: str) -> str:
    """The reference that one platform's image was pushed under: its tag names the machine."""
    return f"{reference}-{platform.partition('/')[2].replace('/', '-')}"


def _check(publisher: Publisher, image: Image, reference: str, platform: str) -> None:
    """AifoError for an image that is not there, not for this platform, or of another recipe."""
    found = publisher.labels(reference)
    hint = f"doit publish_image TAG={reference.rpartition(':')[2]}, on {platform}"
    if found is None:
        raise AifoError(reference, "is not there", hint=hint)
    if list(found) != [platform]:
        raise AifoError(reference, f"is for {', '.join(found)}, not {platform} alone", hint=hint)
    if found[platform].get(recipes.DECLARED) != recipes.inputs(image):
        raise AifoError(reference, "was made of something else than is declared now", hint=hint)
