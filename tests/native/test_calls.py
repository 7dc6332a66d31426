"""What reaches a tool, and what comes back."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aifo_tasks.toolexec import launcher
from tests.native.running import Init

STRINGS = [sys.executable, "-c", "import os, sys; print([os.fsencode(a) for a in sys.argv[1:]])"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="none"),
        pytest.param([b"", b"", b"x", b""], id="empty"),
        pytest.param([bytes(range(1, 256))], id="every byte but NUL"),
        pytest.param([b"a b", b"$(x)", b"`", b"'\"", b"\n", b"-n", b"--"], id="a shell's"),
        pytest.param(["é=ü".encode(), b"\xff\xfe"], id="text and none"),
    ],
)
def test_arguments_arrive_as_they_are(init: Init, arguments: list[bytes]) -> None:
    status, output = init.run(*STRINGS, *arguments)
    assert (status, output.decode().strip()) == (0, repr(arguments))


def test_text_arguments_are_bytes_of_the_file_system(init: Init) -> None:
    text = os.fsdecode(b"\xff\xc3\xa9")
    assert init.run("printf", "%s", text) == (0, os.fsencode(text))


@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(1, 131_071, id="the longest argument"),
        pytest.param(5000, 20, id="5000 arguments"),
        pytest.param(15, 128_000, id="near the kernel's limit"),
    ],
)
def test_large_argument_lists(init: Init, count: int, size: int) -> None:
    arguments = [f"{n:08}".ljust(size, "x") for n in range(count)]
    expected = hashlib.sha256("".join(arguments).encode()).hexdigest()
    tool = "import hashlib, sys; print(hashlib.sha256(''.join(sys.argv[1:]).encode()).hexdigest())"
    assert init.run(sys.executable, "-c", tool, *arguments) == (0, f"{expected}\n".encode())


@pytest.mark.parametrize(
    ("count", "size"), [(1, 131_072), (300, 128_000), ((1 << 20) + 1, 1)], ids=str
)
def test_more_than_the_kernel_takes_is_a_clear_failure(init: Init, count: int, size: int) -> None:
    if count * size > 16_000_000:
        count = 120
    status, output = init.run("true", *["x" * size] * count)
    assert (status, output) == (126, b"true: argument list too long\n")


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_exit_status(init: Init, status: int) -> None:
    assert init.run("sh", "-c", f"exit {status}") == (status, b"")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT])
def test_death_by_a_signal(init: Init, number: int) -> None:
    assert init.run("sh", "-c", f"kill -{int(number)} $$") == (128 + number, b"")


def test_environment_is_inits_own_with_the_calls_on_top(start: Callable[..., Init]) -> None:
    own = {"PATH": os.environ["PATH"], "KEPT": "1", "CHANGED": "old", "LONG": "2", "LO": "3"}
    init = start(environment=own)
    status, output = init.run("env", CHANGED="new=er", ADDED="ü", LON="4")
    found = dict(line.split("=", 1) for line in output.decode().splitlines())
    assert status == 0
    assert found == init.environment | {"CHANGED": "new=er", "ADDED": "ü", "LON": "4"}


def test_working_directory(init: Init, tmp_path: Path) -> None:
    odd = tmp_path / "a b\nc"
    odd.mkdir()
    assert init.run("sh", "-c", 'printf %s "$(pwd -P)"', cwd=str(odd)) == (0, str(odd).encode())


def test_a_missing_working_directory_is_said(init: Init) -> None:
    status, output = init.run("true", cwd="/nonesuch")
    assert (status, output) == (
        126,
        b"true: cannot change to /nonesuch: no such file or directory\n",
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Two directories, one and two, with programs that a PATH may find."""
    for name, mode, text in [
        ("one/blocked", 0o644, "#!/bin/sh\necho wrong\n"),
        ("two/blocked", 0o755, "#!/bin/sh\necho found\n"),
        ("one/unusable", 0o644, "#!/bin/sh\n"),
        ("one/plain", 0o755, 'echo "plain $0 $1"\n'),
        ("one/orphan", 0o755, "#!/nonesuch/interpreter\n"),
    ]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    (tmp_path / "one/directory").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["blocked"], (0, "found\n")),
        (["unusable"], (126, "unusable: permission denied\n")),
        (["directory"], (126, "directory: permission denied\n")),
        (["nonesuch"], (127, "nonesuch: not found\n")),
        (["orphan"], (127, "orphan: not found\n")),
        ([""], (127, ": not found\n")),
        (["plain", "x"], (0, "plain {top}/one/plain x\n")),
        (["one/plain", "y"], (0, "plain one/plain y\n")),
        (["./plain"], (127, "./plain: not found\n")),
        (["/etc/passwd"], (126, "/etc/passwd: permission denied\n")),
    ],
)
def test_programs_are_found_as_a_shell_finds_them(
    init: Init, programs: Path, argv: list[str], expected: tuple[int, str]
) -> None:
    path = f"{programs}/one:/nonesuch:{programs}/two:/etc/passwd:/bin:/usr/bin"
    status, output = init.run(*argv, cwd=str(programs), PATH=path)
    assert (status, output.decode()) == (expected[0], expected[1].format(top=programs))


