"""A real image registry on loopback, and small bases for several platforms to put into it."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks.image import bootstrap

PLATFORMS = ("linux/amd64", "linux/arm64")
APPLETS = ("sh", "ln", "uname", "cat", "true")


class Registry:
    """Debian's docker-registry with a storage of its own, until it is left."""

    def __init__(
        self, directory: Path, *, address: str = "127.0.0.1", http: str = "", more: str = ""
    ) -> None:
        with socket.create_server((address, 0)) as free:
            self.host = f"{address}:{free.getsockname()[1]}"
        self.blobs = directory / "blobs"
        self._config = directory / "registry.yml"
        self._log = directory / "registry.log"
        self._config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.blobs}}}}}\n"
            f"http: {{addr: {self.host}{http}}}\n{more}"
        )
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self._log.open("ab") as output:
            argv = ["docker-registry", "serve", str(self._config)]
            self._child = subprocess.Popen(argv, stdout=output, stderr=output)
        host, _, port = self.host.partition(":")
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            if self._child.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"the registry did not start: {self._log.read_text()}")

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def tags(self, name: str) -> list[str]:
        """The tags of a repository; none when there is no such repository."""
        try:
            with urllib.request.urlopen(f"http://{self.host}/v2/{name}/tags/list") as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError:
            return []
        return sorted(found["tags"] or [])


class Passage:
    """A way to a registry that ends, registry and all, once so many bytes have gone up it."""

    def __init__(self, registry: Registry, most: int) -> None:
        self._registry = registry
        self._left = most
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.ended = threading.Event()

    def __enter__(self) -> Passage:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def open(self) -> None:
        """As much as there is may go up from now on."""
        self._left = 1 << 40
        self.ended.clear()

    def _handler(passage) -> type[socketserver.BaseRequestHandler]:  # noqa: N805  # one class in another
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                name, _, port = passage._registry.host.partition(":")
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection((name, int(port))) as up,
                ):
                    back = threading.Thread(target=_copy, args=(up, self.request), daemon=True)
                    back.start()
                    while data := self.request.recv(65536):
                        passage._left -= len(data)
                        if passage._left < 0:
                            passage._registry.stop()
                            passage.ended.set()
                            return
                        up.sendall(data)
                    up.shutdown(socket.SHUT_WR)
                    back.join()

        return Handler


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


def small_roots(directory: Path) -> list[tuple[str, Path]]:
    """Debian's static busybox for each platform, as a root file system of a few commands.

    What stands in the directory already is taken.
    """
    directory.mkdir(exist_ok=True)
    return [(platform, _small_root(directory, platform)) for platform in PLATFORMS]


def _small_root(directory: Path, platform: str) -> Path:
    architecture = bootstrap.architecture_of(platform)
    small = directory / f"small-{architecture}.tar"
    if small.exists():
        return small
    fetched = directory / f"{architecture}.tar"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}",
         f"--keyring={bootstrap.KEYRING}", "--include=busybox-static", "bookworm", fetched],
        check=True,
    )  # fmt: skip
    with tarfile.open(fetched) as tar:
        program = tar.extractfile("./bin/busybox").read()  # type: ignore[union-attr]
    part = small.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        # of this run alone: BuildKit mixes up what it cached over equal layers of different images
        for name in ("bin", "tmp", f"tmp/{uuid.uuid4().hex}"):
            tar.addfile(_member(name, tarfile.DIRTYPE, 0o1777))
        busybox = _member("bin/busybox", tarfile.REGTYPE, 0o755)
        busybox.size = len(program)
        tar.addfile(busybox, BytesIO(program))
        for applet in APPLETS:
            link = _member(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = "busybox"
            tar.addfile(link)
    return part.rename(small)


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mode = kind, mode
    return found


@contextlib.contextmanager
def second_engine(directory: Path, *, containerd: bool = True) -> Iterator[str]:
    """Another docker engine on this machine, with nothing in it; its address.

    ``containerd`` says which image store it has.
    """
    endpoint = f"unix://{directory}/docker.sock"
    features = {"features": {"containerd-snapshotter": containerd}}
    (directory / "daemon.json").write_text(json.dumps(features))
    with (directory / "log").open("wb") as output:
        child = subprocess.Popen(
            ["dockerd", "--data-root", directory / "data", "--exec-root", directory / "exec",
             "--pidfile", directory / "pid", "--host", endpoint, "--bridge", "none",
             "--iptables=false", "--config-file", directory / "daemon.json"],
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(300):
            argv = ["docker", "--host", endpoint, "version"]
            if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
                break
            assert child.poll() is None, (directory / "log").read_text()
            time.sleep(0.1)
        yield endpoint
    finally:
        child.terminate()
        child.wait(timeout=30)
