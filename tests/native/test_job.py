"""A call as a job of a shell, through a shim in each way and directly: stopped with its tool,
in the background, without its terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.native.proxying import Proxy
from tests.native.running import Init, stat_of, wait_for
from tests.native.screens import BASH, Screen, resize
from tests.native.shims import Shims


@dataclass(frozen=True)
class Way:
    """How a command line reaches its tool: words before it, and the environment they need."""

    words: str
    environment: dict[str, str]

    def __call__(self, script: str) -> str:
        """A script run as a tool."""
        return f"{self.words} -c {shlex.quote(script)}"


@pytest.fixture(params=["descriptors", "frames", "tcp", "direct"])
def way(
    request: pytest.FixtureRequest, sidecar: Init, shim_binary: Path, short_path: Path
) -> Iterator[Way]:
    more = {"PS1": "next>", "TERM": "xterm"}
    if request.param == "direct":
        words = shlex.join(sidecar.attach_argv("sh"))
        yield Way(words, {**os.environ, **more})
        return
    path = None if request.param == "tcp" else short_path / "proxy.sock"
    (short_path / "bin").mkdir()
    with (
        Proxy(sidecar, path, descriptors=request.param == "descriptors") as proxy,
        contextlib.closing(Shims(shim_binary, short_path / "bin", proxy)) as shims,
    ):
        yield Way(shims.link("sh"), shims.environment(**more))


@pytest.fixture
def shell(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A shell with jobs."""
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(Screen(BASH, way.environment)) as shown:
        shown.expect(b"next>")
        yield shown


class Gate:
    """What a tool waits at that reads nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        self._descriptor = -1

    def wait(self) -> None:
        """Until the tool has come to it."""

        def is_there() -> bool:
            with contextlib.suppress(OSError):  # nobody
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            return self._descriptor >= 0

        wait_for("the tool", is_there)

    def open(self) -> None:
        if self._descriptor < 0:
            self.wait()
        os.write(self._descriptor, b"go\n")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with contextlib.closing(Gate(tmp_path / "gate")) as gate:
        yield gate


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Gate]:
    """One that is passed before the tool starts, or its shell ends."""
    with contextlib.closing(Gate(tmp_path / "before")) as gate:
        yield gate


def run(shown: Screen, command: str) -> None:
    """Type a command."""
    shown.type(command.encode() + b"\n")


def stop(shown: Screen) -> None:
    """Press the stop key once that is for the tool."""
    wait_for("raw mode", shown.is_raw)
    shown.type(b"\x1a")
    expect_stop(shown)


def expect_stop(shown: Screen) -> bytes:
    """The shell has its terminal back; what came before."""
    before = shown.expect(b"Stopped")
    shown.expect(b"next>")
    return before


def expect_job(shown: Screen, text: bytes) -> None:
    """Wait until the shell says this of its only job."""

    def said() -> bool:
        shown.type(b"jobs -l; echo sa''id\n")
        found = text in shown.expect(b"said\r\n")
        shown.expect(b"next>")
        return found

    wait_for(f"{text!r}", said)


def bring_forward(shown: Screen) -> None:
    """Until it has the terminal."""
    shown.type(b"fg\n")
    wait_for("raw mode", shown.is_raw)


def answer(shown: Screen) -> None:
    """What a tool reads that echoes it."""
    shown.type(b"hello\r")
    shown.expect(b"got=hello.")


def expect_end(shown: Screen, status: int) -> None:
    """The last command has ended so."""
    shown.expect(b"next>")
    shown.type(b"echo status=$?.\n")
    shown.expect(b"status=%d." % status)


READ = "read line; echo got=$line.; exit 3"


def is_stopped(pid: int) -> bool:
    return (stat_of(pid) or "?")[0] == "T"


def foreground_of(pid: int) -> int:
    """The group in the foreground of a process's terminal."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[5])


