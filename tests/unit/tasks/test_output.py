"""A write that the system refuses is a sentence; a pipe that nobody reads ends the command."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from aifo_tasks.tasks import output
from tests.unit.tasks.conftest import PYPROJECT, Ended, Project

UNREAD = (
    "import os, subprocess, sys; reading, writing = os.pipe(); os.close(reading);"
    "sys.exit(subprocess.call(sys.argv[1:], stdout=writing))"
)
TALK = """\
def talk(size):
    sys.stdout.write("x" * size)
    sys.stdout.flush()

def task_small():
    return {"actions": [ToolAction(talk, interactive=True, size=1)]}

def task_large():
    return {"actions": [ToolAction(talk, interactive=True, size=100_000)]}
"""
REFUSE = """\
def refuse():
    raise OSError({number}, os.strerror({number}), {path!r})

def task_refuse():
    return {{"actions": [ToolAction(refuse)]}}
"""
HINT = "=/a/directory/you/can/write"


@pytest.fixture(params=["script", "pyproject"])
def command(request: pytest.FixtureRequest, project: Project) -> str:
    project.dodo(TALK)
    if request.param == "script":
        return "aifo"
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    return "doit"


def to_full(project: Project, *argv: str) -> Ended:
    program = project.python_bin(argv[0])
    return project.run("sh", "-c", 'exec "$0" "$@" >/dev/full', program, *argv[1:])


@pytest.mark.parametrize("words", [["small"], ["large"], ["list"], ["list", "--all"], ["help"]])
def test_a_pipe_that_nobody_reads_ends_the_command(
    project: Project, command: str, words: list[str]
) -> None:
    ended = project.python(UNREAD, project.python_bin(command), *words)
    assert (ended.status, ended.err.replace(f"{words[0]}: running\n", "")) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
@pytest.mark.parametrize(
    ("words", "who"), [(["small"], "small"), (["large"], "large"), (["list"], "{} list")]
)
def test_a_full_device_is_a_sentence(
    project: Project, command: str, words: list[str], who: str
) -> None:
    ended = to_full(project, command, *words)
    assert ended.status == 1
    assert ended.err.replace(f"{words[0]}: running\n", "") == (
        f"ERROR: {who.format(command)}: cannot write: no space left on device\nhint: df -h\n"
    )


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_what_is_shown_without_a_command_ends_as_quietly(project: Project, word: str) -> None:
    ended = project.python(UNREAD, project.python_bin("aifo"), word)
    assert (ended.status, ended.err) == (141, "")


@pytest.mark.parametrize("name", ["EROFS", "EACCES", "ENOSPC", "EDQUOT", "EPERM"])
def test_a_home_that_cannot_be_written_is_a_sentence(project: Project, name: str) -> None:
    number = getattr(errno, name)
    path = f"{project.environment['HOME']}/.cache"
    project.dodo(REFUSE.format(number=number, path=path))
    ended = project.aifo("refuse")
    assert ended.status == 1
    assert ended.err == (
        f"refuse: running\nERROR: {path}: cannot be written: {os.strerror(number).lower()}\n"
        f"hint: export XDG_CACHE_HOME{HINT}\n"
    )


def test_another_error_of_the_system_stays_a_bug(project: Project) -> None:
    project.dodo(REFUSE.format(number=errno.EISDIR, path="/x"))
    ended = project.aifo("refuse")
    assert ended.status == 2
    assert "Traceback" in ended.err


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/home/me/.config/aifo/trusted.json", f"export XDG_CONFIG_HOME{HINT}"),
        (
            "/home/me",
            f"export XDG_CACHE_HOME{HINT} XDG_CONFIG_HOME{HINT} XDG_STATE_HOME{HINT}",
        ),
        ("/srv/a b/toolchains.lock", "ls -ld '/srv/a b'"),
    ],
)
def test_the_hint_names_what_can_be_changed(
    monkeypatch: pytest.MonkeyPatch, path: str, hint: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for kind in ("CACHE", "CONFIG", "STATE"):
        monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
    refused = output.refusal(OSError(errno.EROFS, "", path), "task")
    assert refused is not None
    assert refused.hint == hint


def test_a_broken_pipe_elsewhere_is_not_standard_output(tmp_path: Path) -> None:
    error = BrokenPipeError(errno.EPIPE, "", str(tmp_path))
    assert not output.has_closed(error)
    assert output.refusal(error, "task") is None
