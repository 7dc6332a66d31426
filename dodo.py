"""This repository's own tasks: ``doit check`` runs every check, as CI does.

The tasks of the toolchains come from the loader that pyproject.toml names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

CHECKS = {
    "lint": "style and layers",
    "types": "static types",
    "unit": "tests without an engine",
    "native": "tests of the two binaries, and the fuzzers",
    "integration": "tests with a container engine",
    "wheel": "tests of what is installed",
}


def task_check() -> Iterator[dict[str, object]]:
    """run every check of this repository, or one: check:lint"""
    for name, what in CHECKS.items():
        yield {
            "name": name,
            "doc": what,
            "actions": [[sys.executable, "-m", "tox", "run", "-e", name]],
            "verbosity": 2,
        }
