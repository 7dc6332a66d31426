"""Which contents of which files the user approved to reach the host."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aifo_tasks import files
from aifo_tasks.config.tree import Node, Plain, Spot, plain
from aifo_tasks.errors import AifoError

_EVERY = "*"


def trusted_path() -> Path:
    """Where approvals are kept: a JSON object, absolute path to SHA-256."""
    return files.config_dir() / "trusted.json"


def is_approved(path: Path, digest: str) -> bool:
    """True when the user approved exactly this content (SHA-256) of this absolute path."""
    return _approvals().get(str(path)) == digest


def refuse_approvals_below(root: Path) -> None:
    """Raise AifoError where the project holds the approvals: its tools could write them."""
    path = trusted_path()
    if Path(os.path.realpath(path)).is_relative_to(root):
        raise AifoError(
            str(path), "approvals cannot be kept inside the project, where its tools can write",
            hint="export XDG_CONFIG_HOME=/a/directory/outside",
        )  # fmt: skip


def approve(approved: Iterable[tuple[Path, str]]) -> None:
    """Approve these contents: absolute paths with their SHA-256, as ``load.requests`` gives.

    One record a path. When two approvals run at once one may be lost; it is asked for again.
    """
    records = {**_approvals(), **{str(path): digest for path, digest in approved}}
    path = trusted_path()
    files.make_directory(path.parent)
    files.write_atomically(path, json.dumps(records, indent=2, sort_keys=True).encode() + b"\n")


def reaching(merged: Node, builtin: Node, schema: Mapping[str, Any]) -> list[Spot]:
    """The values that reach the host and go further than the shipped file does.

    The schema marks the keys with ``x-trust``: a list goes further with every item the
    shipped one lacks, a word when it stands later in its ``enum``, other text when it
    differs. A key that is left out, or taken away, has its default.
    """
    found: list[Spot] = []
    for pattern, marked in _marked(schema, schema):
        for spot in _matching(Spot(merged), pattern):
            shipped = Spot(builtin).get(*map(str, spot.keys))
            if _is_wider(_value(spot, marked), _value(shipped, marked), marked):
                found.append(spot)
    return sorted(found, key=lambda spot: spot.node.place)


def _value(spot: Spot, marked: Mapping[str, Any]) -> Plain:
    default: Plain = marked["default"]
    return default if spot.node.value is None else plain(spot.node)


def _is_wider(value: Plain, base: Plain, marked: Mapping[str, Any]) -> bool:
    if "enum" in marked:
        order: list[Plain] = marked["enum"]
        return order.index(value) > order.index(base)
    if not isinstance(value, list):
        return value != base
    assert isinstance(base, list)
    return any(item not in base for item in value)


def _marked(
    schema: Mapping[str, Any], whole: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every key the schema marks, as the keys that lead to it; ``*`` is any name."""
    if schema.get("x-trust"):
        yield (), schema
    if "$ref" in schema:
        keys = schema["$ref"].removeprefix("#/").split("/")
        yield from _marked(functools.reduce(lambda below, key: below[key], keys, whole), whole)
    for key, below in schema.get("properties", {}).items():
        for rest, marked in _marked(below, whole):
            yield (key, *rest), marked
    for below in schema.get("patternProperties", {}).values():
        for rest, marked in _marked(below, whole):
            yield (_EVERY, *rest), marked


def _matching(spot: Spot, pattern: tuple[str, ...]) -> Iterator[Spot]:
    if not pattern:
        yield spot
        return
    key, *rest = pattern
    for below in [each for _, each in spot.entries()] if key == _EVERY else [spot.get(key)]:
        yield from _matching(below, tuple(rest))


def _approvals() -> dict[str, str]:
    """The recorded approvals; a file nobody can make sense of approves nothing."""
    try:
        records = json.loads(trusted_path().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(records, dict):
        return {}
    return {path: digest for path, digest in records.items() if isinstance(digest, str)}
