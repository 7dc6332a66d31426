"""Init from its start to its end: socket, stamp, idling, PID 1, docker stop."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.toolexec import frames, launcher
from tests.native.running import GENEROUS, Init, descendants, wait_for, waits

SIGQUEUEINFO = {"x86_64": 129, "aarch64": 138}[os.uname().machine]
NAMESPACE: tuple[str, ...] = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
if os.getuid() != 0:
    NAMESPACE += ("--user", "--map-root-user")


def test_the_socket_is_the_owners_alone(init: Init) -> None:
    mode = init.socket.lstat().st_mode
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o700)


def test_a_socket_that_was_left_behind_is_replaced(
    start: Callable[..., Init], short_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(short_path / "init.sock"))
    assert start().run("true") == (0, b"")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\0two\n", b"one\0two\n"),
        (b"", b""),
        (b"x" * 4096, b"x" * 4096),
        (b"x" * 4097, b""),
    ],
    ids=["bytes", "empty", "largest", "too large"],
)
def test_the_stamp_is_what_the_file_holds_now(
    start: Callable[..., Init], tmp_path: Path, content: bytes, expected: bytes
) -> None:
    path = tmp_path / "stamp"
    init = start("--stamp", str(path))
    with init.connect() as connection:
        assert launcher.greet(connection).stamp == b""
        path.write_bytes(content)
        assert launcher.greet(connection).stamp == expected
        path.unlink()
        assert launcher.greet(connection) == frames.Welcome(spec="0123abcd", stamp=b"")


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "socket", "device", "dangling"])
def test_a_stamp_that_is_no_plain_file_is_none(
    start: Callable[..., Init], tmp_path: Path, kind: str
) -> None:
    path, plain = tmp_path / "stamp", tmp_path / "plain"
    plain.write_bytes(b"secret")
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "link":
            path.symlink_to(plain)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "socket":
            listener.bind(os.path.relpath(path))
        elif kind == "device":
            path = Path("/dev/zero")
        else:
            path.symlink_to("nonesuch")
        init = start("--stamp", str(path))
        with init.connect() as connection:
            assert launcher.greet(connection).stamp == b""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--socket", "/tmp/x"],
        ["--spec", "x"],
        ["--socket", "/tmp/x", "--spec"],
        ["--socket", "/tmp/x", "--spec", "x", "--idle", "1x"],
        ["--socket", "/tmp/x", "--spec", "x", "--idle", "-1"],
        ["--socket", "/tmp/x", "--spec", "x", "--what", "y"],
    ],
    ids=" ".join,
)
def test_a_bad_command_line_is_an_error(binary: Path, arguments: list[str]) -> None:
    done = subprocess.run([binary, *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"aifo-init: usage: aifo-init --socket PATH")


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/nonesuch/s", "cannot listen: No such file"), ("/" + "x" * 108, "has at most 107 bytes")],
)
def test_an_impossible_socket_is_an_error(binary: Path, path: str, problem: str) -> None:
    argv = [str(binary), "--socket", path, "--spec", "x"]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 1
    assert problem in done.stderr.decode()


def test_idle_init_ends_and_takes_its_socket_along(start: Callable[..., Init]) -> None:
    init = start("--idle", "1")
    assert init.process.wait(GENEROUS) == 0
    assert not init.socket.exists()


@pytest.mark.parametrize("holding", ["a call", "a greeting"])
def test_nobody_idles_while_somebody_is_there(start: Callable[..., Init], holding: str) -> None:
    init = start("--idle", "1")
    connection = init.start("sleep", "1000").connection if holding == "a call" else init.greeted()
    with pytest.raises(subprocess.TimeoutExpired):
        init.process.wait(2.5)
    assert init.socket.exists()
    connection.close()
    assert init.process.wait(GENEROUS) == 0


def test_idle_zero_is_for_ever(start: Callable[..., Init]) -> None:
    init = start("--idle", "0")
    with pytest.raises(subprocess.TimeoutExpired):
        init.process.wait(1.5)
    assert init.run("true") == (0, b"")


def test_who_waits_while_init_goes_is_served(start: Callable[..., Init]) -> None:
    """Stopped, it cannot see who comes before its time is over; then both happen at once."""
    init = start("--idle", "1")
    peer = init.peer()
    os.kill(init.pid, signal.SIGSTOP)
    connection = launcher.connect(peer)
    time.sleep(1.2)
    os.kill(init.pid, signal.SIGCONT)
    assert launcher.greet(connection).spec == "0123abcd"
    output: list[bytes] = []
    call = launcher.Call(argv=["echo", "served"], cwd="/")
    assert launcher.capture(connection, call, on_output=output.append) == 0
    assert output == [b"served\n"]
    assert init.process.wait(GENEROUS) == 0


def test_retired_it_ends_with_its_last_call(start: Callable[..., Init]) -> None:
    init = start()
    call = init.start("sh", "-c", "read _; exit 3", stdin=(pipe := os.pipe())[0])
    os.close(pipe[0])
    launcher.retire(init.peer())
    wait_for("the socket's end", lambda: not init.socket.exists())
    assert init.process.poll() is None
    os.close(pipe[1])
    assert call.end().status == 3
    assert init.process.wait(GENEROUS) == 0


def test_term_ends_what_runs_and_says_how(start: Callable[..., Init]) -> None:
    init = start()
    call = init.start("sleep", "1000")
    os.kill(init.pid, signal.SIGTERM)
    assert call.end().status == 143
    assert init.process.wait(GENEROUS) == 0
    assert not init.socket.exists()


def test_term_ends_early_when_nothing_runs(start: Callable[..., Init]) -> None:
    init = start()
    os.kill(init.pid, signal.SIGTERM)
    assert init.process.wait(0.6) == 0  # killing begins later than that


def test_term_kills_what_does_not_listen(start: Callable[..., Init], tmp_path: Path) -> None:
    init = start()
    mark = tmp_path / "mark"
    script = f"trap '' TERM INT; echo ready > {mark}; while :; do sleep 1000; done"
    call = init.start("sh", "-c", script)
    wait_for("the tool", lambda: mark.exists() and mark.read_text())
    below = init.left()
    os.kill(init.pid, signal.SIGTERM)
    assert call.end().status == 137
    assert init.process.wait(GENEROUS) == 0
    wait_for("their end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def test_as_pid_1_nothing_inside_can_end_it(start: Callable[..., Init]) -> None:
    """Neither with kill, nor with a message that claims to have no sender, nor as a tracer."""
    init = start(prefix=NAMESPACE)
    forged = struct.pack("iiii112x", signal.SIGTERM, 0, -1, 0).hex()
    script = (
        "import ctypes, os, signal\n"
        "libc = ctypes.CDLL(None)\n"
        "for n in range(1, 65):\n"
        "    libc.kill(1, n)\n"
        f"forged = bytes.fromhex('{forged}')\n"
        f"print(libc.syscall({SIGQUEUEINFO}, 1, 15, forged))\n"
        f"print(libc.syscall({SIGQUEUEINFO}, 1, 1, forged))\n"
    )
    assert init.run(sys.executable, "-c", script) == (0, b"0\n0\n")
    assert init.run("sh", "-c", "echo $PPID > /dev/null; kill -9 1; echo lives") == (0, b"lives\n")
    with pytest.raises(subprocess.TimeoutExpired):
        init.process.wait(1.5)


def test_as_pid_1_it_reaps_orphans(start: Callable[..., Init]) -> None:
    init = start(prefix=NAMESPACE)
    assert init.run("sh", "-c", "sleep 0.2 & sleep 0.3 &")[0] == 0
    init.expect_nothing_left()


def test_as_pid_1_term_from_outside_ends_everything(start: Callable[..., Init]) -> None:
    init = start(prefix=NAMESPACE)
    assert init.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")[0] == 0
    below = init.left()
    assert below
    os.kill(init.pid, signal.SIGTERM)
    init.process.wait(GENEROUS)
    assert not any(Path(f"/proc/{pid}").exists() for pid in below)


def test_it_is_not_dumpable(init: Init) -> None:
    """The kernel shows that by who owns its entries in /proc: root, for another user's."""
    if os.getuid() == 0:
        script = f"cat /proc/{init.pid}/environ > /dev/null"
        done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
        assert done.returncode == 0  # root may, which says that the file is there
    argv = [sys.executable, "-c", f"import os; print(os.stat('/proc/{init.pid}/environ').st_uid)"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"0\n"


@pytest.fixture
def link(init: Init, tmp_path: Path) -> Path:
    path = tmp_path / "link.sock"
    path.symlink_to(init.socket)
    return path


def test_a_link_to_the_socket_is_not_followed(init: Init, link: Path) -> None:
    peer = launcher.Peer(socket=link, pid=init.pid, start_time=init.peer().start_time)
    with pytest.raises(launcher.UnreachableError, match="is not a socket") as caught:
        launcher.connect(peer)
    assert caught.value.reason == "impostor"


def test_a_strangers_socket_is_told_nothing(short_path: Path) -> None:
    """A tool that puts its own socket in the place of init's sees a caller go away."""
    path = short_path / "init.sock"
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(path))
        impostor.listen()
        peer = launcher.Peer(socket=path, pid=os.getppid(), start_time=1)
        with pytest.raises(launcher.UnreachableError, match="listens there") as caught:
            launcher.connect(peer)
        assert caught.value.reason == "impostor"
        connection, _ = impostor.accept()
        with connection:
            assert connection.recv(100) == b""


