"""Images for several platforms: into archives and registries, read back, found again."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from aifo_tasks.image import oci
from tests.integration.project import Project, docker
from tests.integration.proxied import running
from tests.integration.registries import PLATFORMS, Registry
from tests.integration.small import BOTH, NAME, Small


def raw(reference: str) -> dict[str, object]:
    """What skopeo, which is not ours, finds there."""
    argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", reference]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_push_is_read_back_and_named_by_its_recipe(small: Small, registry: Registry) -> None:
    target = f"{registry.host}/team/"
    done = small.doit("build_image:small", BOTH, "PUSH=1", f"REGISTRY={target}")
    assert done.returncode == 0, done.stderr
    latest, recipe = registry.tags(f"team/{NAME}")
    assert latest == "latest"
    assert recipe.startswith("recipe-")
    found = raw(f"docker://{target}{NAME}:latest")
    assert found == raw(f"docker://{target}{NAME}:{recipe}")
    content = oci.content("", json.dumps(found).encode())
    assert tuple(content.platforms) == PLATFORMS
    assert f"{target}{NAME}:latest: pushed, sha256:" in done.stderr
    # the engine has it no more than before
    assert NAME not in docker("image", "ls", "--format", "{{.Repository}}")
    for platform, machine in zip(PLATFORMS, ("x86_64", "aarch64"), strict=True):
        run = ["run", "--rm", "--platform", platform, f"{target}{NAME}:latest"]
        script = "cat /machine; node; echo $?"
        printed = docker(*run, "sh", "-c", f"({script}) 2>&1")
        assert printed == (
            f"{machine}\naifo-shim: node: no tool-exec proxy configured (AIFO_TOOLEEXEC_URL)\n86\n"
        )
        docker("image", "rm", "--force", f"{target}{NAME}:latest")


def test_an_archive_is_valid_and_the_same_each_time(small: Small) -> None:
    digests = []
    for words in (["PUSH=1"], []):
        done = small.doit("build_image:small", BOTH, "NO_CACHE=1", *words)
        assert done.returncode == 0, done.stderr
        why = "PUSH=1 and no REGISTRY" if words else "2 platforms"
        assert f"{NAME}:latest: {why}: written to dist/{NAME}-latest.oci.tar" in done.stderr
        archive = small.path / "dist" / f"{NAME}-latest.oci.tar"
        digests.append(oci.read(archive).digest)
        assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert digests[0] == digests[1]
    content = oci.content("", json.dumps(raw(f"oci-archive:{archive}")).encode())
    assert tuple(content.platforms) == PLATFORMS
    assert f"Loaded image: {NAME}:latest" in docker("load", "--input", str(archive))


def test_an_emulated_machine_calls_a_native_toolchain(small_base: str, tmp_path: Path) -> None:
    """The shim in the arm64 image sends its call to a sidecar of this machine's own platform."""
    project = Project(tmp_path / "p", None, kind="small")
    small = Small(project.path, small_base)
    small.change("toolchains.yaml", "[node]", "[node, uname]")
    try:
        built = small.doit("build_image:small", "PLATFORMS=linux/arm64", "TAG=arm")
        assert built.returncode == 0, built.stderr
        with running(project) as proxy:
            directory = str(Path(proxy.url.removeprefix("unix://")).parent)
            printed = docker(
                "run", "--rm", "--platform", "linux/arm64", "--workdir", "/workspace",
                "--volume", f"{directory}:{directory}",
                "--env", f"AIFO_TOOLEEXEC_URL={proxy.url}",
                "--env", f"AIFO_TOOLEEXEC_TOKEN={proxy.token}",
                f"{NAME}:arm", "uname", "-m",
            )  # fmt: skip
        assert printed == "x86_64\n"
        own = docker("run", "--rm", "--platform", "linux/arm64", f"{NAME}:arm", "/bin/uname", "-m")
        assert own == "aarch64\n"
    finally:
        project.stop()
        small.remove()


