"""The Engine through the docker SDK: Docker, and Podman by its API service."""

from __future__ import annotations

import os
from typing import Any

import docker
import docker.errors
import docker.utils
import requests

from aifo_tasks.engine import light
from aifo_tasks.engine.archives import Archives
from aifo_tasks.engine.failure import unreachable
from aifo_tasks.engine.images import Images
from aifo_tasks.engine.volumes import Networks


def connect(endpoint: str) -> DockerEngine:
    """Reach the engine at ``endpoint``: ``unix://``, ``tcp://`` or ``ssh://``.

    Raises EngineError when nothing answers there.
    """
    # asked by ourselves first: the SDK would leak a socket when nobody listens
    local = endpoint.startswith("unix://")
    version = light.get(endpoint, "/version")["ApiVersion"] if local else "auto"
    options: dict[str, Any] = {}
    if endpoint.startswith("tcp://") and os.environ.get("DOCKER_TLS_VERIFY"):
        options["tls"] = docker.utils.kwargs_from_env().get("tls", False)
    try:
        api = docker.APIClient(
            base_url=endpoint,
            version=version,
            timeout=600,
            use_ssh_client=endpoint.startswith("ssh://"),
            **options,
        )
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise unreachable(endpoint, error) from None
    return DockerEngine(api, endpoint)


class DockerEngine(Images, Networks, Archives):
    """An ``Engine``; may be used by several threads."""
