"""A tool called through the shim: its words, its status, its environment, its directory."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.proxying import Proxy, answer
from tests.native.running import Init
from tests.native.shims import Shims


def test_a_call(shims: Shims, proxy: Proxy) -> None:
    script = "cat; echo err >&2; pwd; exit 7"
    assert shims.sh(script, b"in\n") == (7, b"in\n" + bytes(shims.cwd) + b"\n", b"err\n")
    (request,) = proxy.requests
    assert request.line == "POST /exec HTTP/1.1"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["x-aifo-proto"] == "3"
    assert request.headers["upgrade"] == "aifo-exec"
    assert request.headers["connection"] == "Upgrade"
    assert request.headers["host"].split(":")[0] in {"localhost", "127.0.0.1"}
    assert request.one("tool") == b"sh"
    assert request.one("cwd") == bytes(shims.cwd)
    assert request.all("arg") == [b"-c", script.encode()]
    assert len(request.descriptors) == (3 if proxy.descriptors else 0)
    assert request.all("tty") == []


@pytest.mark.parametrize("status", [0, 1, 86, 124, 125, 126, 127, 255])
def test_a_tools_status_is_the_shims(shims: Shims, status: int) -> None:
    assert shims.sh(f"exit {status}") == (status, b"", b"")


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "PIPE"])
def test_a_tool_that_a_signal_ends(shims: Shims, name: str) -> None:
    assert shims.sh(f"kill -{name} $$")[0] == 128 + signal.Signals[f"SIG{name}"]


def test_every_byte_in_an_argument(shims: Shims) -> None:
    words = [bytes(range(1, 256)), b"", "é + & = % \n".encode(), b"-n", b""]
    status, output, _ = shims.run("printf", b"%s\\0", *words)
    assert (status, output.split(b"\0")[:-1]) == (0, words)


def test_many_arguments(shims: Shims, proxy: Proxy) -> None:
    words = [b"%0200d" % n for n in range(5000)]
    assert shims.run("true", *words) == (0, b"", b"")
    assert proxy.requests[0].all("arg") == words


def test_the_longest_argument_and_a_large_environment(shims: Shims, proxy: Proxy) -> None:
    word = b"\xff" * 131_071
    environment = {f"BIG_{n}": "%" * 100_000 for n in range(5)}
    assert shims.run("true", word, environment=environment) == (0, b"", b"")
    assert proxy.requests[0].all("arg") == [word]
    found = proxy.requests[0].environment
    assert {name: found[name.encode()].decode() for name in environment} == environment


def test_as_much_as_the_kernel_takes(shims: Shims, proxy: Proxy) -> None:
    words = ["x" * 100_000] * 16
    assert shims.run("true", *words)[0] == 0
    assert [len(word) for word in proxy.requests[0].all("arg")] == [100_000] * 16


def test_which_variables_are_candidates(shims: Shims, proxy: Proxy) -> None:
    given = {
        "NODE_ENV": "test", "EMPTY": "", "AIFO_ENV_X": "1", "AIFO_OTHER": "1", "LD_PRELOAD_X": "1",
        "HOME": "/x", "BASH_ENV": "x", "NODE_OPTIONS": "x", "LD_LIBRARY_PATH": "/none",
    }  # fmt: skip
    assert shims.run("true", environment=given)[0] == 0
    found = proxy.requests[0].environment
    assert found[b"NODE_ENV"] == b"test"
    assert found[b"EMPTY"] == b""
    assert found[b"AIFO_ENV_X"] == b"1"
    never = {b"AIFO_OTHER", b"LD_PRELOAD_X", b"HOME", b"BASH_ENV", b"NODE_OPTIONS", b"PATH"}
    assert not found.keys() & {*never, b"LD_LIBRARY_PATH", b"AIFO_TOOLEEXEC_TOKEN"}


def test_the_caller_narrows_the_variables(shims: Shims, proxy: Proxy) -> None:
    given = {"AIFO_SHIM_ENV": "FOO_*, BAR HOME", "FOO_A": "1", "BAR": "2", "BAR2": "3", "FO": "4"}
    shims.run("true", environment=given)
    assert proxy.requests[0].environment == {b"FOO_A": b"1", b"BAR": b"2"}
    shims.run("true", environment={**given, "AIFO_SHIM_ENV": ""})
    assert proxy.requests[1].environment == {}


def test_the_callers_directory_in_the_sidecar(shims: Shims, proxy: Proxy, tmp_path: Path) -> None:
    proxy.next_answers(*[answer(403, "", 86)] * 4)
    (tmp_path / "top/sub dir").mkdir(parents=True)
    (tmp_path / "topmost").mkdir()
    (tmp_path / "link").symlink_to("top")
    wanted = {"top": "/workspace", "top/sub dir": "/workspace/sub dir", "topmost": None}
    for workspace, below in (("top", "top"), ("link", "top/sub dir"), ("top", "topmost")):
        shims.run(
            "true", cwd=tmp_path / below, environment={"AIFO_WORKSPACE": str(tmp_path / workspace)}
        )
        expected = wanted[below] or str(tmp_path / below)
        assert proxy.requests[-1].one("cwd") == expected.encode()


@pytest.mark.parametrize("how", ["other spelling", "file", "file with a line's end"])
def test_url_and_token(shims: Shims, proxy: Proxy, tmp_path: Path, how: str) -> None:
    token = tmp_path / "token"
    token.write_text("from-file\n" if how != "file" else "from-file")
    environment = {
        "AIFO_TOOLEEXEC_URL": "", "AIFO_TOOLEEXEC_TOKEN": "", "AIFO_TOOLEXEC_URL": proxy.url,
        "AIFO_TOOLEEXEC_DESCRIPTORS": "", "AIFO_TOOLEXEC_DESCRIPTORS": "0",
    }  # fmt: skip
    if how == "other spelling":
        environment["AIFO_TOOLEXEC_TOKEN"] = "other"
    else:
        environment["AIFO_TOOLEEXEC_TOKEN_FILE"] = str(token)
    assert shims.run("true", environment=environment) == (0, b"", b"")
    wanted = "other" if how == "other spelling" else "from-file"
    assert proxy.requests[0].headers["authorization"] == f"Bearer {wanted}"


@pytest.mark.parametrize(
    ("environment", "status", "text"),
    [
        ({"AIFO_TOOLEEXEC_URL": "unix:///nowhere"}, 125,
         "true: cannot reach the tool-exec proxy at unix:///nowhere: No such file or directory"),
        ({"AIFO_TOOLEEXEC_URL": "http://127.0.0.1:1/exec"}, 125,
         "true: cannot reach the tool-exec proxy at http://127.0.0.1:1/exec: Connection refused"),
        ({"AIFO_TOOLEEXEC_URL": "unix:///" + "x" * 200}, 125, "the path is too long for a socket"),
        ({"AIFO_TOOLEEXEC_URL": "https://x:1/exec"}, 86,
         "AIFO_TOOLEEXEC_URL: expected unix:///path or http://host:port/exec, found 'https://x:1/"),
        ({"AIFO_TOOLEEXEC_URL": "http://x/exec"}, 86, "expected unix:///path"),
        ({"AIFO_TOOLEEXEC_URL": "http://x:1/other"}, 86, "expected unix:///path"),
        ({"AIFO_TOOLEEXEC_URL": "http://a b:1/exec"}, 86, "expected unix:///path"),
        ({"AIFO_TOOLEEXEC_TOKEN": "a\r\nb"}, 86, "AIFO_TOOLEEXEC_TOKEN: there is no token in it"),
        ({"AIFO_TOOLEEXEC_TOKEN_FILE": "/nowhere"}, 86, "/nowhere: cannot be read: No such file"),
        ({"AIFO_TOOLEEXEC_TOKEN_FILE": "/dev/null"}, 86, "/dev/null: there is no token in it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_settings(
    shims: Shims, proxy: Proxy, environment: dict[str, str], status: int, text: str
) -> None:
    found, output, errors = shims.run("true", environment=environment)
    assert (found, output, proxy.requests) == (status, b"", [])
    assert errors.startswith(b"aifo-shim: ")
    assert errors.count(b"\n") == 1
    assert text.encode() in errors


@pytest.fixture
def loopback(sidecar: Init) -> Iterator[Proxy]:
    with Proxy(sidecar) as proxy:
        yield proxy


def test_a_name_and_a_port(alone: Shims, loopback: Proxy) -> None:
    url = loopback.url.replace("127.0.0.1", "localhost").removesuffix("/exec")
    environment = {"AIFO_TOOLEEXEC_URL": url, "AIFO_TOOLEEXEC_TOKEN": "x"}
    assert alone.run("echo", "hello", environment=environment) == (0, b"hello\n", b"")
    assert loopback.requests[0].headers["host"] == url.removeprefix("http://")


def test_the_calling_call_is_named(shims: Shims, proxy: Proxy) -> None:
    shims.run("true", environment={"AIFO_EXEC_ID": "0123abc"})
    shims.run("true", environment={"AIFO_EXEC_ID": "a\r\nb"})
    assert proxy.requests[0].headers["x-aifo-parent-id"] == "0123abc"
    assert "x-aifo-parent-id" not in proxy.requests[1].headers
