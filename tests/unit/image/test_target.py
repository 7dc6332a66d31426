"""Where an image goes: every way to Docker Hub that was not written out is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.image.target import Target, Wish, target

NAME = "aifo-cpp-toolchain"
AMD, ARM = "linux/amd64", "linux/arm64"


def found(*, containerd: bool = True, name: str = NAME, **wish: Any) -> Target:
    return target(name, Wish(**wish), own=AMD, containerd=containerd)


def refusal(**wish: Any) -> str:
    with pytest.raises(AifoError) as caught:
        found(**wish)
    return str(caught.value)


@pytest.mark.parametrize("containerd", [True, False])
def test_one_platform_goes_into_the_engine(containerd: bool) -> None:
    for platforms in ((), (ARM,), (ARM, ARM)):
        assert found(platforms=platforms, containerd=containerd) == Target(
            kind="engine", reference=f"{NAME}:latest", platforms=platforms[:1] or (AMD,)
        )


def test_several_platforms_go_into_an_archive() -> None:
    assert found(platforms=(AMD, ARM), tag="1.2") == Target(
        kind="archive", reference=f"{NAME}:1.2", platforms=(AMD, ARM),
        archive=Path("dist/aifo-cpp-toolchain-1.2.oci.tar"), why="2 platforms",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wish", [{}, {"registry": ""}, {"registry": " / "}, {"registry": "", "prefix": "r.example/"},
             {"prefix": "  "}],
)  # fmt: skip
def test_a_push_to_nowhere_is_an_archive(wish: dict[str, Any]) -> None:
    assert found(push=True, **wish) == Target(
        kind="archive", reference=f"{NAME}:latest", platforms=(AMD,),
        archive=Path("dist/aifo-cpp-toolchain-latest.oci.tar"), why="PUSH=1 and no REGISTRY",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "reference"),
    [
        ({"registry": "r.example"}, f"r.example/{NAME}:latest"),
        ({"registry": "127.0.0.1:5000/team//"}, f"127.0.0.1:5000/team/{NAME}:latest"),
        ({"registry": "localhost/a/b"}, f"localhost/a/b/{NAME}:latest"),
        ({"prefix": "r.example/x"}, f"r.example/x/{NAME}:latest"),
        ({"registry": "a.example", "prefix": "b.example"}, f"a.example/{NAME}:latest"),
        ({"registry": "docker.io/team"}, f"docker.io/team/{NAME}:latest"),
        ({"registry": "index.docker.io/team/"}, f"index.docker.io/team/{NAME}:latest"),
    ],
)
def test_a_push_goes_where_it_was_said(wish: dict[str, Any], reference: str) -> None:
    assert found(push=True, **wish) == Target(
        kind="registry", reference=reference, platforms=(AMD,)
    )


@pytest.mark.parametrize("word", ["team/", "team", "team/x", "library/"])
def test_a_registry_without_a_host_would_mean_docker_hub(word: str) -> None:
    said = refusal(push=True, registry=word)
    assert said.startswith(f"REGISTRY: '{word}' names no host and would mean Docker Hub")


@pytest.mark.parametrize(
    "prefix", ["docker.io/team", "index.docker.io/team", "registry-1.docker.io/team"]
)
def test_docker_hub_is_named_in_registry_or_not_at_all(prefix: str) -> None:
    assert refusal(push=True, prefix=prefix) == (
        "AIFO_CODER_REGISTRY_PREFIX: Docker Hub is pushed to only where REGISTRY names it"
        f" (hint: REGISTRY={prefix}/)"
    )


def test_an_image_whose_name_looks_like_a_host_goes_nowhere_by_itself() -> None:
    assert found(push=True, name="docker.io/me/x").archive == Path(
        "dist/docker.io-me-x-latest.oci.tar"
    )
    assert found(push=True, name="docker.io/me/x", registry="r.example").reference == (
        "r.example/docker.io/me/x:latest"
    )


@pytest.mark.parametrize("word", ["https://r.example/", "r.example/Team", "r.example:x/", "-r.x/a"])
def test_what_no_reference_begins_with_is_no_registry(word: str) -> None:
    assert refusal(push=True, registry=word).startswith(f"REGISTRY: '{word}' is no registry")


@pytest.mark.parametrize("platform", ["amd64", "windows/amd64", "linux/AMD64", "linux/arm64,", ""])
def test_what_is_no_platform_is_refused(platform: str) -> None:
    assert refusal(platforms=(platform,)) == (
        f"PLATFORMS: '{platform}' is no platform of a toolchain"
        " (hint: PLATFORMS=linux/amd64,linux/arm64)"
    )


@pytest.mark.parametrize("tag", ["", "a b", "-x", "a/b", "x" * 129])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    assert refusal(tag=tag) == f"TAG: '{tag}' is no tag (hint: TAG=latest)"


@pytest.mark.parametrize("push", [True, False])
def test_the_old_image_store_keeps_one_platform(push: bool) -> None:
    said = refusal(platforms=(AMD, ARM), push=push, registry="r.example", containerd=False)
    assert said.startswith(
        "PLATFORMS: this engine's image store keeps one platform of an image, "
        "not linux/amd64, linux/arm64"
    )
    assert "containerd-snapshotter" in said
