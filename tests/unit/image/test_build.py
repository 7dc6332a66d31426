"""What a build is given, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    labels = {recipes.TOOL_VERSION: "20.1.0"}
    assert build.dockerfile(toolchain, labels) == "FROM x\nRUN y 20.1.0\n"
