"""A bounded number of inputs for everything that decodes bytes of strangers, in C and Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.native import compiling

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "data" / "fuzz"
OPTIONS = ("-seed=1", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=30")

C = {
    "frame": ("frame.c",),
    "http": ("http.c",),
    "answer": ("answer.c", "link.c", "http.c", "io.c", "frame.c", "signals.c"),
    "relay": (
        "relay.c", "job.c", "link.c", "flow.c", "streams.c", "signals.c", "screen.c", "io.c",
        "frame.c",
    ),
    "words": (
        "assign.c", "local.c", "request.c", "proxy.c", "http.c", "io.c", "frame.c", "signals.c",
    ),
}  # fmt: skip
C_RUNS = {"frame": 100_000, "http": 100_000, "answer": 10_000, "relay": 20_000, "words": 50_000}

PYTHON = {
    "request": "request", "form": "form", "frame": "relay", "toolchains": "../config",
    "lock": "lock",
}  # fmt: skip
PYTHON_RUNS = {"request": 3000, "form": 5000, "frame": 5000, "toolchains": 300, "lock": 300}


@pytest.fixture(scope="session")
def times(request: pytest.FixtureRequest) -> int:
    """How many times as many inputs as by default."""
    found: int = request.config.getoption("--fuzz")
    return found


def fuzz(argv: Sequence[str | Path], runs: int, corpus: Path, found: Path) -> None:
    """Run a fuzzer on a corpus and what it makes of it; every input has to do no harm."""
    found.mkdir()
    done = subprocess.run(
        [*argv, f"-runs={runs}", *OPTIONS, f"-artifact_prefix={found}/", found, corpus],
        cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # the shim ends soon
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr


@pytest.mark.parametrize("name", C)
def test_no_input_does_harm(name: str, times: int, tmp_path: Path) -> None:
    clang = compiling.compiler("clang", "clang-19", "clang-16", "clang-15", "clang-14")
    argv = [clang, *compiling.SANITIZE, "-fsanitize=fuzzer,address,undefined"]
    program = compiling.build(argv, [f"fuzz_{name}.c", *C[name]], tmp_path / "fuzz")
    argv = [str(program), "-close_fd_mask=3"]  # the streams are the shim's
    fuzz(argv, C_RUNS[name] * times, CORPUS / name, tmp_path / "found")


@pytest.mark.parametrize("name", PYTHON)
def test_no_input_is_taken_wrong(name: str, times: int, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.fuzz", name]
    corpus = (CORPUS / PYTHON[name]).resolve()
    fuzz(argv, PYTHON_RUNS[name] * times, corpus, tmp_path / "found")
