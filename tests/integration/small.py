"""A project with one small toolchain, whose base for two platforms only a registry has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from aifo_tasks.engine import docker as engines
from aifo_tasks.image import oci
from tests.integration.project import BIN, docker
from tests.integration.registries import PLATFORMS

NAME = f"aifo-test-published-{os.getpid()}"
BOTH = f"PLATFORMS={','.join(PLATFORMS)}"
TOOLCHAINS = """\
toolchains:
  small:
    image:
      name: {name}
      context: image
      base: [{{reference: "{base}:{{version}}", version: "1"}}]
      shims: true
    tools: [node]
languages:
  sh:
    name: Shell
    image: {{name: {name}-sh, context: image, base: [{{reference: "{base}:1", version: "1"}}]}}
    extension: sh
    file: code.sh
    run: [sh, "{{file}}"]
"""
DOCKERFILE = "ARG BASE\nFROM ${BASE}\nRUN uname -m > /machine\n"

Roots = Sequence[tuple[str, Path]]


class Small:
    """A project with one small toolchain over a base for two platforms."""

    def __init__(self, path: Path, base: str) -> None:
        self.path = path
        self.base = base
        self.lock = path / "toolchains.lock"
        (path / "image").mkdir(parents=True)
        (path / "image" / "Dockerfile.j2").write_text(DOCKERFILE)
        (path / "toolchains.yaml").write_text(TOOLCHAINS.format(name=NAME, base=base))

    def doit(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "aifo", "run", *words],
            cwd=self.path, env={**os.environ, **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def change(self, file: str, old: str, new: str) -> None:
        """Replace what stands in a file, which must be there."""
        text = (self.path / file).read_text()
        assert old in text
        (self.path / file).write_text(text.replace(old, new))

    def run_nothing(self) -> None:
        """A build that an engine without a network can carry out."""
        self.change("toolchains.yaml", "shims: true", "shims: false")
        self.change("image/Dockerfile.j2", "RUN uname -m > /machine", "ENV A=1")

    def remove(self) -> None:
        """Take its images, and those it was built on, from the engine."""
        shown = "{{.Repository}} {{.Tag}} {{.Digest}}"
        listed = docker("image", "ls", "--digests", "--format", shown)
        lines = [line.split() for line in listed.splitlines()]
        mine = {
            f"{name}@{digest}" if tag == "<none>" else f"{name}:{tag}"
            for name, tag, digest in lines
            if NAME in name or name == self.base
        }  # by name: another test may have the same content
        if mine:
            docker("image", "rm", "--force", *mine)


def put(endpoint: str, reference: str, roots: Roots, archive: Path) -> str:
    """An image of these root file systems into a registry, and out of the engine; its digest."""
    digest = oci.write(archive, reference, roots)
    engine = engines.connect(endpoint)
    engine.load(archive, reference)
    engine.push(reference, lambda _: None)
    engine.remove_image(reference)
    return digest
