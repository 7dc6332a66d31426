"""When the shim runs a tool right here: without a proxy, by wish, behind env."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.proxying import Proxy
from tests.native.shims import Shims


def script(directory: Path, name: str, text: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def path(alone: Shims, tmp_path: Path) -> dict[str, str]:
    """The shims' directory between two others that have a tool."""
    script(tmp_path / "before", "tool", "echo before")
    script(tmp_path / "after", "tool", 'echo "$0|$*|$AIFO_SHIM_DEPTH|$PATH"; exit 3')
    parts = [tmp_path / "before", alone.directory, tmp_path / "after", "/usr/bin", "/bin"]
    return {"PATH": ":".join(map(str, parts))}


@pytest.mark.parametrize(
    "unset", [{}, {"AIFO_TOOLEEXEC_URL": "unix:///x"}, {"AIFO_TOOLEEXEC_TOKEN": "x"}]
)
def test_without_a_proxy_the_next_on_the_path_runs(
    alone: Shims, path: dict[str, str], tmp_path: Path, unset: dict[str, str]
) -> None:
    status, output, errors = alone.run("tool", "a", "b c", environment={**path, **unset})
    rest = f"{tmp_path}/before:{tmp_path}/after:/usr/bin:/bin"
    assert (status, errors) == (3, b"")
    assert output.decode() == f"{tmp_path}/after/tool|a b c|1|{rest}\n"


def test_without_a_proxy_and_without_a_tool(alone: Shims, path: dict[str, str]) -> None:
    text = b"aifo-shim: nonesuch: no tool-exec proxy configured (AIFO_TOOLEEXEC_URL)\n"
    assert alone.run("nonesuch", environment=path) == (86, b"", text)
    assert alone.run("nonesuch", environment={"PATH": ""}) == (86, b"", text)


def test_what_it_calls_is_found_as_well(alone: Shims, path: dict[str, str], tmp_path: Path) -> None:
    alone.link("other")
    script(tmp_path / "after", "tool", "other")
    script(tmp_path / "after", "other", "echo other; exit 4")
    assert alone.run("tool", environment=path) == (4, b"other\n", b"")


def test_a_second_hop_is_refused(alone: Shims, path: dict[str, str]) -> None:
    status, output, errors = alone.run("tool", environment={**path, "AIFO_SHIM_DEPTH": "1"})
    assert (status, output) == (86, b"")
    assert errors.startswith(b"aifo-shim: tool: calls itself")


