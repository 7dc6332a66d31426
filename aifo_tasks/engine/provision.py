"""Which container engine answers, and getting one going when the user agrees."""

from __future__ import annotations

from aifo_tasks.engine.endpoint import Endpoint


def find() -> Endpoint | None:
    """The engine that answers; None when there is none.

    In order: DOCKER_HOST, docker's current context, the default sockets, the private
    engine, an installed Podman, whose API service is started for the time it is needed.
    Raises AifoError when the engine the user chose does not answer: it is never replaced.
    """
    raise NotImplementedError


def ensure(*, consent: bool) -> Endpoint:
    """Find an engine, else start an installed dockerd privately, else install one and start it.

    Without ``consent`` an AifoError says what to type and what that will do. In a dry run
    the Endpoint may not be running.
    """
    raise NotImplementedError


def stop() -> bool:
    """End the private engine and its containers; False when there was none."""
    raise NotImplementedError
