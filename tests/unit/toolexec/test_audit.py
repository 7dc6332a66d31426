"""What is recorded of a call, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import audit


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("npm test --token-file", "npm test --token-file"),
        ("npm --token=abc publish", "npm --token=*** publish"),
        (
            "npm --//registry.npmjs.org/:_authToken=abc",
            "npm --//registry.npmjs.org/:_authToken=***",
        ),
        ("x --password abc d", "x --password *** d"),
        ("x --password --next abc", "x --password --next abc"),
        ("env API_KEY=abc A=b node", "env API_KEY=*** A=b node"),
        ("git clone https://u:p@h/x", "git clone https://***@h/x"),
        ("x ghp_0123456789abcdefABCDEF", "x ***"),
    ],
)
def test_secrets_are_masked(argv: str, expected: str) -> None:
    assert audit.masked(argv.split(" ")) == expected.split(" ")


def test_a_header_is_masked() -> None:
    assert audit.masked(["Authorization: Bearer abc"]) == ["Authorization: ***"]


def test_long_words_are_cut_and_masked() -> None:
    assert audit.masked(["y" * 131_071]) == ["y" * 1000 + "… 130071 more characters"]
    assert audit.masked(["token=" + "y" * 2000]) == ["token=***… 1006 more characters"]
    assert audit.masked(["token"] * 5000)[199:] == ["token", "… 4800 more words"]


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for tool in ("a", "b\n"):
        record = audit.Audit(path)
        record.write({"tool": tool})
        record.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["tool"] for line in lines] == ["a", "b\n"]
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_is_recorded_where_tools_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "project" / "state"))
    with pytest.raises(AifoError, match="inside the project"):
        audit.path_for("s", tmp_path / "project")
    assert audit.path_for("s", tmp_path / "other").parent.is_dir()
