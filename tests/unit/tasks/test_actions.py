"""What a user reads of an error."""

from __future__ import annotations

import sys

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.tasks.actions import sentence


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("/x/bin/doit", "doit sidecar_stop && docker volume rm x"),
        ("aifo", "aifo sidecar_stop && docker volume rm x"),
    ],
)
def test_a_hint_names_the_program_that_was_called(
    monkeypatch: pytest.MonkeyPatch, program: str, hint: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    error = AifoError("install node", "failed", hint="doit sidecar_stop && docker volume rm x")
    assert sentence(error) == f"install node: failed\nhint: {hint}"
