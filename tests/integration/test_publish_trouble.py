"""What stands in the way of publishing: named, nothing half written, and a retry that works."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.image import oci
from tests.integration.project import docker
from tests.integration.registries import PLATFORMS, Passage, Registry, second_engine
from tests.integration.small import BOTH, NAME, Roots, Small, put

SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def test_a_registry_killed_in_the_middle_of_a_push(small: Small, tmp_path: Path) -> None:
    with Registry(tmp_path) as registry, Passage(registry, 200_000) as passage:
        words = ["publish_image:small", f"REGISTRY={passage.host}/team/"]
        done = small.doit(*words)
        assert done.returncode == 1
        assert passage.ended.is_set()
        assert f"{passage.host}/team/{NAME}:latest: {passage.host} does not answer" in done.stderr
        assert "hint: run it again when it does" in done.stderr
        assert not small.lock.exists()
        assert NAME not in docker("image", "ls", "--format", "{{.Repository}}")
        registry.start()
        assert registry.tags(f"team/{NAME}") == []
        passage.open()
        assert (again := small.doit(*words)).returncode == 0, again.stderr
        assert "latest" in registry.tags(f"team/{NAME}")
        assert small.lock.exists()


def test_a_full_disk_leaves_no_archive(small: Small) -> None:
    dist = small.path / "dist"
    dist.mkdir()
    with mounted(dist, "64k"):
        done = small.doit("build_image:small", "PUSH=1")
        assert done.returncode == 1
        assert f"{NAME}:latest: no space is left on the device" in done.stderr
        assert list(dist.iterdir()) == []
    assert (again := small.doit("build_image:small", "PUSH=1")).returncode == 0, again.stderr
    assert oci.read(dist / f"{NAME}-latest.oci.tar").digest


@contextlib.contextmanager
def mounted(path: Path, size: str) -> Iterator[None]:
    """A file system of its own, this small."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_corrupted_layer_is_named_and_nothing_is_built_of_it(
    roots: Roots, engine_endpoint: str, other_engine: str, tmp_path: Path
) -> None:
    root = tmp_path / "root.tar"
    shutil.copy(roots[0][1], root)
    with tarfile.open(root, "a") as tar:  # what no engine has
        chance = tarfile.TarInfo("chance")
        chance.size = 5_000_000
        tar.addfile(chance, io.BytesIO(os.urandom(chance.size)))
    with Registry(tmp_path) as registry:
        base = f"{registry.host}/corrupted"
        put(engine_endpoint, f"{base}:1", [(PLATFORMS[0], root)], tmp_path / "base.oci.tar")
        layer = max(registry.blobs.rglob("data"), key=lambda path: path.stat().st_size)
        whole = layer.read_bytes()
        layer.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        small = Small(tmp_path / "p", base)
        small.run_nothing()
        own = {"DOCKER_HOST": other_engine}
        for words in ([], ["PUSH=1"]):
            done = small.doit("build_image:small", *words, **own)
            assert done.returncode == 1
            assert f"no source gives a base image\n  {base}:1: " in done.stderr, done.stderr
            assert "digest" in done.stderr, done.stderr
            assert not (small.path / "dist").exists()
        layer.write_bytes(whole)
        again = small.doit("build_image:small", **own)
        assert again.returncode == 0, again.stderr


def test_a_base_that_lacks_a_platform_is_named_before_anything_is_built(
    roots: Roots, registry: Registry, engine_endpoint: str, tmp_path: Path
) -> None:
    base = f"{registry.host}/lacking"
    put(engine_endpoint, f"{base}:1", roots[:1], tmp_path / "base.oci.tar")
    small = Small(tmp_path / "p", base)
    try:
        done = small.doit("build_image:small", BOTH, "PUSH=1")
        assert done.returncode == 1
        assert f"{base}:1: lacks {PLATFORMS[1]}\nhint: PLATFORMS={PLATFORMS[0]}" in done.stderr
        assert not (small.path / "dist").exists()
    finally:
        small.remove()


@pytest.mark.parametrize(
    ("words", "environment", "problem"),
    [
        (["REGISTRY="], {}, "PUSH=1 and no REGISTRY: written to dist/"),
        ([], {"AIFO_CODER_REGISTRY_PREFIX": " "}, "PUSH=1 and no REGISTRY: written to dist/"),
        (
            ["MIRROR_PREFIX=docker.io/team", "INTERNAL_PREFIX=docker.io/team"], {},
            "PUSH=1 and no REGISTRY: written to dist/",
        ),
        ([], {"AIFO_CODER_REGISTRY_PREFIX": "docker.io/team"}, "only where REGISTRY names it"),
        ([], {"AIFO_CODER_REGISTRY_PREFIX": "team/"}, "would mean Docker Hub"),
        ([], {"AIFO_REGISTRY": "team/"}, "would mean Docker Hub"),
        (["TOOLCHAIN_IMAGE=small=docker.io/team/x"], {}, "cannot be published"),
        (["TAG=x", "REGISTRY=docker.io"], {}, "docker.io/NAME:x"),  # written out: nobody else
    ],
)  # fmt: skip
def test_every_way_to_docker_hub_that_is_not_written_out_is_closed(
    small: Small, words: list[str], environment: dict[str, str], problem: str
) -> None:
    done = small.doit("publish_image:small", "DRY_RUN=1", *words, **environment)
    pushes = [line for line in done.stderr.splitlines() if " push " in line]
    written = [line for line in pushes if "docker.io/" in line]
    asked = "REGISTRY=docker.io" in words
    assert problem.replace("NAME", NAME) in done.stderr
    assert bool(written) == asked, done.stderr
    assert len(pushes) == asked


