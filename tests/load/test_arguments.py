"""Arguments and environment up to every limit there is, and one byte above each."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Sequence

import pytest

from tests.integration.proxied import Frames, ask, form, receive, request
from tests.load.way import LONG, Way

pytestmark = pytest.mark.parametrize("way", ["descriptors", "tcp"], indirect=True)

ECHO = 'printf "%s\\0" "$@"; env -0 | grep -az "^npm_config_aifo" | sort -z; true'
"""Says its arguments, and those variables that reach it."""

LONGEST = 131_071
"""Bytes of an argument or a variable, by the kernel."""

WORD = 60_000
STACK = 64 * 1024 * 1024
"""Of the caller: its kernel takes more arguments than the sidecar's."""

TOO_LONG = (126, b"", b"sh: argument list too long\n")

ARGUMENTS: dict[str, list[bytes]] = {
    "every byte": [bytes(range(1, 256)), *(bytes([n]) for n in range(1, 256))],
    "empty": [b"", b"", b"x", b""],
    "5,000": [b"%0200d" % n for n in range(5000)],
    "the longest": [b"\xff" * LONGEST],
}
VARIABLES: dict[str, list[bytes]] = {
    "every byte": [b"npm_config_aifox=" + bytes(range(1, 256))],
    "empty": [b"npm_config_aifox="],
    "1,000": [b"npm_config_aifo%d=%0200d" % (n, n) for n in range(1000)],
    "the longest": [b"npm_config_aifox=".ljust(LONGEST, b"\xff")],
}

Found = tuple[int, bytes, bytes]
"""An exit status, what the call said, and why there was none."""

Client = Callable[[Way, Sequence[bytes], Sequence[bytes]], Found]
"""Makes a call with these arguments and variables."""


def said(words: Sequence[bytes]) -> bytes:
    return b"".join(word + b"\0" for word in words)


def body_of(arguments: Sequence[bytes], variables: Sequence[bytes] = ()) -> bytes:
    words = [b"-c", ECHO.encode(), b"sh", *arguments]
    return form(tool="sh", cwd="/workspace", arg=words, env=list(variables))


def answer(version: int) -> Client:
    """Reads an answer of version 1 or 2."""

    def call(way: Way, arguments: Sequence[bytes], _: Sequence[bytes]) -> Found:
        found = ask(way.proxy, request(way.proxy, "/exec", body_of(arguments), version=version))
        if found.status == 200:
            return found.exit_code, found.body, b""
        return found.exit_code, b"", found.body

    return call


def curl(way: Way, arguments: Sequence[bytes], _: Sequence[bytes]) -> Found:
    """Sends chunks, and waits to be asked for them."""
    options = ["--header", "X-Aifo-Proto: 1", "--header", "Transfer-Encoding: chunked"]
    told = ["--write-out", "%{stderr}%{http_code} %header{x-exit-code}", "--data-binary", "@-"]
    done = way.proxy.curl("/exec", *options, *told, stdin=body_of(arguments))
    status, exit_code = done.stderr.split()
    if status == b"200":
        return int(exit_code), done.stdout, b""
    return int(exit_code), b"", done.stdout


def frames(way: Way, arguments: Sequence[bytes], variables: Sequence[bytes]) -> Found:
    """Is upgraded to version 3, or not."""
    call = Frames(way.proxy, body_of(arguments, variables))
    with contextlib.closing(call):
        if call.status == 101:
            output, errors, end = call.rest()
            assert end is not None
            return end.status, output, errors
        code = call.head.partition("X-Exit-Code: ")[2].split()[0]
        return int(code), b"", call.client.recv(1000)


def shim(way: Way, arguments: Sequence[bytes], variables: Sequence[bytes]) -> Found:
    """Has nothing else in its environment that goes to the sidecar."""
    own = {name: value for name, value in way.environment.items() if name.startswith("AIFO_")}
    given = {os.fsencode(name): os.fsencode(value) for name, value in own.items()}
    for variable in variables:
        name, _, value = variable.partition(b"=")
        given[name] = value
    limit = (STACK, resource.getrlimit(resource.RLIMIT_STACK)[1])
    with way.popen(
        ECHO, "sh", *arguments, stdin=subprocess.DEVNULL, env=given,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, limit),
    ) as child:  # fmt: skip
        output, errors = child.communicate(timeout=LONG)
    return child.returncode, output, errors


def shim_in_frames(way: Way, arguments: Sequence[bytes], variables: Sequence[bytes]) -> Found:
    """Passes no descriptors."""
    return shim(way, arguments, [*variables, b"AIFO_TOOLEEXEC_DESCRIPTORS=0"])


