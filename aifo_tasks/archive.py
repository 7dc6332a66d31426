"""Tar archives of cache volumes: the same bytes for the same files, nothing that leads out."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from aifo_tasks.errors import AifoError

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20
Entry = tuple[tarfile.TarInfo, IO[bytes] | None]


def normalised(streams: Mapping[str, IO[bytes]]) -> Iterator[bytes]:
    """One archive of several: ``streams`` maps a top directory to a seekable tar file.

    Names are sorted, times and owners are 0, hard links become files, what is neither file,
    directory nor symbolic link is left out.
    """
    return _tar(_sorted_entries(streams))


def unpacked(
    path: Path, tops: Iterable[str], owner: tuple[int, int]
) -> Mapping[str, Iterator[bytes]]:
    """The archive at ``path`` as one tar stream for each of ``tops``, owned by ``owner``.

    Every member is looked at first: AifoError for another top directory, an absolute name,
    ``..``, a name that comes twice, a link that leads out, a path through a link, or anything
    but files, directories and links.
    """
    try:
        with tarfile.open(path) as archive:
            members = [member for member in archive if _parts(member.name)]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AifoError(str(path), f"is not a readable tar archive: {error}") from None
    _check(path, members, frozenset(tops))
    return {top: _below(path, top, owner) for top in tops}


def _sorted_entries(streams: Mapping[str, IO[bytes]]) -> Iterator[Entry]:
    for top in sorted(streams):
        yield _info(f"{top}", tarfile.DIRTYPE, 0o755), None
        with tarfile.open(fileobj=streams[top], mode="r:") as archive:
            named = [("/".join(_parts(member.name)), member) for member in archive]
            for name, member in sorted(named, key=lambda pair: pair[0]):
                if name:
                    yield from _entry(archive, member, f"{top}/{name}")


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Iterator[Entry]:
    mode = member.mode & 0o777
    if member.isdir():
        yield _info(name, tarfile.DIRTYPE, mode), None
    elif member.issym():
        info = _info(name, tarfile.SYMTYPE, 0o777)
        info.linkname = member.linkname
        yield info, None
    elif member.isreg() or member.islnk():
        content = archive.extractfile(member)
        if content is not None:
            info = _info(name, tarfile.REGTYPE, mode)
            info.size = content.seek(0, 2)
            content.seek(0)
            yield info, content


def _check(path: Path, members: list[tarfile.TarInfo], tops: frozenset[str]) -> None:
    links = {member.name.rstrip("/") for member in members if member.issym()}
    seen: set[str] = set()
    for member in members:
        name = member.name.rstrip("/")
        problem = _problem(member, name, tops, links) or ("comes twice" if name in seen else "")
        if problem:
            raise AifoError(str(path), f"cannot be imported: member {name!r} {problem}")
        seen.add(name)


def _problem(member: tarfile.TarInfo, name: str, tops: frozenset[str], links: set[str]) -> str:
    """Why a member is refused, "" when it is not."""
    parts = name.split("/")
    if parts[0] not in tops or (len(parts) == 1 and not member.isdir()):
        return f"is not below one of {', '.join(sorted(tops))}"
    if not all(parts) or {".", ".."} & set(parts):
        return "has a name that is not plain"
    if any("/".join(parts[:count]) in links for count in range(1, len(parts))):
        return "lies behind a symbolic link"
    if member.issym():
        reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if member.linkname.startswith("/") or reached.split("/")[0] != parts[0]:
            return "is a link that leads out"
    elif not (member.isreg() or member.isdir()):
        return "is neither file, directory nor symbolic link"
    return ""


def _below(path: Path, top: str, owner: tuple[int, int]) -> Iterator[bytes]:
    with tarfile.open(path) as archive:
        yield from _tar(_owned(archive, top, owner))


def _owned(archive: tarfile.TarFile, top: str, owner: tuple[int, int]) -> Iterator[Entry]:
    for member in archive:
        parts = _parts(member.name)
        if len(parts) > 1 and parts[0] == top:
            for info, content in _entry(archive, member, "/".join(parts[1:])):
                info.uid, info.gid = owner
                yield info, content


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    return info


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _tar(entries: Iterable[Entry]) -> Iterator[bytes]:
    for info, content in entries:
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if content is not None:
            while piece := content.read(_PIECE):
                yield piece
            yield bytes(-info.size % _BLOCK)
    yield bytes(2 * _BLOCK)
