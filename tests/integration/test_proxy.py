"""The proxy with real sidecars: every row of the status table, each version, each way to leave."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aifo_tasks.toolexec.frames import Exit, Type
from tests.integration.project import Project, eventually
from tests.integration.proxied import (
    Frames,
    Proxy,
    ask,
    form,
    receive,
    request,
    running,
    sh,
)


@pytest.fixture(scope="module", params=["unix", "tcp"])
def proxy(warm: Project, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy over each transport, for all tests of this file that need nothing special."""
    with running(warm, f"TRANSPORT={request.param}") as found:
        before = found.descriptors()
        yield found
        eventually(lambda: found.descriptors() <= before)


ON_UNIX = pytest.mark.parametrize("proxy", ["unix"], indirect=True)
"""For what only a unix socket carries."""

NODE = form(tool="node", cwd="/workspace", arg=["-p", "6*7"])


def test_it_says_how_to_reach_it_and_not_the_token(proxy: Proxy) -> None:
    assert "takes calls for node at " in proxy.said
    assert "AIFO_WORKSPACE=" in proxy.said
    assert proxy.token not in proxy.said
    assert "docker run --mount" in proxy.said or "host.docker.internal" in proxy.said


@pytest.mark.parametrize("version", [1, 2])
def test_a_call(proxy: Proxy, version: int) -> None:
    answer = ask(proxy, request(proxy, "/exec", NODE, version=version))
    assert (answer.status, answer.body, answer.exit_code, answer.whole) == (200, b"42\n", 0, True)
    assert len(answer.fields["x-exec-id"]) == 32


@pytest.mark.parametrize("version", [1, 2])
def test_both_outputs_come_in_order_with_the_status(proxy: Proxy, version: int) -> None:
    body = sh("echo a; echo b >&2; echo c; exit 7")
    answer = ask(proxy, request(proxy, "/exec", body, version=version))
    assert (answer.body, answer.exit_code) == (b"a\nb\nc\n", 7)


