"""The command that makes a root file system from the Debian archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.image import bootstrap
from aifo_tasks.model import Bootstrap

MINBASE = Bootstrap(suite="bookworm", variant="minbase", include=("ca-certificates", "curl"))


def test_the_command_whole() -> None:
    assert bootstrap.command(MINBASE, "arm64", "", Path("/c/b.tar")) == (
        "mmdebstrap",
        "--variant=minbase",
        "--include=ca-certificates,curl",
        "--architectures=arm64",
        "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "bookworm",
        "/c/b.tar",
    )


def test_another_archive_stands_last() -> None:
    bare = Bootstrap(suite="trixie", variant="apt")
    argv = bootstrap.command(bare, "amd64", "http://debian.example/debian", Path("/c/b.tar"))
    assert argv[-3:] == ("trixie", "/c/b.tar", "http://debian.example/debian")
    assert not any(word.startswith("--include") for word in argv)


@pytest.mark.parametrize(
    ("platform", "architecture"),
    [
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
        ("linux/arm64/v8", "arm64"),
        ("linux/arm/v7", "armhf"),
        ("linux/386", "i386"),
        ("linux/ppc64le", "ppc64el"),
    ],
)
def test_platforms_have_debians_names(platform: str, architecture: str) -> None:
    assert bootstrap.architecture_of(platform) == architecture


def test_a_platform_debian_does_not_know() -> None:
    with pytest.raises(AifoError, match=r"^Debian: has no architecture for windows/wasm$"):
        bootstrap.architecture_of("windows/wasm")


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("I: start\nE: no such suite\nI: removing", "E: no such suite"),
        ("W: one\nE: two\nE: three\n", "E: two; E: three"),
        ("something\nlast words\n\n", "last words"),
        ("", "failed and said nothing"),
    ],
)
def test_the_complaint_is_what_tells_most(tail: str, said: str) -> None:
    assert bootstrap.complaint(tail) == said
