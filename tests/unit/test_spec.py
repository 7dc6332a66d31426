"""Words that ask for a toolchain, and whose counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aifo_tasks.errors import UsageError
from aifo_tasks.model import BaseSource, Image, Toolchain
from aifo_tasks.spec import Source, Spec, Wish, choose, from_environment, parse


@pytest.mark.parametrize(
    ("word", "spec"),
    [
        ("rust", Spec(kind="rust")),
        ("c++", Spec(kind="c++")),
        ("node@22.12.0", Spec(kind="node", version="22.12.0")),
        ("rust=mine:1", Spec(kind="rust", image="mine:1")),
        ("go@1.23=a.example/go:1", Spec(kind="go", version="1.23", image="a.example/go:1")),
        ("go=a@sha256:0f=1", Spec(kind="go", image="a@sha256:0f=1")),
        ("go@1@2", Spec(kind="go", version="1@2")),
    ],
)
def test_it_is_split_at_the_first_equals_sign_then_at_the_first_at(word: str, spec: Spec) -> None:
    assert parse(word) == spec


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("", "kind"), ("@1", "kind"), ("=mine", "kind"), (" @1", "kind"), ("rust@", "version"),
        ("rust@=mine", "version"), ("rust@ ", "version"), ("rust=", "image"), ("go@1=", "image"),
    ],
)  # fmt: skip
def test_an_empty_part_is_an_error(word: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(word)
    assert str(caught.value) == (
        f"{word!r}: the {part} is empty (hint: KIND, KIND@VERSION or KIND=IMAGE)"
    )


SOURCES = (BaseSource(version="1", reference="lua:{version}"),)
LUA = Toolchain(
    kind="c-lua",
    aliases=("l",),
    image=Image(name="ours", context=Path("/x"), base=SOURCES),
)


def wish(word: str, source: Source, where: str = "there") -> Wish:
    return Wish(spec=parse(word), source=source, where=where)


def decided(*wishes: Wish, toolchain: Toolchain = LUA) -> tuple[str, Source, str]:
    choice = choose(toolchain, wishes)
    return choice.toolchain.image.reference, choice.source, choice.where


def test_without_a_wish_the_file_decides_and_without_that_the_base() -> None:
    assert decided() == ("ours:latest", Source.DEFAULT, "the base that is taken")
    declared = replace(LUA, image=replace(LUA.image, version="5.3"))
    assert decided(toolchain=declared) == ("ours:5.3", Source.FILE, "toolchains.yaml")


def test_the_command_line_counts_before_the_environment_before_the_file() -> None:
    declared = replace(LUA, image=replace(LUA.image, version="5.3"))
    environment = wish("c-lua@5.4", Source.ENVIRONMENT, "AIFO_LUA_TOOLCHAIN_VERSION")
    word = wish("lua@5.5", Source.COMMAND_LINE, "toolchain:lua@5.5")
    assert decided(environment, toolchain=declared) == (
        "ours:5.4", Source.ENVIRONMENT, "AIFO_LUA_TOOLCHAIN_VERSION",
    )  # fmt: skip
    assert decided(environment, word, toolchain=declared) == (
        "ours:5.5", Source.COMMAND_LINE, "toolchain:lua@5.5",
    )  # fmt: skip


def test_an_image_counts_before_a_version_wherever_it_is_from() -> None:
    image = wish("l=mine:1", Source.ENVIRONMENT)
    version = wish("lua@5.5", Source.COMMAND_LINE)
    assert decided(version, image) == ("mine:1", Source.ENVIRONMENT, "there")
    other = wish("lua@5.5=mine:2", Source.COMMAND_LINE)
    assert decided(image, other) == ("mine:2", Source.COMMAND_LINE, "there")


def test_of_two_from_one_source_the_first_counts() -> None:
    first, second = (wish(f"lua@{number}", Source.COMMAND_LINE) for number in (1, 2))
    assert decided(first, second)[0] == "ours:1"


def test_what_counts_less_is_told_in_its_order() -> None:
    declared = replace(LUA, image=replace(LUA.image, version="5.3"))
    wishes = [
        wish("lua@1", Source.COMMAND_LINE), wish("lua@2", Source.ENVIRONMENT),
        wish("lua=mine:1", Source.ENVIRONMENT), wish("lua=mine:2", Source.ENVIRONMENT),
        wish("lua", Source.COMMAND_LINE), wish("node@1", Source.COMMAND_LINE),
    ]  # fmt: skip
    file = Wish(spec=Spec(kind="c-lua", version="5.3"), source=Source.FILE, where="toolchains.yaml")
    assert choose(declared, wishes).passed == (wishes[3], wishes[0], wishes[1], file)


def test_wishes_for_others_do_not_count() -> None:
    assert decided(wish("node@1", Source.COMMAND_LINE), wish("lua", Source.COMMAND_LINE)) == (
        decided()
    )


def test_a_toolchain_has_two_variables_of_its_own() -> None:
    environ = {
        "AIFO_LUA_TOOLCHAIN_IMAGE": "mine:1",
        "AIFO_LUA_TOOLCHAIN_VERSION": " ",
        "AIFO_NODE_TOOLCHAIN_VERSION": "20",
    }
    assert list(from_environment(LUA, environ)) == [
        Wish(
            spec=Spec(kind="c-lua", image="mine:1"),
            source=Source.ENVIRONMENT,
            where="AIFO_LUA_TOOLCHAIN_IMAGE",
        )
    ]


def test_a_version_is_the_tag_as_far_as_a_tag_can_be() -> None:
    assert decided(wish("lua@1.0+b", Source.FILE))[0] == "ours:1.0_b"
