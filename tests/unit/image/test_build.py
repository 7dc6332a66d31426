"""What a build is given, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.engine.api import ImageState
from aifo_tasks.image import build
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.base import Base
from aifo_tasks.model import BaseSource, Image, Toolchain

BASE = Base(reference="base:1", digest="sha256:b", source="registry", version="20", why="asked")


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    (tmp_path / "Dockerfile.j2").write_text("FROM x\nRUN y {{ version }}\n")
    sources = (
        BaseSource(version="20", reference="node:{version}"),
        BaseSource(version="20.1.0", reference="other:1"),
    )
    image = Image(name="tried", context=tmp_path, base=sources, arguments=(("A", "1"),))
    return Toolchain(kind="node", image=image)


def test_proxies_are_build_arguments_and_blank_ones_are_not(toolchain: Toolchain) -> None:
    environ = {"https_proxy": "http://proxy.example:3128", "NO_PROXY": "", "HOME": "/root"}
    assert build.build_arguments(toolchain.image, BASE, environ) == (
        ("BASE", "base:1"),
        ("A", "1"),
        ("https_proxy", "http://proxy.example:3128"),
    )


def test_a_proxy_that_a_build_cannot_reach_is_found() -> None:
    environ = {
        "HTTP_PROXY": "http://localhost:3128",
        "https_proxy": "127.0.0.1:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "no_proxy": "localhost",
    }
    assert list(build.local_proxies(environ)) == [
        ("HTTP_PROXY", "localhost"),
        ("https_proxy", "127.0.0.1"),
    ]


def test_the_dockerfile_is_shown_for_the_version_that_was_built(toolchain: Toolchain) -> None:
    assert build.dockerfile(toolchain) == "FROM x\nRUN y 20\n"
    labels = {recipes.TOOL_VERSION: "20.1.0", recipes.INPUTS: '{"version": ""}'}
    assert build.dockerfile(toolchain, labels) == "FROM x\nRUN y 20.1.0\n"
    labels = {recipes.TOOL_VERSION: "22.1.0", recipes.INPUTS: '{"version": "22"}'}
    assert build.dockerfile(toolchain, labels) == "FROM x\nRUN y 20\n"


def built(toolchain: Toolchain) -> ImageState:
    recipe = recipes.recipe(toolchain.image, version="20", base="sha256:b", platform="linux/amd64")
    labels = {**dict(recipe.labels), recipes.BASE: "sha256:b", recipes.TOOL_VERSION: "20"}
    return ImageState(id="sha256:i", platform="linux/amd64", labels=labels)


def test_what_was_built_is_up_to_date_by_its_labels_alone(toolchain: Toolchain) -> None:
    assert build.stale(built(toolchain), toolchain.image) is None
    assert build.stale(built(toolchain), toolchain.image, platform="linux/amd64") is None


def test_another_platform_or_no_image_is_stale(toolchain: Toolchain) -> None:
    assert build.stale(None, toolchain.image) == "the engine does not have it"
    assert build.stale(built(toolchain), toolchain.image, platform="linux/arm64") == (
        "the platform changed from linux/amd64 to linux/arm64"
    )


def test_a_changed_template_is_stale_and_a_comment_in_it_is_not(toolchain: Toolchain) -> None:
    state = built(toolchain)
    template = toolchain.image.context / "Dockerfile.j2"
    template.write_text("{# why #}" + template.read_text())
    assert build.stale(state, toolchain.image) is None
    template.write_text(template.read_text() + "USER 1\n")
    assert build.stale(state, toolchain.image) == "the Dockerfile changed"
