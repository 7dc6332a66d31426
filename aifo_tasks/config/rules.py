"""What a schema cannot say: names that clash, targets that overlap, mounts that reach too far."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from aifo_tasks.config.build import size
from aifo_tasks.config.tree import BUILTIN, Finding, Node, Spot, quoted
from aifo_tasks.model import HOME, WORKSPACE, Architecture

OWN_VOLUMES = ("aifo-node-modules", "aifo-npm-cache")
"""Volume names with a meaning of their own: the plain overlay and the old npm cache."""

_RESERVED_TARGETS = (
    WORKSPACE, HOME, "/run/aifo", "/opt/aifo", "/proc", "/sys", "/dev", "/tmp",  # noqa: S108
)  # fmt: skip
_BELOW_IS_FINE = (HOME, "/tmp")  # noqa: S108  # the container's
_HOST_SYSTEM = ("/etc", "/proc", "/sys", "/dev", "/run", "/var/run")
_SET_BY_THE_SIDECAR = ("HOME", "PATH")
_OF_ONE_UID = re.compile(r".*-u[0-9]+")
_SMALLEST_MEMORY = 6 * 1024**2  # what engines accept


def findings(merged: Node, *, root: Path, home: Path) -> list[Finding]:
    """Everything in the merged file that breaks a rule; unsorted.

    ``root`` is the project, ``home`` the user's home directory. The file may break the
    schema too: what is not as it should be is passed over.
    """
    top = Spot(merged).get("toolchains")
    toolchains = top.entries()
    languages = Spot(merged).get("languages").entries()
    found = [*_words(top), *_tools(toolchains), *_names(toolchains, languages)]
    found += _audit(Spot(merged).get("audit", "file"), root=root, home=home)
    found += [*_codes(languages), *_toolchains(languages, {kind for kind, _ in toolchains})]
    found += [finding for _, language in languages for finding in _image(language.get("image"))]
    for _, toolchain in toolchains:
        found += _image(toolchain.get("image"))
        found += _environment(toolchain.get("environment"))
        found += _targets(toolchain)
        found += _directories(toolchain.get("overlays"))
        found += _memory(toolchain.get("limits", "memory"))
        for mount in toolchain.get("mounts").items():
            found += _source(mount.get("source"), root=root, home=home)
    return found


def short_name(kind: str) -> str:
    """``model.Toolchain.short`` for a kind whose toolchain may not be valid."""
    return kind.removeprefix("c-").replace("-", "_")


def host_path(source: str, home: Path) -> str:
    """The absolute path a mount's source means."""
    return posixpath.normpath(str(home) + source[1:] if source.startswith("~") else source)


_Claim = tuple[str, str, Finding]
"""A word, who claims it, and the finding if somebody else has it already."""


def _clashes(claims: Iterable[_Claim]) -> Iterator[Finding]:
    """All claims but the first on each word; an owner may claim a word several times."""
    holders: dict[str, tuple[str, Finding]] = {}
    for word, owner, finding in sorted(claims, key=lambda claim: claim[2].place.seniority):
        holder, first = holders.setdefault(word, (owner, finding))
        if holder != owner:
            yield finding._replace(problem=f"{finding.problem} {holder} ({first.place})")


def _words(top: Spot) -> Iterator[Finding]:
    """A word on the command line means one toolchain."""
    claims: list[_Claim] = []
    for kind, toolchain in top.entries():
        problem = f"{quoted(kind)} is also a word for"
        claims.append((kind, kind, top.finding(problem, key=kind)))
        if (short := short_name(kind)) != kind:
            problem = f"the short name {quoted(short)} is also a word for"
            claims.append((short, kind, top.finding(problem, key=kind)))
        for alias in toolchain.get("aliases").items():
            if alias.text:
                problem = f"the alias {quoted(alias.text)} is also a word for"
                claims.append((alias.text, kind, alias.finding(problem)))
    return _clashes(claims)


