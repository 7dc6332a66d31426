"""A call whose workspace is not as a project needs it says so where it says what is wrong."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.toolexec import launcher
from tests.native.running import GENEROUS, Init
from tests.native.screens import Screen

EMPTY = "is empty in the sidecar: the engine may not see the project's directory"
MISSING = "is missing in the sidecar: the project's directory has not come here"
READ_ONLY = "is not writable in the sidecar: tools can change nothing there"
WITHOUT_RIGHTS = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
"""Root may write everywhere, but not in a sidecar."""


def said(init: Init, *argv: str) -> tuple[int, str]:
    """A call's status and its joined output."""
    output: list[bytes] = []
    call = launcher.Call(argv=argv, cwd="/", looks=True)
    status = launcher.capture(init.greeted(), call, on_output=output.append)
    return status, b"".join(output).decode()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    (path / "file").touch()
    return path


@pytest.fixture
def init(start: Callable[..., Init], workspace: Path) -> Init:
    return start("--workspace", str(workspace), prefix=WITHOUT_RIGHTS)


def test_each_call_says_what_is_wrong_then(init: Init, workspace: Path) -> None:
    before = f"aifo: {workspace}: "
    assert said(init, "echo", "on") == (0, "on\n")
    workspace.chmod(0o555)
    assert said(init, "echo", "on") == (0, f"{before}{READ_ONLY}\non\n")
    workspace.chmod(0o755)
    (workspace / "file").unlink()
    assert said(init, "echo", "on") == (0, f"{before}{EMPTY}\non\n")
    workspace.rmdir()
    assert said(init, "echo", "on") == (0, f"{before}{MISSING}\non\n")


def test_a_call_that_does_not_look_says_nothing(init: Init, workspace: Path) -> None:
    (workspace / "file").unlink()
    assert init.run("echo", "on") == (0, b"on\n")


def test_it_is_said_on_stderr(init: Init, workspace: Path) -> None:
    (workspace / "file").unlink()
    done = subprocess.run(init.attach_argv("echo", "on"), capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"on\n", f"aifo: {workspace}: {EMPTY}\n".encode())


def test_it_is_said_on_a_terminal(init: Init, workspace: Path) -> None:
    (workspace / "file").unlink()
    with contextlib.closing(Screen(init.attach_argv("echo", "on"), columns=1000)) as shown:
        assert shown.wait() == 0
        assert shown.text == f"aifo: {workspace}: {EMPTY}\r\non\r\n".encode()


def test_a_stderr_that_nobody_reads_keeps_no_call(init: Init, workspace: Path) -> None:
    (workspace / "file").unlink()
    read, write = os.pipe()
    os.write(write, bytes(fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)))
    done = subprocess.run(
        init.attach_argv("echo", "on"),
        stdout=subprocess.PIPE,
        stderr=write,
        timeout=GENEROUS,
        check=True,
    )
    assert done.stdout == b"on\n"
    os.close(read)
    os.close(write)
