"""Which toolchain a word asks for: ``kind[@version][=image]``; pure."""

from __future__ import annotations

from aifo_tasks.errors import UsageError
from aifo_tasks.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A kind (or another of a toolchain's words), and the version or image asked for."""

    kind: str
    version: str | None = None
    image: str | None = None


def parse(word: str) -> Spec:
    """Read a word: what follows the first ``=`` is the image, then what follows the first ``@``
    the version, so that an image may hold both.

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
