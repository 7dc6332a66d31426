"""A real C project, Lua from Debian's archive, built by make: through shims and inside."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import launcher
from benchmarks.measure import Ratio, Report, Subject, interleaved
from benchmarks.project import Place
from benchmarks.shims import Bench, Transport

SOURCE = "http://deb.debian.org/debian/pool/main/l/lua5.4/lua5.4_5.4.4.orig.tar.gz"
SHA256 = "164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61"
WORDS = ("-j2", "generic")
PROGRAMS = ("lua", "luac")


def compare(bench: Bench, report: Report) -> None:
    """make here, whose compiler and archiver are shims, beside the same make in there.

    Raises AifoError when there is no make here, or the sources cannot be had.
    """
    program = shutil.which("make")
    if program is None:
        raise AifoError("make", "is not here", hint="apt-get install make")
    source = _source()
    inside = _inside(bench.place, source)
    shims = [_here(bench, transport, program, source) for transport in bench.transports]
    interleaved([inside, *shims], max(1, bench.arguments.rounds // 4))
    report.subjects += [inside, *shims]
    report.ratios += [
        Ratio(
            name=f"{shim.name} / inside", sense="at most", subject=shim.median,
            anchor=inside.median, target=1.05 if transport.passes else None,
        )
        for shim, transport in zip(shims, bench.transports, strict=True)
    ]  # fmt: skip


def _inside(place: Place, source: Path) -> Subject:
    directory = place.project / "lua"
    request = launcher.Call(argv=["make", *WORDS], cwd="/workspace/lua")

    def run() -> None:
        said: list[bytes] = []
        status = launcher.capture(launcher.connect(place.peer), request, on_output=said.append)
        _check(status, b"".join(said), directory)

    name = "make -j2, inside the container"
    return Subject(name=name, before=lambda: _lay_out(source, directory), run=run)


def _here(bench: Bench, transport: Transport, program: str, source: Path) -> Subject:
    directory = transport.project / "lua"
    path = f"{bench.shims}{os.pathsep}{os.environ['PATH']}"

    def run() -> None:
        done = subprocess.run(
            [program, *WORDS], cwd=directory, env={**transport.environment, "PATH": path},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        _check(done.returncode, done.stdout, directory)

    name = f"make -j2, {transport.name}"
    return Subject(name=name, before=lambda: _lay_out(source, directory), run=run)


def _source() -> Path:
    """The archive, fetched once; AifoError when it cannot be had, or is another one."""
    path = files.cache_dir() / "benchmarks" / SOURCE.rpartition("/")[2]
    if not path.is_file():
        files.make_directory(path.parent)
        try:
            with urllib.request.urlopen(SOURCE, timeout=60) as answer:
                content: bytes = answer.read()
        except OSError as error:
            raise AifoError(SOURCE, f"cannot be fetched: {error}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256:
            raise AifoError(SOURCE, f"expected the SHA-256 {SHA256}, found {found}")
        files.write_quietly(path, content)
    return path


def _lay_out(source: Path, directory: Path) -> None:
    """The sources as they came, whatever was there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    subprocess.run(
        ["tar", "-xf", source, "--no-same-owner", "--strip-components=2", "--wildcards", "*/src"],
        cwd=directory, check=True,
    )  # fmt: skip


def _check(status: int, said: bytes, directory: Path) -> None:
    assert status == 0, said
    for name in PROGRAMS:
        assert (directory / name).is_file(), name
