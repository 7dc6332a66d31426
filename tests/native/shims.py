"""A directory of shims and what tests ask of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.native.proxying import Proxy
from tests.native.running import GENEROUS


class Shims:
    """Links to a shim by the names of tools; a sanitizer's report fails the test."""

    def __init__(self, binary: Path, directory: Path, proxy: Proxy | None) -> None:
        self.directory = directory
        self.proxy = proxy
        self.binary = directory / "aifo-shim"
        self.binary.write_bytes(binary.read_bytes())
        self.binary.chmod(0o755)
        self.reports = directory.parent / "report"
        self.cwd = directory.parent
        self._children: list[subprocess.Popen[bytes]] = []

    def link(self, tool: str) -> str:
        path = self.directory / tool
        if not path.is_symlink():
            path.symlink_to("aifo-shim")
        return str(path)

    def environment(self, **more: str) -> dict[str, str]:
        base = self.proxy.environment() if self.proxy is not None else dict(os.environ)
        options = f"log_path={self.reports}:detect_leaks=0:exitcode=99"
        return {**base, "ASAN_OPTIONS": options, "UBSAN_OPTIONS": options, **more}

    def popen(
        self,
        tool: str,
        *arguments: str | bytes,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        **how: object,
    ) -> subprocess.Popen[bytes]:
        argv: Sequence[str | bytes] = [self.link(tool), *arguments]
        child: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            argv, env=self.environment(**(environment or {})), cwd=cwd or self.cwd, **how
        )
        self._children.append(child)
        return child

    def run(
        self,
        tool: str,
        *arguments: str | bytes,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> tuple[int, bytes, bytes]:
        """Exit status, stdout and stderr."""
        child = self.popen(
            tool, *arguments, environment=environment, cwd=cwd,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            output, errors = child.communicate(stdin, GENEROUS)
        finally:
            child.kill()
            child.wait()
        return child.returncode, output, errors

    def sh(self, script: str, stdin: bytes = b"", **environment: str) -> tuple[int, bytes, bytes]:
        """A shell's, run as a tool."""
        return self.run("sh", "-c", script, stdin=stdin, environment=environment)

    def close(self) -> None:
        """End what still runs; a report of a sanitizer is a failure."""
        for child in self._children:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        assert self.report() == ""

    def report(self) -> str:
        found = sorted(self.reports.parent.glob(f"{self.reports.name}.*"))
        return "\n".join(path.read_text(errors="replace") for path in found)
