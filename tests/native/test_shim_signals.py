"""Signals to a shim and its tool: each arrives, and nobody is left."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from aifo_tasks.toolexec.frames import Exit
from tests.native.proxying import Proxy
from tests.native.running import GENEROUS, stat_of, wait_for
from tests.native.shims import Shims


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_reach_the_tool(shims: Shims, proxy: Proxy, number: signal.Signals) -> None:
    child = shims.popen("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    assert child.wait(GENEROUS) == 128 + number
    child.stdout.close()
    call = proxy.call()
    wait_for("the tool's end", call.over.is_set)
    assert call.end == Exit(signalled=True, value=number)


def test_a_tool_may_take_a_signal_in_its_own_way(shims: Shims) -> None:
    script = (
        'for s in HUP INT QUIT USR1 USR2 TERM WINCH; do trap "echo $s" $s; done;'
        "echo ready; while :; do sleep 0.01; done"
    )
    child = shims.popen("sh", "-c", script, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH"):
        child.send_signal(signal.Signals[f"SIG{name}"])
        assert child.stdout.readline() == name.encode() + b"\n"
    child.kill()
    child.wait()
    child.stdout.close()


def test_the_third_interrupt_kills(shims: Shims) -> None:
    script = "trap 'echo no' INT; echo ready; while :; do sleep 0.01; done"
    child = shims.popen("sh", "-c", script, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    for _ in range(2):
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"no\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(GENEROUS) == 137
    child.stdout.close()


def test_ignored_signals_stay_ignored(shims: Shims) -> None:
    shims.link("sh")
    script = "trap '' INT; exec \"$0\" -c 'echo ready; sleep 0.3; exit 5'"
    child = subprocess.Popen(
        ["/bin/sh", "-c", script, shims.directory / "sh"],
        env=shims.environment(), cwd=shims.cwd, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(GENEROUS) == 5
    child.stdout.close()


def test_a_stop_stops_both(shims: Shims, proxy: Proxy) -> None:
    child = shims.popen(
        "sh", "-c", "echo ready; read line; exit 5",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=False, process_group=0,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    tool = proxy.call().pid
    child.send_signal(signal.SIGTSTP)
    wait_for("a stopped tool", lambda: state(tool) == "T")
    wait_for("a stopped shim", lambda: state(child.pid) == "T")
    child.send_signal(signal.SIGCONT)
    wait_for("a tool that goes on", lambda: state(tool) != "T")
    child.stdin.write(b"\n")
    child.stdin.close()
    assert child.wait(GENEROUS) == 5
    child.stdout.close()


def state(pid: int) -> str:
    found = stat_of(pid)
    return found[0] if found else ""


def test_a_killed_shim_leaves_no_tool(shims: Shims, proxy: Proxy) -> None:
    child = shims.popen("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.kill()
    child.wait()
    wait_for("the tool's end", proxy.call().over.is_set)
    child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["x"], ["x" * 100_000] * 16])
def test_a_signal_ends_a_call_that_waits(
    shims: Shims, short_path: Path, number: signal.Signals, words: list[str]
) -> None:
    """Nobody reads or answers yet: there is no tool to pass it on to."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "silent.sock"))
        listener.listen()
        environment = {"AIFO_TOOLEEXEC_URL": f"unix://{short_path}/silent.sock"}
        child = shims.popen("true", *words, environment=environment)
        link, _ = listener.accept()
        with link:
            assert link.recv(1) == b"P"
            time.sleep(0.05)
            child.send_signal(number)
            assert child.wait(GENEROUS) == -number
