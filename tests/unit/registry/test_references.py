"""Prefixes and references: which registry an image comes from, and who said so."""

from __future__ import annotations

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.model import Registry
from aifo_tasks.registry import references
from aifo_tasks.registry.references import INTERNAL, MIRROR, Chosen, Prefix, Prefixes, Resolved

BOTH = Prefixes(
    internal=Prefix(value="team.example/built/", source="toolchains.yaml"),
    mirror=Prefix(value="mirror.example/", source=f"environment ({MIRROR})"),
)
NO_PREFIX = Prefix(value="", source="no prefix is set")


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("", ""),
        ("  ", ""),
        ("/", ""),
        ("host.example", "host.example/"),
        ("host.example/", "host.example/"),
        ("host.example:5000/team//", "host.example:5000/team/"),
        (" host.example/ ", "host.example/"),
    ],
)
def test_a_prefix_ends_in_one_slash(written: str, normal: str) -> None:
    assert references.normalise(written) == normal


def test_without_any_prefix_nothing_is_put_before() -> None:
    assert references.prefixes(Registry(), {}) == Prefixes(internal=NO_PREFIX, mirror=NO_PREFIX)


def test_the_environment_comes_before_the_file() -> None:
    declared = Registry(internal_prefix="file.example", mirror_prefix="file.example/mirror")
    found = references.prefixes(declared, {MIRROR: "env.example//"})
    assert found == Prefixes(
        internal=Prefix(value="file.example/", source="toolchains.yaml"),
        mirror=Prefix(value="env.example/", source=f"environment ({MIRROR})"),
    )


def test_a_blank_variable_switches_the_files_prefix_off() -> None:
    found = references.prefixes(Registry(internal_prefix="file.example"), {INTERNAL: " "})
    assert found.internal == Prefix(value="", source=f"environment ({INTERNAL}), blank")


@pytest.mark.parametrize("prefix", ["https://host.example", "a b", "host:port/", "-x", "a//b"])
def test_a_prefix_no_reference_can_begin_with_is_refused(prefix: str) -> None:
    with pytest.raises(AifoError) as caught:
        references.prefixes(Registry(), {MIRROR: prefix})
    bare = prefix.rstrip("/")
    assert str(caught.value) == (
        f"{MIRROR}: a registry prefix is a host and a path, not {bare!r}"
        f" (hint: {MIRROR}=registry.example/mirror/)"
    )


@pytest.mark.parametrize(
    ("reference", "asked", "host"),
    [
        ("node:20", "mirror.example/node:20", "registry-1.docker.io"),
        ("library/node:20", "mirror.example/library/node:20", "registry-1.docker.io"),
        ("node", "mirror.example/node", "registry-1.docker.io"),
        ("node:20.1", "mirror.example/node:20.1", "registry-1.docker.io"),
        ("docker.io/library/node:20", "docker.io/library/node:20", "registry-1.docker.io"),
        ("quay.io/a/b", "quay.io/a/b", "quay.io"),
        ("host:5000/a", "host:5000/a", "host:5000"),
        ("localhost/a", "localhost/a", "localhost"),
        ("localhost:5000/a:1", "localhost:5000/a:1", "localhost:5000"),
    ],
)
def test_a_reference_that_names_its_registry_is_left_alone(
    reference: str, asked: str, host: str
) -> None:
    resolved = references.resolve(reference, BOTH)
    source = "the reference names its registry" if asked == reference else f"environment ({MIRROR})"
    assert resolved == Resolved(reference=asked, source=source)
    assert references.host(reference) == host


def test_images_this_package_builds_have_the_internal_prefix() -> None:
    resolved = references.resolve("aifo-coder-toolchain-node:latest", BOTH, internal=True)
    assert resolved == Resolved(
        reference="team.example/built/aifo-coder-toolchain-node:latest", source="toolchains.yaml"
    )


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("node", "node"),
        ("node:20", "node"),
        ("host:5000/a/b:1@sha256:00", "host:5000/a/b"),
        ("host:5000/a", "host:5000/a"),
    ],
)
def test_a_name_has_no_tag_and_no_digest(reference: str, name: str) -> None:
    assert references.name(reference) == name


def test_the_command_line_comes_before_the_environment() -> None:
    chosen = Chosen(internal="", mirror="line.example/x")
    found = references.prefixes(Registry(), {MIRROR: "env.example", INTERNAL: "env"}, chosen)
    assert found == Prefixes(
        internal=Prefix(value="", source="command line, blank"),
        mirror=Prefix(value="line.example/x/", source="command line"),
    )
