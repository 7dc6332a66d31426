"""Finding a compiler, compiling once, and what a dry run says."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks import files, log, native
from aifo_tasks.errors import AifoError, ProcessError


class Lines:
    """A sink that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def line(self, text: str, *, style: str) -> None:
        self.said.append((style, text))

    def live(self, *texts: str) -> None:
        raise AssertionError(texts)


@pytest.fixture
def lines() -> Iterator[Lines]:
    kept = Lines()
    log.configure(sink=kept)
    yield kept
    log.configure(sink=log.PlainSink(), dry_run=False, verbose=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory that nothing was compiled into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/aifo/native"


@pytest.fixture
def gcc(tmp_path: Path) -> native.Compiler:
    """A compiler that leaves a line for each time it is called."""
    program = tmp_path / "cc"
    program.write_text(f'#!/bin/sh\necho call >> {tmp_path}/calls\nexec gcc "$@"\n')
    program.chmod(0o755)
    return native.Compiler(name="cc", argv=(str(program),), program=program)


def calls(tmp_path: Path) -> int:
    path = tmp_path / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_what_is_built_runs_everywhere_and_is_built_once(
    gcc: native.Compiler, tmp_path: Path, lines: Lines
) -> None:
    target = native.build(gcc, native.host_architecture())
    assert target.name == "aifo-init"
    assert target.stat().st_mode & stat.S_IXUSR
    done = subprocess.run([target], capture_output=True, check=False, env={})
    assert (done.returncode, done.stderr[:17]) == (2, b"aifo-init: usage:")
    assert (
        b"interpreter"
        not in subprocess.run(["readelf", "-l", target], capture_output=True, check=True).stdout
    )
    assert native.build(gcc, native.host_architecture()) == target
    assert calls(tmp_path) == 1
    assert [text for _, text in lines.said] == [
        f"aifo-init: compiling for {native.host_architecture()} with cc (once)"
    ]


def test_another_compiler_is_another_result(gcc: native.Compiler) -> None:
    first = native.build(gcc, "amd64")
    gcc.program.write_text(gcc.program.read_text() + "# a new version\n")
    assert native.build(gcc, "amd64") != first


def test_several_processes_compile_once(gcc: native.Compiler, tmp_path: Path, cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from aifo_tasks import native;"
        "name, program = sys.argv[1:];"
        "gcc = native.Compiler(name=name, argv=(program,), program=Path(program));"
        "print(native.build(gcc, 'amd64'))"
    )
    argv = [sys.executable, "-c", script, gcc.name, str(gcc.program)]
    children = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    results = {child.communicate()[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(results) == 1
    assert calls(tmp_path) == 1
    built = Path(results.pop()).parent
    assert sorted(path.name for path in built.iterdir()) == ["aifo-init", "lock"]


def test_a_failure_is_shown_and_leaves_nothing(tmp_path: Path) -> None:
    program = tmp_path / "cc"
    program.write_text("#!/bin/sh\necho 'init.c:1: it is broken' >&2\nexit 4\n")
    program.chmod(0o755)
    compiler = native.Compiler(name="cc", argv=(str(program),), program=program)
    with pytest.raises(ProcessError, match="it is broken"):
        native.build(compiler, "amd64")
    assert not list(tmp_path.glob("cache/**/aifo-init*"))


def test_a_dry_run_says_what_would_be_done_and_it_works(
    gcc: native.Compiler, lines: Lines, cache: Path, tmp_path: Path
) -> None:
    log.configure(dry_run=True)
    target = native.build(gcc, "amd64")
    assert not cache.exists()
    assert [style for style, _ in lines.said] == ["command", "command"]
    script = "\n".join(text for _, text in lines.said)
    subprocess.run(["sh", "-ec", script], check=True)
    assert os.access(target, os.X_OK)
    assert calls(tmp_path) == 1
    log.configure(dry_run=False)
    assert native.build(gcc, "amd64") == target
    assert calls(tmp_path) == 1


def test_zig_compiles_for_both_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    targets = []
    for architecture in ("amd64", "arm64"):
        compiler = native.zig(architecture)
        assert compiler is not None
        assert compiler.program.is_file()
        assert set(compiler.environment.values()) == {str(files.cache_dir() / "zig")}
        targets.append(compiler.argv[-1])
    assert targets == ["x86_64-linux-musl", "aarch64-linux-musl"]


def test_zigs_own_cache_directories_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", "/elsewhere")
    monkeypatch.delenv("ZIG_LOCAL_CACHE_DIR", raising=False)
    compiler = native.zig("amd64")
    assert compiler is not None
    assert set(compiler.environment) == {"ZIG_LOCAL_CACHE_DIR"}


@pytest.mark.parametrize(
    ("present", "variable", "expected"),
    [
        (["gcc", "cc"], "", ("gcc",)),
        (["cc"], "", ("cc",)),
        (["clang", "cc"], "", ("clang",)),
        (["musl-gcc", "gcc"], "", ("musl-gcc",)),
        (["gcc", "ccache"], "ccache gcc -pipe", ("ccache", "gcc", "-pipe")),
        (["gcc"], "nonesuch", ("gcc",)),
        ([], "", None),
    ],
)
def test_which_compiler(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    present: list[str],
    variable: str,
    expected: tuple[str, ...] | None,
) -> None:
    for name in present:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", variable)
    found = native.system_compiler()
    assert (found.argv if found else None) == expected


def test_a_dry_run_of_everything(lines: Lines, cache: Path) -> None:
    log.configure(dry_run=True)
    target = native.init_binary("arm64")
    assert target.parent.parent == cache
    assert not cache.exists()
    make, compile_ = (text for _, text in lines.said)
    assert make == f"mkdir -p -m 700 {target.parent}"
    words = shlex.split(compile_)
    assert words[words.index("-target") + 1] == "aarch64-linux-musl"
    assert words[words.index("-o") + 1] == str(target)


def test_an_unknown_machine_is_an_error() -> None:
    with pytest.raises(AifoError, match="cannot be built for riscv64"):
        native.architecture_of("riscv64")


def test_a_shim_for_each_tool(tmp_path: Path, lines: Lines) -> None:
    directory = tmp_path / "some shims"
    native.shim_links(directory, ["node", "npm", "g++"])
    names = {path.name for path in directory.iterdir()}
    assert names == {"aifo-shim", "node", "npm", "g++"}
    assert {os.readlink(directory / name) for name in names - {"aifo-shim"}} == {"aifo-shim"}
    done = subprocess.run([directory / "npm"], capture_output=True, check=False, env={})
    assert (done.returncode, done.stderr) == (
        86, b"aifo-shim: npm: no tool-exec proxy configured (AIFO_TOOLEEXEC_URL)\n"
    )  # fmt: skip
    lines.said.clear()
    log.configure(verbose=True)
    native.shim_links(directory, ["node", "npm", "g++"])
    assert lines.said == []


def test_a_container_s_programs_are_kept_by_content(lines: Lines, cache: Path) -> None:
    directory = native.programs(["npm", "node"])
    assert {path.name for path in directory.iterdir()} == {
        "aifo-init", "aifo-shim", "node", "npm"
    }  # fmt: skip
    assert (directory / "aifo-init").read_bytes() == native.init_binary().read_bytes()
    assert os.access(directory / "aifo-init", os.X_OK)
    lines.said.clear()
    log.configure(verbose=True)
    assert native.programs(["node", "npm"]) == directory
    assert lines.said == []
    log.configure(verbose=False)
    assert native.programs() != directory


def test_links_of_tools_that_are_no_longer_declared_go(tmp_path: Path) -> None:
    native.shim_links(tmp_path, ["node", "npm"])
    (tmp_path / "mine").symlink_to("elsewhere")
    native.shim_links(tmp_path, ["npm", "tsc"])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == [
        "mine", "npm", "tsc"
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["file", "link"])
def test_somebody_elses_file_stays(tmp_path: Path, how: str) -> None:
    (tmp_path / "shims").mkdir()
    if how == "file":
        (tmp_path / "shims/node").write_text("mine")
    else:
        (tmp_path / "shims/node").symlink_to("/usr/bin/true")
    with pytest.raises(AifoError, match="is there already and is not a link to the shim"):
        native.shim_links(tmp_path / "shims", ["bun", "node"])
    assert [path.name for path in (tmp_path / "shims").iterdir()] == ["node"]


def test_a_dry_run_of_shims_can_be_pasted(tmp_path: Path, lines: Lines) -> None:
    directory = tmp_path / "some shims"
    log.configure(dry_run=True)
    native.shim_links(directory, ["node"])
    assert not directory.exists()
    script = "\n".join(text for _, text in lines.said)
    subprocess.run(["sh", "-ec", script], check=True)
    log.configure(dry_run=False)
    lines.said.clear()
    native.shim_links(directory, ["node"])
    assert lines.said == []
