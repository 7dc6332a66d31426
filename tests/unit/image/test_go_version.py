"""The script that installs Go from its module proxy, against a proxy on loopback."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.unit.image.conftest import Script

VERSION = "9.99.1"  # no machine has it
ARCHITECTURE = subprocess.run(
    ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
).stdout.strip()
MODULE = f"golang.org/toolchain@v0.0.1-go{VERSION}.linux-{ARCHITECTURE}"
FILES = {
    "bin/go": b"#!/bin/sh\n",
    "pkg/tool/linux/asm": b"asm",
    "src/_go.mod": b"module std\n",
    "README": b"",
}


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in FILES.items():
            zipped.writestr(f"{MODULE}/{name}", content)
    return buffer.getvalue()


def h1() -> str:
    """What Go calls the checksum of a module's files."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {MODULE}/{name}\n"
        for name, content in sorted(FILES.items())
    ]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


@pytest.fixture
def served() -> dict[str, bytes]:
    return {f"/golang.org/toolchain/@v/{MODULE.partition('@')[2]}.zip": archive()}


def test_a_module_that_is_what_it_should_be_is_laid_out(
    script: Script, server: str, tmp_path: Path
) -> None:
    where = {"GO_PROXY": server, "DIRECTORY": str(tmp_path / "go")}
    pinned = f"{ARCHITECTURE}={h1()}"
    assert script("go-version", VERSION, "other=h1:x=", pinned, **where) == (0, "")
    laid = {
        path.relative_to(tmp_path / "go").as_posix(): os.access(path, os.X_OK)
        for path in (tmp_path / "go").rglob("*")
        if path.is_file()
    }
    assert laid == {
        "bin/go": True, "pkg/tool/linux/asm": True, "src/go.mod": False, "README": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (VERSION, f"{ARCHITECTURE}=h1:{'A' * 43}="),
            f"{MODULE} is not what h1:{'A' * 43}= stands for",
        ),
        (
            (VERSION,),
            f"{MODULE} needs a declared integrity: {{server}}/sumdb is reached without TLS",
        ),
    ],
)
def test_what_it_cannot_check_is_refused(
    script: Script, server: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    where = {"GO_PROXY": server, "GO_SUMDB": f"{server}/sumdb", "DIRECTORY": str(tmp_path / "go")}
    done = script("go-version", *arguments, **where)
    assert done == (1, f"go-version: {said.format(server=server)}\n")
    assert not (tmp_path / "go").exists()


def test_over_a_bare_base_a_version_is_exact(script: Script, tmp_path: Path) -> None:
    status, said = script("go-version", "9.99", DIRECTORY=str(tmp_path / "go"))
    assert status == 1
    assert said.endswith("; go 9.99 needs an exact version, as 1.22.12\n")
