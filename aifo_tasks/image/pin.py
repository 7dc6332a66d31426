"""What toolchains.lock means for a toolchain: its base, and whether it is what was locked."""

from __future__ import annotations

import dataclasses

from aifo_tasks import locked
from aifo_tasks.errors import LockError
from aifo_tasks.image import recipe as recipes
from aifo_tasks.locked import NAME, Lock, Locked
from aifo_tasks.model import Image, Toolchain
from aifo_tasks.value import dataclass

LOCK = "doit lock"
_ELSEWHERE = {"base", "platform"}
"""Inputs of a recipe that a lock names elsewhere, or that are not the file's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of what ``outdated`` shows; ``same`` when what is there is what is locked,
    ``told`` when another is no drift: a newer release of what the file pins."""

    kind: str
    what: str
    locked: str
    now: str
    same: bool = False
    told: bool = False


def pinned(lock: Lock | None, toolchain: Toolchain, *, strict: bool) -> Toolchain:
    """The toolchain on the base that the lock names, if it names one.

    When ``strict`` raises LockError for everything the lock does not name as it is declared.
    """
    found = lock.toolchain(toolchain.kind) if lock is not None else None
    if strict:
        _require(lock, found, toolchain)
    if found is None:
        return toolchain
    published = tuple(each.digest for each in found.published)
    image = dataclasses.replace(toolchain.image, pin=found.base, published=published, strict=strict)
    return dataclasses.replace(toolchain, image=image)


def _require(lock: Lock | None, found: Locked | None, toolchain: Toolchain) -> None:
    if lock is None:
        raise LockError(NAME, "is not there, and LOCKED=1", hint=LOCK)
    if found is None:
        raise LockError(NAME, f"does not name {toolchain.kind}, and LOCKED=1", hint=LOCK)
    if toolchain.image.taken:
        raise LockError(
            NAME, f"does not name {toolchain.image.taken} for {toolchain.kind}, and LOCKED=1",
            hint="leave out TOOLCHAIN_IMAGE and the environment's AIFO_*_TOOLCHAIN_IMAGE",
        )  # fmt: skip
    changes = "; ".join(row.what for row in drift(found, toolchain.image))
    if changes:
        raise LockError(NAME, f"names another {toolchain.kind}: {changes}", hint=LOCK)


def drift(found: Locked, image: Image) -> list[Row]:
    """Everything declared that is not what is locked; no engine and no registry is asked."""
    if found.declared == recipes.inputs(image):
        return []
    before = {tool.key: tool for tool in found.tools}
    now = {tool.key: tool for tool in tools(image)}
    rows = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old != new:
            was, is_now = old.version if old else "", new.version if new else ""
            change = f"from {was or 'none'} to {is_now or 'none'}"
            if was == is_now:
                change = f"its checksum, at {was}"
            what = f"{key} changed {change}"
            rows.append(Row(kind=found.kind, what=what, locked=was, now=is_now))
    made_of = dict(inputs(image, found.version))
    if rows:  # another version of a package is another Dockerfile
        made_of["dockerfile"] = dict(found.inputs).get("dockerfile", "")
    others = recipes.differences(dict(found.inputs), made_of)
    return rows + [Row(kind=found.kind, what=what, locked="", now="") for what in others]


def inputs(image: Image, version: str) -> locked.Pairs:
    """What the recipe of an image depends on, without what a lock names elsewhere."""
    recipe = recipes.recipe(image, version=version, base="", platform="")
    return tuple(pair for pair in recipe.inputs if pair[0] not in _ELSEWHERE)


def tools(image: Image) -> tuple[locked.Tool, ...]:
    """The packages that an image installs, as a lock has them."""
    return tuple(
        locked.Tool(
            name=package.name,
            version=package.version,
            integrity=package.integrity or "",
            architecture=package.architecture or "",
        )
        for package in image.packages
    )
