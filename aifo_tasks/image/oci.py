"""OCI image archives: a base of several platforms written, any archive read and checked.

The format is the OCI image layout (opencontainers/image-spec, image-layout.md) in a tar file.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
ROOTS = "io.aifo.roots"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")

_BLOCK = 1024 * 1024
_MOST_JSON = 4 * 1024 * 1024
"""Bytes of a manifest that registries take; more is no manifest."""

Json = dict[str, Any]  # what stands in a manifest is checked where it is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an archive or a registry has under a name: its ``digest`` and each platform's."""

    digest: str
    platforms: Mapping[str, str]


def write(archive: Path, reference: str, bases: Sequence[tuple[str, Path]]) -> str:
    """Write root file systems, each with its platform, as one image of several; its digest.

    ``reference`` is the name an engine loads it under. The same input gives the same bytes.
    Each image's label ``io.aifo.roots`` names the digests of them all (see ``roots``): an engine
    shows one platform's layers only.
    """
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        layers = [(platform, _add_layer(tar, base)) for platform, base in bases]
        labels = {ROOTS: _text({platform: layer["digest"] for platform, layer in layers})}
        manifests = [_add_image(tar, platform, layer, labels) for platform, layer in layers]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        described = _add_blob(tar, INDEX, _json(index))
        described["annotations"] = {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        }
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [described]}))
    return str(described["digest"])


def roots(labels: Mapping[str, str]) -> dict[str, str]:
    """The digest of each platform's root file system, by the label of what was written; empty
    where there is none."""
    pairs = (pair.split("=") for pair in labels.get(ROOTS, "").split(",") if "=" in pair)
    return {platform: digest for platform, digest, *_ in pairs}


def read(archive: Path) -> Content:
    """The one image in an archive, every blob of it present and what its digest says.

    Raises AifoError naming the blob that is missing or corrupted.
    """
    try:
        with tarfile.open(archive) as tar:
            blobs = _Blobs(archive, tar)
            return blobs.content()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise AifoError(str(archive), f"is no archive: {error}".lower()) from None


def content(digest: str, document: bytes) -> Content:
    """What a manifest or a manifest list says of its platforms; AifoError when it is neither.

    A single manifest says no platform: its own digest stands for "".
    """
    found = _object(digest, document)
    if found.get("mediaType") not in _INDEXES and "manifests" not in found:
        return Content(digest=digest, platforms={"": digest})
    return Content(digest=digest, platforms=_platforms(digest, found))


def digest_of(document: bytes) -> str:
    """``sha256:`` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(document).hexdigest()}"


class _Blobs:
    """The content of an archive, looked up by digest and checked while it is read."""

    def __init__(self, archive: Path, tar: tarfile.TarFile) -> None:
        self._archive = archive
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar}

    def content(self) -> Content:
        (top,) = self._entries(self._object("index.json"), exactly=1)
        digest = str(top.get("digest"))
        if top.get("mediaType") not in _INDEXES:
            self._check_image(digest)
            return Content(digest=digest, platforms={"": digest})
        index = self._object(_place(digest), digest)
        platforms = _platforms(str(self._archive), index)
        for manifest in self._entries(index):
            self._check_image(str(manifest.get("digest")))
        return Content(digest=digest, platforms=platforms)

    def _check_image(self, digest: str) -> None:
        manifest = self._object(_place(digest), digest)
        layers = manifest.get("layers")
        parts = [manifest.get("config"), *(layers if isinstance(layers, list) else [])]
        for part in parts:
            if not isinstance(part, dict):
                self._refuse(f"{digest} is no manifest")
            self._hash(str(part.get("digest")))

    def _entries(self, index: Json, *, exactly: int = 0) -> list[Json]:
        entries = _entries(index)
        if not entries or (exactly and len(entries) != exactly):
            self._refuse("its index names no image")
        return entries

    def _object(self, name: str, digest: str = "") -> Json:
        member = self._members.get(name)
        file = self._tar.extractfile(member) if member is not None else None
        if file is None or member is None or member.size > _MOST_JSON:
            self._refuse(f"{digest or name} is missing")
        data = file.read()
        if digest and digest_of(data) != digest:
            self._refuse(f"{digest} is corrupted")
        return _object(str(self._archive), data)

    def _hash(self, digest: str) -> None:
        member = self._members.get(_place(digest))
        file = self._tar.extractfile(member) if member is not None else None
        if file is None:
            self._refuse(f"{digest} is missing")
        found = hashlib.sha256()
        while data := file.read(_BLOCK):
            found.update(data)
        if f"sha256:{found.hexdigest()}" != digest:
            self._refuse(f"{digest} is corrupted")

    def _refuse(self, problem: str) -> NoReturn:
        raise AifoError(str(self._archive), problem)


def _entries(index: Json) -> list[Json]:
    """The manifests that an index lists; none when that is no list of objects."""
    entries = index.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return []
    return entries


def _platforms(subject: str, index: Json) -> dict[str, str]:
    """The digest of each platform; attestations, which are for no platform, are left out."""
    found = {}
    for entry in _entries(index):
        platform = entry.get("platform")
        if not isinstance(platform, dict):
            continue
        parts = (platform.get("os"), platform.get("architecture"), platform.get("variant"))
        name = "/".join(str(part) for part in parts if part)
        if name == "linux/arm64/v8":  # says the same: arm64 has no other variant
            name = "linux/arm64"
        if not isinstance(entry.get("digest"), str):
            raise AifoError(subject, "names a manifest without a digest")
        if name not in {"", "unknown/unknown"}:
            found[name] = entry["digest"]
    return found


def _add_image(tar: tarfile.TarFile, platform: str, layer: Json, labels: Mapping[str, str]) -> Json:
    system, architecture, *variant = platform.split("/")
    where = {"architecture": architecture, "os": system}
    if variant:
        where["variant"] = variant[0]
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = _add_blob(
        tar, _CONFIG, _json({**where, "config": {"Labels": labels}, "rootfs": rootfs})
    )
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    return {**_add_blob(tar, MANIFEST, _json(manifest)), "platform": where}


def _add_layer(tar: tarfile.TarFile, base: Path) -> Json:
    with base.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        size = file.seek(0, 2)
        file.seek(0)
        member = tarfile.TarInfo(_place(digest))
        member.size = size
        tar.addfile(member, file)
    return {"mediaType": _LAYER, "digest": digest, "size": size}


def _add_blob(tar: tarfile.TarFile, kind: str, data: bytes) -> Json:
    digest = digest_of(data)
    _add(tar, _place(digest), data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, BytesIO(data))


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _text(pairs: Mapping[str, str]) -> str:
    return ",".join("=".join(pair) for pair in pairs.items())


def _json(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _object(subject: str, data: bytes) -> Json:
    try:
        found = json.loads(data)
    except ValueError:
        raise AifoError(subject, "holds a manifest that is no JSON") from None
    if not isinstance(found, dict):
        raise AifoError(subject, "holds a manifest that is no JSON object")
    return found
