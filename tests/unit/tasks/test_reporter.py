"""What is shown: one live line on a terminal, plain lines in a pipe, nothing for a call."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from aifo_tasks import log
from aifo_tasks.tasks import reporter
from aifo_tasks.tasks.reporter import Screen
from tests.unit.tasks.conftest import Project


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(reporter, "LIVE_SECONDS", 0.0)
    yield
    log.clear()
    log.configure(sink=log.PlainSink())


def test_a_pipe_gets_plain_lines() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.live("passing")
    screen.line("one", style="good")
    screen.line("two", style="warning")
    screen.close()
    assert stream.getvalue() == "one\nwarning: two\n"


def test_a_terminal_gets_one_live_line_below_the_others() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.live("passing")
    screen.line("stays", style="step")
    screen.live("again")
    screen.live()
    screen.live()
    screen.live("last")
    screen.close()
    screen.live("too late")
    assert stream.getvalue() == (
        "passing\r\x1b[Kstays\nagain\r\x1b[Klast\r\x1b[K"
    )  # fmt: skip


def test_a_live_line_fits_and_moves_nothing() -> None:
    stream = Terminal()
    Screen(stream).live("\x1b[31ma\x1b[0m\tb\r\n" + "c" * 50)
    assert stream.getvalue() == "ab" + "c" * 17


def test_what_goes_on_at_once_stands_side_by_side() -> None:
    stream = Terminal()
    screen = Screen(stream)
    log.configure(sink=screen)
    log.progress("one", "1/2 a long step")
    log.progress("two", "begins")
    log.progress("one", "2/2 another")
    log.clear()
    log.progress("two", "ends")
    assert stream.getvalue().split("\r\x1b[K") == [
        "one: 1/2 a long ste", "one: 1/2 | two: beg", "one: 2/2 | two: beg", "two: ends",
    ]  # fmt: skip


def test_live_lines_are_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "LIVE_SECONDS", 3600.0)
    stream = Terminal()
    screen = Screen(stream)
    screen._last = time.monotonic() - 7200
    for number in range(100):
        screen.live(str(number))
    assert stream.getvalue() == "0"


@pytest.mark.parametrize(
    ("environment", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_colour(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, colour: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    Screen(stream).line("x", style="failure")
    assert stream.getvalue() == ("\x1b[31mx\x1b[0m\n" if colour else "x\n")


def test_a_dumb_terminal_has_no_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    Screen(stream).live("x")
    assert stream.getvalue() == ""


def test_a_reader_that_went_away_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stream:
        Screen(stream).line("x", style="step")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


DODO = """\
def steps(progress):
    for number in range(3):
        progress(f"part {number}")
        time.sleep(0.15)

def task_long():
    return {"actions": [ToolAction(steps)], "uptodate": [changed(a=1)]}

def task_second():
    return {"actions": [ToolAction(lambda: None)], "task_dep": ["long"]}

def task_group():
    return {"actions": [], "task_dep": ["second"]}

def task__hidden():
    return {"actions": [ToolAction(lambda: None)]}

def task_quiet():
    return {"actions": [ToolAction(lambda: os.write(1, b"tool\\n") and None, interactive=True)],
            "meta": {"aifo": {"quiet": True}}, "task_dep": ["long", "_hidden"]}

def task_slow():
    def slow(progress):
        progress("before")
        os.write(1, b"tool\\n")
    return {"actions": [ToolAction(steps), ToolAction(slow, interactive=True)]}

def task_stock():
    return {"actions": ["echo out; echo err >&2; exit 3"]}
"""


def on_terminal(project: Project, *words: str) -> str:
    controller, terminal = os.openpty()
    with subprocess.Popen(
        [project.python_bin("aifo"), *words], cwd=project.root, stdin=subprocess.DEVNULL,
        env=project.environment | {"TERM": "xterm", "NO_COLOR": "1"},
        stdout=terminal, stderr=terminal,
    ) as child:  # fmt: skip
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(controller, 4096)
            except OSError:  # the other side is closed
                break
        assert child.wait() == 0
    os.close(controller)
    return shown.decode().replace("\r\n", "\n")


def test_lines_in_a_pipe(project: Project) -> None:
    project.dodo(DODO)
    assert project.aifo("group").err == (
        "long: running: first run\nsecond: running\ntasks: 2 ran\n"
    )
    ended = project.aifo("group")
    assert (ended.out, ended.err) == ("", "long: up to date\nsecond: running\n")


def test_lines_on_a_terminal(project: Project) -> None:
    project.dodo(DODO)
    shown = on_terminal(project, "long")
    assert "long: part 2" in shown
    lines = [line.rpartition("\r\x1b[K")[2] for line in shown.split("\n")]
    assert lines == ["long: running: first run", ""]


def test_the_live_line_is_gone_before_a_tool_writes(project: Project) -> None:
    project.dodo(DODO)
    shown = on_terminal(project, "slow")
    before = shown.split("tool\n")[0]
    assert "part 2" in before
    assert before.rpartition("\r\x1b[K")[2] in ("", "slow: before")


def test_verbosity_2_lets_lines_stay_and_0_shows_none(project: Project) -> None:
    project.dodo(DODO)
    shown = project.aifo("run", "-v", "2", "long").err
    assert shown == "long: running: first run\n" + "".join(
        f"long: part {number}\n" for number in range(3)
    )


def test_a_quiet_task_is_not_mentioned_and_neither_is_what_is_up_to_date(
    project: Project,
) -> None:
    project.dodo(DODO)
    first = project.aifo("quiet")
    assert (first.out, first.err) == ("tool\n", "long: running: first run\n")
    second = project.aifo("quiet")
    assert (second.out, second.err) == ("tool\n", "")


def test_a_stock_action_that_fails_is_named_with_what_it_wrote(project: Project) -> None:
    project.dodo(DODO)
    ended = project.aifo("run", "-v", "0", "stock")
    assert ended.status == 1
    assert ended.out == ""
    assert "stock: failed: Command failed: 'echo out; echo err >&2; exit 3' returned 3" in ended.err
    assert ended.err.endswith("err\n")


def test_an_ignored_task_says_so(project: Project) -> None:
    project.dodo(DODO)
    project.aifo("ignore", "long")
    assert project.aifo("long").err == "long: ignored\n"


def test_a_report_file_gets_the_lines(project: Project) -> None:
    project.dodo(DODO)
    ended = project.aifo("run", "-o", "report.txt", "long")
    assert ended.err == ""
    assert (project.root / "report.txt").read_text() == "long: running: first run\n"
