"""A signal ends the run: children told, teardown once, results kept, its own status."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.tasks.conftest import PYPROJECT, Project

DODO = """\
def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

def task_before():
    return {"actions": [ToolAction(lambda: None)], "uptodate": [changed(a=1)],
            "teardown": [(note, ["down"])]}

CHILD = ["sh", "-c", "trap 'echo told >> notes; exit 1' INT TERM HUP; "
         "echo $$ > pid; while :; do sleep 0.05; done"]

def task_doits():
    return {"actions": [CHILD], "task_dep": ["before"]}

def task_ours():
    run = ["sh", "-c", "echo $$ > pid; sleep 100"]
    return {"actions": [ToolAction(lambda: process.run(run) and None)], "task_dep": ["before"]}

def task_deep():
    return {"actions": ["sh -c 'echo $$ > pid; sleep 100; true'; true"], "task_dep": ["before"]}
"""
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["serial", "threads"])
@pytest.mark.parametrize("task", ["doits", "ours", "deep"])
@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_to_doit_alone(
    project: Project, options: list[str], task: str, number: int, status: int
) -> None:
    project.dodo(DODO)
    child = project.start("aifo", *options, task)
    pid = project.root / "pid"
    until(lambda: pid.exists() and bool(pid.read_text().strip()), "child started")
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == status
    assert b"Traceback" not in err
    assert not alive(int(pid.read_text()))
    told = ["told"] if task == "doits" else []
    assert (project.root / "notes").read_text().split() == [*told, "down"]
    assert "before: up to date" in project.aifo("before").err


def test_a_signal_that_another_thread_takes(project: Project) -> None:
    project.dodo(DODO)
    child = project.start("aifo", "-n", "2", "doits")
    pid = project.root / "pid"
    until(lambda: pid.exists() and bool(pid.read_text().strip()), "child started")
    other = max({int(name) for name in os.listdir(f"/proc/{child.pid}/task")} - {child.pid})
    assert ctypes.CDLL(None).tgkill(child.pid, other, signal.SIGTERM) == 0
    child.communicate(timeout=60)
    assert child.returncode == 143
    assert (project.root / "notes").read_text().split() == ["told", "down"]


def test_a_terminals_interrupt_reaches_the_child_once(project: Project) -> None:
    project.dodo(DODO)
    controller, terminal = os.openpty()
    child = subprocess.Popen(
        [project.python_bin("aifo"), "doits"], cwd=project.root, env=project.environment,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509  # this process has one thread
    )  # fmt: skip
    os.close(terminal)
    pid = project.root / "pid"
    until(lambda: pid.exists() and bool(pid.read_text().strip()), "child started")
    os.write(controller, b"\x03")
    assert child.wait(30) == 130
    os.close(controller)
    assert (project.root / "notes").read_text().split() == ["told", "down"]


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_the_pyproject_way_has_the_same_signals(project: Project) -> None:
    project.dodo(DODO)
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    child = project.start("doit", "doits")
    pid = project.root / "pid"
    until(lambda: pid.exists() and bool(pid.read_text().strip()), "child started")
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 143
    assert (project.root / "notes").read_text().split() == ["told", "down"]


def test_an_ignored_hangup_stays_ignored(project: Project) -> None:
    project.dodo(
        "def task_nap():\n"
        "    return {'actions': [ToolAction(lambda: Path('pid').touch() or time.sleep(1))]}\n"
    )
    child = project.start("sh", "-c", 'trap "" HUP; exec "$0" nap', project.python_bin("aifo"))
    until((project.root / "pid").exists, "task started")
    child.send_signal(signal.SIGHUP)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"nap: running\n")
