"""The C decoders on the tables that the Python ones are held to, and every C build's warnings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks import native
from tests.native import compiling
from tests.native.compiling import SHIM

DATA = Path(__file__).parents[1] / "data"
FRAMES = json.loads((DATA / "frames.json").read_text(encoding="utf-8"))
HTTP = json.loads((DATA / "http.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def checkers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The drivers over the pure parts, under sanitizers."""
    directory = tmp_path_factory.mktemp("check")
    return {
        name: compiling.build_sanitized([f"check_{name}.c", f"{name}.c"], directory / name)
        for name in ("frame", "http")
    }


def decoded(program: Path, rows: Iterable[tuple[str, str]]) -> list[str]:
    """What a driver prints for each row."""
    text = "".join(f"{what} {data}\n" for what, data in rows)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_frames(checkers: dict[str, Path]) -> None:
    rows = FRAMES["streams"]
    found = decoded(checkers["frame"], [("stream", row["bytes"]) for row in rows])
    assert dict(zip(names(rows), found, strict=True)) == {
        row["name"]: stream_text(row) for row in rows
    }


def stream_text(row: dict[str, Any]) -> str:
    if row["frames"] is None:
        return f"{row.get('before', '')}bad"
    parts = [f"{kind}:{call}:{payload}" for kind, call, payload in row["frames"]]
    return " ".join([*parts, f"rest {row['rest']}"])


def test_calls(checkers: dict[str, Path]) -> None:
    rows = FRAMES["calls"]
    found = decoded(checkers["frame"], [("call", row["bytes"]) for row in rows])
    assert dict(zip(names(rows), found, strict=True)) == {
        row["name"]: call_text(row["call"]) for row in rows
    }


def call_text(call: dict[str, Any] | None) -> str:
    if call is None:
        return "bad"
    variables = [f"e:{name}3d{value}" for name, value in call["environment"]]
    arguments = [f"a:{argument}" for argument in call["argv"]]
    size = [str(call[name]) for name in ("rows", "columns", "terminal")]
    return " ".join([*size, call["cwd"], *arguments, *variables])


def test_what_a_relay_reads_of_a_call(checkers: dict[str, Path]) -> None:
    rows = FRAMES["relayed"]
    found = decoded(checkers["frame"], [("relayed", row["bytes"]) for row in rows])
    assert dict(zip(names(rows), found, strict=True)) == {
        row["name"]: relayed_text(row) for row in rows
    }


def relayed_text(row: dict[str, Any]) -> str:
    handed_on = bytearray.fromhex(row["bytes"])
    if row["joined"]:
        handed_on[4] -= 8
    return f"{row['terminal'] + 8 * row['joined']} {handed_on.hex()}"


def test_answers(checkers: dict[str, Path]) -> None:
    rows = HTTP["heads"]
    found = decoded(checkers["http"], [("head", row["bytes"]) for row in rows])
    assert dict(zip(names(rows), found, strict=True)) == {
        row["name"]: head_text(row) for row in rows
    }


def head_text(row: dict[str, Any]) -> str:
    head = row["head"]
    if isinstance(head, str):
        return head
    size = len(row["bytes"]) // 2 - head["rest"]
    values = [head[name] for name in ("status", "exit_code", "content_length")]
    return f"{size} {' '.join(map(str, values))} {int(head['chunked'])} '{head['exec_id']}'"


def test_an_answer_has_an_end_within_the_limit(checkers: dict[str, Path]) -> None:
    start = b"HTTP/1.1 200 OK\r\nA: ".hex()
    rows = [start + "61" * (64 * 1024 - len(start) // 2 + extra) for extra in (-1, 0, 1)]
    found = decoded(checkers["http"], [("head", row) for row in rows])
    assert found == ["more", "bad", "bad"]


def test_an_answer_is_never_taken_before_it_is_whole(checkers: dict[str, Path]) -> None:
    whole = b"HTTP/1.1 200 OK\r\nX-Exit-Code: 7\r\nX-Exec-Id: a\r\n\r\n"
    rows = [("head", whole[:n].hex()) for n in range(len(whole))]
    assert set(decoded(checkers["http"], rows)) == {"more"}


def test_trailers(checkers: dict[str, Path]) -> None:
    rows = [b"X-Exit-Code: 3\r\n\r\nrest", b"X-Exit-Code: 3\r\n", b"X-Exit-Code 3\r\n\r\n", b"\r\n"]
    found = decoded(checkers["http"], [("trailer", row.hex()) for row in rows])
    assert found == ["18 0 3 -1 0 ''", "more", "bad", "2 0 -1 -1 0 ''"]


def test_forms(checkers: dict[str, Path]) -> None:
    rows = HTTP["forms"]
    found = decoded(checkers["http"], [("form", row["bytes"]) for row in rows])
    assert dict(zip(names(rows), found, strict=True)) == {
        row["name"]: form_text(row["fields"]) for row in rows
    }


def form_text(fields: list[list[str]] | None) -> str:
    if fields is None:
        return "bad"
    return " ".join([*(f"{name}={value}" for name, value in fields), "end"])


def test_encoding(checkers: dict[str, Path]) -> None:
    rows = HTTP["encoded"]
    found = decoded(checkers["http"], [("encode", row["bytes"]) for row in rows])
    assert dict(zip(names(rows), found, strict=True)) == {row["name"]: row["text"] for row in rows}


@pytest.mark.parametrize("name", ["gcc", "clang", "zig for amd64", "zig for arm64"])
def test_all_warnings_are_errors(name: str, tmp_path: Path) -> None:
    if name.startswith("zig"):
        machine = {"amd64": "x86_64", "arm64": "aarch64"}[name.rsplit(maxsplit=1)[-1]]
        argv = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl"]
    else:
        argv = [compiling.compiler(name, f"{name}-14")]
    tests = {path.name for pattern in ("fuzz_*.c", "check_*.c") for path in SHIM.glob(pattern)}
    for source in tests.union(native.INIT.sources, native.SHIM.sources):
        compiling.build([*argv, "-O2", "-c"], [source], tmp_path / f"{source}.o")


def names(rows: list[dict[str, Any]]) -> list[str]:
    assert len({row["name"] for row in rows}) == len(rows)
    return [row["name"] for row in rows]
