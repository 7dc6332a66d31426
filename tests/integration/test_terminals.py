"""What people run on terminals, through a shim with descriptors and over TCP, and directly."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.project import BIN, Project, docker, eventually
from tests.integration.proxied import Proxy, running
from tests.integration.screens import PROMPT, Pane, ScreensProject, Tmux
from tests.native.running import descendants


@pytest.fixture(scope="module")
def project(
    engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScreensProject]:
    """A project whose sidecars are warm."""
    project = ScreensProject(tmp_path_factory.mktemp("screens") / "project")
    try:
        for kind in ("screens", "node"):
            done = project.doit("run", f"toolchain:{kind}", "--", "true", program="aifo")
            assert done.returncode == 0, done.stderr
        yield project
    finally:
        project.stop()
        docker("image", "rm", "--force", "aifo-test-screens", check=False)


@pytest.fixture(scope="session")
def tmux() -> Iterator[Tmux]:
    with tempfile.TemporaryDirectory(prefix="aifo-t") as directory, Tmux(Path(directory)) as tmux:
        yield tmux


COMMON = {"PS1": PROMPT, "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Way:
    """How a command line reaches its tool."""

    project: Project
    environment: dict[str, str]
    proxy: Proxy | None = None

    def __call__(self, tool: str, rest: str = "") -> str:
        """A shell's words."""
        if self.proxy is not None:
            return f"{tool} {rest}"
        kind = "node" if tool == "node" else "screens"
        return f"{shlex.quote(str(BIN / 'aifo'))} run toolchain:{kind} -- {tool} {rest}"


@contextlib.contextmanager
def way_to(name: str, project: ScreensProject, shims: Path, **environment: str) -> Iterator[Way]:
    """Through a proxy of its own, or without one."""
    if name == "direct":
        yield Way(project, {**COMMON, "PATH": os.environ["PATH"]})
        return
    with running(project, *proxied(name), **environment) as proxy:
        yield through(proxy, shims)


def proxied(name: str) -> tuple[str, ...]:
    """What a proxy is told."""
    return ("TOOLCHAINS=screens,node", f"TRANSPORT={'tcp' if name == 'tcp' else 'unix'}")


def through(proxy: Proxy, shims: Path) -> Way:
    """A shell that has got what ``doit shims`` and ``doit proxy`` print."""
    laid_out = proxy.project.doit("run", "shims", f"DIR={shims}", program="aifo")
    assert laid_out.returncode == 0, laid_out.stderr
    exported = re.findall(r"(AIFO_\w+)=(\S+)", re.findall("a shell: .*", proxy.said)[0])
    path = f"{shims}:{os.environ['PATH']}"
    return Way(proxy.project, {**COMMON, **dict(exported), "PATH": path}, proxy)