@pytest.mark.parametrize("version", [1, 2])
def test_a_chunked_request(proxy: Proxy, version: int) -> None:
    head = (
        f"POST /exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {proxy.token}\r\n"
        f"X-Aifo-Proto: {version}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, NODE[n : n + 1]) for n in range(len(NODE)))
    assert ask(proxy, head + chunks + b"0\r\n\r\n").body == b"42\n"


FORM = "Content-Type: application/x-www-form-urlencoded"


def rows(proxy: Proxy) -> dict[str, tuple[bytes, int, str, int]]:
    """Requests that are refused: status, text, exit code."""
    text, tool = "bad request: ", "tool=node&cwd=/workspace"
    big = b"A" * (24 * 1024 * 1024 + 1)
    unauthorized = (401, "unauthorized\n", 86)
    unsupported = (426, "Unsupported shim protocol; expected 1, 2 or 3\n", 86)
    return {
        "wrong token": (request(proxy, "/exec", NODE, token="x" * 64), *unauthorized),
        "wrong token, nowhere": (request(proxy, "/x", b"", token="x", version=9), *unauthorized),
        "no token": (b"POST /exec HTTP/1.1\r\nHost: x\r\n\r\n", *unauthorized),
        "two tokens": (
            request(proxy, "/exec", NODE, f"Authorization: Bearer {proxy.token}"),
            400, text + "Authorization is given 2 times\n", 86,
        ),
        "version 4": (request(proxy, "/exec", NODE, version=4), *unsupported),
        "no version": (request(proxy, "/exec", NODE, version=""), *unsupported),
        "unknown path": (request(proxy, "/execute", NODE), 404, "not found\n", 86),
        "unknown exec id": (request(proxy, "/signal", b"exec_id=x"), 404, "not found\n", 86),
        "wrong method": (
            request(proxy, "/exec", NODE).replace(b"POST", b"PUT", 1),
            405, "method not allowed\n", 86,
        ),
        "no tool": (request(proxy, "/exec", b"cwd=/"), 400, text + "tool is missing\n", 86),
        "cwd outside": (
            request(proxy, "/exec", b"tool=node&cwd=/etc"),
            400, text + "cwd: '/etc' is outside the workspace\n", 86,
        ),
        "cwd above": (
            request(proxy, "/exec", b"tool=node&cwd=/workspace/.."),
            400, text + "cwd: '/workspace/..' is no absolute path without '..'\n", 86,
        ),
        "bad signal": (
            request(proxy, "/signal", b"exec_id=x&signal=STOP"),
            400, text + "signal: 'STOP' cannot be sent\n", 86,
        ),
        "exec id as a path": (
            request(proxy, "/exec", NODE, "X-Aifo-Exec-Id: ../../../workspace/x"),
            400, text + "X-Aifo-Exec-Id: '../../../workspace/x' is no exec id\n", 86,
        ),
        "both lengths": (
            request(proxy, "/exec", NODE, "Transfer-Encoding: chunked"),
            400, text + "Content-Length and Transfer-Encoding exclude each other\n", 86,
        ),
        "header block": (
            request(proxy, "/exec", NODE, *("X-Fill: " + "x" * 1000 for _ in range(66))),
            431, "request headers too large\n", 86,
        ),
        "body": (request(proxy, "/exec", big), 413, "request body too large\n", 86),
        "environment": (
            request(
                proxy, "/exec", f"{tool}&env=LD_PRELOAD=x".encode(),
                "Connection: Upgrade", "Upgrade: aifo-exec", version=3,
            ),
            403, "forbidden: environment LD_PRELOAD: no tool gets it from a caller\n", 86,
        ),
        "notify": (
            request(proxy, "/notify", b"cmd=say"),
            403, "forbidden: notify: no notifications-command is configured\n", 86,
        ),
        "no such tool": (
            request(proxy, "/exec", b"tool=cargo&cwd=/workspace"), 409,
            ("tool 'cargo' not available in running sidecars; start an appropriate toolchain "
            "(e.g., --toolchain c-cpp)\n"), 86,
        ),
        "no such directory": (
            request(proxy, "/exec", b"tool=node&cwd=/workspace/nowhere", version=2),
            500, "node: cannot change to /workspace/nowhere: no such file or directory\n", 126,
        ),
        "version 3 without upgrade": (
            request(proxy, "/exec", NODE, version=3), 400,
            text + "version 3 needs Connection: Upgrade and Upgrade: aifo-exec\n", 86,
        ),
    }  # fmt: skip


def test_the_status_table(proxy: Proxy) -> None:
    for name, (data, status, text, exit_code) in rows(proxy).items():
        with proxy.connect() as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(data)
            answer = receive(client)
        found = (answer.status, answer.body.decode(), answer.exit_code)
        assert found == (status, text, exit_code), name
        assert answer.fields["connection"] == "close", name
        assert answer.fields["content-type"] == "text/plain; charset=utf-8", name


def test_a_body_that_is_cut_is_never_executed(proxy: Proxy) -> None:
    marker = proxy.project.path / "marker"
    data = request(proxy, "/exec", sh("touch /workspace/marker"))
    with proxy.connect() as client:
        client.sendall(data[:-1])
        client.shutdown(socket.SHUT_WR)
        assert receive(client).status == 400
    assert not marker.exists()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [["é", "ü\n", "$(x)", "'", "", "a b", "\x01\xff"], ["x" * 200] * 5000, ["y" * 131_071]],
    ids=["bytes", "5,000", "131,071 bytes"],
)
def test_arguments_arrive_exactly(proxy: Proxy, version: int, arguments: list[str]) -> None:
    code = (
        "const h = require('crypto').createHash('sha256');"
        "for (const a of process.argv.slice(1)) h.update(a + '\\0');"
        "console.log(h.digest('hex'))"
    )
    body = form(tool="node", cwd="/workspace", arg=["-e", code, "--", *arguments])
    answer = ask(proxy, request(proxy, "/exec", body, version=version))
    expected = hashlib.sha256("".join(f"{each}\0" for each in arguments).encode()).hexdigest()
    assert answer.body.decode() == f"{expected}\n"


