"""What the benchmarks work in: projects with a warm sidecar, proxies, shims; ended by whom."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aifo_tasks.config import load
from aifo_tasks.errors import AifoError
from aifo_tasks.session import ready, workplace
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec.launcher import Peer
from aifo_tasks.value import dataclass

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0  # seconds in which a proxy for a warm sidecar takes calls, or ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A project whose sidecar is warm."""

    project: Path
    greeted: Greeted
    work: Workplace

    @property
    def sidecar(self) -> str:
        """The container's name."""
        return self.greeted.record.name

    @property
    def peer(self) -> Peer:
        """Its init."""
        return self.greeted.record.peer


@contextlib.contextmanager
def warmed(project: Path) -> Iterator[Place]:
    """Make a project's node toolchain ready; afterwards end its sidecar and remove its volumes.

    Sets DOCKER_HOST to the engine that holds it.
    """
    config = load.load(project)
    toolchain = config.toolchain("node")
    assert toolchain is not None
    work = workplace.workplace(config, toolchain)
    volumes = [covered.volume for covered in work.covered]
    consent = os.environ.get("AIFO_YES") == "1"
    try:
        greeted = ready.warm(work) or ready.prepare(work, Choices(consent=consent))
        assert greeted is not None
        os.environ["DOCKER_HOST"] = ready.connect(consent=consent).info().endpoint
        with greeted.connection:
            yield Place(project=project, greeted=greeted, work=work)
    finally:
        command("aifo", "run", "sidecar_stop", cwd=project)()
        if volumes:
            command("docker", "volume", "rm", "--force", *volumes)()


@contextlib.contextmanager
def proxied(place: Place, *words: str, **environment: str) -> Iterator[dict[str, str]]:
    """``doit run proxy`` for a project; gives the environment that points a shim there."""
    said = place.project / "proxy.log"
    argv = [_program("aifo"), "run", "proxy", "TOOLCHAINS=node", *words]
    with said.open("w") as log:
        process = subprocess.Popen(
            argv, cwd=place.project, env={**_environment(), **environment},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,  # a ^C is for us, who end it
        )  # fmt: skip
    try:
        yield {**os.environ, **_announced(process, said), **environment}
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def command(program: str, *words: str, cwd: Path | None = None) -> Callable[[], None]:
    """Runs a command, ours or one on the PATH; its output is only for errors."""
    argv, environment = [_program(program), *words], _environment()

    def run() -> None:
        subprocess.run(
            argv, cwd=cwd, env=environment, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    return run


def _announced(process: subprocess.Popen[bytes], said: Path) -> dict[str, str]:
    """The variables that a proxy tells a shell to set, once it takes calls."""
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(r"^a shell: export (.*)\n", said.read_text(), re.MULTILINE)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AifoError("proxy", f"takes no calls: {said.read_text().strip()}")
        time.sleep(0.02)
    pairs = (word.partition("=") for word in shlex.split(found[1]))
    return {name: value for name, _, value in pairs}


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def _environment() -> dict[str, str]:
    """Compiled modules are kept, as they are on everybody's machine."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