@pytest.fixture(scope="module", params=["descriptors", "tcp", "direct"])
def way(
    project: ScreensProject,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    with way_to(request.param, project, tmp_path_factory.mktemp("shims")) as way:
        yield way


ALONE = pytest.mark.parametrize("way", ["direct"], indirect=True)
"""A test with a proxy of its own: a project has one at a time."""


@pytest.fixture
def pane(tmux: Tmux, way: Way) -> Iterator[Pane]:
    """A shell that never sets a terminal's modes itself."""
    pane = tmux.show(["dash", "-i"], way.environment, way.project.path)
    yield pane
    pane.close()


def forget(project: Project, name: str) -> None:
    """Remove what a tool has written."""
    (project.path / name).unlink(missing_ok=True)


def stop_and_go_on(pane: Pane) -> None:
    """The stop key, and back again when the window has another size."""
    pane.press("C-z")
    pane.expect("Stopped")
    pane.expect_prompt()
    pane.clear()
    pane.resize(100, 20)
    pane.type("fg")
    pane.press("Enter")


def test_python(pane: Pane, way: Way) -> None:
    pane.run(f"COLUMNS=33 {way('python3', '-q')}")
    pane.expect(">>>")
    pane.type("import os; 'tschü' + 'ß', os.environ['COLUMNS'], os.get_terminal_size()\n")
    pane.expect("('tschüß', '33', os.terminal_size(columns=80, lines=24))")
    pane.type("exec('print(4711 * 2)\\nwhile True: pass')\n")
    pane.expect("9422")
    pane.press("C-c")
    pane.expect("KeyboardInterrupt")
    stop_and_go_on(pane)
    pane.type("os.get_terminal_size()\n")
    pane.expect("os.terminal_size(columns=100, lines=20)")
    pane.type("exit(7)\n")
    pane.expect_status(7)


def test_node(pane: Pane, way: Way) -> None:
    pane.run(way("node"))
    pane.expect('Type ".help" for more information.\n>')
    pane.type("6 * 7 + `${process.stdout.getWindowSize()}`\n")
    pane.expect("4280,24")
    pane.type("console.log(4711 * 2); for (;;);\n")
    pane.expect("9422")
    pane.press("C-c")
    pane.expect("interrupted by `SIGINT`")
    stop_and_go_on(pane)
    pane.expect("\n>")
    pane.type("`${process.stdout.getWindowSize()}`\n")
    pane.expect("100,20")
    pane.press("C-d")
    pane.expect_status(0)


def test_less(pane: Pane, way: Way) -> None:
    pane.run(way("less", "text"))
    pane.expect("line 1 of", "line 23 of")
    pane.press("Space")
    pane.expect("line 24 of", "line 46 of")
    pane.resize(60, 11)
    pane.expect("line 24 of")
    stop_and_go_on(pane)
    pane.expect("line 24 of", "line 42 of")
    pane.type("/line 200\n")
    pane.expect("line 200 of", "line 218 of")
    pane.type("q")
    pane.expect_status(0)


def test_vim(pane: Pane, way: Way) -> None:
    forget(way.project, "written")
    pane.run(way("vim", "-n -u NONE --cmd 'set enc=utf-8' written"))
    pane.expect("~", '"written"')
    pane.type("iGrüße, 日本\n")
    pane.expect("Grüße, 日本")
    pasted = "".join(f"{n} was pasted\n" for n in range(700))
    assert len(pasted) > 10_000
    pane.paste(pasted)
    pane.expect("699 was pasted")
    pane.press("Escape")
    stop_and_go_on(pane)
    pane.expect("690 was pasted", "699 was pasted")
    pane.type(":wq\n")
    pane.expect_status(0)
    assert (way.project.path / "written").read_text() == f"Grüße, 日本\n{pasted}\n"


def test_top(pane: Pane, way: Way) -> None:
    pane.run(way("top", "-d 1"))
    pane.expect("load average", "COMMAND", "aifo-wa")
    stop_and_go_on(pane)
    pane.expect("load average", "COMMAND", "aifo-waits")  # it is wider now
    pane.type("q")
    pane.expect_status(0)


def test_a_pager_behind_a_tool(pane: Pane, way: Way) -> None:
    pane.run(f"{way('python3', 'pages.py')} | {shutil.which('less')}")
    pane.expect("piped 0.", "piped 22.")
    pane.press("Space")
    pane.expect("piped 23.", "piped 45.")
    pane.press("C-c")  # for both, as they are one job
    eventually(lambda: not way.project.processes())
    pane.type("q")
    pane.expect_prompt()


def test_streams_that_are_no_terminal(pane: Pane, way: Way) -> None:
    pane.run(way("python3", "<streams.py"))
    pane.expect("42 False False False")
    pane.expect_prompt()
    pane.run(f"{way('python3', 'double.py')} | {way('python3', 'double.py')}")
    pane.type("typoo")
    pane.press("BSpace", "Enter")
    pane.expect("givegive")
    pane.run(f"cat text | {way('less')} | tail -n 1")
    pane.expect("line 300 of the text")
    pane.expect_status(0)


def test_in_the_background(pane: Pane, way: Way) -> None:
    """There a tool may write, but neither read nor set the terminal's modes."""
    pane.run(way("python3", "double.py &"))
    pane.expect("give")
    pane.expect_stopped("tty input")
    pane.run("fg")
    pane.type("no\n")
    pane.expect("nono")
    pane.expect_status(0)
    pane.run(way("vim", "-n -u NONE text &"))
    pane.expect_stopped("tty output")
    pane.run("fg")
    pane.expect("line 1 of")
    pane.type(":q\n")
    pane.expect_status(0)


def test_going_on_in_the_background(pane: Pane, way: Way) -> None:
    forget(way.project, "go")
    pane.run(way("python3", "waits.py"))
    pane.expect("began")
    pane.press("C-z")
    pane.expect("Stopped")
    pane.run("bg")
    (way.project.path / "go").touch()
    pane.expect("went on")
    pane.press("Enter")
    pane.expect_prompt()


def test_typed_before_the_tool_reads(pane: Pane, way: Way) -> None:
    pane.run(way("python3", "-c 'import time; time.sleep(0.5); print(input() * 2)'"))
    pane.type("early\n")
    pane.expect("earlyearly")
    pane.expect_status(0)


def tool(project: Project, name: str) -> int:
    """The process of a tool of this name, once it runs."""

    def found() -> list[int]:
        roots = [docker("inspect", "-f", "{{.State.Pid}}", each) for each in project.sidecars()]
        below = {pid for root in roots for pid in descendants(int(root))}
        return [pid for pid in below if comm(pid) == name]

    eventually(found)
    (pid,) = found()
    return pid


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_killed_tool(pane: Pane, way: Way) -> None:
    pane.run(way("vim", "-n -u NONE text"))
    pane.expect("line 1 of")
    os.kill(tool(way.project, "vim"), signal.SIGKILL)
    pane.expect_status(137)


@ALONE
def test_left_alone_for_longer_than_a_client_may_stall(
    project: ScreensProject, tmux: Tmux, way: Way, tmp_path: Path
) -> None:
    """Over TCP, where a terminal's output goes through the proxy."""
    assert way.proxy is None
    with way_to("tcp", project, tmp_path, AIFO_TOOLEXEC_WRITE="1") as own:
        shown = tmux.show(["dash", "-i"], own.environment, project.path)
        shown.run(own("less", "text"))
        shown.expect("line 23 of")
        time.sleep(2)
        stop_and_go_on(shown)
        shown.expect("line 19 of")
        time.sleep(0.5)  # before it reads keys, less takes a stop for later
        shown.press("C-z")
        shown.expect_prompt()
        time.sleep(2)
        shown.run("fg")
        shown.expect("line 19 of")
        shown.type("q")
        shown.expect_status(0)
        shown.close()


def test_a_terminal_that_hangs_up(pane: Pane, way: Way) -> None:
    status = way.project.path / "status"
    forget(way.project, "status")
    command = way("python3", "-q")
    pane.run(f"sh -c 'trap : HUP; {command}; echo $? >status'")
    pane.expect(">>>")
    tool(way.project, "python3")
    pane.hang_up()
    eventually(status.exists)
    eventually(lambda: status.read_text() == "129\n")
    eventually(lambda: not way.project.processes())


def test_a_terminal_that_is_gone_for_who_ignores_it(pane: Pane, way: Way) -> None:
    pane.run(f"trap '' HUP; {way('python3', '-q')}")
    pane.expect(">>>")
    pane.hang_up()
    eventually(lambda: not way.project.processes())


@ALONE
@pytest.mark.parametrize("name", ["descriptors", "tcp"])
def test_a_killed_proxy(
    project: ScreensProject, tmux: Tmux, way: Way, tmp_path: Path, name: str
) -> None:
    assert way.proxy is None
    proxy = Proxy(project, *proxied(name))
    own = through(proxy, tmp_path)
    shown = tmux.show(["dash", "-i"], own.environment, project.path)
    shown.run(own("vim", "-n -u NONE text"))
    shown.expect("line 1 of")
    assert proxy.end(signal.SIGKILL) == -signal.SIGKILL
    shown.expect_status(125)
    shown.close()
    eventually(lambda: not project.processes())


@ALONE
@pytest.mark.parametrize("name", ["descriptors", "tcp", "direct"])
def test_a_killed_sidecar(
    project: ScreensProject, tmux: Tmux, way: Way, tmp_path: Path, name: str
) -> None:
    assert way.proxy is None
    with way_to(name, project, tmp_path) as own:
        shown = tmux.show(["dash", "-i"], own.environment, project.path)
        shown.run(own("vim", "-n -u NONE text"))
        shown.expect("line 1 of")
        (sidecar,) = (found for found in project.sidecars() if "screens" in found)
        docker("kill", sidecar)
        shown.expect_status(125)
        shown.close()
