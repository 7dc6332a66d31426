"""The words of toolchains.lock as frozen values; no I/O."""

from __future__ import annotations

import dataclasses
from typing import Literal

from aifo_tasks.value import dataclass

NAME = "toolchains.lock"

Pairs = tuple[tuple[str, str], ...]
"""A mapping, sorted by its keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The base of an image: ``reference`` as declared, without any prefix; for a bootstrap its
    suite. ``platforms`` maps each platform to its own digest."""

    source: Literal["registry", "bootstrap"]
    reference: str
    digest: str
    platforms: Pairs = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A package that an image installs; see ``model.Package``."""

    name: str
    version: str
    integrity: str = ""
    architecture: str = ""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.name} ({self.architecture})" if self.architecture else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a registry had under a reference after a push, and each platform's digest."""

    reference: str
    digest: str
    platforms: Pairs = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One toolchain as it was locked.

    ``version`` is the tool's, ``declared`` the digest of all that is declared, ``inputs`` the
    digest of each thing the image is made of, by name.
    """

    kind: str
    image: str
    version: str
    declared: str
    base: Base
    inputs: Pairs = ()
    tools: tuple[Tool, ...] = ()
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The whole file, its toolchains sorted by kind."""

    toolchains: tuple[Locked, ...] = ()

    def toolchain(self, kind: str) -> Locked | None:
        """What is locked of a kind."""
        return next((each for each in self.toolchains if each.kind == kind), None)

    def holding(self, *new: Locked) -> Lock:
        """The same with these in place of those of their kinds."""
        kept = {each.kind: each for each in (*self.toolchains, *new)}
        return Lock(toolchains=tuple(kept[kind] for kind in sorted(kept)))


def pushed(locked: Locked, published: Published) -> Locked:
    """The same toolchain with what is now under a reference in place of what was."""
    kept = {each.reference: each for each in (*locked.published, published)}
    return dataclasses.replace(locked, published=tuple(kept[name] for name in sorted(kept)))
