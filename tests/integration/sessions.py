"""A project with two toolchains, and what tests look at when a session uses them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.integration.project import Project, docker

IMAGE = f"aifo-test-text-{os.getpid()}"
"""The second toolchain's image; who uses it removes it."""

_FILE = """\
extends: builtin
toolchains:
  text:
    image:
      name: {image}
      context: images/text
      base:
        - bootstrap: {{suite: bookworm, variant: minbase, include: [ca-certificates]}}
          version: "1"
    tools: [upper, inside, absent]
    network: {text}
  node:
    network: {node}
"""

_DOCKERFILE = r"""ARG BASE
FROM ${BASE}
RUN printf '#!/bin/sh\nexec tr a-z A-Z\n' > /usr/local/bin/upper && \
    printf '#!/bin/sh\nexec sh -c "$@"\n' > /usr/local/bin/inside && \
    chmod 755 /usr/local/bin/upper /usr/local/bin/inside
"""


def two_toolchains(project: Project, *, node: str = "bridge", text: str = "bridge") -> None:
    """Declare a second toolchain: ``upper`` changes letters, ``inside`` runs a shell's words,
    ``absent`` is declared and not there; it has no make."""
    project.write("toolchains.yaml", _FILE.format(image=IMAGE, node=node, text=text))
    context = project.path / "images" / "text"
    context.mkdir(parents=True, exist_ok=True)
    (context / "Dockerfile.j2").write_text(_DOCKERFILE)


def without_modules(project: Project) -> None:
    """Nothing is installed: for sessions of which nothing is to be seen but themselves."""
    for name in ("package.json", "pnpm-lock.yaml", ".npmrc"):
        (project.path / name).unlink(missing_ok=True)


def sessions() -> dict[str, list[str]]:
    """Containers of the tests' sessions that end with their process, by session."""
    text = docker(
        "ps", "--all", "--filter", "label=io.aifo.owner", *_ours(),
        "--format", '{{.Label "io.aifo.session"}} {{.Names}}',
    )  # fmt: skip
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        session, name = line.split()
        found.setdefault(session, []).append(name)
    return found


def networks() -> list[str]:
    """Networks that the tests' sessions made."""
    return docker("network", "ls", *_ours(), "--format", "{{.Name}}").split()


def run_dir() -> Path:
    return Path(os.environ["XDG_RUNTIME_DIR"]) / "aifo"


def left() -> tuple[Mapping[str, list[str]], list[str], list[str]]:
    """All that sessions have as long as they live, and not afterwards."""
    found = {path.parent.name for path in run_dir().glob("*/lock")}
    found |= {path.name for path in run_dir().glob("aifo-tc-shell-*")}
    found |= {str(path) for path in run_dir().glob("aifo-tc-*/proxies/*")}
    return sessions(), networks(), sorted(found)


NOTHING: tuple[Mapping[str, list[str]], list[str], list[str]] = ({}, [], [])


def _ours() -> tuple[str, str]:
    return "--filter", f"label=io.aifo.run-dir={run_dir()}"
