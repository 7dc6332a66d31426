"""Which image of a toolchain is used: words that ask for one, and whose word counts; pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from aifo_tasks.errors import UsageError
from aifo_tasks.model import Toolchain
from aifo_tasks.value import dataclass


class Source(enum.IntEnum):
    """Where a value was taken from; a later one counts more."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    COMMAND_LINE = 3

    @property
    def words(self) -> str:
        """As a person reads it: ``command line``."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A kind (or another of a toolchain's words), and the version or image asked for."""

    kind: str
    version: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for; ``where`` says in which word or variable."""

    spec: Spec
    source: Source
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A toolchain with the image that was decided on, what decided, and the wishes that count
    less, in their order."""

    toolchain: Toolchain
    source: Source
    where: str
    passed: tuple[Wish, ...] = ()


def parse(word: str) -> Spec:
    """Read ``kind[@version][=image]``: what follows the first ``=`` is the image, then what
    follows the first ``@`` the version, so that an image may hold both.

    Raises UsageError where a part is empty. Whether there is such a toolchain nobody asks.
    """
    front, equals, image = word.partition("=")
    kind, at, version = front.partition("@")
    parts = (("kind", True, kind), ("version", at, version), ("image", equals, image))
    for name, is_there, part in parts:
        if is_there and not part.strip():
            raise UsageError(
                repr(word), f"the {name} is empty", hint="KIND, KIND@VERSION or KIND=IMAGE"
            )
    return Spec(kind=kind, version=version or None, image=image or None)


def from_environment(toolchain: Toolchain, environ: Mapping[str, str]) -> Iterator[Wish]:
    """What the toolchain's own variables ask for; a blank one asks for nothing."""
    for part in ("image", "version"):
        name = f"AIFO_{toolchain.variable}_TOOLCHAIN_{part.upper()}"
        if value := environ.get(name, "").strip():
            spec = replace(Spec(kind=toolchain.kind), **{part: value})
            yield Wish(spec=spec, source=Source.ENVIRONMENT, where=name)


def choose(toolchain: Toolchain, wishes: Sequence[Wish]) -> Choice:
    """An image counts before a version, and of several the one from the latest source, there
    the first; without any the file's version, else the default of the base that is taken."""
    image = toolchain.image
    mine = [wish for wish in wishes if wish.spec.kind in toolchain.words]
    if image.version:
        file = Spec(kind=toolchain.kind, version=image.version)
        mine.append(Wish(spec=file, source=Source.FILE, where="toolchains.yaml"))
    asked = [wish for wish in mine if wish.spec.image or wish.spec.version]
    if asked:
        asked.sort(key=lambda wish: (wish.spec.image is not None, wish.source), reverse=True)
        wish, *passed = asked
        taken, version = wish.spec.image, wish.spec.version
        image = replace(image, taken=taken) if taken else replace(image, version=version)
        return Choice(
            toolchain=replace(toolchain, image=image),
            source=wish.source, where=wish.where, passed=tuple(passed),
        )  # fmt: skip
    return Choice(toolchain=toolchain, source=Source.DEFAULT, where="the base that is taken")
