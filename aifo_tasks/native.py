"""The native init: found in the wheel, or compiled once and kept by content."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from aifo_tasks import files, log, process
from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

Architecture = Literal["amd64", "arm64"]

_SOURCES = (
    "init.c", "serve.c", "monitor.c", "tool.c", "tree.c", "frame.c", "io.c", "die.c",
)  # fmt: skip
_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-Os", "-static", "-s", "-fno-sanitize=all")
_TARGETS: Mapping[Architecture, str] = {
    "amd64": "x86_64-linux-musl",
    "arm64": "aarch64-linux-musl",
}
_MACHINES: Mapping[str, Architecture] = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A C compiler: how it is called, and its program file, whose change is a new compiler.

    ``environment`` goes along; ``name`` is for messages.
    """

    name: str
    argv: tuple[str, ...]
    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Differs when the program does; found without starting it."""
        status = self.program.stat()
        return f"{self.program.resolve()} {status.st_size} {status.st_mtime_ns}"


def init_binary(architecture: Architecture | None = None) -> Path:
    """The static init for an architecture, this machine's unless given; compiled if needed.

    In a dry run the commands are printed and the path is where the file would be. Raises
    AifoError when there is no compiler for it, ProcessError when compiling fails.
    """
    wanted = architecture or host_architecture()
    prebuilt = files.resource("shim") / "bin" / wanted / "aifo-init"
    if prebuilt.is_file():
        return prebuilt
    compiler = zig(wanted)
    if compiler is None and wanted == host_architecture():
        compiler = system_compiler()
    if compiler is None:
        raise AifoError(
            "aifo-init", f"there is no C compiler for {wanted} here",
            hint=f"{shlex.quote(sys.executable)} -m pip install ziglang",
        )  # fmt: skip
    return build(compiler, wanted)


def host_architecture() -> Architecture:
    """This machine's, which is also a local engine's."""
    return architecture_of(os.uname().machine)


def architecture_of(machine: str) -> Architecture:
    """An engine's name for what the kernel calls a machine; AifoError for others."""
    try:
        return _MACHINES[machine.lower()]
    except KeyError:
        raise AifoError("aifo-init", f"cannot be built for {machine}") from None


def zig(architecture: Architecture) -> Compiler | None:
    """The ziglang package's compiler, which needs nothing else for any architecture."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).parent / ("zig.exe" if os.name == "nt" else "zig")
    if not program.is_file():
        return None
    cache = str(files.cache_dir() / "zig")
    variables = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    return Compiler(
        name="ziglang",
        argv=(sys.executable, "-m", "ziglang", "cc", "-target", _TARGETS[architecture]),
        program=program,
        environment={name: cache for name in variables if name not in os.environ},
    )


def system_compiler() -> Compiler | None:
    """The first C compiler on the PATH, ``$CC`` before all others."""
    own = shlex.split(os.environ.get("CC", ""))
    for argv in ([own] if own else []) + [["musl-gcc"], ["gcc"], ["clang"], ["cc"]]:
        program = shutil.which(argv[0])
        if program is not None:
            return Compiler(name=argv[0], argv=tuple(argv), program=Path(program))
    return None


def build(compiler: Compiler, architecture: Architecture) -> Path:
    """Compile init with this compiler unless the result is there; returns its path."""
    shim = files.resource("shim")
    content = [path.read_bytes() for path in (*_paths(shim), *sorted(shim.glob("*.h")))]
    settings = "\0".join([*compiler.argv, *_FLAGS, architecture, compiler.identity])
    directory = files.cache_dir() / "native" / files.digest(settings, *content)
    target = directory / "aifo-init"
    if target.is_file():
        return target
    files.make_directory(directory)
    if log.command(_shell_text(compiler, target)):
        waiting = "waiting for another process that compiles it"
        with files.locked(directory / "lock", on_wait=lambda: log.step("aifo-init", waiting)):
            if not target.is_file():
                _compile(compiler, architecture, target)
    return target


def _compile(compiler: Compiler, architecture: Architecture, target: Path) -> None:
    once = "once; a C library comes first" if compiler.name == "ziglang" else "once"
    log.step("aifo-init", f"compiling for {architecture} with {compiler.name} ({once})")
    unfinished = target.with_suffix(".new")
    process.run(_argv(compiler, unfinished), environment=compiler.environment)
    os.replace(unfinished, target)


def _argv(compiler: Compiler, target: Path) -> list[str]:
    sources = [str(path) for path in _paths(files.resource("shim"))]
    return [*compiler.argv, *_FLAGS, "-o", str(target), *sources]


def _paths(shim: Path) -> list[Path]:
    return [shim / name for name in _SOURCES]


def _shell_text(compiler: Compiler, target: Path) -> str:
    assignments = [f"{name}={shlex.quote(value)}" for name, value in compiler.environment.items()]
    return " ".join([*assignments, shlex.join(_argv(compiler, target))])
