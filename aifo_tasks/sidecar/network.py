"""The network a sidecar joins: given as it was asked for, or refused, never something else."""

from __future__ import annotations

from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.engine.api import Engine, NetworkSpec
from aifo_tasks.errors import ConflictError, EngineError
from aifo_tasks.sidecar.identity import user_label
from aifo_tasks.sidecar.plan import Plan, session_network


def ensure(engine: Engine, plan: Plan) -> None:
    """The plan's network, made when it is the session's and missing.

    Raises EngineError when what is there is not what was asked for.
    """
    kind, name = plan.toolchain.network, plan.network
    if kind not in {"isolated", "internal"}:
        return
    internal = kind == "internal"
    found = engine.network(name)
    if found is None:
        labels = (("io.aifo.session", plan.session), ("io.aifo.user", user_label()))
        try:
            engine.create_network(NetworkSpec(name=name, internal=internal, labels=labels))
            _remember(plan.session, name)
        except ConflictError:  # another run of this project was faster
            found = engine.network(name)
    if found is not None and found.internal != internal:
        have = "no way out" if found.internal else "a way out"
        raise EngineError(
            f"network {name}", f"has {have}, and {kind} was asked for",
            hint=f"docker network rm {name}",
        )  # fmt: skip


def remove(engine: Engine, session: str) -> None:
    """Remove the networks that were made for this session."""
    path = _path(session)
    names = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    for name in dict.fromkeys([*filter(None, names), session_network(session)]):
        if engine.network(name) is not None:
            engine.remove_network(name)
    if not log.is_dry_run():
        path.unlink(missing_ok=True)


def _remember(session: str, name: str) -> None:
    """Keep the name of a network that is ours to remove, whoever chose it."""
    if not log.is_dry_run():
        with _path(session).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def _path(session: str) -> Path:
    return files.run_dir() / session / "networks"