def test_a_tool_that_is_not_there(proxy: Proxy) -> None:
    body = form(tool="pnpx", cwd="/workspace")  # told to run something it asks a registry
    assert ask(proxy, request(proxy, "/exec", body)).exit_code in {0, 1}
    body = form(tool="make", cwd="/workspace", arg="--version")
    answer = ask(proxy, request(proxy, "/exec", body))
    assert answer.body.startswith(b"GNU Make")


def test_an_exec_id_is_used_once_at_a_time_and_gets_signals(proxy: Proxy) -> None:
    field, body = "X-Aifo-Exec-Id: my.call-1", sh("trap 'exit 5' TERM; echo on; sleep 99 & wait")
    with proxy.connect() as client:
        client.sendall(request(proxy, "/exec", body, field, version=2))
        assert b"X-Exec-Id: my.call-1" in client.recv(4096)
        taken = ask(proxy, request(proxy, "/exec", NODE, field))
        text = b"bad request: X-Aifo-Exec-Id: 'my.call-1' is in use\n"
        assert (taken.status, taken.body) == (400, text)
        sent = ask(proxy, request(proxy, "/signal", b"exec_id=my.call-1"))
        assert (sent.status, sent.body) == (204, b"")
        client.settimeout(20)
        tail = b""
        while piece := client.recv(4096):
            tail += piece
    assert b"X-Exit-Code: " in tail
    assert ask(proxy, request(proxy, "/signal", b"exec_id=my.call-1")).status == 404


