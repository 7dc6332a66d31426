"""The container of a session that has no toolchain: shims first on its PATH, and a proxy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from aifo_tasks.engine.api import Engine
from aifo_tasks.errors import AifoError
from aifo_tasks.image import base as bases
from aifo_tasks.image import bootstrap
from aifo_tasks.model import (
    SHIMS,
    BaseSource,
    Bootstrap,
    Image,
    Limits,
    Network,
    Toolchain,
)
from aifo_tasks.registry import references
from aifo_tasks.session import access
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.plan import SYSTEM_PATH, Plan, network_name

Transport = Literal["unix", "tcp"]

KIND = "shell"
SOCKET_DIR = "/run/aifo-init"
PROXY_DIR = "/run/aifo"
HOST = "host.docker.internal"

_IDLE_SECONDS = 60
"""After this an agent's container ends by itself whose session was killed."""

_DEBIAN = Bootstrap(suite="bookworm", variant="minbase", include=("ca-certificates",))
_REFERENCE = "debian:bookworm-slim"
_PLAIN = (
    BaseSource(version="12", reference=_REFERENCE),
    BaseSource(version="12", bootstrap=_DEBIAN),
)
_STRICTEST: tuple[Network, ...] = ("none", "install-only", "internal", "isolated", "bridge")


def network(asked: Iterable[Network], transport: Transport) -> Network:
    """The network for who calls toolchains that ask for these: it gets no further than the one
    that gets least far.

    Over TCP it has to be the session's own. Raises AifoError where that cannot be.
    """
    strictest = min(asked, key=_STRICTEST.index)
    if strictest == "install-only":
        strictest = "none"
    if transport == "unix":
        return strictest
    if strictest == "none":
        raise AifoError(
            "TRANSPORT=tcp", "a toolchain asks for network: none, where nothing can be reached",
            hint="TRANSPORT=unix",
        )  # fmt: skip
    return "isolated" if strictest == "bridge" else strictest


def has_own_network(network: Network) -> bool:
    """Whether it belongs to one session, and so do the sidecars in it."""
    return network in {"isolated", "internal"}


def image(engine: Engine, work: Workplace, choices: Choices, asked: str) -> str:
    """The image ``asked`` for, else a plain Debian; pulled or made when the engine has it not."""
    prefixes = references.prefixes(work.config.registry, os.environ, choices.registry)
    if asked:
        sources: tuple[BaseSource, ...] = (BaseSource(version="", reference=asked),)
    else:
        sources = _PLAIN
        made = bootstrap.reference(_DEBIAN, engine.info().platform)
        plain = references.resolve(_REFERENCE, prefixes).reference
        is_made = engine.image(plain) is None and engine.image(made) is not None
        if is_made and choices.pull != "always":
            return made  # no registry is asked each time
    wanted = Image(name=KIND, context=Path(), base=sources)
    found = bases.ensure(
        engine, wanted, prefixes=prefixes, pull=choices.pull, consent=choices.consent
    )
    return found.reference


def plan(
    works: Sequence[Workplace], session: str, *, image: str, network: Network, notify: str = ""
) -> Plan:
    """The container of an agent that calls these toolchains.

    It sees the project and the volumes over its directories as the sidecars do. ``notify`` is
    the command that notifications run, if there is one.
    """
    url = f"unix://{PROXY_DIR}/{access.SOCKET}"
    first = works[0].plan
    covers = {target: volume for work in works for target, volume in work.plan.covers}
    variables = {"PATH": f"{SHIMS}:{SYSTEM_PATH}", **access.variables(url, PROXY_DIR)}
    tools = {tool.name for each in works[0].config.toolchains for tool in each.tools}
    if notify:
        variables["AIFO_TOOLEEXEC_NOTIFY"] = notify
        tools.add(notify)
    toolchain = Toolchain(
        kind=KIND,
        image=Image(name=KIND, context=Path(), base=(), taken=image),
        environment=tuple(variables.items()),
        forward=tuple(sorted({name for work in works for name in work.toolchain.forward})),
        limits=Limits(idle_seconds=_IDLE_SECONDS),
        network=network,
    )
    return Plan(
        toolchain=toolchain,
        inputs="",
        project=first.project,
        session=session,
        owner=first.owner,
        covers=tuple(covers.items()),
        proxies=first.proxies,
        network=network_name(network, session, os.environ),
        certificates=first.certificates,
        owned=True,
        socket_dir=SOCKET_DIR,
        proxy_dir=PROXY_DIR,
        shims=tuple(sorted(tools)),  # one of a toolchain that is not there says how to get it
    )


def over_tcp(plan: Plan, gateway: str, port: int) -> Plan:
    """The same, calling a port of this machine's at its address in the agent's network."""
    variables = access.variables(f"http://{HOST}:{port}/exec", PROXY_DIR)
    environment = tuple((dict(plan.toolchain.environment) | variables).items())
    toolchain = replace(plan.toolchain, environment=environment)
    return replace(plan, toolchain=toolchain, hosts=((HOST, gateway),))
