"""A way into a sidecar: a proxy, shims that reach it, and many calls through them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.proxied import Proxy

SETTINGS = "extends: builtin\ntoolchains:\n  node:\n    tools: [node, sh]\n"
"""A toolchain whose cheapest tool can do anything."""

LONG = 300.0
"""Seconds after which something that should have happened has not."""

Report = Callable[[str], None]
"""Takes a line that is shown after the tests."""


class Way:
    """Shims that reach a proxy, their streams going as descriptors or in frames."""

    def __init__(self, proxy: Proxy, shims: Path, *, descriptors: bool) -> None:
        self.proxy = proxy
        self.project = proxy.project
        self.shim = str(shims / "sh")
        self.descriptors = descriptors
        self.environment = {
            **os.environ,
            "AIFO_TOOLEEXEC_URL": proxy.url,
            "AIFO_TOOLEEXEC_TOKEN": proxy.token,
            "AIFO_TOOLEEXEC_DESCRIPTORS": "1" if descriptors else "0",
            "AIFO_WORKSPACE": str(proxy.project.path),
        }

    def popen(self, script: str, *words: str | bytes, **how: object) -> subprocess.Popen[bytes]:
        """A shim that runs a shell script in the sidecar; its streams are pipes unless given."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        given = {"env": self.environment, "cwd": self.project.path, **streams, **how}
        argv = [self.shim, "-c", script, *words]
        return subprocess.Popen(argv, **given)  # type: ignore[call-overload, no-any-return]

    def run(self, script: str, *words: str | bytes, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Exit status, stdout and stderr of a whole call."""
        with self.popen(script, *words) as child:
            output, errors = child.communicate(stdin, LONG)
        return child.returncode, output, errors


def numbered(way: Way, n: int) -> float:
    """A call that says its number and ends with it; how many seconds it took.

    Every third shim has a pipe for its input, every third a device, every third a file.
    """
    began = time.monotonic()
    with Path((os.devnull, way.shim)[n % 2]).open("rb") as file:
        stdin = file if n % 3 else subprocess.PIPE
        with way.popen(f"echo {n}; exit {n % 100}", stdin=stdin) as child:
            output, errors = child.communicate(timeout=LONG)
    assert (child.returncode, output, errors) == (n % 100, b"%d\n" % n, b"")
    return time.monotonic() - began


def several(way: Way, count: int, *, clients: int = 8) -> list[float]:
    """So many calls, all of which succeed, from so many clients: the seconds each took."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda n: numbered(way, n), range(count)))


def shown(seconds: Sequence[float]) -> str:
    """Half of them took no longer, and all but a hundredth."""
    ordered = sorted(seconds)
    middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"p50 {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms"