def test_version_2_sends_its_head_with_the_first_output(proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.sendall(request(proxy, "/exec", sh("sleep 1; echo on; sleep 99"), version=2))
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


SILENT = "sleep 1234"
NOISY = "yes"
HIDDEN = "setsid sh -c '(trap \"\" INT TERM; sleep 1234; sleep 1234) &' ; sleep 1234"


@pytest.mark.parametrize("script", [SILENT, NOISY, HIDDEN], ids=["silent", "noisy", "hidden"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_client_that_leaves_stops_its_call(proxy: Proxy, version: int, script: str) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: aifo-exec") if version == 3 else ()
    with proxy.connect() as client:
        client.sendall(request(proxy, "/exec", sh(script), *upgrade, version=version))
        eventually(lambda: any("1234" in p or "yes" in p for p in proxy.project.processes()))
    eventually(lambda: not proxy.project.processes())


def test_a_client_that_leaves_while_it_asks(proxy: Proxy) -> None:
    data = request(proxy, "/exec", NODE)
    for size in (0, 1, 20, len(data) - 1):
        with proxy.connect() as client:
            client.sendall(data[:size])
    assert ask(proxy, data).body == b"42\n"


BIG = 64 * 1024 * 1024
COPY = "require('fs').createReadStream('/workspace/big').pipe(process.stdout)"


@pytest.fixture(scope="module")
def big(warm: Project) -> Iterator[bytes]:
    """The digest of a file of 64 MiB in the workspace."""
    path = warm.path / "big"
    sha = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(BIG >> 20):
            block = os.urandom(1 << 20)
            sha.update(block)
            file.write(block)
    yield sha.digest()
    path.unlink()


@pytest.mark.parametrize("version", [1, 2])
def test_64_mib_come_as_they_are(proxy: Proxy, big: bytes, version: int) -> None:
    body = form(tool="node", cwd="/workspace", arg=["-e", COPY])
    answer = ask(proxy, request(proxy, "/exec", body, version=version))
    assert hashlib.sha256(answer.body).digest() == big


def test_64_mib_go_both_ways_in_frames(proxy: Proxy) -> None:
    body = form(tool="node", cwd="/workspace", arg=["-e", "process.stdin.pipe(process.stdout)"])
    call = Frames(proxy, body)
    sent, received, left = hashlib.sha256(), hashlib.sha256(), BIG
    credit, block = 256 * 1024, os.urandom(64 * 1024)
    end = None
    while left >= 0 and end is None:
        while left > 0 and credit >= len(block):
            piece = left.to_bytes(8, "big") + block[8:]
            call.send(Type.STDIN, piece)
            sent.update(piece)
            left -= len(piece)
            credit -= len(piece)
        if left == 0:
            call.send(Type.STDIN_CLOSED)
            left = -1
            break
        frame = call.next()
        assert frame is not None
        if frame.type is Type.CREDIT:
            stream, count = struct.unpack(">BI", frame.payload)
            assert stream == 0
            credit += count
        elif frame.type is Type.STDOUT:
            received.update(frame.payload)
    stdout, stderr, end = call.rest()
    received.update(stdout)
    assert (stderr, end) == (b"", Exit(signalled=False, value=0))
    assert received.digest() == sent.digest()
    call.close()


def test_frames_keep_both_outputs_apart(proxy: Proxy) -> None:
    call = Frames(proxy, sh("cat; echo b >&2; exit 3"))
    assert (call.status, "X-Exec-Id: " in call.head) == (101, True)
    call.send(Type.STDIN, b"a\n")
    call.send(Type.STDIN_CLOSED)
    assert call.rest() == (b"a\n", b"b\n", Exit(signalled=False, value=3))
    call.close()


def test_signals_in_frames(proxy: Proxy) -> None:
    body = form(tool="node", cwd="/workspace", arg=["-e", "setInterval(x => x, 1000)"])
    call = Frames(proxy, body)
    call.send(Type.SIGNAL, bytes([signal.SIGTERM]))
    assert call.rest()[2] == Exit(signalled=True, value=signal.SIGTERM)
    call.close()


def test_a_stream_without_credit_stops_nothing_else(proxy: Proxy) -> None:
    call = Frames(proxy, sh("yes & sleep 0.5; echo here >&2; sleep 1234"))
    call.credit = False
    seen = {Type.STDOUT: 0, Type.STDERR: 0}
    while not seen[Type.STDERR]:
        frame = call.next()
        assert frame is not None
        seen[frame.type] += len(frame.payload)
    assert seen[Type.STDOUT] <= 256 * 1024
    call.send(Type.SIGNAL, bytes([signal.SIGINT]))
    call.close()
    eventually(lambda: not proxy.project.processes())


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(Type.EXIT, b"\0\0"), (Type.CREDIT, b"\7\0\0\0\1"), (Type.CALL, b""), (Type.WINDOW, b"x")],
)
def test_a_client_that_says_what_it_cannot_is_left(
    proxy: Proxy, kind: Type, payload: bytes
) -> None:
    call = Frames(proxy, sh("sleep 1234"))
    call.send(kind, payload)
    assert call.rest()[2] is None
    call.close()
    eventually(lambda: not proxy.project.processes())


def test_only_what_may_pass_of_the_environment_does(proxy: Proxy) -> None:
    code = "console.log([process.env.NODE_ENV, process.env.SECRET, process.env.NPM_CONFIG_CACHE])"
    body = form(
        tool="node", cwd="/workspace", arg=["-e", code],
        env=["NODE_ENV=mine", "SECRET=x", "NPM_CONFIG_CACHE=/x", "npm_config_cache=/x"],
    )  # fmt: skip
    call = Frames(proxy, body)
    assert call.rest()[0] == b"[ 'mine', undefined, '/home/coder/.cache/npm' ]\n"
    call.close()


def test_200_calls_at_once(proxy: Proxy) -> None:
    def one(n: int) -> tuple[bytes, int]:
        rule = f"--eval=x:;@echo {n}; exit {n % 2}"
        body = form(tool="make", cwd="/workspace", arg=["-s", rule, "x"])
        answer = ask(proxy, request(proxy, "/exec", body, version=1 + n % 2))
        return answer.body.splitlines()[0], answer.exit_code

    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(one, range(200)))
    assert found == [(b"%d" % n, 2 * (n % 2)) for n in range(200)]


