"""Which toolchain and which image of it the words of a command line mean, without an engine."""

from __future__ import annotations

import pytest

from tests.unit.tasks.conftest import Project

EXACT = "and any other that is exact to the last number"


def shown(project: Project, *words: str, **environment: str) -> dict[str, list[str]]:
    """What ``toolchains`` says of images, versions and bases, by kind."""
    ended = project.aifo("run", "toolchains", *words, cwd=None, **environment)
    assert (ended.status, ended.err) == (0, "")
    found: dict[str, list[str]] = {}
    for line in ended.out.splitlines():
        if not line.startswith(" "):
            kind, _, reference = line.partition(": ")
            found[kind] = [reference]
        elif line.startswith(("  image: ", "  version: ", "  base: ", "  instead of ")):
            found[kind].append(line.strip())
    return found


def test_what_is_shipped_leaves_the_version_to_the_base(project: Project) -> None:
    found = shown(project)
    assert list(found) == ["node", "rust", "python", "c-cpp", "go"]
    assert found["python"] == [
        "aifo-coder-toolchain-python:latest",
        "version: not asked for (default: the base that is taken)",
        "base: python:3.12-slim gives 3.12",
        "base: bootstrap of trixie gives 3.13",
        "base: bootstrap of bookworm gives 3.11",
    ]


def test_the_file_the_environment_and_the_command_line_decide_in_turn(project: Project) -> None:
    (project.root / "toolchains.yaml").write_text(
        'extends: builtin\ntoolchains: {go: {image: {version: "1.23.1"}}, rust: {image: {version: '
        '"1.81"}}, node: {image: {version: "22.12.0"}}}\n'
    )
    found = shown(
        project, "TOOLCHAIN_SPEC=rust@1.85", "TOOLCHAIN_IMAGE=py=mine:1",
        AIFO_RUST_TOOLCHAIN_VERSION="1.84", AIFO_NODE_TOOLCHAIN_VERSION="22",
        AIFO_CPP_TOOLCHAIN_IMAGE="r.example/cpp@sha256:0f",
        AIFO_CODER_MIRROR_REGISTRY_PREFIX="m.example",
    )  # fmt: skip
    assert found == {
        "go": [
            "aifo-coder-toolchain-go:1.23.1",
            "version: 1.23.1 (file: toolchains.yaml)",
            "base: golang:1.23.1-bookworm gives 1.23.1",
            "base: bootstrap of bookworm gives 1.23.1",
        ],
        "node": [
            "aifo-coder-toolchain-node:22",
            "version: 22 (environment: AIFO_NODE_TOOLCHAIN_VERSION)",
            "base: node:22-bookworm-slim gives 22",
            f"base: bootstrap of bookworm: it gives version 20.20.2 {EXACT}, not 22",
            "instead of version 22.12.0 (file: toolchains.yaml)",
        ],
        "rust": [
            "aifo-coder-toolchain-rust:1.85",
            "version: 1.85 (command line: TOOLCHAIN_SPEC)",
            "base: rust:1.85-slim gives 1.85",
            "base: bootstrap of trixie gives 1.85",
            "instead of version 1.84 (environment: AIFO_RUST_TOOLCHAIN_VERSION)",
            "instead of version 1.81 (file: toolchains.yaml)",
        ],
        "python": ["m.example/mine:1", "image: taken as it is (command line: TOOLCHAIN_IMAGE)"],
        "c-cpp": [
            "r.example/cpp@sha256:0f",
            "image: taken as it is (environment: AIFO_CPP_TOOLCHAIN_IMAGE)",
        ],
    }


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("render_image:c-cpp", "fits 12 cat"),
        ("render_image:c++", "fits 12 cat"),
        ("render_image:node@22.12.0", "node-version 22.12.0"),
    ],
)
def test_every_word_of_a_toolchain_makes_a_task(project: Project, word: str, line: str) -> None:
    ended = project.aifo(word)
    assert (ended.status, ended.err) == (0, "")
    assert line in ended.out


def test_only_short_names_are_listed_and_in_a_group(project: Project) -> None:
    listed = project.aifo("list", "--all", "--quiet").out.split()
    assert [word for word in listed if word.startswith("build_image:")] == [
        "build_image:cpp", "build_image:go", "build_image:node", "build_image:python",
        "build_image:rust",
    ]  # fmt: skip
    info = project.aifo("info", "build_image", "build_image:c-cpp")
    assert "build_image:c-cpp" not in info.out.partition("task_dep")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["toolchain:rust@"], "'rust@': the version is empty\nhint: KIND, KIND@VERSION or"),
        (["toolchain:lua@5"], "lua@5: there is no toolchain 'lua'\nhint: known: node, rust, "),
        (["toolchain:lua"], "toolchain:lua"),
        (["toolchain:rust@1.85=x"], "toolchain:rust@1.85: a task's name ends before '='"),
        (["toolchains", "TOOLCHAIN_IMAGE=rust"], "TOOLCHAIN_IMAGE: expected KIND=IMAGE, found"),
        (["toolchains", "TOOLCHAIN_IMAGE=lua=x"], "lua=x: there is no toolchain 'lua'"),
        (["toolchains", "TOOLCHAIN_SPEC=rust"], "TOOLCHAIN_SPEC: expected KIND@VERSION, found"),
        (["render_image:go", "TOOLCHAIN_IMAGE=go=x"], "x: is taken as it is and cannot be"),
    ],
)
def test_what_means_nothing_is_refused(project: Project, words: list[str], said: str) -> None:
    ended = project.aifo("run", *words)
    assert ended.status in {1, 3}
    assert ended.out == ""
    assert said in ended.err
