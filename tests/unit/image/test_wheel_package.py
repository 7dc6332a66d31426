"""The script that installs a wheel's programs without Python, against an index on loopback."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from tests.unit.image.conftest import Script

FILES = {
    "a_tool-1.0.data/scripts/tool": b"#!/bin/sh\n",
    "a_tool-1.0.dist-info/METADATA": b"Name: a-tool\n",
    "a_tool-1.0.dist-info/licenses/LICENSE": b"free\n",
}


def wheel() -> bytes:
    """The same bytes at any time, whose digest stands in names of tests."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in FILES.items():
            zipped.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


WHEEL = wheel()
SUM = hashlib.sha256(WHEEL).hexdigest()
OTHER = "0" * 64


@pytest.fixture
def place() -> str:
    """How the index names its file, from whichever place."""
    return "../../files/a_tool-1.0-py3-none-any.whl"


@pytest.fixture
def served(place: str) -> dict[str, bytes]:
    index = f'<a href="../x.whl#sha256={OTHER}">x</a>\n<a href="{place}#sha256={SUM}">a</a>\n'
    return {"/simple/a-tool/": index.encode(), "/files/a_tool-1.0-py3-none-any.whl": WHEEL}


@pytest.mark.parametrize(
    "place", ["../../files/a_tool-1.0-py3-none-any.whl", "/files/a_tool-1.0-py3-none-any.whl"]
)
def test_a_wheel_s_program_is_installed_and_what_it_says_of_itself(
    script: Script, server: str, tmp_path: Path
) -> None:
    where = {"PYPI_INDEX": f"{server}/simple/", "PREFIX": str(tmp_path / "top")}
    words = ("a-tool", "1.0", f"sha256:{SUM}", "mine=scripts/tool")
    assert script("wheel-package", *words, **where) == (0, "")
    laid = {
        path.relative_to(tmp_path / "top").as_posix(): os.access(path, os.X_OK)
        for path in (tmp_path / "top").rglob("*")
        if path.is_file()
    }
    assert laid == {
        "bin/mine": True, "share/doc/a-tool/METADATA": False, "share/doc/a-tool/LICENSE": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "integrity", "file", "said"),
    [
        ("1.0", "-", "scripts/tool", "- is no sha256"),
        (
            "1.0", "sha256:1", "scripts/tool",
            "is not in {server}/simple/a-tool/ with sha256:1",
        ),
        (
            "1.1", f"sha256:{SUM}", "scripts/tool",
            "a_tool-1.0-py3-none-any.whl is of another package or version",
        ),
        ("1.0", f"sha256:{OTHER}", "scripts/tool", "x.whl is of another package or version"),
        ("1.0", f"sha256:{SUM}", "scripts/none", "has no file scripts/none"),
    ],
)  # fmt: skip
def test_what_is_not_the_wheel_that_was_asked_for_is_refused(
    script: Script, server: str, tmp_path: Path,
    version: str, integrity: str, file: str, said: str,
) -> None:  # fmt: skip
    where = {"PYPI_INDEX": f"{server}/simple", "PREFIX": str(tmp_path / "top")}
    status, errors = script("wheel-package", "a-tool", version, integrity, f"t={file}", **where)
    sentence = f"wheel-package: a-tool {version}: {said.format(server=server)}"
    assert (status, errors.splitlines()[-1]) == (1, sentence)
    assert not list(tmp_path.glob("top/bin/*"))


@pytest.mark.parametrize("place", ["/files/a_tool-1.0-py3-other.whl"])
def test_a_wheel_of_another_checksum_is_refused(
    script: Script, server: str, served: dict[str, bytes], tmp_path: Path
) -> None:
    served["/files/a_tool-1.0-py3-other.whl"] = WHEEL + b"more"
    where = {"PYPI_INDEX": f"{server}/simple", "PREFIX": str(tmp_path / "top")}
    status, errors = script("wheel-package", "a-tool", "1.0", f"sha256:{SUM}", "t=a", **where)
    sentence = f"fetch: {server}/files/a_tool-1.0-py3-other.whl: is not what sha256:{SUM}"
    assert (status, errors) == (1, f"{sentence} stands for\n")
    assert not (tmp_path / "top").exists()