def _codes(languages: list[tuple[str, Spot]]) -> Iterator[Finding]:
    """A word means one language."""
    claims: list[_Claim] = []
    for code, language in languages:
        claims.append((code, code, language.finding(f"{quoted(code)} is also a word for")))
        for alias in language.get("aliases").items():
            if alias.text:
                problem = f"the alias {quoted(alias.text)} is also a word for"
                claims.append((alias.text, code, alias.finding(problem)))
    return _clashes(claims)


def _toolchains(languages: list[tuple[str, Spot]], kinds: set[str]) -> Iterator[Finding]:
    """A language's toolchain is there; an inherited one goes with a toolchain taken away."""
    for _, language in languages:
        kind = language.get("toolchain")
        if kind.text and kind.text not in kinds and kind.node.place.file != BUILTIN:
            yield kind.finding(
                f"there is no toolchain {quoted(kind.text)}", f"known: {', '.join(sorted(kinds))}"
            )


def _tools(toolchains: list[tuple[str, Spot]]) -> Iterator[Finding]:
    """A tool belongs to one toolchain; development tools may be offered by several."""
    claims: list[_Claim] = []
    for kind, toolchain in toolchains:
        tools = _named(toolchain.get("tools"))
        for tool in tools:
            problem = f"the tool {quoted(tool.text)} is also declared by"
            claims.append((tool.text, kind, tool.finding(problem)))
        seen: set[str] = set()
        both = [*tools, *_named(toolchain.get("development-tools"))]
        for tool in sorted(both, key=lambda spot: spot.node.place.seniority):
            if tool.text in seen:
                yield tool.finding(f"the tool {quoted(tool.text)} is declared twice")
            seen.add(tool.text)
    yield from _clashes(claims)


def _named(tools: Spot) -> list[Spot]:
    """The spots of the tools' names, whichever way they are written."""
    names = [tool if tool.text else tool.get("name") for tool in tools.items()]
    return [name for name in names if name.text]


def _names(
    toolchains: list[tuple[str, Spot]], languages: list[tuple[str, Spot]]
) -> Iterator[Finding]:
    """An image name and an overlay's volume have one owner; a cache's volume is no overlay's."""
    images: list[_Claim] = []
    volumes: list[_Claim] = []
    for owner, declared in (*toolchains, *languages):
        image = declared.get("image", "name")
        if image.text:
            images.append((image.text, owner, image.finding("the same image name as")))
    for kind, toolchain in toolchains:
        for overlay in toolchain.get("overlays").items():
            volume = overlay.get("volume")
            if volume.text:
                owner = f"{kind}'s {overlay.get('directory').text}"
                volumes.append((volume.text, owner, volume.finding("the same volume as")))
    yield from _clashes(images)
    yield from _clashes(volumes)
    reserved = (*OWN_VOLUMES, *(volume for volume, _, _ in volumes))
    for _, toolchain in toolchains:
        for cache in toolchain.get("caches").items():
            yield from _cache_volume(cache.get("volume"), reserved)


def _cache_volume(volume: Spot, reserved: Iterable[str]) -> Iterator[Finding]:
    name = volume.text
    for prefix in reserved:
        if name == prefix or name.startswith(f"{prefix}-"):
            problem = f"the volume name {quoted(name)} is reserved: overlays use {prefix}"
            if prefix == "aifo-npm-cache":
                problem = f"the volume name {quoted(name)} is reserved: purging removes it"
            yield volume.finding(problem)
            return
    if _OF_ONE_UID.fullmatch(name):
        yield volume.finding(
            f"the volume name {quoted(name)} is reserved: -u and a number name another user's"
        )


