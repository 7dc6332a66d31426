"""Forms and heads as bytes, and the values they mean; the table of forms is C's too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifo_tasks.toolexec import requests
from aifo_tasks.toolexec.answers import RefusalError
from aifo_tasks.toolexec.http import Head
from aifo_tasks.toolexec.requests import ExecRequest, NotifyRequest, SignalRequest, Terminal

FORMS = json.loads((Path(__file__).parents[2] / "data" / "http.json").read_bytes())["forms"]
TOKEN = "t" * 64


def answer(error: pytest.ExceptionInfo[RefusalError]) -> tuple[int, str]:
    return error.value.answer.status, error.value.answer.body.decode()


def status(body: bytes) -> int:
    """Of the refusal; 0 for a body that is a call."""
    try:
        requests.exec_request(body, 3)
    except RefusalError as error:
        return error.answer.status
    return 0


@pytest.mark.parametrize("row", FORMS, ids=lambda row: row["name"])
def test_forms(row: dict[str, Any]) -> None:
    body = bytes.fromhex(row["bytes"])
    if row["fields"] is None:
        with pytest.raises(RefusalError, match="percent sign"):
            requests.form(body)
        return
    expected = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in row["fields"]]
    assert requests.form(body) == expected


@given(st.lists(st.binary(max_size=50).filter(lambda data: b"\0" not in data), max_size=8))
def test_every_byte_but_nul_passes_in_an_argument(arguments: list[bytes]) -> None:
    body = b"tool=sh&cwd=/workspace" + b"".join(
        b"&arg=" + quote_from_bytes(argument, safe="").encode() for argument in arguments
    )
    assert requests.exec_request(body, 1).arguments == tuple(arguments)


@given(st.binary(max_size=200))
def test_any_body_is_a_call_or_a_bad_request(body: bytes) -> None:
    for start in (b"", b"tool=sh&cwd=/&"):
        assert status(start + body) in {0, 400}


def test_a_whole_call() -> None:
    body = b"tool=g%2B%2B&cwd=%2Fworkspace%2Fa+b&arg=&arg=%C3%A9&env=K%3Dv%3Dw&tty=24,80,7&x=y"
    assert requests.exec_request(body, 3) == ExecRequest(
        tool="g++",
        cwd=b"/workspace/a b",
        arguments=(b"", "é".encode()),
        environment=((b"K", b"v=w"),),
        terminal=Terminal(rows=24, columns=80, streams=7),
        is_small=True,
    )
    assert requests.exec_request(body, 2).environment == ()


@pytest.mark.parametrize(
    "body",
    [
        b"tool=a&cwd=/&arg=b&env=K=1&env=L=%3D",
        b"env=K=1&tool=a&cwd=/&arg=b&env=L=%3D",
        b"tool=a&cwd=/&env=K=1&env=L=%3D&arg=b",
        b"%65nv=K=1&tool=a&cwd=/&arg=b&env=L=%3D",
        b"tool=a&cwd=/&env=K=1&%65nv=L=%3D&arg=b&",
    ],
)
def test_variables_may_stand_anywhere(body: bytes) -> None:
    for _ in range(2):
        request = requests.exec_request(body, 3)
        assert (request.tool, request.cwd, request.arguments) == ("a", b"/", (b"b",))
        assert request.environment == ((b"K", b"1"), (b"L", b"="))


def test_what_comes_after_a_variable_is_checked() -> None:
    for wrong in (b"&env=%00", b"&env=K=%00", b"&env=K=%zz", b"&env==K"):
        with pytest.raises(RefusalError):
            requests.exec_request(b"tool=a&cwd=/&env=A=1" + wrong, 3)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("cwd=/workspace", "tool is missing"),
        ("tool=&cwd=/", "tool: '' is no tool's name"),
        ("tool=a&tool=b&cwd=/", "tool is given 2 times"),
        ("tool=../sh&cwd=/", "tool: '../sh' is no tool's name"),
        ("tool=" + "a" * 65 + "&cwd=/", "tool: '" + "a" * 65 + "' is no tool's name"),
        ("tool=sh", "cwd is missing"),
        ("tool=sh&cwd=src", "cwd: 'src' is no absolute path without '..'"),
        ("tool=sh&cwd=/workspace/../etc", "cwd: '/workspace/../etc' is no absolute path"),
        ("tool=sh&cwd=/%00", "cwd: contains a NUL byte"),
        ("tool=sh&cwd=/&arg=a%00b", "arg: contains a NUL byte"),
        ("tool=sh&cwd=/&arg=%f", "a percent sign without two hexadecimal digits"),
        ("tool=sh&cwd=/&env=a", "env: 'a' is not NAME=VALUE"),
        ("tool=sh&cwd=/&tty=1,2", "tty: '1,2' is not ROWS,COLUMNS,MASK"),
        ("tool=sh&cwd=/&tty=1,70000,1", "tty: '1,70000,1' is not"),
        ("tool=sh&cwd=/&tty=1,2,8", "tty: '1,2,8' is not"),
        ("tool=sh&cwd=/&tty=1,2,16", "tty: '1,2,16' is not"),
    ],
)  # fmt: skip
def test_calls_that_are_none(body: str, what: str) -> None:
    with pytest.raises(RefusalError) as info:
        requests.exec_request(body.encode(), 3)
    status, text = answer(info)
    assert status == 400
    assert text.startswith(f"bad request: {what}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("exec_id=a", SignalRequest(exec_id="a", signal=15)),
        ("exec_id=a.b-_9&signal=INT", SignalRequest(exec_id="a.b-_9", signal=2)),
        ("exec_id=a&signal=sigtstp", SignalRequest(exec_id="a", signal=20)),
        ("exec_id=a&signal=STOP", "signal: 'STOP' cannot be sent"),
        ("exec_id=a&signal=9", "signal: '9' cannot be sent"),
        ("exec_id=a&signal=", "signal: '' cannot be sent"),
        ("signal=INT", "exec_id is missing"),
        ("exec_id=../../../workspace/x", "exec_id: '../../../workspace/x' is no exec id"),
        ("exec_id=.a", "exec_id: '.a' is no exec id"),
        ("exec_id=$(touch%20x)", "exec_id: '$(touch x)' is no exec id"),
    ],
)
def test_signals(body: str, expected: SignalRequest | str) -> None:
    if isinstance(expected, SignalRequest):
        assert requests.signal_request(body.encode()) == expected
        return
    with pytest.raises(RefusalError) as info:
        requests.signal_request(body.encode())
    assert answer(info) == (400, f"bad request: {expected}\n")


def test_notifications() -> None:
    found = requests.notify_request(b"cmd=say&arg=a&arg=b+c")
    assert found == NotifyRequest(command=b"say", arguments=(b"a", b"b c"))
    with pytest.raises(RefusalError, match="cmd is empty"):
        requests.notify_request(b"cmd=")


def head(
    target: str = "/exec", method: str = "POST", *more: str, token: str = TOKEN, version: str = "2"
) -> Head:
    lines = [f"authorization: Bearer {token}", f"x-aifo-proto: {version}", *more]
    pairs = [line.partition(": ") for line in lines]
    return Head(
        method=method.encode(),
        target=target.encode(),
        fields=tuple((name.encode(), value.encode()) for name, _, value in pairs),
    )


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(token="wrong"), 401),
        (head(token=TOKEN[:-1]), 401),
        (head(token=TOKEN + "t"), 401),
        (head("/nowhere", "GET", token="wrong", version="9"), 401),
        (head("/nowhere", "GET"), 404),
        (head("/exec?x=1"), 404),
        (head("/exec", "GET"), 405),
        (head(version="4"), 426),
        (head(version=""), 426),
        (head("/notify", version="0"), 426),
        (head("/exec", "POST", f"authorization: Bearer {TOKEN}"), 400),
        (head("/exec", "POST", "x-aifo-exec-id: ../../../workspace/x"), 400),
        (head("/exec", "POST", "x-aifo-exec-id: .hidden"), 400),
        (head("/exec", "POST", "x-aifo-exec-id: " + "a" * 65), 400),
    ],
)
def test_the_door(request_head: Head, status: int) -> None:
    with pytest.raises(RefusalError) as info:
        requests.endpoint(request_head, ["other", TOKEN])
    assert info.value.answer.status == status


def test_the_door_opens() -> None:
    more = ("x-aifo-exec-id: my.id-_1", "x-aifo-parent-id: p")
    found = requests.endpoint(head("/exec", "POST", *more, version="3"), [TOKEN])
    assert (found.path, found.version, found.exec_id, found.parent) == ("/exec", 3, "my.id-_1", "p")


def test_without_any_token_nobody_comes_in() -> None:
    nothing = Head(method=b"POST", target=b"/exec", fields=())
    for tokens in ([], [TOKEN]):
        with pytest.raises(RefusalError, match="unauthorized"):
            requests.endpoint(nothing, tokens)


def test_an_upgrade_is_asked_for_in_two_fields() -> None:
    both = ("connection: keep-alive, Upgrade", "upgrade: aifo-exec")
    assert requests.wants_frames(head("/exec", "POST", *both))
    assert not requests.wants_frames(head("/exec", "POST", both[0]))
    assert not requests.wants_frames(head("/exec", "POST", both[1]))


def test_a_form_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_FIELDS", 3)
    assert len(requests.form(b"&".join([b"arg=x"] * 4))) == 4
    with pytest.raises(RefusalError) as caught:
        requests.form(b"&".join([b"arg=x"] * 5))
    assert answer(caught) == (400, "bad request: more than 3 fields\n")
