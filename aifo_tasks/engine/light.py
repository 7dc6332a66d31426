"""A few questions to a local engine in one HTTP request each, without the SDK."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

from aifo_tasks.engine import states, unix
from aifo_tasks.engine.api import ImageState
from aifo_tasks.engine.failure import refused, unreachable
from aifo_tasks.errors import NotFoundError

_SCHEME = "unix://"
_SECONDS = 60.0


def image_labels(endpoint: str, references: Iterable[str]) -> dict[str, ImageState | None]:
    """The images of these names, None for those the engine has not; platforms are left blank.

    One small request each where ``endpoint`` is a ``unix://`` socket: with the containerd image
    store the list of all of them takes six times as long as one image's own state. Raises
    EngineError when the engine refuses or cannot be reached.
    """
    wanted = tuple(references)
    if not wanted:
        return {}
    if not endpoint.startswith(_SCHEME):
        from aifo_tasks.engine import docker

        with docker.connect(endpoint) as engine:
            return {reference: engine.image(reference) for reference in wanted}
    return {reference: _inspected(endpoint, reference) for reference in wanted}


def _inspected(endpoint: str, reference: str) -> ImageState | None:
    try:
        found = get(endpoint, f"/images/{urllib.parse.quote(reference)}/json")
    except NotFoundError:
        return None
    return dataclasses.replace(states.image_state(found), platform="")


def get(endpoint: str, path: str) -> Any:
    """The JSON a local engine answers to a GET; EngineError when it refuses or is not there."""
    try:
        status, content = unix.get(endpoint.removeprefix(_SCHEME), path, seconds=_SECONDS)
    except OSError as error:
        raise unreachable(endpoint, error) from None
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise unreachable(endpoint, error) from None
    if status != 200:
        message = answer.get("message", "") if isinstance(answer, dict) else ""
        raise refused("container engine", status, message)
    return answer
