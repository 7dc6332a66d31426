"""The script that installs packages of an npm registry, against a registry on loopback."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.unit.image.conftest import Script


def archive() -> bytes:
    """The same bytes at any time, whose digest stands in names of tests."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("package/bin/tool")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"tool\n"))
    return gzip.compress(buffer.getvalue(), mtime=0)


ARCHIVE = archive()
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(ARCHIVE).digest()).decode()


@pytest.fixture
def served() -> dict[str, bytes]:
    return dict.fromkeys(("/tool/-/tool-1.0.0.tgz", "/@scope/tool/-/tool-1.0.0.tgz"), ARCHIVE)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Where packages are unpacked."""
    directory = tmp_path / "top"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("name", ["tool", "@scope/tool"])
def test_a_package_that_is_what_it_should_be_is_unpacked(
    script: Script, server: str, top: Path, name: str
) -> None:
    where = {"NPM_REGISTRY": f"{server}/", "PREFIX": str(top)}
    assert script("npm-package", name, "1.0.0", INTEGRITY, **where) == (0, "")
    assert (top / "bin" / "tool").read_text() == "tool\n"


@pytest.mark.parametrize(
    ("version", "integrity", "said"),
    [
        (
            "1.0.0", "sha1-AAAA",
            "npm-package: tool@1.0.0: sha1-AAAA is no sha512 integrity",
        ),
        (
            "1.0.0", "-",
            "npm-package: tool@1.0.0: needs a declared integrity: {server} is reached without TLS",
        ),
        (
            "1.0.0", "sha512-AAAA",
            "fetch: {server}/tool/-/tool-1.0.0.tgz: is not what sha512-AAAA stands for",
        ),
        ("9.9.9", INTEGRITY, "fetch: {server}/tool/-/tool-9.9.9.tgz: cannot be had"),
    ],
)  # fmt: skip
def test_what_it_cannot_check_is_refused_before_it_is_unpacked(
    script: Script, server: str, top: Path, version: str, integrity: str, said: str
) -> None:
    where = {"NPM_REGISTRY": f"{server}/", "PREFIX": str(top)}
    status, errors = script("npm-package", "tool", version, integrity, **where)
    assert (status, errors.splitlines()[-1]) == (1, said.format(server=server))
    assert list(top.iterdir()) == []