@pytest.mark.parametrize("streams", ["", ">out", "</dev/null"])
def test_it_goes_on_in_the_background(
    way: Way, shell: Screen, tmp_path: Path, streams: str
) -> None:
    """As long as it neither reads keys nor changes modes."""
    run(shell, f"{way('sleep 0.3; echo done >mark; exit 3')} {streams} &")
    wait_for("the job", (tmp_path / "mark").exists)
    run(shell, "wait %1")
    expect_end(shell, 3)


@pytest.mark.parametrize(
    ("script", "why"),
    [(READ, b"Stopped (tty input)"), (f"stty -echoctl; {READ}", b"Stopped (tty output)")],
    ids=["reading", "setting modes"],
)
def test_in_the_background_it_waits_for_the_terminal(
    way: Way, shell: Screen, script: str, why: bytes
) -> None:
    run(shell, f"{way(script)} &")
    expect_job(shell, why)
    bring_forward(shell)
    answer(shell)
    expect_end(shell, 3)


def test_a_job_comes_forward(way: Way, shell: Screen, gate: Gate) -> None:
    """No signal says so, as it runs already."""
    run(shell, f"{way(f'read go <gate; {READ}')} &")
    gate.wait()
    bring_forward(shell)
    gate.open()
    answer(shell)
    expect_end(shell, 3)


def test_the_stop_key_with_a_terminal_of_its_own(way: Way, shell: Screen, tmp_path: Path) -> None:
    """It stops the tool over there, and that stops us."""
    run(shell, way(f"echo $$ >mark; {READ}"))
    wait_for("the tool", (tmp_path / "mark").exists)
    stop(shell)
    assert is_stopped(int((tmp_path / "mark").read_text()))
    bring_forward(shell)
    answer(shell)
    expect_end(shell, 3)


def test_the_stop_key_without(way: Way, shell: Screen, tmp_path: Path) -> None:
    """It stops us here, and that stops the tool."""
    output = tmp_path / "out"
    run(shell, f"{way(f'echo $$; {READ}')} >out")
    wait_for("the tool", lambda: output.exists() and output.read_bytes())
    shell.type(b"\x1a")
    expect_stop(shell)
    tool = int(output.read_text())
    wait_for("a stopped tool", lambda: is_stopped(tool))
    run(shell, "fg")
    wait_for("a tool that runs", lambda: not is_stopped(tool))
    shell.type(b"hello\n")
    wait_for("its output", lambda: b"got=hello." in output.read_bytes())
    expect_end(shell, 3)


def test_a_stop_from_somebody_else(way: Way, shell: Screen, tmp_path: Path) -> None:
    """The terminal is the shell's meanwhile."""
    run(shell, f"sh -c 'echo $$ >pid; exec \"$@\"' sh {way(f'echo $$ >mark; {READ}')}")
    wait_for("raw mode", shell.is_raw)
    wait_for("the tool", (tmp_path / "mark").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTSTP)
    expect_stop(shell)
    wait_for("a stopped tool", lambda: is_stopped(int((tmp_path / "mark").read_text())))
    bring_forward(shell)
    answer(shell)
    expect_end(shell, 3)


def test_a_tool_that_stops_itself(way: Way, shell: Screen) -> None:
    """What it says before comes before, what it says when it goes on comes then."""
    run(shell, way("printf la''st; kill -TSTP 0; printf fir''st; exit 3"))
    shell.expect(b"last")
    assert b"first" not in expect_stop(shell)
    run(shell, "fg")
    shell.expect(b"first")
    expect_end(shell, 3)


def test_a_size_that_changed_meanwhile(way: Way, shell: Screen) -> None:
    run(shell, way("kill -TSTP 0; stty size; exit 3"))
    expect_stop(shell)
    resize(shell.master, 11, 222)
    run(shell, "fg")
    shell.expect(b"11 222\r\n")
    expect_end(shell, 3)


def test_whoever_called_us_stops_too(way: Way, shell: Screen, tmp_path: Path) -> None:
    inner = way("kill -TSTP 0; exit 3")
    (tmp_path / "script").write_text(f"echo $$ >pid\n{inner}\nexit $?\n")
    run(shell, "sh script")
    expect_stop(shell)
    assert is_stopped(int((tmp_path / "pid").read_text()))
    run(shell, "fg")
    expect_end(shell, 3)