@pytest.mark.parametrize("path", ["", ":/bin", "/bin:", "/bin::/usr/bin"])
def test_an_empty_part_of_the_path_is_the_working_directory(
    init: Init, programs: Path, path: str
) -> None:
    status, output = init.run("plain", "z", cwd=str(programs / "one"), PATH=path)
    assert (status, output) == (0, b"plain plain z\n")


def test_a_binary_stream_comes_back_whole_with_stderr_apart(init: Init, tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    source, target, errors = (tmp_path / name for name in ("in", "out", "err"))
    source.write_bytes(os.urandom(1024 * 1024) * 64)
    argv = init.attach_argv("sh", "-c", "echo beside >&2; cat; exit 5")
    with target.open("wb") as out, errors.open("wb") as err:
        feeder = subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE)
        done = subprocess.run(argv, stdin=feeder.stdout, stdout=out, stderr=err, check=False)
        assert feeder.stdout is not None
        feeder.stdout.close()
        feeder.wait()
    assert (done.returncode, errors.read_bytes()) == (5, b"beside\n")
    assert target.stat().st_size == size
    assert hashlib.sha256(target.read_bytes()).digest() == (
        hashlib.sha256(source.read_bytes()).digest()
    )


def test_captured_output_is_whole_and_in_order(init: Init) -> None:
    lines = "for n in $(seq 20000); do echo $n; echo e$n >&2; done"
    expected = "".join(f"{n}\ne{n}\n" for n in range(1, 20001))
    assert init.run("sh", "-c", lines) == (0, expected.encode())


def test_captured_input(init: Init, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        assert init.run("cat", stdin=file.fileno()) == (0, b"content")
    assert init.run("cat") == (0, b"")


INHERITED = """
import os, signal, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print([status[name].strip() for name in ("SigBlk", "SigIgn", "SigCgt")])
print(sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")))
print(os.getpid() == os.getsid(0) == os.getpgrp(), oct(os.umask(0)))
"""


DISORDER = """
import os, signal, sys
for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
os.dup2(os.open("/", os.O_RDONLY), 57)
os.umask(0o027)
os.close(0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_tool_inherits_nothing_but_what_it_should(start: Callable[..., Init]) -> None:
    init = start(prefix=[sys.executable, "-c", DISORDER])
    status, output = init.run(sys.executable, "-I", "-S", "-c", INHERITED)
    assert status == 0
    # an interpreter ignores PIPE and XFSZ, and catches INT
    blocked, ignored, caught = "0" * 16, f"{1 << 12 | 1 << 24:016x}", f"{1 << 1:016x}"
    assert output.decode().splitlines() == [
        str([blocked, ignored, caught]),
        "[0, 1, 2]",
        "True 0o27",
    ]


def test_no_descriptor_stays_behind(init: Init) -> None:
    before = len(os.listdir(f"/proc/{init.pid}/fd"))
    for _ in range(20):
        assert init.run("true") == (0, b"")
    init.expect_nothing_left()
    assert len(os.listdir(f"/proc/{init.pid}/fd")) == before


def test_many_calls_at_once(init: Init) -> None:
    """All of them run at the same time: each waits for the last one."""
    count = 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    read, write = os.pipe()
    running = threading.Semaphore(0)

    def one(n: int) -> tuple[int, bytes]:
        output: list[bytes] = []

        def note(data: bytes) -> None:
            if not output:
                running.release()
            output.append(data)

        status = launcher.capture(
            init.greeted(),
            launcher.Call(argv=["sh", "-c", f"echo {n}; read _; exit {n % 100}"], cwd="/"),
            stdin=read,
            on_output=note,
        )
        return status, b"".join(output)

    with ThreadPoolExecutor(count) as pool:
        results = [pool.submit(one, n) for n in range(count)]
        for _ in range(count):
            assert running.acquire(timeout=120)
        os.close(write)
        found = [result.result() for result in results]
    os.close(read)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [(n % 100, f"{n}\n".encode()) for n in range(count)]
    init.expect_nothing_left()


def test_background_processes_of_a_tool_that_ended_stay(init: Init) -> None:
    status, output = init.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
    assert status == 0
    assert int(output) in init.left()
