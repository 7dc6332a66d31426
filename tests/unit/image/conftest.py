"""What the scripts of images run with: themselves, laid out flat, and a server on loopback."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[3] / "images"

Script = Callable[..., tuple[int, str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Runs a script of an image, as ``script(name, *arguments, VARIABLE=value)``; its exit status
    and what it wrote to stderr."""
    directory = tmp_path / "scripts"
    directory.mkdir()
    for path in IMAGES.glob("*/*"):
        if os.access(path, os.X_OK):
            shutil.copy(path, directory)

    def run(name: str, *arguments: str, **variables: str) -> tuple[int, str]:
        quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        done = subprocess.run(
            ["sh", directory / name, *arguments], env=quiet | variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    return run


@pytest.fixture
def served() -> dict[str, bytes]:
    """What the server has, by path."""
    return {}


@pytest.fixture
def server(served: dict[str, bytes]) -> Iterator[str]:
    """The address of a server that has what is ``served``, without a slash at its end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()
        thread.join()
