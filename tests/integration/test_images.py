"""The five images on a real engine: built side by side, and everything in them works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.config import load
from tests.integration.project import ROOT, Project, docker

TOOLCHAINS = {each.short: each for each in load.load(ROOT).toolchains}
KINDS = tuple(TOOLCHAINS)

ANSWER = {
    "go": "version",
    "gofmt": "-l main.go",
    "pnpx": "semver@7.6.3 1.2.3",
    "tsserver": "--help",
}
"""What makes a tool answer and end, where that is not ``--version``."""

CHECK = """\
echo 'package main' >main.go
for pair; do
    tool=${pair%%=*}
    output=$($tool ${pair#*=} 2>&1 </dev/null) || echo "$tool: status $?: $output"
done
touch /usr/bin/more 2>/dev/null && echo 'the root can be written'
id -u
"""

HELLO = {
    "node": """\
echo 'const who: string = "there"; console.log(`hello ${who}`)' >hello.ts
ts-node hello.ts
deno run hello.ts
bun hello.ts
tsc hello.ts && node hello.js
""",
    "rust": """\
cargo init -q --vcs none --name hello
sed -i 's/, world!/ there/' src/main.rs
printf '\\n#[test]\\nfn runs() {}\\n' >>src/main.rs
cargo fmt --check && cargo clippy -q && cargo test -q >/dev/null
cargo nextest run 2>&1 | grep -q '1 passed' || echo 'no test'
rustup run "$(rustup show active-toolchain | cut -d' ' -f1)" rustc --version >/dev/null
CARGO_TARGET_DIR=/tmp/target cargo run -q
""",
    "python": """\
python -m venv /tmp/one && /tmp/one/bin/python -c 'print("hello there")'
uv venv -q /tmp/two && uv pip list -q -p /tmp/two/bin/python
/tmp/two/bin/python -c 'print("hello there")'
printf '#include <Python.h>\\nstatic PyModuleDef d = {.m_name = "c"};\\n' >c.c
printf 'PyMODINIT_FUNC PyInit_c(void) { return PyModule_Create(&d); }\\n' >>c.c
gcc -shared -fPIC $(python3-config --includes) c.c -o c.so
python -c 'import c; print("hello there")'
""",
    "cpp": """\
printf '#include <stdio.h>\\nint main(void) { puts("hello there"); }\\n' >hello.c
printf 'cmake_minimum_required(VERSION 3.20)\\nproject(hello C)\\n' >CMakeLists.txt
printf 'enable_testing()\\n' >>CMakeLists.txt
printf 'add_executable(hello hello.c)\\nadd_test(NAME hello COMMAND hello)\\n' >>CMakeLists.txt
for i in 1 2; do
    ccache -z >/dev/null
    rm -rf /tmp/b && cmake -G Ninja -S . -B /tmp/b >/dev/null && cmake --build /tmp/b >/dev/null
done
ccache --print-stats | grep -q '^direct_cache_hit.[1-9]' || echo 'no hit'
ctest --test-dir /tmp/b >/dev/null && /tmp/b/hello
clang++ -x c++ hello.c -o /tmp/hello && /tmp/hello
echo 'FROM debian' | hadolint - | grep -q 'DL3006' || echo 'no complaint'
""",
    "go": """\
printf 'module example.org/hello\\n\\ngo 1.22\\n' >go.mod
printf 'package main\\n\\n// #include <stdlib.h>\\nimport "C"\\nimport "fmt"\\n\\n' >main.go
printf 'func main() { fmt.Println("hello there", C.abs(-7)) }\\n' >>main.go
gofmt -l . && go vet . && go build -o /tmp/hello . && /tmp/hello
""",
}
HEARD = {
    "node": "hello there\n" * 4,
    "rust": "Hello there\n",
    "python": "hello there\n" * 3,
    "cpp": "hello there\n" * 2,
    "go": "hello there 7\n",
}


@pytest.fixture(scope="module")
def place(engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of its own in which all images are built, two at a time."""
    project = Project(tmp_path_factory.mktemp("images") / "project", None)
    project.write("toolchains.yaml", "extends: builtin\n")
    if os.geteuid() == 0:
        os.chown(project.path, 1000, 1000)
    done = project.doit("run", "-n", "2", "build_image", program="aifo")
    assert done.returncode == 0, done.stderr
    yield project
    project.stop()


def call(place: Project, word: str, script: str, *words: str) -> str:
    """What a script writes in a toolchain; it must succeed."""
    directory = place.path / word.replace("@", "-")
    directory.mkdir(exist_ok=True)
    os.chown(directory, place.path.stat().st_uid, place.path.stat().st_gid)
    done = place.doit(
        "run", f"toolchain:{word}", "--", "sh", "-ec", script, "sh", *words,
        program="aifo", cwd=directory.name,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_declared_tool_answers_to_the_project_s_owner(place: Project, kind: str) -> None:
    tools = [tool.name for tool in TOOLCHAINS[kind].tools]
    pairs = [f"{tool}={ANSWER.get(tool, '--version')}" for tool in tools]
    assert call(place, kind, CHECK, *pairs) == f"{place.path.stat().st_uid}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_tools_make_something(place: Project, kind: str) -> None:
    assert call(place, kind, HELLO[kind]) == HEARD[kind]


def test_a_second_time_nothing_is_built(place: Project) -> None:
    again = place.doit("run", "-n", "2", "build_image", program="aifo")
    assert sorted(again.stderr.splitlines()) == sorted(
        f"build_image:{kind}: up to date" for kind in KINDS
    )


@pytest.mark.parametrize(
    ("file", "rebuilt", "reason"),
    [
        ("rust/Dockerfile.j2", ["rust"], "the Dockerfile changed"),
        ("go/go-version", ["go"], "go-version changed"),
        ("shared/parts.j2", KINDS, "the Dockerfile changed"),
    ],
)
def test_what_changed_is_built_again_and_says_why(
    place: Project, package: Path, tmp_path: Path, file: str, rebuilt: list[str], reason: str
) -> None:
    environ = os.environ | {"PYTHONPATH": str(package), "XDG_CACHE_HOME": str(tmp_path)}
    path = package / "images" / file
    before = path.read_text()
    path.write_text(before.replace("\n# ", "\n# Now: ").replace("CMD", "LABEL a=b\nCMD"))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "aifo_tasks.tasks.main", "run", "build_image", "DRY_RUN=1"],
            env=environ, cwd=place.path, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        path.write_text(before)
    lines = [line for line in done.stderr.splitlines() if line.startswith("build_image:")]
    assert lines == [
        f"build_image:{kind}: " + (f"running: {reason}" if kind in rebuilt else "up to date")
        for kind in KINDS
    ]


def test_a_version_has_an_image_and_a_sidecar_of_its_own(place: Project) -> None:
    try:
        assert call(place, "node@22.12.0", "node --version") == "v22.12.0\n"
        assert call(place, "node", "node --version") != "v22.12.0\n"
        assert docker("images", "-q", "aifo-coder-toolchain-node:22.12.0")
        place.doit("run", "sidecar_stop", program="aifo")
    finally:
        docker("rmi", "aifo-coder-toolchain-node:22.12.0", check=False)


def test_a_version_that_cannot_be_had_is_refused_with_what_can(place: Project) -> None:
    done = place.doit("run", "toolchain:cpp@13", "--", "true", program="aifo")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "ERROR: aifo-cpp-toolchain: no source gives a base image for version 13\n"
        "  debian:bookworm-slim: it gives version 12, not 13\n"
        "  Debian bookworm: it gives version 12, not 13\n"
    ) in done.stderr


def test_an_image_of_somebody_s_is_taken_as_it_is(place: Project) -> None:
    """The sidecar runs in it, nothing is built, and what is not there is not made up."""
    base = docker(
        "image", "inspect", "--format", '{{index .Config.Labels "io.aifo.base.reference"}}',
        "aifo-cpp-toolchain",
    ).strip()  # fmt: skip
    script = "command -v cargo || echo none; cat /etc/debian_version"
    said = place.doit(
        "run", "toolchain:rust", "--toolchain-image", f"rust={base}", "--", "sh", "-c", script,
        program="aifo",
    )  # fmt: skip
    assert said.stdout.startswith("none\n12"), said.stderr
    assert "building" not in said.stderr
    chosen = place.doit(
        "run", "shell", "--toolchain-image", f"rust={base}", "--",
        "sh", "-c", "cargo; echo $?; pnpm; echo $?", program="aifo",
    )  # fmt: skip
    assert chosen.stdout == "127\n86\n", chosen.stderr
    missing = place.doit(
        "run", "toolchain:rust", "TOOLCHAIN_IMAGE=rust=aifo-test/none:1", "PULL=never", "--",
        "true", program="aifo",
    )  # fmt: skip
    assert missing.returncode == 1
    assert "aifo-test/none:1: it is not in the engine, and PULL=never" in missing.stderr
