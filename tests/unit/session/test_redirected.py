"""Outputs that go elsewhere for a while, seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys

WRITE = """
import os, sys
from aifo_tasks.session import redirected
said = []
print("before", flush=True)
with redirected.cut(5, said.append):
    os.write(1, b"0123456789")
    os.write(2, b"12345")
    os.write(1, b"x" * 300000)
print(said)
"""

DIAGNOSE = """
import os
from aifo_tasks.session import redirected
with redirected.diagnostics():
    os.write(1, b"diagnosed")
    assert os.read(0, 1) == b""
os.write(1, os.read(0, 9))
"""


def run(program: str, given: bytes = b"") -> tuple[bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", program], input=given, capture_output=True, check=True
    )
    return done.stdout, done.stderr


def test_an_output_is_cut_where_it_was_said() -> None:
    assert run(WRITE) == (
        b"before\n01234['stdout was cut after 5 bytes, 300005 more were lost']\n",
        b"12345",
    )


def test_a_reader_who_left_ends_the_output() -> None:
    reader = "head -c 3 >&2; exec 0<&-"
    program = "import sys; sys.stdout = sys.stderr\n" + WRITE
    argv = ["sh", "-c", f'"$0" -c "$1" | ({reader})', sys.executable, program]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert b"['stdout was cut after 5 bytes" in done.stderr


def test_diagnostics_go_to_stderr_and_input_is_left_alone() -> None:
    assert run(DIAGNOSE, b"untouched") == (b"untouched", b"diagnosed")