def test_what_machines_pushed_one_by_one_becomes_one_image(
    small: Small, registry: Registry
) -> None:
    target = f"REGISTRY={registry.host}/merged/"
    name = f"{registry.host}/merged/{NAME}"
    for platform in PLATFORMS:
        tag = f"TAG=latest-{platform.removeprefix('linux/')}"
        done = small.doit("publish_image:small", target, tag, f"PLATFORMS={platform}")
        assert done.returncode == 0, done.stderr
        alone = small.doit("merge_image", target, BOTH)
        assert alone.returncode == (0 if platform == PLATFORMS[-1] else 1)
    assert f"{name}:latest: merged, sha256:" in alone.stderr
    found = raw(f"docker://{name}:latest")
    content = oci.content("", json.dumps(found).encode())
    assert tuple(content.platforms) == PLATFORMS
    (recipe,) = [tag for tag in registry.tags(f"merged/{NAME}") if tag.startswith("recipe-")]
    assert raw(f"docker://{name}:{recipe}") == found
    assert f'reference: "{name}:latest"' in small.lock.read_text()

    small.change("image/Dockerfile.j2", "RUN", "ENV A=1\nRUN")
    other = small.doit("merge_image:small", target, BOTH)
    assert other.returncode == 1
    assert f"{name}:latest-amd64: was made of something else than is declared" in other.stderr
    assert raw(f"docker://{name}:latest") == found


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["REGISTRY=team/"], "REGISTRY: 'team/' names no host and would mean Docker Hub"),
        (["PLATFORMS=linux/sparc64"], "PLATFORMS: nothing here runs programs for linux/sparc64"),
        (["PLATFORMS=amd64"], "PLATFORMS: 'amd64' is no platform of a toolchain"),
        (["TAG=a b"], "TAG: 'a b' is no tag"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_built(
    small: Small, words: list[str], problem: str
) -> None:
    done = small.doit("publish_image:small", *words)
    assert done.returncode in {1, 3}  # the engine's no, or nothing that can be meant
    assert problem in done.stderr
    assert "building" not in done.stderr
    assert not (small.path / "dist").exists()


def test_a_registry_that_wants_a_login_is_named_with_the_command(
    small: Small, tmp_path: Path
) -> None:
    users = subprocess.run(
        ["htpasswd", "-Bbn", "user", "secret"], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "users").write_text(users)
    more = f"auth: {{htpasswd: {{realm: test, path: {tmp_path / 'users'}}}}}\n"
    with Registry(tmp_path, more=more) as private:
        words = ["publish_image:small", f"REGISTRY={private.host}/team/"]
        own = {"DOCKER_CONFIG": str(tmp_path / "docker")}
        done = small.doit(*words, **own)
        assert done.returncode == 1
        assert f"{private.host} refuses" in done.stderr
        assert f"hint: docker login {private.host}" in done.stderr
        subprocess.run(
            ["docker", "login", "--username", "user", "--password-stdin", private.host],
            input=b"secret", env={**os.environ, **own}, check=True, capture_output=True,
        )  # fmt: skip
        assert (again := small.doit(*words, **own)).returncode == 0, again.stderr
        helped = small.doit(*words, "TAG=helped", **helper(tmp_path, "user", "secret"))
        assert helped.returncode == 0, helped.stderr


def helper(directory: Path, user: str, secret: str) -> dict[str, str]:
    """The environment of somebody whose credentials a helper keeps, and not docker's file."""
    program = directory / "docker-credential-aifo-test"
    answer = json.dumps({"ServerURL": "any", "Username": user, "Secret": secret})
    program.write_text(f"#!/bin/sh\n[ \"$1\" = get ] && echo '{answer}' || echo '{{}}'\n")
    program.chmod(0o755)
    (directory / "config.json").write_text('{"credsStore": "aifo-test"}')
    return {
        "DOCKER_CONFIG": str(directory),
        "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
    }


def test_another_engine_builds_nothing_that_was_published(
    small: Small, registry: Registry, other_engine: str
) -> None:
    prefix = f"{registry.host}/shared"
    done = small.doit("publish_image:small", BOTH, f"REGISTRY={prefix}/")
    assert done.returncode == 0, done.stderr
    own = {"DOCKER_HOST": other_engine, "AIFO_CODER_INTERNAL_REGISTRY_PREFIX": prefix}
    pulled = small.doit("build_image:small", **own)
    assert pulled.returncode == 0, pulled.stderr
    assert f"{NAME}:latest: pulled; sidecars" in pulled.stderr
    assert "building" not in pulled.stderr
    again = small.doit("build_image:small", **own)
    assert "build_image:small: up to date" in again.stdout + again.stderr

    docker("--host", other_engine, "image", "rm", f"{NAME}:latest")
    locked = small.doit("build_image:small", "LOCKED=1", **own)  # the push wrote the lock
    assert f"{NAME}:latest: pulled; sidecars" in locked.stderr, locked.stderr
    docker("--host", other_engine, "image", "rm", f"{NAME}:latest")
    pushed = re.search(r": pushed, (sha256:\w+)", done.stderr)
    assert pushed is not None
    small.change("toolchains.lock", pushed[1], f"sha256:{'0' * 64}")
    other = small.doit("build_image:small", "LOCKED=1", **own)
    assert f"not taken from {prefix}/{NAME}:recipe-" in other.stderr
    assert ": it is not what toolchains.lock names" in other.stderr
    assert "pulled; sidecars" not in other.stderr


def test_a_mirror_gives_the_base(small: Small, registry: Registry, tmp_path: Path) -> None:
    more = f"proxy: {{remoteurl: http://{registry.host}}}\n"
    text = (small.path / "toolchains.yaml").read_text()
    (small.path / "toolchains.yaml").write_text(text.replace(f"{registry.host}/base", "base"))
    with Registry(tmp_path, more=more) as mirror:
        done = small.doit("build_image:small", f"MIRROR_PREFIX={mirror.host}")
        assert done.returncode == 0, done.stderr
        assert "base sha256:" in done.stderr
        assert f"{mirror.host}/base:1 was pulled (command line)" in done.stderr
        docker("image", "rm", "--force", f"{mirror.host}/base:1")
