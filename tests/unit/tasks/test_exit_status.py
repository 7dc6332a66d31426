"""doit's exit status is the tool's, and our errors are sentences, one task or many."""

from __future__ import annotations

import pytest

from tests.unit.tasks.conftest import PYPROJECT, Ended, Project

ERRORS = """\
def fail(status):
    return {"actions": [ToolAction(lambda: status)]}

def task_seven():
    return fail(7)

def task_eight():
    return fail(8)

def task_killed():
    return fail(-15)

def task_big():
    return fail(70000)

def task_stock():
    return {"actions": [["false"]]}

def mend(progress):
    for number in range(60):
        progress(f"line {number}")
    raise AifoError("image node", "cannot be built", hint="aifo engine")

def task_error():
    return {"actions": [ToolAction(mend)]}

class OddError(AifoError):
    exit_status = 42

def odd():
    raise OddError("it", "is odd")

def task_odd():
    return {"actions": [ToolAction(odd)]}

def config():
    raise ConfigError(["toolchains.yaml:1:2: a: one", "toolchains.yaml:3:4: b: two"])

def task_config():
    return {"actions": [ToolAction(config)]}

def task_bug():
    return {"actions": [ToolAction(lambda: 1 / 0)]}

def ask(options):
    raise AifoError("engine", "does not answer", hint="aifo engine")

def task_ask():
    return {"actions": [ToolAction(lambda: None)], "uptodate": [asked(ask)]}

def task_after():
    return {"actions": [ToolAction(lambda: None)], "task_dep": ["seven"]}

def task_fine():
    return {"actions": [ToolAction(lambda: None)]}

def task_late():
    def late():
        time.sleep(0.5)
        return 9
    return {"actions": [ToolAction(late)]}
"""


@pytest.fixture(params=["serial", "threads"])
def options(request: pytest.FixtureRequest, project: Project) -> list[str]:
    project.dodo(ERRORS)
    return [] if request.param == "serial" else ["-n", "2"]


def run(project: Project, options: list[str], *words: str) -> Ended:
    return project.aifo("run", *options, *words)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["seven"], 7),
        (["killed"], 143),
        (["big"], 255),
        (["stock"], 1),
        (["odd"], 42),
        (["config"], 3),
        (["bug"], 2),
        (["fine"], 0),
        (["-c", "seven", "fine"], 7),
        (["-c", "after", "fine"], 7),
        (["-c", "stock", "late"], 1),
        (["-c", "late", "stock"], 9),
    ],
)
def test_the_first_failure_decides(
    project: Project, options: list[str], words: list[str], status: int
) -> None:
    serial_only = words == ["-c", "late", "stock"] and options
    assert run(project, options, *words).status == (1 if serial_only else status)


def test_an_error_is_a_sentence_a_hint_and_the_last_lines(
    project: Project, options: list[str]
) -> None:
    ended = run(project, options, "error")
    lines = ended.err.splitlines()
    assert lines[:4] == [
        "error: running", "ERROR: image node: cannot be built", "hint: aifo engine", "line 20",
    ]  # fmt: skip
    assert lines[-1] == "line 59"
    assert ended.out == ""


def test_every_finding_of_a_configuration_has_its_line(project: Project) -> None:
    project.dodo(ERRORS)
    assert project.aifo("config").err == (
        "config: running\nERROR: toolchains.yaml: is not valid\n"
        "toolchains.yaml:1:2: a: one\ntoolchains.yaml:3:4: b: two\n"
    )


def test_a_bug_keeps_its_traceback(project: Project, options: list[str]) -> None:
    ended = run(project, options, "bug")
    assert "Traceback" in ended.err
    assert "ZeroDivisionError" in ended.err


def test_a_check_that_cannot_ask_fails_its_task_only(project: Project, options: list[str]) -> None:
    ended = run(project, options, "-c", "ask", "fine")
    assert ended.status == 1
    assert "ERROR: engine: does not answer\nhint: aifo engine\n" in ended.err
    assert "fine: running\n" in ended.err
    assert "Traceback" not in ended.err


def test_a_captured_tool_says_its_status_and_what_depends_on_it_is_named(
    project: Project, options: list[str]
) -> None:
    ended = run(project, options, "-c", "after")
    assert ended.err == (
        "seven: running\nERROR: seven: exit status 7\nafter: not run: seven failed\n"
    )


def test_pyproject_way_has_the_same_status(project: Project) -> None:
    project.dodo(ERRORS)
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    assert project.run("doit", "seven").status == 7
    assert project.run("doit", "-n", "3", "-c", "fine", "seven").status == 7
    assert project.run("doit", "error").status == 1


def test_processes_are_threads_and_that_is_said(project: Project) -> None:
    project.dodo(ERRORS)
    ended = project.aifo("-n", "2", "-P", "process", "seven")
    assert ended.status == 7
    assert "warning: -P process: tasks run in threads" in ended.err


def test_other_reporters_show_our_errors_too(project: Project) -> None:
    project.dodo(ERRORS)
    ended = project.aifo("run", "-r", "console", "error")
    assert ended.status == 1
    assert "image node: cannot be built\nhint: aifo engine" in ended.out
    assert "Traceback" not in ended.out + ended.err
