"""The shim on a terminal: keys, sizes, jobs, and the modes that come back."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.native.proxying import Proxy
from tests.native.running import wait_for
from tests.native.screens import STREAMS, Show, resize


def test_a_terminal_of_its_own(tool: Show, proxy: Proxy) -> None:
    shown = tool("sh", "-c", STREAMS + "stty size; tty; exit 5", rows=33)
    shown.expect(b"0 is one\r\n1 is one\r\n2 is one\r\n33 80\r\n/dev/pts/")
    assert shown.wait() == 5
    assert os.ttyname(shown.slave).encode().split(b"/")[-1] != shown.text.strip()
    shown.expect_modes_back()
    assert proxy.requests[0].one("tty") == b"33,80,7"


def test_keys_pass_raw(tool: Show) -> None:
    shown = tool(
        "sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=4 2>/dev/null | od -An -tx1"
    )
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    shown.type(b"\x03\x1a\x04\x11")
    shown.expect(b"03 1a 04 11")
    assert shown.wait() == 0
    shown.expect_modes_back()


@pytest.mark.parametrize(("key", "status"), [(b"\x03", 130), (b"\x1c", 131), (b"\x04", 4)])
def test_keys_that_mean_something(tool: Show, key: bytes, status: int) -> None:
    shown = tool("sh", "-c", "echo ready; cat; exit 4")
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    shown.type(b"line\n")
    shown.expect(b"line\r\nline\r\n")
    shown.type(key)
    assert shown.wait() in {status, 128 + 2 if status == 130 else status}
    shown.expect_modes_back()


def test_a_new_size_arrives(tool: Show) -> None:
    shown = tool("sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done")
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    resize(shown.master, 11, 222)
    shown.expect(b"11 222")
    shown.type(b"\x03")
    assert shown.wait() == 130


def test_all_output_comes_before_the_end(tool: Show) -> None:
    shown = tool("seq", "30000")
    assert shown.wait() == 0
    assert shown.text == b"".join(b"%d\r\n" % n for n in range(1, 30001))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_the_call_and_modes_come_back(tool: Show, number: signal.Signals) -> None:
    shown = tool("sh", "-c", "echo ready; exec sleep 1000")
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    os.kill(shown.pid, number)
    assert shown.wait() == 128 + number
    shown.expect_modes_back()


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGXCPU])
def test_modes_come_back_when_the_shim_is_killed(tool: Show, number: signal.Signals) -> None:
    shown = tool("sh", "-c", "echo ready; exec sleep 1000")
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    os.kill(shown.pid, number)
    assert shown.wait() == -number
    shown.expect_modes_back()


def test_modes_come_back_when_the_tool_is_killed(tool: Show, proxy: Proxy) -> None:
    shown = tool("sh", "-c", "echo ready; exec sleep 1000")
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    os.kill(proxy.call().pid, signal.SIGKILL)
    assert shown.wait() == 137
    shown.expect_modes_back()


def test_modes_come_back_when_the_proxy_is_lost(tool: Show, proxy: Proxy) -> None:
    shown = tool("sh", "-c", "echo ready; exec sleep 1000")
    shown.expect(b"ready")
    wait_for("raw mode", lambda: not shown.echoes())
    proxy.call().link.shutdown(socket.SHUT_RDWR)
    assert shown.wait() == 125
    assert b"the connection to the tool-exec proxy was lost" in shown.text
    shown.expect_modes_back()


@pytest.mark.parametrize(
    ("streams", "screen"),
    [
        ("", "0 is one\r\n1 is one\r\n2 is one\r\n"),
        ("2>{top}/err", "0 is one\r\n1 is one\r\n"),
        ("</dev/null", ""),
        (">{top}/out", ""),
        ("2>/dev/null </dev/null", ""),
    ],
)
def test_only_the_callers_terminals_become_the_tools(
    show: Show, tmp_path: Path, streams: str, screen: str
) -> None:
    script = f"""exec "$S/sh" -c '{STREAMS} exit 3' {streams.format(top=tmp_path)}"""
    shown = show("/bin/sh", "-c", script)
    assert shown.wait() == 3
    assert shown.text == screen.encode()
    shown.expect_modes_back()


def test_output_alone_on_a_terminal(show: Show, proxy: Proxy) -> None:
    loop = "for n in $(seq 3000); do echo $n; echo e$n >&2; done; exit 3"
    shown = show("/bin/sh", "-c", f"exec \"$S/sh\" -c '{loop}' </dev/null")
    assert shown.wait() == 3
    wanted = b"".join(b"%d\r\ne%d\r\n" % (n, n) for n in range(1, 3001))
    if proxy.descriptors:  # one pipe keeps the order
        assert shown.text == wanted
    else:
        assert sorted(shown.text) == sorted(wanted)


def test_input_alone_on_a_terminal_keeps_its_modes(show: Show, tmp_path: Path) -> None:
    output = tmp_path / "out"
    script = f"exec \"$S/sh\" -c 'echo ready; cat; exit 3' >{output} 2>/dev/null"
    shown = show("/bin/sh", "-c", script)
    wait_for("the tool", lambda: output.exists() and output.read_bytes() == b"ready\n")
    assert shown.echoes()
    shown.type(b"typo\x15text\n\x04")
    assert shown.wait() == 3
    assert output.read_bytes() == b"ready\ntext\n"
    shown.expect_modes_back()


def test_a_pager_gets_its_keys(show: Show) -> None:
    """As less does, the pager reads single keys while the tool has a terminal to read from."""
    pager = "stty -icanon -echo min 1; echo pager; dd bs=1 count=3 </dev/tty 2>/dev/null; stty sane"
    tool = "echo from the tool; sleep 1000"
    shown = show("/bin/sh", "-c", f"\"$S/sh\" -c '{tool}' | (head -n 1; {pager} </dev/tty)")
    shown.expect(b"from the tool")
    shown.expect(b"pager")
    for key in (b"a", b"b", b"c"):
        shown.type(key)
    shown.expect(b"abc")


def test_an_interactive_python(tool: Show) -> None:
    shown = tool("python3", "-q")
    shown.expect(b">>> ")
    shown.type(b"import os, sys; 40 + 2, sys.stdin.isatty()\r")
    shown.expect(b"(42, True)")
    shown.type(b"exec('print(4711 * 2)\\nwhile True: pass')\r")
    shown.expect(b"9422")
    shown.type(b"\x03")
    shown.expect(b"KeyboardInterrupt")
    shown.expect(b">>> ")
    shown.type(b"exit(7)\r")
    assert shown.wait() == 7
    shown.expect_modes_back()
