"""What is recorded of a call, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
        ("curl https://bob:hun@ter2@host", "curl https://***@host"),
        ("curl https://h/?a=1&access_token=abc&b=2", "curl https://h/?a=1&access_token=***&b=2"),
    ],
)
def test_secrets_are_masked(argv: str, expected: str) -> None:
    assert audit.masked(argv.split(" ")) == expected.split(" ")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("X-Api-Key: abc", "X-Api-Key: ***"),
        ("PRIVATE-TOKEN: abc", "PRIVATE-TOKEN: ***"),
        ("export GITHUB_TOKEN=abc; make", "export GITHUB_TOKEN=***; make"),
        ("cd app && NPM_TOKEN=abc npm publish", "cd app && NPM_TOKEN=*** npm publish"),
        ("echo tokens: none", "echo tokens: none"),
    ],
)
def test_secrets_among_other_words_are_masked(word: str, expected: str) -> None:
    assert audit.masked([word]) == [expected]


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


def records(path: Path) -> list[int]:
    """The numbers in a file, each line of which is whole."""
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


def test_beyond_its_size_a_file_becomes_the_older_one(tmp_path: Path) -> None:
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    record = audit.Audit(path, size=150)
    for n in range(8):
        record.write({"n": n})
    record.close()
    assert path.stat().st_size <= 150
    assert [*records(older), *records(path)] == [3, 4, 5, 6, 7]
    assert sorted(tmp_path.iterdir()) == [path, older]


def test_a_line_beyond_all_size_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    record = audit.Audit(path, size=1)
    for n in range(2):
        record.write({"n": n})
    record.close()
    assert (records(tmp_path / "audit.jsonl.1"), records(path)) == ([0], [1])


def test_a_file_that_somebody_takes_away_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    record = audit.Audit(path)
    record.write({"n": 0})
    path.rename(tmp_path / "elsewhere")
    record.write({"n": 1})
    record.close()
    assert (records(tmp_path / "elsewhere"), records(path)) == ([0], [1])


WRITER = """
import sys
from pathlib import Path
from aifo_tasks.toolexec.audit import Audit
path, first, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
record = Audit(path, size=size)
for n in range(first, first + 500):
    record.write({"n": n})
"""


def test_several_writers_lose_and_tear_nothing(tmp_path: Path) -> None:
    """All of it fits into the two files."""
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    argv = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*argv, str(500 * n), "70000"]) for n in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert sorted([*records(older), *records(path)]) == list(range(2000))


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n" + WRITER
    argv = [sys.executable, "-c", limited, str(path), "0", "70000"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[0] == f"warning: {path}: a call is not recorded: file too large"


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "device", "nothing"])
def test_no_calls_are_recorded_in_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "audit.jsonl"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("elsewhere")
    else:
        path = Path("/dev/null" if kind == "device" else f"{path}/in/nothing")
    with pytest.raises(AifoError, match=f"^{path}: calls cannot be recorded: "):
        audit.Audit(path)


def test_nothing_is_recorded_where_tools_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, data = tmp_path / "project", tmp_path / "data"
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "state"))
    with pytest.raises(AifoError, match=f"below {project}, where tools write .hint: export XDG"):
        audit.path_for("s", project)
    assert audit.path_for("s", tmp_path / "other").parent.is_dir()
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    named = tmp_path / "link" / "calls"
    assert audit.path_for("s", project, named=named) == named
    with pytest.raises(AifoError, match=f"below {data}, where tools write$"):
        audit.path_for("s", project, named=named, writable=[data])
