"""How a language's declaration becomes commands and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.config.load import load
from aifo_tasks.model import Image, Language
from aifo_tasks.session import code

CONFIG = load(Path("/"))
IMAGE = Image(name="lua", context=Path("/x"), base=())
LUA = Language(
    code="lua", name="Lua", image=IMAGE, extension="lua", file="code.lua",
    compile=("luac", "-o", "{build}/code", "{file}"), run=("lua", "{workdir}", "-e{build}"),
    environment=(("LUA_PATH", "/x y"), ("HOME", "/y")), time=1.5, memory=1.2,
)  # fmt: skip
CLEAN = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_placeholders_are_filled_in_and_the_environment_is_exactly_the_declared_one() -> None:
    declared = ["HOME=/y", "TMPDIR=/tmp", "LUA_PATH=/x y"]
    start = ["env", "-i", CLEAN, *declared]
    assert code.command(LUA, LUA.compile) == [
        *start, "luac", "-o", "/home/coder/code", "/workspace/code.lua",
    ]  # fmt: skip
    assert code.command(LUA, LUA.run) == [*start, "lua", "/workspace", "-e/home/coder"]


def test_limits_are_the_base_limits_times_the_factors() -> None:
    found = code.bounds(LUA, seconds=0, memory=0, output=0)
    assert found == code.Bounds(compiling=45, seconds=45, memory=644245094, output=0)


def test_what_was_asked_for_is_the_limit() -> None:
    found = code.bounds(LUA, seconds=0.5, memory=2**25, output=10)
    assert found == code.Bounds(compiling=45, seconds=0.5, memory=2**25, output=10)


@pytest.mark.parametrize("language", CONFIG.languages, ids=lambda language: language.code)
def test_a_shipped_language_says_everything(language: Language) -> None:
    assert language.name
    assert language.file.endswith(f".{language.extension}")
    assert language.run
    assert language.image.name
    used = " ".join((*language.compile, *language.run))
    assert "{file}" in used
    assert ("{build}" in used) == bool(language.compile)
    assert language.time >= 1
    assert language.memory >= 1


@pytest.mark.parametrize("word", ["ts", "TS", "typescript", "TypeScript"])
def test_a_word_is_matched_without_regard_to_case(word: str) -> None:
    found = CONFIG.language(word)
    assert found is not None
    assert found.code == "ts"


def test_no_other_word_means_a_language() -> None:
    assert CONFIG.language("script") is None
