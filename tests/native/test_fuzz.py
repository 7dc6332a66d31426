"""A bounded time of fuzzing for everything that decodes bytes of strangers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.native import compiling

CORPUS = Path(__file__).parents[1] / "data/fuzz"
SECONDS = os.environ.get("FUZZ_SECONDS", "20")


@pytest.mark.parametrize("name", ["frame", "http"])
def test_no_input_does_harm(name: str, tmp_path: Path) -> None:
    clang = compiling.compiler("clang", "clang-19", "clang-16", "clang-15", "clang-14")
    argv = [clang, *compiling.SANITIZE, "-fsanitize=fuzzer,address,undefined"]
    program = compiling.build(argv, [f"fuzz_{name}.c", f"{name}.c"], tmp_path / "fuzz")
    (tmp_path / "found").mkdir()
    done = subprocess.run(
        [program, "-runs=200000", f"-max_total_time={SECONDS}", "-max_len=4096", "-seed=1",
         "-rss_limit_mb=1024", tmp_path / "found", CORPUS / name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr
