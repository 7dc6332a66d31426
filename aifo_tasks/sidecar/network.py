"""The network a sidecar joins: given as it was asked for, or refused, never something else."""

from __future__ import annotations

import os

from aifo_tasks.engine.api import Engine, NetworkSpec
from aifo_tasks.errors import ConflictError, EngineError
from aifo_tasks.sidecar.identity import user_label
from aifo_tasks.sidecar.plan import Plan


def name_of(session: str) -> str:
    """The network that belongs to a session."""
    return f"aifo-net-{session}"


def ensure(engine: Engine, plan: Plan) -> str:
    """The name of the network to start with; the session's own is made when it is missing.

    ``AIFO_SESSION_NETWORK`` names the session's network, which is joined if it is there.
    Raises EngineError when what is there is not what was asked for.
    """
    kind = plan.toolchain.network
    if kind in {"bridge", "none"}:
        return kind
    if kind == "install-only":
        return "none"
    name = os.environ.get("AIFO_SESSION_NETWORK") or name_of(plan.session)
    internal = kind == "internal"
    found = engine.network(name)
    if found is None:
        labels = (("io.aifo.session", plan.session), ("io.aifo.user", user_label()))
        try:
            engine.create_network(NetworkSpec(name=name, internal=internal, labels=labels))
        except ConflictError:  # another run of this project was faster
            found = engine.network(name)
    if found is not None and found.internal != internal:
        have = "no way out" if found.internal else "a way out"
        raise EngineError(
            f"network {name}", f"has {have}, and {kind} was asked for",
            hint=f"docker network rm {name}",
        )  # fmt: skip
    return name


def remove(engine: Engine, session: str) -> None:
    """Remove the session's own network, if it has one."""
    if engine.network(name_of(session)) is not None:
        engine.remove_network(name_of(session))