def passed(proxy: Proxy, body: bytes, data: bytes = b"") -> tuple[bytes, bytes, Exit | None]:
    """A call on three pipes of ours."""
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in "123")
    call = Frames(proxy, body, descriptors=[in_read, out_write, err_write])
    for descriptor in (in_read, out_write, err_write):
        os.close(descriptor)

    def feed() -> None:
        with os.fdopen(in_write, "wb") as pipe:
            pipe.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(out_read, "rb") as out, os.fdopen(err_read, "rb") as err:
        stdout, stderr = out.read(), err.read()
    feeder.join()
    end = call.rest()[2]
    call.close()
    return stdout, stderr, end


@ON_UNIX
def test_descriptors_are_the_tools_own(proxy: Proxy) -> None:
    found = passed(proxy, sh("cat; echo b >&2; exit 4"), b"a\n")
    assert found == (b"a\n", b"b\n", Exit(signalled=False, value=4))


@ON_UNIX
def test_64_mib_through_passed_pipes(proxy: Proxy) -> None:
    data = os.urandom(BIG)
    body = form(tool="node", cwd="/workspace", arg=["-e", "process.stdin.pipe(process.stdout)"])
    stdout, stderr, end = passed(proxy, body, data)
    assert (stdout == data, stderr, end) == (True, b"", Exit(signalled=False, value=0))


