"""A project's toolchains.yaml and everything it extends, read and merged."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import posixpath
import stat
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.config import read, rules, snapshot
from aifo_tasks.config.tree import (
    BUILTIN,
    Finding,
    Node,
    Spot,
    merge,
    plain,
    printable,
    quoted,
    shown,
    without,
)
from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

NAME = "toolchains.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file of the chain: where it is, how messages call it, and what it holds.

    ``digest`` is its SHA-256, ``node`` None when it is no YAML.
    """

    path: Path
    name: str
    is_builtin: bool
    digest: str
    identity: snapshot.Identity
    node: Node | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The files from the project's own to the last one extended, and their merged content.

    ``merged`` is None when a file is no YAML; ``findings`` are about YAML and ``extends``.
    """

    sources: tuple[Source, ...]
    merged: Node | None
    findings: tuple[Finding, ...]


def read_chain(root: Path) -> Chain:
    """Read the project's file and follow ``extends``; the shipped file when there is none.

    Raises AifoError for a file that cannot be read, UnsafePathError for a link.
    """
    findings: list[Finding] = []
    sources: list[Source] = []
    following: Source | None = _own(root, findings) or _builtin(0, findings)
    while following is not None:
        sources.append(following)
        following = _extended(root, sources, findings)
    return Chain(sources=tuple(sources), merged=_merged(sources), findings=tuple(findings))


def builtin_node() -> Node:
    """What the shipped file says."""
    node = _builtin(0, []).node
    assert node is not None
    return node


def builtin_path() -> Path:
    """Where the shipped file lies."""
    return files.resource(NAME)


def context_findings(chain: Chain, merged: Node, root: Path) -> list[Finding]:
    """Build contexts that do not lie below the project, or below the shipped file."""
    found: list[Finding] = []
    for context in _contexts(merged):
        source = chain.sources[context.node.place.depth]
        top = source.path.parent if source.is_builtin else root
        relative = not context.text.startswith("/")  # else the schema says so
        if context.text and relative and not _resolve(source, context.text).is_relative_to(top):
            found.append(context.finding(f"{quoted(context.text)} leads out of the project"))
    return found


def finished(chain: Chain, merged: Node) -> snapshot.Data:
    """Validated content as plain data, its host paths absolute."""
    data: snapshot.Data = json.loads(json.dumps(plain(merged)))  # no node in it is shared
    for context in _contexts(merged):
        group, owner = map(str, context.keys[:2])
        source = chain.sources[context.node.place.depth]
        data[group][owner]["image"]["context"] = str(_resolve(source, context.text))
    if named := data.get("audit", {}).get("file"):
        data["audit"]["file"] = rules.host_path(named, Path.home())
    for toolchain in data["toolchains"].values():
        for mount in toolchain.get("mounts", ()):
            mount["source"] = rules.host_path(mount["source"], Path.home())
    return data


def _contexts(merged: Node) -> list[Spot]:
    """The build context of every image that is declared."""
    groups = [Spot(merged).get(group) for group in ("toolchains", "languages")]
    images = [owner.get("image") for group in groups for _, owner in group.entries()]
    return [image.get("context") for image in images if image.entries()]


def _resolve(source: Source, relative: str) -> Path:
    return Path(os.path.normpath(source.path.parent / relative))


def _merged(sources: list[Source]) -> Node | None:
    """Every file over what it extends."""
    nodes = [without(source.node, "extends") for source in sources if source.node is not None]
    return functools.reduce(merge, reversed(nodes)) if len(nodes) == len(sources) else None


def _extended(root: Path, sources: list[Source], findings: list[Finding]) -> Source | None:
    """The file the last source extends, if it extends one.

    Where ``extends`` is wrong the shipped file stands in, so that the rest can be checked.
    """
    last = sources[-1]
    if last.node is None or last.is_builtin:
        return None
    extends = Spot(last.node).get("extends")
    if "extends" not in dict(Spot(last.node).entries()):
        return None
    following = None
    if not extends.text:
        problem = f"expected {BUILTIN} or a relative path, found {shown(extends.node)}"
        findings.append(extends.finding(problem, f"write: extends: {BUILTIN}"))
    elif extends.text != BUILTIN:
        following = _relative(root, extends, sources, findings)
    return following or _builtin(len(sources), findings)


def _relative(
    root: Path, extends: Spot, sources: list[Source], findings: list[Finding]
) -> Source | None:
    here = posixpath.dirname(sources[-1].name)
    name = posixpath.normpath(posixpath.join(here, extends.text))
    if name == ".." or name.startswith(("/", "../")):
        findings.append(extends.finding(f"{quoted(extends.text)} leads out of the project"))
    elif name in [source.name for source in sources]:
        circle = " → ".join([*(source.name for source in sources), name])
        findings.append(extends.finding(f"the files extend one another: {circle}"))
    else:
        try:
            return _project_file(root, name, len(sources), findings)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # a NUL in the name
            hint = f"write {BUILTIN} for the shipped toolchains"
            findings.append(extends.finding(f"there is no file {quoted(name)}", hint))
    return None


def _own(root: Path, findings: list[Finding]) -> Source | None:
    try:
        return _project_file(root, NAME, 0, findings)
    except FileNotFoundError:
        if root.is_dir():
            return None
        raise AifoError(str(root), "is not a directory") from None
    except NotADirectoryError:
        raise AifoError(str(root), "is not a directory") from None


def _project_file(root: Path, name: str, depth: int, findings: list[Finding]) -> Source:
    """A file of the project, opened so that no link can lead elsewhere."""
    try:
        descriptor = files.open_below(root, name, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise AifoError(printable(name), f"cannot be read: {error.strerror}") from None
    return _source(descriptor, root / name, name, depth, findings)


def _builtin(depth: int, findings: list[Finding]) -> Source:
    path = builtin_path()
    return _source(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path, BUILTIN, depth, findings)


def _source(descriptor: int, path: Path, name: str, depth: int, findings: list[Finding]) -> Source:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise AifoError(printable(name), "is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(read.MAX_BYTES + 1)
    node, found = read.read(data, name=name, depth=depth)
    findings += found
    return Source(
        path=path, name=name, node=node,
        is_builtin=path == builtin_path(),  # true of the project's own in this very checkout
        digest=hashlib.sha256(data).hexdigest(),
        identity=snapshot.identity(path, status=status, data=data),
    )  # fmt: skip