def test_a_second_copy_ends_the_chase(alone: Shims, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(alone.binary, copy / "tool")
    for parts in ((alone.directory, copy), (copy, alone.directory), (copy, copy)):
        environment = {"PATH": ":".join(map(str, parts))}
        status, _, errors = alone.run("tool", environment=environment)
        assert status == 86
        assert errors.count(b"\n") == 1


def test_other_links_to_it_are_passed_over(
    alone: Shims, path: dict[str, str], tmp_path: Path
) -> None:
    """A hard link, and a directory of the same name, are no tools."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/tool").symlink_to(alone.binary)
    (tmp_path / "named/tool").mkdir(parents=True)
    parts = [alone.directory, tmp_path / "linked", tmp_path / "named", tmp_path / "after"]
    status, output, _ = alone.run("tool", environment={"PATH": ":".join(map(str, parts))})
    assert (status, output.split(b"|")[0]) == (3, f"{tmp_path}/after/tool".encode())


def test_what_cannot_be_executed(alone: Shims, tmp_path: Path) -> None:
    script(tmp_path / "after", "tool", "")
    (tmp_path / "after/tool").write_text("#!/nowhere/sh\n")
    environment = {"PATH": f"{alone.directory}:{tmp_path}/after"}
    status, _, errors = alone.run("tool", environment=environment)
    assert status == 126
    assert errors.startswith(f"aifo-shim: tool: {tmp_path}/after/tool: ".encode())


def test_its_own_name_is_no_tool(alone: Shims) -> None:
    done = subprocess.run([alone.binary, "node"], capture_output=True, check=False, env={})
    assert done.returncode == 86
    assert b"by the name of a tool" in done.stderr


@pytest.fixture
def smart(shims: Shims, tmp_path: Path) -> dict[str, str]:
    """node and python that say they are local, a workspace with a program, one outside."""
    for tool in ("node", "python", "python3", "ruby"):
        script(tmp_path / "after", tool, f'echo local {tool} "$@"')
    (tmp_path / "workspace").mkdir()
    for program in ("workspace/main.js", "agent.js"):
        (tmp_path / program).write_text("")
    (tmp_path / "workspace/link.js").symlink_to(tmp_path / "agent.js")
    return {
        "PATH": f"{shims.directory}:{tmp_path}/after:/usr/bin:/bin",
        "AIFO_WORKSPACE": str(tmp_path / "workspace"),
        "AIFO_SHIM_SMART": "1",
        "AIFO_SHIM_SMART_NODE": "1",
        "AIFO_SHIM_SMART_PYTHON": "1",
    }


OUTSIDE = [
    ("node", "{top}/agent.js", "x"), ("node", "--inspect", "-r", "m", "{top}/agent.js"),
    ("node", "--import=x", "--", "{top}/agent.js"), ("python", "-W", "error", "{top}/agent.js"),
    ("python3", "-u", "../agent.js"), ("node", "link.js"),
]  # fmt: skip
INSIDE = [
    ("node", "{top}/workspace/main.js"), ("node", "main.js"), ("node", "-e", "{top}/agent.js"),
    ("node",), ("node", "-"), ("node", "nonesuch.js"), ("python", "-m", "json.tool"),
    ("python", "-Bc", "{top}/agent.js"), ("python3", "-V"), ("ruby", "{top}/agent.js"),
    ("node", "-r", "{top}/agent.js"), ("node", "--version", "{top}/agent.js"),
]  # fmt: skip


def called(shims: Shims, words: tuple[str, ...], smart: dict[str, str], top: Path) -> bytes:
    """What a call puts out; a proxy that is asked says so."""
    assert shims.proxy is not None
    shims.proxy.next_answers(
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Exit-Code: 0\r\n\r\nproxied"
    )
    tool, *arguments = [word.format(top=top) for word in words]
    cwd = top / "workspace"
    status, output, errors = shims.run(tool, *arguments, environment=smart, cwd=cwd)
    assert (status, errors) == (0, b"")
    return output


@pytest.mark.parametrize("words", OUTSIDE, ids=" ".join)
def test_a_program_outside_the_workspace_runs_here(
    shims: Shims, smart: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    expected = " ".join(words).format(top=tmp_path)
    assert called(shims, words, smart, tmp_path).decode() == f"local {expected}\n"
    deep = {**smart, "AIFO_SHIM_DEPTH": "3"}
    assert called(shims, words, deep, tmp_path).startswith(b"local ")


@pytest.mark.parametrize("words", INSIDE, ids=" ".join)
def test_everything_else_goes_to_the_sidecar(
    shims: Shims, smart: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert called(shims, words, smart, tmp_path) == b"proxied"


@pytest.mark.parametrize("switch", ["AIFO_SHIM_SMART", "AIFO_SHIM_SMART_NODE"])
def test_nothing_runs_here_unless_asked_for(
    shims: Shims, smart: dict[str, str], tmp_path: Path, switch: str
) -> None:
    words = ("node", "{top}/agent.js")
    assert called(shims, words, {**smart, switch: ""}, tmp_path) == b"proxied"


def test_no_end_of_programs_that_run_here(
    shims: Shims, smart: dict[str, str], tmp_path: Path
) -> None:
    deepest = {**smart, "AIFO_SHIM_DEPTH": "100"}
    status, _, errors = shims.run("node", f"{tmp_path}/agent.js", environment=deepest)
    assert status == 86
    assert errors.startswith(b"aifo-shim: node: calls itself")


ENV = [
    (("A=1", "printenv", "A"), {b"A": b"1"}, ["A"]),
    (("-i", "A=1", "B=2", "printenv", "x=y"), {b"A": b"1", b"B": b"2"}, ["x=y"]),
    (("-", "printenv"), {}, []),
    (("-u", "GIVEN", "--", "printenv"), {b"GIVEN": None}, []),
    (("--unset=GIVEN", "-uTOO", "A=1", "A=2", "printenv"),
     {b"GIVEN": None, b"TOO": None, b"A": b"2"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("words", "variables", "arguments"), ENV)
def test_env_routes_the_tool_behind_it(
    shims: Shims,
    proxy: Proxy,
    words: tuple[str, ...],
    variables: dict[bytes, bytes | None],
    arguments: list[str],
) -> None:
    shims.link("printenv")
    proxy.next_answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Exit-Code: 5\r\n\r\n")
    given = {"GIVEN": "1", "TOO": "2"}
    assert shims.run("env", *words, environment=given) == (5, b"", b"")
    (request,) = proxy.requests
    assert request.one("tool") == b"printenv"
    assert request.all("arg") == [os.fsencode(word) for word in arguments]
    for name, value in variables.items():
        assert request.environment.get(name) == value
    if words[0] in {"-", "-i"}:
        assert request.environment == variables


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("A=1", "sh", "-c", "echo $A"), b"1\n"),
        (("-C", "/", "pwd"), b"/\n"),
        (("A=1", "/usr/bin/printenv", "A"), b"1\n"),
        (("-i", "A=1"), b"A=1\n"),
    ],
)
def test_other_words_mean_the_real_env(
    shims: Shims, proxy: Proxy, words: tuple[str, ...], expected: bytes
) -> None:
    environment = {"PATH": f"{shims.directory}:/usr/bin:/bin"}
    assert shims.run("env", *words, environment=environment) == (0, expected, b"")
    assert proxy.requests == []


def test_env_without_a_proxy(alone: Shims) -> None:
    environment = {"PATH": f"{alone.directory}:/usr/bin:/bin"}
    alone.link("sh")
    words = ("A=1", "sh", "-c", "echo $A")
    assert alone.run("env", *words, environment=environment) == (0, b"1\n", b"")
