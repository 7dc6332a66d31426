"""Shims, and every transport that leads from them to a warm sidecar."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from aifo_tasks import native
from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass
from benchmarks.project import Place, proxied, warmed

TOOLS = ("node", "true", "dd", "ar", "ranlib")  # gcc is declared as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """A way from a shim to a tool: the project it serves, what points a shim at it.

    ``passes`` where the tool gets the caller's own descriptors.
    """

    name: str
    project: Path
    environment: Mapping[str, str]
    passes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A warm sidecar, the shims, every transport to one, the best first; the command line."""

    place: Place
    shims: Path
    transports: tuple[Transport, ...]
    arguments: argparse.Namespace


@contextlib.contextmanager
def bench(directory: Path, arguments: argparse.Namespace) -> Iterator[Bench]:
    """One proxy serves a project: each further one has a project, and a sidecar, of its own."""
    shims = directory / "bin"
    native.shim_links(shims, [*TOOLS, "gcc"])
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(warmed(_project(directory / "unix")))
        second = stack.enter_context(warmed(_project(directory / "tcp")))
        third = stack.enter_context(warmed(_project(directory / "relay")))
        unix = stack.enter_context(proxied(place))
        tcp = stack.enter_context(proxied(second, "TRANSPORT=tcp"))
        relay = stack.enter_context(proxied(third, AIFO_TOOLEXEC_RELAY="1"))
        without = {**unix, "AIFO_TOOLEEXEC_DESCRIPTORS": "0"}
        transports = (
            Transport(
                name="shim (unix, descriptors)", project=place.project, environment=unix,
                passes=True,
            ),
            Transport(name="shim (unix, frames)", project=place.project, environment=without),
            Transport(name="shim (TCP)", project=second.project, environment=tcp),
            Transport(name="shim (relay)", project=third.project, environment=relay),
        )  # fmt: skip
        for transport in transports:
            _try(shims, transport)
        yield Bench(place=place, shims=shims, transports=transports, arguments=arguments)


def _project(path: Path) -> Path:
    """A project that installs nothing, with the tools that are called here in node's sidecar."""
    path.mkdir()
    file = {"extends": "builtin", "toolchains": {"node": {"tools": TOOLS}, "c-cpp": None}}
    (path / "toolchains.yaml").write_text(json.dumps(file))  # JSON is YAML
    return path


def _try(shims: Path, transport: Transport) -> None:
    """What cannot work is said before anything is measured."""
    done = subprocess.run(
        [shims / "true"], cwd=transport.project, env=transport.environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        problem = f"true ends with status {done.returncode}: {done.stderr.strip()}"
        raise AifoError(transport.name, problem)
