"""The native init and shim: found in the wheel, or compiled once and kept by content."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from aifo_tasks import files, log, process
from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

Architecture = Literal["amd64", "arm64"]
System = Literal["linux", "macos"]

_FLAGS = (
    "-std=c11", "-O2", "-s", "-fno-sanitize=all", "-ffunction-sections", "-fdata-sections",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
)  # fmt: skip
"""Not -Os: the compiler's library then copies memory byte by byte."""
_SYSTEM_FLAGS: Mapping[System, tuple[str, ...]] = {
    "linux": ("-D_GNU_SOURCE", "-static", "-Wl,--gc-sections"),
    "macos": ("-Wl,-dead_strip",),
}
_TARGETS: Mapping[tuple[System, Architecture], str] = {
    ("linux", "amd64"): "x86_64-linux-musl",
    ("linux", "arm64"): "aarch64-linux-musl",
    ("macos", "amd64"): "x86_64-macos",
    ("macos", "arm64"): "aarch64-macos",
}
_MACHINES: Mapping[str, Architecture] = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One of our native programs: its name and its C files in the shim directory."""

    name: str
    sources: tuple[str, ...]


INIT = Program(
    name="aifo-init",
    sources=(
        "init.c", "callers.c", "serve.c", "monitor.c", "tool.c", "tree.c",
        "workspace.c", "carry.c", "carried.c", "reach.c", "ends.c", "outbox.c", "flow.c",
        "frame.c", "io.c", "die.c",
    ),
)  # fmt: skip
SHIM = Program(
    name="aifo-shim",
    sources=(
        "shim.c", "proxy.c", "request.c", "link.c", "answer.c", "streams.c", "flow.c",
        "relay.c", "job.c", "signals.c", "screen.c", "local.c", "assign.c", "http.c", "frame.c",
        "io.c", "die.c",
    ),
)  # fmt: skip


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
    return _binary(INIT, "linux", architecture or host_architecture())


def shim_binary(architecture: Architecture | None = None, *, system: System | None = None) -> Path:
    """The shim for a system and architecture, this machine's unless given; as init_binary.

    Static on Linux; on macOS it reaches its proxy over TCP.
    """
    return _binary(SHIM, system or host_system(), architecture or host_architecture())


def programs(tools: Iterable[str] = ()) -> Path:
    """The directory that a container has at /opt/aifo/bin: init, the shim, and a link to it for
    each tool; made once and kept by content."""
    init, shim = init_binary(), shim_binary(system="linux")
    names = sorted(set(tools))
    top = files.cache_dir() / "native" / files.digest(_identity(init), _identity(shim), *names)
    files.make_directory(top)
    with contextlib.ExitStack() as stack:
        if not log.is_dry_run():
            stack.enter_context(files.locked(top / "lock"))
        shim_links(top / "bin", names, binary=shim)
        _install(init, top / "bin" / INIT.name)
    return top / "bin"


def shims_by_architecture(architectures: Iterable[str]) -> Path:
    """A directory that holds the Linux shim for each architecture as ``<architecture>/aifo-shim``;
    made once and kept by content."""
    found = {name: shim_binary(architecture_of(name), system="linux") for name in architectures}
    parts = [part for name in sorted(found) for part in (name, _identity(found[name]))]
    top = files.cache_dir() / "native" / files.digest("shims", *parts)
    for name, binary in found.items():
        files.make_directory(top / name)
        _install(binary, top / name / SHIM.name)
    return top


def shim_links(directory: Path, tools: Iterable[str], *, binary: Path | None = None) -> None:
    """Lay out a shim, this machine's unless given, in a directory, and a link to it for each tool.

    Links of tools that are no longer named go. Raises AifoError for a file of a tool's name
    that is no link of ours; then nothing is changed.
    """
    binary = binary or shim_binary()
    wanted = sorted(set(tools) - {SHIM.name})
    foreign = [name for name in wanted if not _is_replaceable(directory / name)]
    if foreign:
        raise AifoError(
            str(directory / foreign[0]), "is there already and is not a link to the shim",
            hint="doit shims DIR=<a directory of its own>",
        )  # fmt: skip
    files.make_directory(directory, mode=0o755)
    _install(binary, directory / SHIM.name)
    for name in wanted:
        link = directory / name
        if not link.is_symlink() and log.command(f"ln -s {SHIM.name} {shlex.quote(str(link))}"):
            link.symlink_to(SHIM.name)
    for link in sorted(directory.iterdir()) if directory.is_dir() else []:
        is_left = link.is_symlink() and os.readlink(link) == SHIM.name and link.name not in wanted
        if is_left and log.command(f"rm -f {shlex.quote(str(link))}"):
            link.unlink(missing_ok=True)


def host_system() -> System:
    """This machine's; AifoError for one that the programs are not made for."""
    systems: Mapping[str, System] = {"Linux": "linux", "Darwin": "macos"}
    name = os.uname().sysname
    if name not in systems:
        raise AifoError(SHIM.name, f"cannot be built for {name}")
    return systems[name]