def test_from_the_front_to_the_background(way: Way, shell: Screen, gate: Gate) -> None:
    """There it goes on, and waits as soon as it wants to read."""
    run(shell, way(f"read go <gate; echo we''nt; {READ}"))
    gate.wait()
    stop(shell)
    run(shell, "bg")
    gate.open()
    shell.expect(b"went")
    expect_job(shell, b"Stopped (tty input)")
    bring_forward(shell)
    answer(shell)
    expect_end(shell, 3)


UNKNOWN = "trap 'echo >hung-up; exit' HUP; echo $$ >mark; read go <gate; read line"


def expect_hang_up(directory: Path) -> None:
    """Nobody would ever bring it forward: the tool gets what the kernel has for such."""
    wait_for("the signal", (directory / "hung-up").exists)
    tool = int((directory / "mark").read_text())
    wait_for("the tool's end", lambda: stat_of(tool) is None)


def test_a_job_that_no_shell_knows_of(
    way: Way, shell: Screen, gate: Gate, before: Gate, tmp_path: Path
) -> None:
    run(shell, f"({{ read go <before; {way(UNKNOWN)} </dev/tty >/dev/tty 2>&1; }} &)")
    shell.expect(b"next>")
    before.open()
    gate.open()
    expect_hang_up(tmp_path)


def test_a_job_whose_shell_forgets_it(
    way: Way, shell: Screen, gate: Gate, before: Gate, tmp_path: Path
) -> None:
    """It began in front, and no signal says that it is there no more."""
    run(shell, f"({way(UNKNOWN)} </dev/tty >/dev/tty 2>&1 & read go <before)")
    gate.wait()
    wait_for("raw mode", shell.is_raw)
    before.open()
    shell.expect(b"next>")
    tool = int((tmp_path / "mark").read_text())
    wait_for("the tool's place", lambda: foreground_of(tool) != tool)
    gate.open()
    expect_hang_up(tmp_path)


def test_a_stop_that_cannot_be_refused(way: Way, tmp_path: Path) -> None:
    """Whoever stopped us may have left the terminal as we had it."""
    argv = shlex.split(way("echo ready; read line; exit 4"))
    with contextlib.closing(Screen(argv, way.environment)) as shown:
        shown.expect(b"ready")
        wait_for("raw mode", shown.is_raw)
        os.kill(shown.pid, signal.SIGSTOP)
        wait_for("a stop", lambda: is_stopped(shown.pid))
        os.kill(shown.pid, signal.SIGCONT)
        shown.type(b"x\r")
        assert shown.wait() == 4
        shown.expect_modes_back()


@pytest.mark.parametrize("last", ["first", "second"])
def test_two_at_once_on_one_terminal(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """Whichever ends last, the modes are those from before the first."""
    monkeypatch.chdir(tmp_path)
    first, second = (
        way(f"echo {name} began; until test -e {name}; do sleep 0.02; done")
        for name in ("first", "second")
    )
    script = f"exec 3<&0; {first} <&3 & {second} <&3 & wait"
    with contextlib.closing(Screen(["sh", "-c", script], way.environment)) as shown:
        text = b""
        while text.count(b"began") < 2:
            text += shown.expect(b"began") + b"began"
        for name in ("second", "first") if last == "first" else ("first", "second"):
            (tmp_path / name).touch()
        assert shown.wait() == 0
        shown.expect_modes_back()


def test_a_terminal_that_is_gone_ends_the_tool(way: Way, tmp_path: Path) -> None:
    """Also when nobody tells us: we are to ignore that."""
    mark = tmp_path / "mark"
    script = f"trap '' HUP; exec {way(f'echo $$ >{mark}; echo ready; exec sleep 1000')}"
    with contextlib.closing(Screen(["sh", "-c", script], way.environment)) as shown:
        shown.expect(b"ready")
        wait_for("raw mode", shown.is_raw)
        shown.hang_up()
        tool = int(mark.read_text())
        wait_for("the tool's end", lambda: stat_of(tool) is None)
