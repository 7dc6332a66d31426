"""Compiles the C sources for tests, with all warnings as errors."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from aifo_tasks import files, process

SHIM = files.resource("shim")
WARNINGS = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror")
SANITIZE = ("-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")


def compiler(*names: str) -> str:
    """The first of these programs; there is no test without one."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.fail(f"no {' or '.join(names)} here: install clang and libclang-rt-dev, and gcc")


def build(argv: Sequence[str], sources: Sequence[str], target: Path) -> Path:
    """Compile sources of the shim directory into ``target``."""
    paths = [str(SHIM / name) for name in sources]
    process.run([*argv, *WARNINGS, "-o", str(target), *paths])
    return target


def build_sanitized(sources: Sequence[str], target: Path) -> Path:
    """Compile for address and undefined-behaviour checks that end the program."""
    argv = [compiler("gcc"), *SANITIZE, "-fsanitize=address,undefined"]
    return build(argv, sources, target)
