"""Values with the place they were written at, and what is said about them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import NamedTuple

from aifo_tasks.value import dataclass

Scalar = str | int | float | bool | None
Keys = tuple[str | int, ...]
Plain = Scalar | list["Plain"] | dict[str, "Plain"]

_SHOWN = 60
_PLAIN_KEY = re.compile(r"[\w+*-]+", re.ASCII)


BUILTIN = "builtin"
"""The name of the shipped file, in ``extends`` and in messages."""


class Place(NamedTuple):
    """Where something is written; ``depth`` counts files along ``extends``, own file 0.

    ``line`` and ``column`` count from 1, columns in characters. Places sort the way they
    are shown: the project's own file first.
    """

    depth: int
    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def seniority(self) -> tuple[int, int, int]:
        """Sorts what is extended before what extends it: the later of two gets the blame."""
        return (-self.depth, self.line, self.column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value: a scalar, a list or a mapping of nodes.

    ``raw`` is a scalar as it was written, ``keys`` the places of a mapping's keys.
    """

    value: Scalar | Sequence[Node] | Mapping[str, Node]
    place: Place
    raw: str = ""
    keys: Mapping[str, Place] = field(default_factory=dict)


class Finding(NamedTuple):
    """Something wrong at a place; ``keys`` leads to the value and may be empty."""

    place: Place
    keys: Keys
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        subject = f"{self.place}: {shown_keys(self.keys)}: " if self.keys else f"{self.place}: "
        return printable(subject + self.problem + (f" (hint: {self.hint})" if self.hint else ""))


class Spot(NamedTuple):
    """A node and the keys that lead to it; what is not there reads as empty.

    Rules look at files that may break the schema elsewhere, so nothing here raises.
    """

    node: Node
    keys: Keys = ()

    def get(self, *keys: str) -> Spot:
        """The value below these keys, or an empty spot."""
        spot = self
        for key in keys:
            value = spot.node.value
            below = value.get(key) if isinstance(value, Mapping) else None
            spot = Spot(below or Node(value=None, place=spot.node.place), (*spot.keys, key))
        return spot

    def entries(self) -> list[tuple[str, Spot]]:
        """The keys of a mapping and their values, in order."""
        value = self.node.value
        return [(key, self.get(key)) for key in value] if isinstance(value, Mapping) else []

    def items(self) -> list[Spot]:
        """The items of a list."""
        value = self.node.value
        if not isinstance(value, Sequence) or isinstance(value, str):
            return []
        return [Spot(node, (*self.keys, index)) for index, node in enumerate(value)]

    @property
    def text(self) -> str:
        """The value if it is text, else nothing."""
        return self.node.value if isinstance(self.node.value, str) else ""

    def descend(self, keys: Keys) -> Spot:
        """The value below these keys, which must lead somewhere."""
        spot = self
        for key in keys:
            spot = spot.items()[key] if isinstance(key, int) else spot.get(key)
        return spot

    def finding(self, problem: str, hint: str = "", *, key: str | None = None) -> Finding:
        """Something wrong with this value, or with one key of this mapping."""
        if key is None:
            return Finding(self.node.place, self.keys, problem, hint)
        place = self.node.keys.get(key, self.node.place)
        return Finding(place, (*self.keys, key), problem, hint)


def plain(node: Node) -> Plain:
    """The value alone, as JSON would have it."""
    value = node.value
    if isinstance(value, Mapping):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(below) for below in value]
    return value


def merge(base: Node, over: Node) -> Node:
    """What ``over`` says, and of ``base`` what it leaves alone.

    Mappings are merged key by key, everything else is replaced; null takes an inherited
    key away.
    """
    if not isinstance(base.value, Mapping) or not isinstance(over.value, Mapping):
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        if key not in merged:
            merged[key] = node
        elif node.value is None:
            del merged[key]
        else:
            merged[key] = merge(merged[key], node)
    return Node(value=merged, place=over.place, keys={**base.keys, **over.keys})


def without(node: Node, key: str) -> Node:
    """The mapping without one of its keys."""
    if not isinstance(node.value, Mapping):
        return node
    rest = {name: below for name, below in node.value.items() if name != key}
    return Node(value=rest, place=node.place, keys=node.keys)


def shown_keys(keys: Keys) -> str:
    """``toolchains.node.caches[0].target``"""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key):
            text += f".{key}"
        else:
            text += f"[{quoted(key)}]"
    return text.removeprefix(".")


def shown(node: Node) -> str:
    """What stands there, short enough for a message."""
    if isinstance(node.value, str):
        return quoted(node.value)
    if isinstance(node.value, Mapping):
        return "a mapping"
    if isinstance(node.value, Sequence):
        return "a list"
    return "null" if node.value is None else node.raw[:_SHOWN]


def printable(text: str) -> str:
    """The text on one line, with what a terminal would not show written as escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def quoted(text: str) -> str:
    """The text in quotes, on one line, cut when it is long."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