def test_the_same_pid_of_another_time_is_a_stranger(init: Init) -> None:
    peer = launcher.Peer(socket=init.socket, pid=init.pid, start_time=init.peer().start_time - 1)
    with pytest.raises(launcher.UnreachableError) as caught:
        launcher.connect(peer)
    assert caught.value.reason == "impostor"


@pytest.mark.parametrize("what", ["nothing", "a file", "a dead socket"])
def test_nobody_there(short_path: Path, what: str) -> None:
    path = short_path / "init.sock"
    if what == "a file":
        path.write_bytes(b"")
    elif what == "a dead socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(launcher.UnreachableError) as caught:
        launcher.connect(launcher.Peer(socket=path, pid=os.getpid(), start_time=1))
    assert caught.value.reason == ("impostor" if what == "a file" else "absent")


def test_start_time_of_nobody() -> None:
    with pytest.raises(launcher.UnreachableError, match="is not running"):
        launcher.start_time(2**22 + 1)


def test_who_waits_for_the_next_caller_can_be_killed(init: Init) -> None:
    """A tool may do that, it shares init's uid; another one waits then."""

    def waiting() -> list[int]:
        return [pid for pid in descendants(init.pid) if waits(pid)]

    for _ in range(3):
        (first,) = wait_for("somebody who waits", waiting)
        os.kill(first, signal.SIGKILL)
        assert init.run("true") == (0, b"")
        wait_for("its end", lambda: first not in waiting())  # noqa: B023  # called before the next
