"""Shims, the proxy and a sidecar together: a tool of the sidecar as if it were here."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.project import Project, eventually
from tests.integration.proxied import PATIENCE, Proxy, running

MEBIBYTES = 64
SIZES = f"const b = Buffer.alloc(1048576, 'x'); for (let i = 0; i < {MEBIBYTES}; i++)"


@pytest.fixture(scope="module", params=["descriptors", "frames", "tcp"])
def proxy(warm: Project, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy for each way in which streams go."""
    transport = "tcp" if request.param == "tcp" else "unix"
    with running(warm, f"TRANSPORT={transport}") as found:
        yield found


@pytest.fixture
def shell(
    warm: Project, proxy: Proxy, request: pytest.FixtureRequest, tmp_path: Path
) -> dict[str, str]:
    """A shell's environment, made of what ``doit shims`` and ``doit proxy`` print."""
    laid_out = warm.doit("run", "shims", f"DIR={tmp_path / 'shims'}", program="aifo")
    assert laid_out.returncode == 0, laid_out.stderr
    exports = laid_out.stdout.splitlines()
    (said,) = re.findall(r"a shell: (export .*)", proxy.said)
    script = "\n".join([*exports, said, "exec env -0"])
    shown = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)
    pairs = (line.partition("=") for line in shown.stdout.split("\0") if line)
    found = {name: value for name, _, value in pairs}
    if "frames" in request.node.name:
        found["AIFO_TOOLEEXEC_DESCRIPTORS"] = "0"
    return found


def sh(
    warm: Project, shell: Mapping[str, str], script: str, stdin: bytes = b""
) -> tuple[int, bytes, bytes]:
    """What a shell script does in the project's directory, tools coming from shims."""
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=shell, cwd=warm.path, input=stdin,
        capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_words_streams_and_the_status(warm: Project, shell: dict[str, str]) -> None:
    program = (
        "process.stdin.pipe(process.stdout);"
        "console.error(process.cwd(), process.argv[1]); process.exitCode = 7"
    )
    found = sh(warm, shell, f"cd src && node -e '{program}' 'é ü'", b"in\n")
    assert found == (7, b"in\n", "/workspace/src é ü\n".encode())


def test_a_pipeline_through_several(warm: Project, shell: dict[str, str]) -> None:
    upper = "process.stdin.on('data', d => process.stdout.write(String(d).toUpperCase()))"
    script = f'node -p \'"text"\' | node -e "{upper}" | cat'
    assert sh(warm, shell, script) == (0, b"TEXT\n", b"")


def test_a_large_output_is_the_same(warm: Project, shell: dict[str, str]) -> None:
    program = f"const fs = require('fs'); {SIZES} fs.writeSync(1, b)"
    status, output, _ = sh(warm, shell, f'node -e "{program}" | sha256sum')
    wanted = hashlib.sha256(b"x" * 1024 * 1024 * MEBIBYTES).hexdigest().encode()
    assert (status, output.split()[0]) == (0, wanted)


def test_a_large_input_is_the_same(warm: Project, shell: dict[str, str]) -> None:
    program = (
        "const h = require('crypto').createHash('sha256');"
        "process.stdin.pipe(h).on('finish', () => console.log(h.digest('hex')))"
    )
    data = os.urandom(8 * 1024 * 1024)
    wanted = hashlib.sha256(data).hexdigest().encode() + b"\n"
    assert sh(warm, shell, f'node -e "{program}"', data) == (0, wanted, b"")


def test_a_tool_of_no_running_sidecar(warm: Project, shell: dict[str, str]) -> None:
    status, output, errors = sh(warm, shell, "cargo build")
    assert (status, output) == (86, b"")
    assert errors.startswith(b"tool 'cargo' not available in running sidecars")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process(
    warm: Project, shell: dict[str, str], number: signal.Signals
) -> None:
    program = "console.log('ready'); setInterval(() => 0, 1000)"
    child = subprocess.Popen(
        ["/bin/sh", "-c", f'exec node -e "{program}"'], env=shell, cwd=warm.path,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        expected = -9 if number == signal.SIGKILL else 128 + number
        assert child.wait(PATIENCE) == expected
    eventually(lambda: not warm.processes())


def test_a_terminal(warm: Project, shell: dict[str, str]) -> None:
    program = "process.stdout.write(`${process.stdin.isTTY} ${process.stdout.getWindowSize()} `)"
    script = f"stty rows 33 cols 99; node -e '{program}'; stty -a | head -n 1"
    done = subprocess.run(
        ["script", "-qec", script, "/dev/null"], env=shell, cwd=warm.path,
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert b"true 99,33 " in done.stdout
    assert done.returncode == 0
