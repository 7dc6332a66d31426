"""Archives of caches: the same bytes for the same files, and nothing that leads out."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks import archive
from aifo_tasks.errors import AifoError


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), 0o640
    info.mtime, info.uid, info.uname = 1234567890, 4321, "somebody"
    return info.tobuf() + data + bytes(-len(data) % 512)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def volume(names: list[str]) -> bytes:
    """What an engine sends: ``./`` before every name, in the order of its file system."""
    parts = [member("./", tarfile.DIRTYPE)]
    parts += [member(f"./{name}", data=name.encode()) for name in names]
    parts += [member("./dir", tarfile.DIRTYPE), member("./dir/link", tarfile.SYMTYPE, "../a")]
    parts += [member("./pipe", tarfile.FIFOTYPE), member("./z", tarfile.LNKTYPE, "./a")]
    return tar(*parts)


def written(**volumes: bytes) -> bytes:
    return b"".join(archive.normalised({name: io.BytesIO(data) for name, data in volumes.items()}))


def test_the_same_files_give_the_same_bytes() -> None:
    one = written(x=volume(["a", "b/é", "c"]), y=volume(["a"]))
    other = written(y=volume(["a"]), x=volume(["c", "b/é", "a"]))
    assert one == other
    with tarfile.open(fileobj=io.BytesIO(one)) as found:
        assert found.getnames() == [
            "x", "x/a", "x/b/é", "x/c", "x/dir", "x/dir/link", "x/z",
            "y", "y/a", "y/dir", "y/dir/link", "y/z",
        ]  # fmt: skip
        for info in found:
            assert (info.mtime, info.uid, info.gid, info.uname) == (0, 0, 0, "")
        content = found.extractfile("x/z")
        assert content is not None
        assert content.read() == b"a"


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "cache.tar"
    path.write_bytes(written(x=volume(["a", "b/" + "long" * 60]), y=volume(["a"])))
    streams = archive.unpacked(path, ["x", "y", "empty"], (1000, 1001))
    data = b"".join(streams["x"])
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        assert found.getnames() == ["a", "b/" + "long" * 60, "dir", "dir/link", "z"]
        assert {(info.uid, info.gid) for info in found} == {(1000, 1001)}
        assert found.getmember("a").mode == 0o640
        found.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out/z").read_bytes() == b"a"
    assert os.readlink(tmp_path / "out/dir/link") == "../a"
    assert b"".join(streams["empty"]) == bytes(1024)


def test_a_large_file_is_not_held_whole(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    pieces = list(archive.normalised({"x": io.BytesIO(tar(member("./big", data=data)))}))
    assert max(map(len, pieces)) <= 1 << 20
    path = tmp_path / "a.tar"
    path.write_bytes(b"".join(pieces))
    with tarfile.open(
        fileobj=io.BytesIO(b"".join(archive.unpacked(path, ["x"], (0, 0))["x"]))
    ) as found:
        content = found.extractfile("big")
        assert content is not None
        assert content.read() == data


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: member("/etc/passwd"), "'/etc/passwd' is not below one of x, y"),
        (lambda: member("z/a"), "'z/a' is not below one of x, y"),
        (lambda: member("../x/a"), "'../x/a' is not below one of x, y"),
        (lambda: member("x"), "'x' is not below one of x, y"),
        (lambda: member("x/../../a"), "'x/../../a' has a name that is not plain"),
        (lambda: member("x//a"), "'x//a' has a name that is not plain"),
        (lambda: member("x/a", tarfile.SYMTYPE, "/etc"), "'x/a' is a link that leads out"),
        (lambda: member("x/a", tarfile.SYMTYPE, "../y/b"), "'x/a' is a link that leads out"),
        (lambda: member("x/a", tarfile.SYMTYPE, "../../b"), "'x/a' is a link that leads out"),
        (
            lambda: member("x/a", tarfile.SYMTYPE, "b") + member("x/a/c"),
            "'x/a/c' lies behind a symbolic link",
        ),
        (
            lambda: member("x/a/c") + member("x/a", tarfile.SYMTYPE, "b"),
            "'x/a/c' lies behind a symbolic link",
        ),
        (
            lambda: member("x/b") + member("x/a", tarfile.LNKTYPE, "x/b"),
            "'x/a' is neither file, directory nor symbolic link",
        ),
        (
            lambda: member("x/a", tarfile.CHRTYPE),
            "'x/a' is neither file, directory nor symbolic link",
        ),
        (lambda: member("x/a") + member("x/a"), "'x/a' comes twice"),
    ],
)
def test_what_leads_out_is_refused(tmp_path: Path, make: Callable[[], bytes], problem: str) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(tar(member("x", tarfile.DIRTYPE), make()))
    with pytest.raises(AifoError) as caught:
        archive.unpacked(path, ["x", "y"], (0, 0))
    assert str(caught.value) == f"{path}: cannot be imported: member {problem}"


@pytest.mark.parametrize("data", [b"", b"no tar", b"\x1f\x8b broken"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(data)
    with pytest.raises(AifoError, match="is not a readable tar archive"):
        archive.unpacked(path, ["x"], (0, 0))
    with pytest.raises(AifoError, match="is not a readable tar archive"):
        archive.unpacked(tmp_path / "missing", ["x"], (0, 0))