def host_architecture() -> Architecture:
    """This machine's, which is also a local engine's."""
    return architecture_of(os.uname().machine)


def architecture_of(machine: str) -> Architecture:
    """An engine's name for what the kernel calls a machine; AifoError for others."""
    try:
        return _MACHINES[machine.lower()]
    except KeyError:
        raise AifoError("aifo-init", f"cannot be built for {machine}") from None


def zig(architecture: Architecture, system: System = "linux") -> Compiler | None:
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
        argv=(sys.executable, "-m", "ziglang", "cc", "-target", _TARGETS[system, architecture]),
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


def build(
    compiler: Compiler,
    architecture: Architecture,
    program: Program = INIT,
    system: System = "linux",
) -> Path:
    """Compile a program with this compiler unless the result is there; returns its path."""
    shim = files.resource("shim")
    content = [path.read_bytes() for path in (*_paths(program), *sorted(shim.glob("*.h")))]
    flags = (*_FLAGS, *_SYSTEM_FLAGS[system])
    settings = "\0".join([program.name, *compiler.argv, *flags, architecture, compiler.identity])
    directory = files.cache_dir() / "native" / files.digest(settings, *content)
    target = directory / program.name
    if target.is_file():
        return target
    files.make_directory(directory)
    argv = [*compiler.argv, *flags, "-o"]
    sources = [str(path) for path in _paths(program)]
    if log.command(_shell_text(compiler, [*argv, str(target), *sources])):
        waiting = "waiting for another process that compiles it"
        with files.locked(directory / "lock", on_wait=lambda: log.step(program.name, waiting)):
            if not target.is_file():
                _say(compiler, architecture, program.name)
                unfinished = target.with_suffix(".new")
                process.run([*argv, str(unfinished), *sources], environment=compiler.environment)
                os.replace(unfinished, target)
    return target


def _binary(program: Program, system: System, architecture: Architecture) -> Path:
    folder = architecture if system == "linux" else f"{system}-{architecture}"
    prebuilt = files.resource("shim") / "bin" / folder / program.name
    if prebuilt.is_file():
        return prebuilt
    compiler = zig(architecture, system)
    if compiler is None and (system, architecture) == (host_system(), host_architecture()):
        compiler = system_compiler()
    if compiler is None:
        raise AifoError(
            program.name, f"there is no C compiler for {system} on {architecture} here",
            hint=f"{shlex.quote(sys.executable)} -m pip install ziglang",
        )  # fmt: skip
    return build(compiler, architecture, program, system)


def _say(compiler: Compiler, architecture: Architecture, name: str) -> None:
    once = "once; a C library comes first" if compiler.name == "ziglang" else "once"
    log.step(name, f"compiling for {architecture} with {compiler.name} ({once})")


def _is_replaceable(path: Path) -> bool:
    """True for nothing, and for a link to the shim beside it."""
    if path.is_symlink():
        return os.readlink(path) == SHIM.name
    return not path.exists()


def _install(binary: Path, target: Path) -> None:
    """Copy a program, unless it is there."""
    if not _has_content_of(target, binary) and log.command(
        f"install -m 755 {shlex.quote(str(binary))} {shlex.quote(str(target))}"
    ):
        files.write_quietly(target, binary.read_bytes(), mode=0o755)


def _identity(binary: Path) -> bytes:
    """A program's content; in a dry run that has not compiled it the place it would have."""
    return binary.read_bytes() if binary.is_file() else str(binary).encode()


def _has_content_of(path: Path, source: Path) -> bool:
    try:
        return path.read_bytes() == source.read_bytes()
    except OSError:
        return False


def _paths(program: Program) -> list[Path]:
    return [files.resource("shim") / name for name in program.sources]


def _shell_text(compiler: Compiler, argv: list[str]) -> str:
    assignments = [f"{name}={shlex.quote(value)}" for name, value in compiler.environment.items()]
    return " ".join([*assignments, shlex.join(argv)])
