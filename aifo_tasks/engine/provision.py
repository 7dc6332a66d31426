"""Which container engine answers, and getting one going when the user agrees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aifo_tasks import files
from aifo_tasks.engine.endpoint import (
    Endpoint,
    chosen,
    default_sockets,
    is_root,
    silence,
    unix,
)
from aifo_tasks.errors import AifoError, EngineError

if TYPE_CHECKING:  # finding an engine that runs, which every up-to-date check does, needs none
    from aifo_tasks.engine.private import Private


def find() -> Endpoint | None:
    """The engine that answers; None when there is none.

    In order: DOCKER_HOST, docker's current context, the default sockets, the private
    engine, an installed Podman, whose API service is started for the time it is needed.
    Raises AifoError when the engine the user chose does not answer: it is never replaced.
    """
    return _running() or _podman()


def ensure(*, consent: bool) -> Endpoint:
    """Find an engine, else start an installed dockerd privately, else install one and start it.

    With ``consent`` an installed dockerd is preferred to an installed Podman that does not
    run. Without it an AifoError says what to type and what that will do. In a dry run the
    Endpoint may not be running.
    """
    if found := _running():
        return found
    from aifo_tasks.engine import packages, private

    startable = private.is_installed() and is_root()
    if not (consent and startable) and (found := _podman()):
        return found
    if not (consent and is_root()):
        raise _refusal()
    if not startable or packages.missing_buildx():
        packages.install_engine()
    return private.start(_private())


def stop() -> bool:
    """End the private engine and its containers; False when there was none."""
    from aifo_tasks.engine import private

    return private.stop(_private())


def _private() -> Private:
    from aifo_tasks.engine import private

    return private.Private()


def _running() -> Endpoint | None:
    if endpoint := chosen(os.environ):
        if reason := silence(endpoint):
            raise EngineError(
                "engine",
                f"{endpoint.url} does not answer: {reason} ({endpoint.why})",
                hint="unset DOCKER_HOST"
                if endpoint.source == "DOCKER_HOST"
                else "docker context use default",
            )
        return endpoint
    for path in default_sockets(os.environ):
        endpoint = Endpoint(
            url=unix(path), source="default socket", why=f"docker listens on {path}"
        )
        if not silence(endpoint):
            return endpoint
    endpoint = _private().endpoint
    return None if silence(endpoint) else endpoint


def _podman() -> Endpoint | None:
    from aifo_tasks.engine import podman

    for path in podman.service_sockets(os.environ):
        endpoint = Endpoint(url=unix(path), source="podman", why=f"Podman listens on {path}")
        if not silence(endpoint):
            return endpoint
    return podman.start(files.run_dir()) if podman.is_installed() else None


def _refusal() -> AifoError:
    if not is_root():
        for path in default_sockets(os.environ):
            endpoint = Endpoint(url=unix(path), source="default socket", why="")
            if silence(endpoint) == "permission denied":
                return AifoError(
                    "engine", f"you may not use the one that listens on {path}",
                    hint="sudo usermod -aG docker $USER, then log in again",
                )  # fmt: skip
        return AifoError(
            "engine", "no container engine answers, and only root can start one",
            hint="sudo apt-get install -y docker.io docker-buildx && sudo usermod -aG docker $USER",
        )  # fmt: skip
    from aifo_tasks.engine import private

    first = "starts" if private.is_installed() else "installs Debian's docker packages and starts"
    return AifoError(
        "engine",
        f"no container engine answers; with your consent aifo {first} a private one, "
        f"data in {_private().data_root}, that nothing else uses",
        hint="AIFO_YES=1 doit engine",
    )
