"""Fuzz one decoder under coverage: ``python -m tests.fuzz NAME [-runs=N] [CORPUS …]``.

The options are libFuzzer's.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["aifo_tasks", "h11"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    program, name, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[name])
    atheris.Fuzz()
