"""A project on the host and what the engine holds for it, as tests look at them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.native.running import descendants

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
IGNORED = (".pnpm-store", ".aifo")
"""What a project gets on purpose: pnpm's store and doit's database, each with its .gitignore."""


class Project:
    """A copy of an example, or an empty directory, that runs doit and knows its own sidecars."""

    def __init__(self, path: Path, example: str | None = "pnpm-app", kind: str = "node") -> None:
        self.path = path
        self.kind = kind
        if example is None:
            path.mkdir()
            return
        ignored = shutil.ignore_patterns("node_modules", ".pnpm-store", ".aifo", "target", "*.so")
        shutil.copytree(ROOT / "examples" / example, path, ignore=ignored)

    def start(
        self, *words: str, program: str = "doit", cwd: str = ".", **options: object
    ) -> subprocess.Popen[bytes]:
        """Start doit in the project, its streams as ``options`` say, else pipes."""
        given: dict[str, object] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        argv = [BIN / program, *words]
        return subprocess.Popen(argv, cwd=self.path / cwd, **given)  # type: ignore[call-overload, no-any-return]

    def doit(
        self, *words: str, env: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run doit to its end; outputs as text."""
        environment = {**os.environ, **(env or {})}
        child = self.start(*words, env=environment, **options)  # type: ignore[arg-type]
        stdout, stderr = child.communicate(timeout=600)
        return subprocess.CompletedProcess(
            words, child.returncode, stdout.decode(), stderr.decode()
        )

    def call(self, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's toolchain."""
        return self.doit("run", f"toolchain:{self.kind}", "--", *argv, **options)  # type: ignore[arg-type]

    def stop(self) -> None:
        """End this project's sidecars and remove its overlays."""
        self.doit("run", "sidecar_stop", program="aifo")
        for volume in self.volumes():
            docker("volume", "rm", volume)

    def sidecars(self) -> list[str]:
        """Names of the running sidecars of this project."""
        label = f"label=io.aifo.project={self.path.resolve()}"
        return docker("ps", "--format", "{{.Names}}", "--filter", label).split()

    def volumes(self) -> list[str]:
        """The project's overlays."""
        label = f"label=io.aifo.project={self.path.resolve()}"
        return docker("volume", "ls", "--quiet", "--filter", label).split()

    def processes(self) -> list[str]:
        """Command lines of everything below the sidecars' inits, by the kernel's word."""
        found = []
        for name in self.sidecars():
            root = int(docker("inspect", "--format", "{{.State.Pid}}", name))
            for pid in descendants(root):
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                    if not words.startswith(b"/opt/aifo/bin/aifo-init "):
                        found.append(words.decode("utf-8", "replace"))
        return found

    def relays(self) -> list[int]:
        """The relays that run in the sidecars, beside their inits, by the kernel's word."""
        found = []
        for name in self.sidecars():
            init = int(docker("inspect", "--format", "{{.State.Pid}}", name))
            inside = Path(f"/proc/{init}/ns/pid").readlink()
            for path in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    is_relay = (path / "comm").read_text() == "aifo-relay\n"
                    if is_relay and (path / "ns/pid").readlink() == inside:
                        found.append(int(path.name))
        return found

    def tree(self) -> dict[str, str]:
        """Every path of the project with its mode, owner and content, links unresolved."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            relative = path.relative_to(self.path)
            if relative.parts[0] in IGNORED:
                continue
            status = path.lstat()
            content = ""
            if path.is_symlink():
                content = str(path.readlink())
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            owner = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
            found[relative.as_posix()] = f"{owner} {content}"
        return found

    def write(self, relative: str, text: str) -> None:
        """Replace a file."""
        (self.path / relative).write_text(text, encoding="utf-8")


def docker(*words: str, check: bool = True, cwd: Path | None = None) -> str:
    """What a docker command prints; DOCKER_HOST names the engine."""
    done = subprocess.run(["docker", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def eventually(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)
