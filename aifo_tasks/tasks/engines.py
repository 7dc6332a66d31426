"""Tasks about the container engine: which one answers, start a private one, stop it."""

from __future__ import annotations

from typing import Any

from aifo_tasks import log
from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction


def task_engine() -> dict[str, Any]:
    """say which container engine answers; with YES=1 start or install a private one"""
    return {"actions": [ToolAction(engine)], "params": project.params()}


def task_engine_stop() -> dict[str, Any]:
    """stop the private engine and its containers"""
    return {"actions": [ToolAction(engine_stop)], "params": project.params()}


def engine(*, yes: bool) -> None:
    """Find an engine, or with consent get one going, and say what it is."""
    from aifo_tasks.engine import docker, provision

    endpoint = provision.ensure(consent=yes)
    if not endpoint.running:
        return
    info = docker.connect(endpoint.url).info()
    marks = [
        word
        for word, holds in (
            ("rootless", info.rootless),
            ("users remapped", info.userns_remap),
            ("images of several platforms", info.containerd_store),
        )
        if holds
    ]
    extra = f" ({', '.join(marks)})" if marks else ""
    log.step("engine", f"{info.name} {info.version}, {info.platform}{extra}")
    log.step("engine", f"{endpoint.url}: {endpoint.why}")


def engine_stop() -> None:
    """End the private engine, if one runs."""
    from aifo_tasks.engine import provision

    log.done("engine", "stopped" if provision.stop() else "no private engine runs")