@ON_UNIX
@pytest.mark.parametrize("version", [1, 2, 3])
def test_other_numbers_and_versions_take_no_descriptors(proxy: Proxy, version: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    upgrade = ("Connection: Upgrade", "Upgrade: aifo-exec") if version == 3 else ()
    for count in (1, 2, 4, 253) if version == 3 else (3,):
        with proxy.connect() as client:
            data = request(proxy, "/exec", NODE, *upgrade, version=version)
            socket.send_fds(client, [data], [null] * count)
            assert receive(client).body.startswith(b"bad request: descriptors: "), count
    os.close(null)


@ON_UNIX
def test_late_descriptors_are_refused(proxy: Proxy) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    data = request(proxy, "/exec", NODE)
    with proxy.connect() as client:
        client.sendall(data[:10])
        socket.send_fds(client, [data[10:]], [null] * 3)
        assert receive(client).body.startswith(b"bad request: descriptors: ")
    os.close(null)


@ON_UNIX
@pytest.mark.parametrize("kind", ["directory", "path", "terminal"])
@pytest.mark.parametrize("stream", [0, 1, 2])
def test_descriptors_that_lead_out_are_refused(proxy: Proxy, kind: str, stream: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    parent, terminal = os.openpty()
    bad = {
        "directory": os.open("/", os.O_RDONLY),
        "path": os.open("/etc/passwd", os.O_PATH),
        "terminal": terminal,
    }
    three = [null, null, null]
    three[stream] = bad[kind]
    with proxy.connect() as client:
        upgrade = ("Connection: Upgrade", "Upgrade: aifo-exec")
        socket.send_fds(client, [request(proxy, "/exec", NODE, *upgrade, version=3)], three)
        answer = receive(client)
    assert answer.status == 400
    assert answer.body.startswith(b"bad request: std")
    for descriptor in (null, parent, *bad.values()):
        os.close(descriptor)


@ON_UNIX
def test_a_terminals_master_is_handed_over(proxy: Proxy) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    body = sh("stty size; tty | sed 's/[0-9]*$//'", tty="31,97,7")
    call = Frames(proxy, body, descriptors=[null] * 3)
    (master,) = call.descriptors
    assert os.isatty(master)
    seen = b""
    while not seen.endswith(b"/dev/pts/\r\n"):
        seen += os.read(master, 1000)
    assert seen == b"31 97\r\n/dev/pts/\r\n"
    assert call.rest()[2] == Exit(signalled=False, value=0)
    os.close(master)
    os.close(null)
    call.close()


def test_a_terminal_is_relayed(proxy: Proxy) -> None:
    wait = "until stty size | grep -qx '12 34'; do sleep 0.1; done"  # it goes another way than x
    script = f"stty size; {wait}; read x; stty size; exec sleep 1234"
    call = Frames(proxy, sh(script, tty="31,97,7"))
    assert call.status == 101
    seen = b""
    while b"31 97\r\n" not in seen:
        frame = call.next()
        assert frame is not None
        seen += frame.payload
    call.send(Type.WINDOW, struct.pack(">HH", 12, 34))
    call.send(Type.STDIN, b"x\n")
    while b"12 34\r\n" not in seen:
        frame = call.next()
        assert frame is not None
        seen += frame.payload if frame.type is Type.STDOUT else b""
    call.send(Type.STDIN, b"\x03")
    end = call.rest()[2]
    assert end is not None
    call.close()


def test_curl(proxy: Proxy) -> None:
    done = proxy.curl(
        "/exec", "--header", "X-Aifo-Proto: 2", "--data", "tool=node", "--data", "cwd=/workspace",
        "--data", "arg=-p", "--data-urlencode", "arg='é'", "--dump-header", "-",
    )  # fmt: skip
    assert done.stdout.endswith("é\n".encode()) or b"X-Exit-Code: 0" in done.stdout


@ON_UNIX
def test_every_call_is_one_line_without_secrets(proxy: Proxy) -> None:
    body = form(
        tool="node", cwd="/workspace", arg=["-e", "0", "--", "--token=abc", "https://u:p@h/"]
    )
    assert ask(proxy, request(proxy, "/exec", body, "X-Aifo-Exec-Id: recorded")).exit_code == 0
    eventually(lambda: any(line["exec_id"] == "recorded" for line in proxy.audit()))
    (line,) = (line for line in proxy.audit() if line["exec_id"] == "recorded")
    words = ["node", "-e", "0", "--", "--token=***", "https://***@h/"]
    assert (line["tool"], line["argv"], line["exit"], line["signal"]) == ("node", words, 0, None)
    assert line["bytes"] == 0
    assert line["cwd"] == "/workspace"


@ON_UNIX
def test_one_proxy_a_project(proxy: Proxy) -> None:
    done = proxy.project.doit("run", "proxy", program="aifo")
    assert done.returncode == 1
    assert "another one serves this project already" in done.stdout + done.stderr


def test_limits(bare: Project) -> None:
    assert bare.call("true").returncode == 0
    limits = {f"AIFO_TOOLEXEC_{name}": "2" for name in ("CONNECTIONS", "PROGRESS", "WRITE")}
    proxy = Proxy(bare, AIFO_TOOLEXEC_CALLS="1", **limits)
    with proxy.connect() as first, proxy.connect() as second:
        time.sleep(0.2)
        with proxy.connect() as third:
            answer = receive(third)
        assert (answer.status, answer.body, answer.fields["retry-after"]) == (503, b"busy\n", "1")
        for client in (first, second):
            late = receive(client)
            assert (late.status, late.body, late.exit_code) == (408, b"timeout\n", 124)
    stalled = proxy.connect()
    stalled.sendall(request(proxy, "/exec", sh("yes"), version=2))
    eventually(lambda: any("yes" in line for line in bare.processes()))
    eventually(lambda: not bare.processes())
    stalled.close()
    running = proxy.connect()
    running.sendall(request(proxy, "/exec", sh("sleep 1234"), version=2))
    eventually(lambda: any("1234" in line for line in bare.processes()))
    assert proxy.end(signal.SIGINT) == 0
    answer = receive(running)
    assert (answer.status, answer.whole) == (200, False)
    running.close()
    eventually(lambda: not bare.processes())
    assert not Path(proxy.url.removeprefix("unix://")).exists()
