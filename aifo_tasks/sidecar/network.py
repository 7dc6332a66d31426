"""The network a sidecar joins: given as it was asked for, or refused, never something else."""

from __future__ import annotations

from aifo_tasks import log
from aifo_tasks.engine.api import Engine, NetworkSpec
from aifo_tasks.errors import ConflictError, EngineError
from aifo_tasks.sidecar.identity import user_label
from aifo_tasks.sidecar.plan import Plan, labels


def ensure(engine: Engine, plan: Plan) -> bool:
    """The plan's network, made when it is the session's and missing; True when it was made.

    Raises EngineError when what is there is not what was asked for.
    """
    kind, name = plan.toolchain.network, plan.network
    if kind not in {"isolated", "internal"}:
        return False
    internal = kind == "internal"
    found = engine.network(name)
    if found is None:
        try:
            engine.create_network(NetworkSpec(name=name, internal=internal, labels=_labels(plan)))
        except ConflictError:  # another run of this project was faster
            found = engine.network(name)
        else:
            return True
    if found is not None and found.internal != internal:
        have = "no way out" if found.internal else "a way out"
        raise EngineError(
            f"network {name}", f"has {have}, and {kind} was asked for",
            hint=f"docker network rm {name}",
        )  # fmt: skip
    return False


def remove(engine: Engine, session: str) -> None:
    """Remove the networks that were made for this session; one that somebody joined stays."""
    for state in engine.networks({"io.aifo.session": session, "io.aifo.user": user_label()}):
        try:
            engine.remove_network(state.name)
        except ConflictError:
            log.warn(f"network {state.name}", "is in use and stays")


def gateway(engine: Engine, plan: Plan) -> str:
    """This machine's address in the plan's network; EngineError when it has none there."""
    found = engine.network(plan.network)
    if found is None or not found.gateway:
        raise EngineError(
            f"network {plan.network}", "has no address of this machine to listen on",
            hint="TRANSPORT=unix",
        )  # fmt: skip
    return found.gateway


def comes_late(engine: Engine) -> bool:
    """True where a network's address is this machine's only from its first container on."""
    return engine.info().name == "podman"


def _labels(plan: Plan) -> tuple[tuple[str, str], ...]:
    """A network is the session's, not one sidecar's."""
    return tuple(pair for pair in labels(plan) if pair[0] not in {"io.aifo.kind", "io.aifo.spec"})
