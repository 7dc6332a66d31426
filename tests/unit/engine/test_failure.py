"""An engine's words as our errors."""

from __future__ import annotations

import os

import pytest
import requests

from aifo_tasks.engine.docker import connect
from aifo_tasks.engine.failure import refused, unreachable
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError


@pytest.mark.parametrize(
    ("status", "explanation", "kind"),
    [
        (404, "No such image: x", NotFoundError),
        (404, "page not found", NotFoundError),
        (500, "container create: unable to find network: network not found", NotFoundError),
        (500, "x does not exist in database: no such container", NotFoundError),
        (409, "Conflict. The container name is in use", ConflictError),
        (500, "creating storage: the container name x is already in use by y", ConflictError),
        (403, "error while removing network: has active endpoints", ConflictError),
        (409, "preparing container x for attach: runc failed", EngineError),
        (400, "invalid mount config", EngineError),
        (500, "", EngineError),
    ],
)
def test_refusals(status: int, explanation: str, kind: type[EngineError]) -> None:
    error = refused("x", status, explanation)
    assert type(error) is kind
    assert error.subject == "x"
    assert error.problem == (explanation or "status 500")


def test_a_full_disk_has_a_remedy() -> None:
    error = refused("x", 500, "write /var/lib: no space left on device")
    assert error.hint == "docker system df"


def test_the_systems_word_is_found_below_the_libraries() -> None:
    inner = ConnectionRefusedError(111, os.strerror(111))
    error = unreachable("tcp://h:1", requests.ConnectionError("Max retries exceeded", inner))
    assert str(error) == (
        "container engine: cannot be reached at tcp://h:1: connection refused (hint: doit engine)"
    )


def test_who_may_not_is_told_how_to_be_allowed() -> None:
    error = unreachable("unix:///s", PermissionError(13, os.strerror(13)))
    assert error.hint == 'sudo usermod -aG docker "$USER"'


def test_nobody_listens_on_a_port() -> None:
    with pytest.raises(EngineError, match=r"cannot be reached at tcp://127\.0\.0\.1:1: "):
        connect("tcp://127.0.0.1:1")


def test_an_endpoint_that_is_none() -> None:
    with pytest.raises(EngineError, match="cannot be reached at gopher://x"):
        connect("gopher://x")
