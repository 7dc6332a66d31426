"""A few questions to a local engine in one HTTP request each, without the SDK."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

from aifo_tasks.engine import states
from aifo_tasks.engine.api import ImageState
from aifo_tasks.engine.failure import refused, unreachable

_SCHEME = "unix://"


def image_labels(endpoint: str, references: Iterable[str]) -> dict[str, ImageState | None]:
    """The images of these names, None for those the engine has not; platforms are left blank.

    One request where ``endpoint`` is a ``unix://`` socket. Raises EngineError when the
    engine refuses or cannot be reached.
    """
    wanted = tuple(references)
    if not wanted:
        return {}
    if not endpoint.startswith(_SCHEME):
        from aifo_tasks.engine import docker

        with docker.connect(endpoint) as engine:
            return {reference: engine.image(reference) for reference in wanted}
    # the filter spares the engine the sizes of all others; it does not match digests
    filters = {} if any("@" in one for one in wanted) else {"reference": list(wanted)}
    query = urllib.parse.urlencode({"filters": json.dumps(filters)})
    found: dict[str, ImageState] = {}
    for row in get(endpoint, f"/images/json?{query}"):
        names = (*(row.get("RepoTags") or ()), *(row.get("RepoDigests") or ()))
        found |= dict.fromkeys(names, states.listed_image_state(row))
    return {
        reference: next((found[name] for name in _spellings(reference) if name in found), None)
        for reference in wanted
    }


def get(endpoint: str, path: str) -> Any:
    """The JSON a local engine answers to a GET; EngineError when it refuses or is not there."""
    connection = _Connection(endpoint.removeprefix(_SCHEME))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(endpoint, error) from None
    finally:
        connection.close()
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise unreachable(endpoint, error) from None
    if response.status != 200:
        message = answer.get("message", "") if isinstance(answer, dict) else ""
        raise refused("container engine", response.status, message)
    return answer


def _spellings(reference: str) -> Iterator[str]:
    """What engines call an image of that name: Docker shortens, Podman writes out."""
    named = "@" in reference or ":" in reference.rpartition("/")[2]
    tagged = reference if named else f"{reference}:latest"
    short = tagged.removeprefix("docker.io/").removeprefix("library/")
    yield from (tagged, short)
    yield from (f"localhost/{tagged}", f"docker.io/{short}", f"docker.io/library/{short}")


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
