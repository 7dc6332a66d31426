"""The shim for each machine it runs on: what it is, how large, and the same each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aifo_tasks import native

TARGETS = {
    ("linux", "amd64"): bytes.fromhex("7f454c46020101"),
    ("linux", "arm64"): bytes.fromhex("7f454c46020101"),
    ("macos", "amd64"): bytes.fromhex("cffaedfe07000001"),
    ("macos", "arm64"): bytes.fromhex("cffaedfe0c000001"),
}
MACHINES = {"amd64": 62, "arm64": 183}


@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_each_target(
    target: tuple[native.System, native.Architecture],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    system, architecture = target
    first = native.shim_binary(architecture, system=system).read_bytes()
    assert first.startswith(TARGETS[target])
    assert len(first) < 100_000
    if system == "linux":
        assert int.from_bytes(first[18:20], "little") == MACHINES[architecture]
        assert b"/lib/ld-" not in first
    # once more, into another directory; the compiler may keep what it has of the C library
    compiler = native.zig(architecture, system)
    assert compiler is not None
    for name, value in compiler.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    again = native.shim_binary(architecture, system=system)
    assert tmp_path in again.parents
    assert again.read_bytes() == first
    assert os.access(again, os.X_OK)
