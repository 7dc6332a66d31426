"""The script that installs packages of an npm registry, against a registry on loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "images" / "node" / "npm-package"


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/bin/tool")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"tool\n"))
    return buffer.getvalue()


ARCHIVE = archive()
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(ARCHIVE).digest()).decode()


class Registry(http.server.BaseHTTPRequestHandler):
    """Has two packages and no documents."""

    def do_GET(self) -> None:
        known = self.path in {"/tool/-/tool-1.0.0.tgz", "/@scope/tool/-/tool-1.0.0.tgz"}
        self.send_response(200 if known else 404)
        self.end_headers()
        if known:
            self.wfile.write(ARCHIVE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def install(registry: str, top: Path, name: str, version: str, integrity: str) -> tuple[int, str]:
    quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        ["sh", SCRIPT, name, version, integrity],
        env={**quiet, "NPM_REGISTRY": registry, "PREFIX": str(top)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["tool", "@scope/tool"])
def test_a_package_that_is_what_it_should_be_is_unpacked(
    registry: str, tmp_path: Path, name: str
) -> None:
    assert install(registry, tmp_path, name, "1.0.0", INTEGRITY) == (0, "")
    assert (tmp_path / "bin" / "tool").read_text() == "tool\n"


@pytest.mark.parametrize("integrity", ["sha512-" + base64.b64encode(bytes(64)).decode(), "sha512-"])
def test_other_content_is_refused_before_it_is_unpacked(
    registry: str, tmp_path: Path, integrity: str
) -> None:
    status, said = install(registry, tmp_path, "tool", "1.0.0", integrity)
    assert status == 1
    assert said == (
        f"npm-package: tool@1.0.0: {registry}tool/-/tool-1.0.0.tgz is not what"
        f" {integrity} stands for\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_weaker_checksum_is_refused(registry: str, tmp_path: Path) -> None:
    status, said = install(registry, tmp_path, "tool", "1.0.0", "sha1-AAAA")
    assert (status, said) == (1, "npm-package: tool@1.0.0: sha1-AAAA is no sha512 integrity\n")


def test_an_undeclared_checksum_is_asked_for_over_tls_only(registry: str, tmp_path: Path) -> None:
    status, said = install(registry, tmp_path, "tool", "1.0.0", "-")
    assert status == 1
    assert said == (
        "npm-package: tool@1.0.0: needs a declared integrity:"
        f" {registry[:-1]} is reached without TLS\n"
    )


def test_a_version_the_registry_does_not_have_is_named(registry: str, tmp_path: Path) -> None:
    status, said = install(registry, tmp_path, "tool", "9.9.9", INTEGRITY)
    assert status == 1
    assert said.splitlines()[-1] == (
        f"npm-package: tool@9.9.9: cannot be had from {registry}tool/-/tool-9.9.9.tgz"
    )
