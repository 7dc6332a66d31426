"""The scripts that all images share."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.unit.image.conftest import IMAGES, Script

CONTENT = b"content\n"
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
SHA512 = f"sha512-{base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()}"


@pytest.fixture
def served() -> dict[str, bytes]:
    return {"/file": CONTENT}


@pytest.mark.parametrize("checksum", [SHA256, SHA512, "-"])
def test_a_file_that_is_what_it_should_be_is_had(
    script: Script, server: str, tmp_path: Path, checksum: str
) -> None:
    assert script("fetch", f"{server}/file", checksum, str(tmp_path / "had")) == (0, "")
    assert (tmp_path / "had").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("checksum", "said"),
    [
        (f"sha256:{'0' * 64}", f"is not what sha256:{'0' * 64} stands for"),
        ("sha256:", "is not what sha256: stands for"),
        ("sha512-", "is not what sha512- stands for"),
        ("sha512-!", "is not what sha512-! stands for"),
        ("md5:0", "md5:0 is no checksum to check"),
        ("", " is no checksum to check"),
    ],
)
def test_another_file_is_refused(
    script: Script, server: str, tmp_path: Path, checksum: str, said: str
) -> None:
    done = script("fetch", f"{server}/file", checksum, str(tmp_path / "had"))
    assert done == (1, f"fetch: {server}/file: {said}\n")


def test_a_transfer_that_is_cut_is_begun_again(script: Script, tmp_path: Path) -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for content in (CONTENT[:3], CONTENT):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(head + content)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
        status, _ = script("fetch", url, SHA256, str(tmp_path / "had"))
        thread.join(10)
    assert (status, (tmp_path / "had").read_bytes()) == (0, CONTENT)


@pytest.mark.parametrize(
    ("wanted", "printed", "have", "status"),
    [
        ("20", "v20.19.5", "20.19.5", 0),
        ("20.19", "v20.19.5", "20.19.5", 0),
        ("1.22.12", "go version go1.22.12 linux/amd64", "1.22.12", 0),
        ("1.22", "go version go1.22 linux/amd64", "1.22", 0),
        ("1.8", "rustc 1.85.1 (4eb161250 2025-03-15)", "1.85.1", 1),
        ("2", "v20.19.5", "20.19.5", 1),
        ("3.13.1", "Python 3.13.12", "3.13.12", 1),
        ("1", "no number", "none", 1),
    ],
)
def test_a_version_fits_as_far_as_it_is_given(
    wanted: str, printed: str, have: str, status: int
) -> None:
    done = subprocess.run(
        [IMAGES / "shared" / "fits", wanted, "echo", printed],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (f"{have}\n", status)


def test_a_command_that_is_not_there_fits_nothing(script: Script) -> None:
    assert script("fits", "1", "/no/such/command")[0] == 1


def test_a_command_runs_on_its_own_architecture_alone(script: Script) -> None:
    mine = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    )
    assert script("on", mine.stdout.strip(), "sh", "-c", "exit 7") == (7, "")
    assert script("on", "another", "sh", "-c", "exit 7") == (0, "")
