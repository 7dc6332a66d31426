"""What proxy and shell are asked for, from their options."""

from __future__ import annotations

import pytest

from aifo_tasks.errors import UsageError
from aifo_tasks.tasks import serving

DEFAULT = {"transport": "unix", "toolchain_unix_socket": False}


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIFO_TOOLEEXEC_USE_UNIX", raising=False)


def test_calls_come_over_a_socket_unless_tcp_is_asked_for() -> None:
    assert serving.transport(DEFAULT) == "unix"
    assert serving.transport(DEFAULT | {"transport": "tcp"}) == "tcp"


@pytest.mark.parametrize("where", ["option", "environment"])
def test_a_wish_for_a_socket_is_one_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "environment":
        monkeypatch.setenv("AIFO_TOOLEEXEC_USE_UNIX", "1")
    options = DEFAULT | {"toolchain_unix_socket": where == "option"}
    assert serving.transport(options) == "unix"
    with pytest.raises(UsageError, match="contradicts"):
        serving.transport(options | {"transport": "tcp"})