def _image(image: Spot) -> Iterator[Finding]:
    version = image.get("version").text
    for base in image.get("base").items():
        reference = base.get("reference")
        if not version or not reference.text or "{version}" in reference.text:
            continue
        if base.get("version").text != version:
            yield reference.finding(
                f"{{version}} is missing, and the image's version is {quoted(version)}",
                "write {version} where the version stands",
            )
    seen: set[tuple[str, str]] = set()
    for package in image.get("packages").items():
        architecture = package.get("architecture").text
        for command, spot in package.get("bin").entries():
            mine = {(command, each) for each in get_args(Architecture)}
            if architecture:
                mine = {(command, architecture)}
            if mine & seen:
                yield spot.finding("another package has this command already")
            seen |= mine


def _environment(environment: Spot) -> Iterator[Finding]:
    for name, _ in environment.entries():
        if name in _SET_BY_THE_SIDECAR:
            hint = "name directories under path:" if name == "PATH" else ""
            yield environment.finding("the sidecar sets this variable itself", hint, key=name)


def _memory(memory: Spot) -> Iterator[Finding]:
    value = memory.node.value
    if isinstance(value, bool) or not isinstance(value, int | str):
        return
    if isinstance(value, str) and not re.fullmatch("[1-9][0-9]{0,14}[kmgt]?", value):
        return
    if size(value) < _SMALLEST_MEMORY:
        yield memory.finding("expected at least 6m, found " + memory.node.raw)


def _targets(toolchain: Spot) -> Iterator[Finding]:
    """Caches and mounts keep off each other's places and off those the sidecar needs."""
    taken: dict[str, str] = {}
    for list_name, noun in (("caches", "cache"), ("mounts", "mount")):
        for index, spot in enumerate(toolchain.get(list_name).items()):
            target = spot.get("target")
            path = target.text
            if not path.startswith("/"):
                continue
            for reserved in _RESERVED_TARGETS:
                if path == reserved:
                    yield target.finding(f"{quoted(path)} is reserved")
                elif _covers(path, reserved):
                    yield target.finding(f"{quoted(path)} covers {reserved}, which is reserved")
                elif _covers(reserved, path) and reserved not in _BELOW_IS_FINE:
                    yield target.finding(f"{quoted(path)} lies in {reserved}, which is reserved")
            if path in taken:
                yield target.finding(f"{quoted(path)} is the target of {taken[path]} already")
            taken.setdefault(path, f"{noun} {index + 1}")


def _directories(overlays: Spot) -> Iterator[Finding]:
    seen: list[str] = []
    for overlay in overlays.items():
        directory = overlay.get("directory")
        for other in seen:
            if _covers(other, directory.text) or _covers(directory.text, other):
                yield directory.finding(f"{quoted(directory.text)} overlaps the overlay {other}")
        if directory.text:
            seen.append(directory.text)


def _source(source: Spot, *, root: Path, home: Path) -> Iterator[Finding]:
    """A mount shows a part of the host that is neither the system's nor the whole home."""
    if not source.text.startswith(("/", "~")) or posixpath.normpath(source.text) != source.text:
        return
    path = host_path(source.text, home)
    if path == "/" or any(_covers(path, system) for system in _HOST_SYSTEM):
        yield source.finding(f"{path} of the host cannot be mounted", "name a directory below it")
    elif any(_covers(system, path) for system in _HOST_SYSTEM if system != "/etc"):
        yield source.finding(f"{path} belongs to the host's system")
    elif _covers(path, str(home)):
        yield source.finding(f"{path} is or holds the home directory", "name a directory below it")
    elif _covers(str(root), path):
        yield source.finding(f"{path} lies in the project, which is mounted at {WORKSPACE} already")


def _audit(file: Spot, *, root: Path, home: Path) -> Iterator[Finding]:
    """Calls are recorded where no tool can write."""
    if file.text.startswith(("/", "~")) and _covers(str(root), host_path(file.text, home)):
        yield file.finding(f"{host_path(file.text, home)} lies in the project, where tools write")


def _covers(upper: str, lower: str) -> bool:
    return bool(upper) and (lower == upper or lower.startswith(upper.rstrip("/") + "/"))