def authority(directory: Path, address: str) -> None:
    """A private authority's ``ca.crt``, and a server's ``server.crt`` and ``server.key`` by it."""
    (directory / "names").write_text(f"subjectAltName=IP:{address}\n")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=private -keyout ca.key -out ca.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=registry -keyout server.key -out server.csr",
        (
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 1 -extfile names"
            " -out server.crt"
        ),
    ):
        subprocess.run(["openssl", *line.split()], cwd=directory, check=True, capture_output=True)


def test_a_registry_with_a_private_authority(small: Small, tmp_path: Path) -> None:
    """Not on loopback: there engines believe any certificate."""
    address = docker(
        "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"
    ).strip()
    authority(tmp_path, address)
    keys = f"certificate: {tmp_path / 'server.crt'}, key: {tmp_path / 'server.key'}"
    with Registry(tmp_path, address=address, http=f", tls: {{{keys}}}") as registry:
        words = ["publish_image:small", BOTH, f"REGISTRY={registry.host}/team/"]
        done = small.doit(*words)
        assert done.returncode == 1
        assert f"{registry.host} is not trusted: " in done.stderr, done.stderr
        place = Path("/etc/docker/certs.d") / registry.host
        assert f"hint: put its authority into {place}/ca.crt" in done.stderr
        assert not small.lock.exists()
        bundle = tmp_path / "bundle.crt"
        bundle.write_bytes(SYSTEM_BUNDLE.read_bytes() + (tmp_path / "ca.crt").read_bytes())
        place.mkdir(parents=True)
        try:
            shutil.copy(tmp_path / "ca.crt", place)
            again = small.doit(*words, SSL_CERT_FILE=str(bundle))
            assert again.returncode == 0, again.stderr
            assert f"{registry.host}/team/{NAME}:latest: pushed, sha256:" in again.stderr
        finally:
            shutil.rmtree(place)


@pytest.fixture
def old_engine() -> Iterator[str]:
    """An engine with the image store of before, which keeps one platform of an image."""
    directory = tempfile.TemporaryDirectory(prefix="aifo-o")  # a socket's path is short
    with directory as name, second_engine(Path(name), containerd=False) as endpoint:
        yield endpoint


def test_an_engine_without_the_containerd_store(
    small: Small, registry: Registry, old_engine: str
) -> None:
    own = {"DOCKER_HOST": old_engine}
    several = small.doit("build_image:small", BOTH, **own)
    assert several.returncode == 1
    assert (
        "PLATFORMS: this engine's image store keeps one platform of an image, not "
        f'{", ".join(PLATFORMS)}\nhint: put {{"features": {{"containerd-snapshotter": true}}}} '
        "into the engine's daemon.json, or aifo engine"
    ) in several.stderr
    small.run_nothing()
    alone = small.doit("build_image:small", "PUSH=1", **own)
    assert alone.returncode == 0, alone.stderr
    (archive,) = (small.path / "dist").iterdir()
    assert f"Loaded image: {NAME}:latest" in docker("load", "--input", str(archive))
    pushed = small.doit("publish_image:small", f"REGISTRY={registry.host}/old/", **own)
    assert pushed.returncode == 0, pushed.stderr
    latest, recipe = registry.tags(f"old/{NAME}")
    assert (latest, recipe[:7]) == ("latest", "recipe-")


def test_layers_are_shared_through_a_registry(
    small: Small, registry: Registry, other_engine: str
) -> None:
    """What chance made on one engine is found again on another, which cannot run it at all."""
    small.change("image/Dockerfile.j2", "uname -m", "cat /proc/sys/kernel/random/uuid")
    cache, target = f"{registry.host}/layers:1", f"REGISTRY={registry.host}/shared-layers/"
    first = small.doit("publish_image:small", target, f"CACHE_TO={cache}")
    assert first.returncode == 0, first.stderr
    own = {"DOCKER_HOST": other_engine}
    alone = small.doit("publish_image:small", target, "TAG=again", **own)
    assert alone.returncode == 1  # it has no network to run anything in
    second = small.doit("publish_image:small", target, "TAG=again", AIFO_CACHE_FROM=cache, **own)
    assert second.returncode == 0, second.stderr
    made = [
        docker("run", "--rm", f"{registry.host}/shared-layers/{NAME}:{tag}", "cat", "/machine")
        for tag in ("latest", "again")
    ]
    assert made[0] == made[1] != ""
