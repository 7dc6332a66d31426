"""toolchains.lock: read and checked as toolchains.yaml is, and written, always the same way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aifo_tasks import files
from aifo_tasks.locked import NAME, Base, Lock, Locked, Pairs, Published, Tool

Data = Mapping[str, Any]  # the schema has been checked; its shape is the model's

_FIRST = "# What toolchains.yaml came to, to the digest. Written by doit lock; keep it beside it.\n"
_PLAIN = re.compile(r"[a-z][a-z0-9/-]*")
_WORDS = {"true", "false", "null"}
"""What YAML takes for something else than text."""


def read(root: Path) -> tuple[Data | None, tuple[str, ...]]:
    """The checked content of a project's lock, None when there is none or it is not valid;
    and everything that is wrong with it, ``toolchains.lock:3:5: …``.

    Raises UnsafePathError for a link, OSError for a file that cannot be read.
    """
    content = files.read_below(root, NAME)
    return (None, ()) if content is None else checked(content)


def checked(content: bytes) -> tuple[Data | None, tuple[str, ...]]:
    """The same of a lock's bytes."""
    from aifo_tasks.config import check
    from aifo_tasks.config import read as reading
    from aifo_tasks.config.tree import plain

    node, findings = reading.read(content, name=NAME, depth=0)
    if node is not None:
        findings += check.findings(node, "lock")
    if node is None or findings:
        ordered = sorted(set(findings), key=lambda finding: (finding.place, str(finding)))
        return None, tuple(map(str, ordered))
    data = plain(node)
    assert isinstance(data, dict)
    return data, ()


def lock(data: Data) -> Lock:
    """The model of data that has passed the schema."""
    found = (_locked(kind, each) for kind, each in data.get("toolchains", {}).items())
    return Lock().holding(*found)


def text(lock: Lock) -> str:
    """The file that says this; the same lock gives the same bytes."""
    toolchains = {each.kind: _plain(each) for each in lock.toolchains}
    return _FIRST + "\n".join(_lines({"version": "1", "toolchains": toolchains})) + "\n"


def write(root: Path, lock: Lock) -> bool:
    """Replace a project's lock in one step; False when it said the same before."""
    data = text(lock).encode()
    if files.read_below(root, NAME) == data:
        return False
    files.write_atomically(root / NAME, data, mode=0o644)
    return True


def _locked(kind: str, data: Data) -> Locked:
    base = data["base"]
    return Locked(
        kind=kind,
        image=data["image"],
        version=data["version"],
        declared=data["declared"],
        base=Base(
            source=base["source"],
            reference=base["reference"],
            digest=base["digest"],
            platforms=_pairs(base, "platforms"),
        ),
        inputs=_pairs(data, "inputs"),
        tools=tuple(Tool(**tool) for tool in data.get("tools", ())),
        published=tuple(
            Published(
                reference=each["reference"],
                digest=each["digest"],
                platforms=_pairs(each, "platforms"),
            )
            for each in data.get("published", ())
        ),
    )


def _pairs(data: Data, key: str) -> Pairs:
    return tuple(sorted(data.get(key, {}).items()))


def _plain(locked: Locked) -> Data:
    base = locked.base
    return {
        "image": locked.image,
        "version": locked.version,
        "declared": locked.declared,
        "base": {
            "source": base.source,
            "reference": base.reference,
            "digest": base.digest,
            "platforms": dict(base.platforms),
        },
        "inputs": dict(locked.inputs),
        "tools": [{key: word for key, word in _fields(tool) if word} for tool in locked.tools],
        "published": [
            {
                "reference": each.reference,
                "digest": each.digest,
                "platforms": dict(each.platforms),
            }
            for each in locked.published
        ],
    }


def _fields(tool: Tool) -> Iterator[tuple[str, str]]:
    yield from (
        ("name", tool.name), ("version", tool.version), ("integrity", tool.integrity),
        ("architecture", tool.architecture),
    )  # fmt: skip


def _lines(value: object) -> Iterator[str]:
    """YAML's lines of nested mappings and lists of text; an empty one is left out."""
    if isinstance(value, list):
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        return
    assert isinstance(value, Mapping)
    for key, below in value.items():
        name = key if _PLAIN.fullmatch(key) and key not in _WORDS else _quoted(key)
        if isinstance(below, str):
            yield f"{name}: {_quoted(below)}"
        elif below:
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(below))


def _quoted(text: str) -> str:
    """Text in double quotes, so that no word of it is taken for anything else."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    return one if one.isascii() and one.isprintable() else f"\\U{ord(one):08x}"
