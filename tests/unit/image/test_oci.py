"""OCI archives: written reproducibly, read back whole, refused when anything is missing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifo_tasks.errors import AifoError
from aifo_tasks.image import oci

REFERENCE = "docker.io/library/aifo-base:bookworm-0123"


@pytest.fixture
def bases(tmp_path: Path) -> list[tuple[str, Path]]:
    """Two root file systems; what is in them makes no difference here."""
    found = []
    for platform in ("linux/amd64", "linux/arm64/v8"):
        path = tmp_path / platform.replace("/", "-")
        path.write_bytes(platform.encode() * 1000)
        found.append((platform, path))
    return found


@pytest.fixture
def archive(tmp_path: Path, bases: list[tuple[str, Path]]) -> Path:
    oci.write(tmp_path / "base.tar", REFERENCE, bases)
    return tmp_path / "base.tar"


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def rewrite(archive: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    found = members(archive)
    change(found)
    with tarfile.open(archive, "w") as tar:
        for name, data in found.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def refusal(archive: Path) -> str:
    with pytest.raises(AifoError) as caught:
        oci.read(archive)
    return str(caught.value).removeprefix(f"{archive}: ")


def test_what_was_written_is_read(archive: Path) -> None:
    found = oci.read(archive)
    assert list(found.platforms) == ["linux/amd64", "linux/arm64"]
    index = json.loads(members(archive)["index.json"])
    (entry,) = index["manifests"]
    assert entry["digest"] == found.digest
    assert entry["annotations"] == {
        "io.containerd.image.name": REFERENCE,
        "org.opencontainers.image.ref.name": "bookworm-0123",
    }


def test_each_platform_s_label_names_the_roots_of_all(
    archive: Path, bases: list[tuple[str, Path]]
) -> None:
    expected = {
        platform: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for platform, path in bases
    }
    blobs = [json.loads(data) for data in members(archive).values() if data.startswith(b"{")]
    labels = [blob["config"]["Labels"] for blob in blobs if "rootfs" in blob]
    assert [oci.roots(each) for each in labels] == [expected, expected]
    assert oci.roots({}) == {}


def test_the_same_input_gives_the_same_bytes(
    archive: Path, tmp_path: Path, bases: list[tuple[str, Path]]
) -> None:
    digest = oci.write(tmp_path / "again.tar", REFERENCE, bases)
    assert digest == oci.read(archive).digest
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_every_blob_that_is_missing_is_named(archive: Path) -> None:
    blobs = [name for name in members(archive) if name.startswith("blobs/")]
    assert len(blobs) == 7
    whole = archive.read_bytes()
    for name in blobs:
        rewrite(archive, lambda found, name=name: found.pop(name))  # type: ignore[misc]
        assert refusal(archive) == f"sha256:{name.rpartition('/')[2]} is missing"
        archive.write_bytes(whole)


def test_every_blob_that_is_corrupted_is_named(archive: Path) -> None:
    whole = archive.read_bytes()
    for name in [name for name in members(archive) if name.startswith("blobs/")]:
        rewrite(archive, lambda found, name=name: found.update({name: found[name] + b" "}))  # type: ignore[misc]
        assert refusal(archive) == f"sha256:{name.rpartition('/')[2]} is corrupted"
        archive.write_bytes(whole)


def test_half_an_archive_is_refused(archive: Path) -> None:
    whole = archive.read_bytes()
    for size in (0, 1, 512, len(whole) // 2, len(whole) - 10240 - 1024):
        archive.write_bytes(whole[:size])
        assert refusal(archive)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.tar").startswith("is no archive: ")


@pytest.mark.parametrize(
    "index",
    [{}, {"manifests": {}}, {"manifests": []}, {"manifests": ["x"]}, {"manifests": [{}, {}]}],
)
def test_an_index_without_one_image_is_refused(archive: Path, index: dict[str, Any]) -> None:
    rewrite(archive, lambda found: found.update({"index.json": json.dumps(index).encode()}))
    assert refusal(archive) == "its index names no image"


LIST = {
    "manifests": [
        {"digest": "sha256:a", "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": "sha256:b", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
        {"digest": "sha256:c", "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": "sha256:d"},
    ]
}


def test_a_list_says_its_platforms_without_its_attestations() -> None:
    assert oci.content("sha256:x", json.dumps(LIST).encode()) == oci.Content(
        digest="sha256:x", platforms={"linux/amd64": "sha256:a", "linux/arm/v7": "sha256:b"}
    )


def test_a_single_manifest_says_no_platform() -> None:
    document = json.dumps({"mediaType": oci.MANIFEST, "config": {}}).encode()
    assert oci.content("sha256:x", document).platforms == {"": "sha256:x"}


WORDS = st.sampled_from(
    ["manifests", "platform", "digest", "os", "architecture", "mediaType", oci.INDEX, "linux"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_document_breaks_the_reader(data: bytes) -> None:
    with contextlib.suppress(AifoError):
        oci.content("sha256:x", data)
