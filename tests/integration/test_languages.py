"""Every language compiles and runs one file in a container of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from aifo_tasks.config.load import load
from aifo_tasks.model import Language
from tests.integration.project import BIN, docker
from tests.integration.sessions import run_dir

SOURCES = Path(__file__).parents[1] / "data" / "languages"
LANGUAGES = load(Path("/")).languages
CODES = [language.code for language in LANGUAGES]

pytestmark = pytest.mark.usefixtures("engine_endpoint")


def run(
    directory: Path, *words: str, given: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [BIN / "aifo", "run", *words],
        cwd=directory, input=given, env={**os.environ, **environment}, capture_output=True,
        check=False,
    )  # fmt: skip


def containers() -> str:
    ours = f"label=io.aifo.run-dir={run_dir()}"
    return docker("ps", "--all", "--quiet", "--filter", ours, "--filter", "name=aifo-tc-code")


def test_every_language_has_a_program_here() -> None:
    assert {path.stem for path in SOURCES.iterdir()} == {"good"}
    assert {path.suffix[1:] for path in SOURCES.iterdir()} == {
        language.extension for language in LANGUAGES
    }


@pytest.mark.parametrize("language", LANGUAGES, ids=CODES)
def test_streams_and_exit_status_are_as_they_are(language: Language, tmp_path: Path) -> None:
    """Both outputs apart, bytes that are no text, a hundred megabytes, the input, a status that
    is not 0 or 1."""
    source = SOURCES / f"good.{language.extension}"
    words = [f"run_code:{language.code}", f"FILE={source}", "TIME_LIMIT=300"]
    done = run(tmp_path, *words, given=b"you\n")
    hello, rest = done.stdout[:12], done.stdout[12:]
    assert hello == b"hello you\n\xff\n", done.stderr
    assert (len(rest), rest.strip(b"x")) == (10**8 + 1, b"\n")
    assert done.stderr.endswith(b"said apart\n")
    assert done.returncode == 7
    assert list(tmp_path.iterdir()) == []
    assert containers() == ""


@pytest.mark.parametrize("language", LANGUAGES, ids=CODES)
def test_a_time_limit_ends_grandchildren_too(language: Language, tmp_path: Path) -> None:
    """A second is enough to start one, but not on a machine that is busy: there the compiler has
    as long as it takes."""
    patient = f"extends: builtin\nlanguages: {{{language.code}: {{time: 20}}}}\n"
    (tmp_path / "toolchains.yaml").write_text(patient)
    source = SOURCES / f"good.{language.extension}"
    for limit in (1, 4, 16):
        words = [f"run_code:{language.code}", f"FILE={source}", f"TIME_LIMIT={limit}"]
        done = run(tmp_path, *words, "--", "slow")
        assert done.returncode == 124, done.stderr
        assert f"run_code {language.code}: ended after {limit} s" in done.stderr.decode()
        assert containers() == ""  # and with it every process in it
        if done.stdout:
            break
    assert done.stdout == b"started\n"


@pytest.mark.parametrize("language", LANGUAGES, ids=CODES)
def test_what_does_not_compile_does_not_run(language: Language, tmp_path: Path) -> None:
    broken = tmp_path / f"broken.{language.extension}"
    broken.write_text("<?php class ( { nothing like this = 1 2 3\n")
    done = run(tmp_path, f"run_code:{language.code}", f"FILE={broken.name}")
    assert done.returncode not in {0, 7, 124, 125, 126, 127}
    if language.compile:
        assert done.stdout == b""
    assert done.stderr or language.code == "php"  # which says it on stdout
    assert [path.name for path in tmp_path.iterdir()] == [broken.name]


def test_a_compiler_s_time_is_its_own(tmp_path: Path) -> None:
    """As the language has it, however short the program is to be."""
    (tmp_path / "toolchains.yaml").write_text(
        "extends: builtin\nlanguages:\n  slow: {name: Slow, toolchain: python, extension: s,"
        ' file: code.s, compile: [sleep, "1000"], run: [sleep, "{file}"], time: 0.1}\n'
    )
    (tmp_path / "x.s").touch()
    done = run(tmp_path, "run_code:slow", "FILE=x.s", "TIME_LIMIT=1")
    assert done.returncode == 124
    assert b"run_code slow: compiling ended after 3 s" in done.stderr


def test_an_output_limit_says_where_it_cut(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text("print('x' * 10**7, end='')\n")
    cut = run(tmp_path, "run_code:py", "FILE=big.py", "OUTPUT_LIMIT=1m")
    assert (cut.returncode, len(cut.stdout)) == (0, 2**20)
    assert b"stdout was cut after 1048576 bytes, 8951424 more were lost" in cut.stderr


def test_memory_is_limited(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text("x = bytearray(200 * 2**20)\nprint(len(x))\n")
    done = run(tmp_path, "run_code:py", "FILE=greedy.py", "MEMORY_LIMIT=64m")
    assert done.returncode == 137
    assert done.stdout == b""


SURROUNDINGS = """\
import os, socket, sys
print(sorted(os.environ.items()), os.getuid(), os.getcwd(), sys.argv[1:])
try:
    socket.create_connection(("192.0.2.1", 80), 2)
except OSError as error:
    print(error.strerror)
"""


def test_the_environment_is_clean_and_there_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(SURROUNDINGS)
    words = ["run_code:py", "FILE=look.py", "--", "a b", "", "*"]
    done = run(tmp_path, *words, AIFO_SECRET="x", PYTHONPATH="/x")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = [("HOME", "/tmp"), ("PATH", path), ("TMPDIR", "/tmp")]
    seen = done.stdout.decode().replace("('LC_CTYPE', 'C.UTF-8'), ", "")  # python's own doing
    assert seen == f"{environment} 65532 /workspace ['a b', '', '*']\nNetwork is unreachable\n"


def test_a_language_is_declared_in_the_file_and_nowhere_else(tmp_path: Path) -> None:
    """A language that nobody thought of is a few lines of a project's own file."""
    (tmp_path / "toolchains.yaml").write_text(
        "extends: builtin\nlanguages:\n  sh: {name: Shell, aliases: [posix], toolchain: python,"
        ' extension: sh, file: code.sh, run: [sh, "{file}"], environment: {GREETING: hi}}\n'
    )
    (tmp_path / "x.sh").write_text('echo "$GREETING $1"; exit 3\n')
    done = run(tmp_path, "run_code:POSIX", "FILE=x.sh", "--", "you")
    assert (done.returncode, done.stdout) == (3, b"hi you\n")


def test_a_language_that_nobody_declared_is_refused_with_those_there_are(tmp_path: Path) -> None:
    done = run(tmp_path, "run_code:lua", "FILE=x.lua")
    assert done.returncode == 3
    known = ", ".join(CODES)
    assert f"lua: there is no such language\nhint: known: {known}\n".encode() in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], b"FILE: which file is to run?"),
        (["FILE=none.py"], b"none.py: cannot be read: no such file or directory"),
        (["FILE=x", "TIME_LIMIT=soon"], b"TIME_LIMIT: expected seconds, found 'soon'"),
        (["FILE=x", "MEMORY_LIMIT=lots"], b"MEMORY_LIMIT: expected a size, found 'lots'"),
    ],
)
def test_what_cannot_be_run_is_said(tmp_path: Path, words: list[str], problem: bytes) -> None:
    done = run(tmp_path, "run_code:py", *words)
    assert done.returncode != 0
    assert problem in done.stderr
    assert b"Traceback" not in done.stderr