CLIENTS = {
    "1": answer(1), "2": answer(2), "curl": curl, "3": frames, "shim": shim,
    "shim in frames": shim_in_frames,
}  # fmt: skip
ANY = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
WITH_ENVIRONMENT = pytest.mark.parametrize("client", [frames, shim, shim_in_frames])
NOT_SHIM = pytest.mark.parametrize(
    "client", [answer(1), answer(2), curl, frames], ids=["1", "2", "curl", "3"]
)


@ANY
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_arrive_exactly(way: Way, client: Client, name: str) -> None:
    assert client(way, ARGUMENTS[name], []) == (0, said(ARGUMENTS[name]), b"")


@WITH_ENVIRONMENT
@pytest.mark.parametrize("name", VARIABLES)
def test_variables_arrive_exactly(way: Way, client: Client, name: str) -> None:
    expected = said([b""]) + said(sorted(VARIABLES[name]))  # printf says one empty argument
    assert client(way, [], VARIABLES[name]) == (0, expected, b"")


@pytest.fixture(scope="module")
def most(way: Way) -> int:
    """Bytes of arguments that the sidecar's kernel just takes, in words of WORD."""
    stack = way.run("ulimit -s")[1].strip()
    does_not = 6 * 1024 * 1024 if stack == b"unlimited" else int(stack) * 1024 // 4
    fits = does_not - WORD
    while does_not - fits > 1:
        middle = (fits + does_not) // 2
        if answer(1)(way, words(middle), []) == TOO_LONG:
            does_not = middle
        else:
            fits = middle
    return fits


def words(total: int) -> list[bytes]:
    """Arguments of so many bytes."""
    whole, rest = divmod(total, WORD)
    return [*([b"x" * WORD] * (whole - 1)), b"y" * (WORD + rest)]


@ANY
def test_as_many_arguments_as_the_kernel_takes(way: Way, client: Client, most: int) -> None:
    assert client(way, words(most), []) == (0, said(words(most)), b"")
    assert client(way, words(most + 1), []) == TOO_LONG


@WITH_ENVIRONMENT
def test_as_much_environment_as_the_kernel_takes(way: Way, client: Client, most: int) -> None:
    *before, last = words(most)
    variable = b"npm_config_aifox=".ljust(len(last), b"y")
    assert client(way, before, [variable]) == (0, said(before) + said([variable]), b"")
    assert client(way, before, [variable + b"y"]) == TOO_LONG


@NOT_SHIM
def test_an_argument_that_is_too_long(way: Way, client: Client) -> None:
    assert client(way, [b"x" * (LONGEST + 1)], []) == TOO_LONG


def test_a_variable_that_is_too_long(way: Way) -> None:
    assert frames(way, [], [b"npm_config_aifox=".ljust(LONGEST + 1, b"x")]) == TOO_LONG


def test_more_than_a_frame_carries(way: Way) -> None:
    """The body's limit leaves room for a call that init's own limit does not."""
    assert answer(2)(way, [b"x" * WORD] * 300, []) == TOO_LONG


HEAD, LINES, BODY = 64 * 1024, 1024, 24 * 1024 * 1024


def padded(way: Way, *, head: int = 0, lines: int = 0, body: int = 0) -> bytes:
    """A request made as large as this by what nobody looks at."""
    text = form(tool="sh", cwd="/workspace", arg=["-c", "echo on"]) + b"&x="
    text = text.ljust(body, b"x")
    more = [f"X-{n}: x" for n in range(lines - request(way.proxy, "/exec", b"").count(b"\n"))]
    size = len(request(way.proxy, "/exec", text, *more, "X: ")) - len(text)
    return request(
        way.proxy, "/exec", text, *more, *(["X: " + "x" * (head - size)] if head else [])
    )


@pytest.mark.parametrize(
    ("size", "status"),
    [
        ({"head": HEAD}, 200), ({"head": HEAD + 1}, 431),
        ({"lines": LINES}, 200), ({"lines": LINES + 1}, 431),
        ({"body": BODY}, 200), ({"body": BODY + 1}, 413),
    ],
)  # fmt: skip
def test_the_size_of_a_request(way: Way, size: dict[str, int], status: int) -> None:
    with way.proxy.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(padded(way, **size))
        found = receive(client)
    text = {200: b"on\n", 431: b"request headers too large\n", 413: b"request body too large\n"}
    code = 0 if status == 200 else 86
    assert (found.status, found.body, found.exit_code) == (status, text[status], code)


def test_the_length_of_names(way: Way) -> None:
    for length, status in (64, 200), (65, 400):
        field = "X-Aifo-Exec-Id: " + "x" * length
        body = form(tool="sh", cwd="/workspace", arg=["-c", "true"])
        assert ask(way.proxy, request(way.proxy, "/exec", body, field)).status == status
    for length, status in (64, 409), (65, 400):
        body = form(tool="x" * length, cwd="/workspace")
        assert ask(way.proxy, request(way.proxy, "/exec", body)).status == status
