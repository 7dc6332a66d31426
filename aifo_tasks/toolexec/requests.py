"""What a request asks for: its endpoint, and the fields of its form as values; no I/O."""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Iterable
from itertools import product
from typing import Literal

from aifo_tasks.toolexec import answers
from aifo_tasks.toolexec.http import Head
from aifo_tasks.value import dataclass

SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15, "CONT": 18,
    "TSTP": 20, "WINCH": 28,
}  # fmt: skip
"""The signals a caller may send, by Linux's numbers: that is where the tool runs."""

_TOKEN = re.compile(rb"Bearer +([\x21-\x7e]+)", re.IGNORECASE)
_TOOL = re.compile(rb"[A-Za-z0-9._+-]{1,64}")
_EXEC_ID = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_TERMINAL = re.compile(rb"([0-9]{1,5}),([0-9]{1,5}),([0-7]|1[7-9]|2[0-3])")

_DIGITS = b"0123456789ABCDEFabcdef"
_BYTES = {bytes(pair): bytes((int(bytes(pair), 16),)) for pair in product(_DIGITS, _DIGITS)}
"""What stands behind a percent sign, and the byte it means."""

SMALL = 32 * 1024
"""Bytes of a form of which something is remembered, and ..."""

KNOWN_ENVIRONMENTS = 64
"""... of how many: a caller's variables are the same from call to call."""

MOST_FIELDS = 1 << 20
"""The kernel takes fewer arguments and variables."""

_VARIABLE = b"&env="

Path = Literal["/exec", "/notify", "/signal"]
Fields = list[tuple[bytes, bytes]]
Values = dict[bytes, list[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a request goes, in which version; ``exec_id`` and ``parent`` may be ""."""

    path: Path
    version: int
    exec_id: str = ""
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A terminal's size; bit n of ``streams`` is set where stream n is it, and perhaps BEHIND."""

    rows: int
    columns: int
    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """A call as the client asks for it; nothing about it has been allowed yet.

    What follows from a small one's environment may be remembered.
    """

    tool: str
    cwd: bytes
    arguments: tuple[bytes, ...] = ()
    environment: tuple[tuple[bytes, bytes], ...] = ()
    terminal: Terminal | None = None
    is_small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRequest:
    """A signal for a running call."""

    exec_id: str
    signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyRequest:
    """A notification: the command's base name and its arguments."""

    command: bytes
    arguments: tuple[bytes, ...] = ()


def endpoint(head: Head, tokens: Iterable[str]) -> Endpoint:
    """Where a request goes; RefusalError unless one of the tokens opens the door.

    The token is looked at before anything else is said, and the time that takes does not
    depend on where it differs.
    """
    given = _TOKEN.fullmatch(head.one(b"authorization") or b"")
    known = [hmac.compare_digest(token.encode(), given[1]) for token in tokens if given]
    if not any(known):
        raise answers.unauthorized()
    return _asked(head)


@functools.lru_cache(maxsize=64)
def _asked(head: Head) -> Endpoint:
    """Where somebody goes who has been let in."""
    path = head.target.decode("ascii", "replace")
    if path not in {"/exec", "/notify", "/signal"}:
        raise answers.not_found()
    if head.method != b"POST":
        raise answers.not_allowed()
    version = head.one(b"x-aifo-proto") or b""
    if version not in {b"1", b"2", b"3"}:
        raise answers.unsupported()
    return Endpoint(
        path=path,  # type: ignore[arg-type]  # one of the three
        version=int(version),
        exec_id=_exec_id(head.one(b"x-aifo-exec-id"), "X-Aifo-Exec-Id"),
        parent=_exec_id(head.one(b"x-aifo-parent-id"), "X-Aifo-Parent-Id"),
    )


@functools.lru_cache(maxsize=64)
def wants_frames(head: Head) -> bool:
    """True for a request that is to be upgraded to frames."""
    words = [
        word.strip().lower() for value in head.all(b"connection") for word in value.split(b",")
    ]
    return b"upgrade" in words and head.one(b"upgrade") == b"aifo-exec"


def form(body: bytes) -> Fields:
    """The fields of a form in order, as bytes; RefusalError for a bad percent sign or a NUL."""
    if body.count(b"&") > MOST_FIELDS:
        raise answers.bad(f"more than {MOST_FIELDS} fields")
    return [_field(part) for part in body.split(b"&") if part]


def exec_request(body: bytes, version: int) -> ExecRequest:
    """The call in a form; RefusalError for anything that cannot be one."""
    is_small = len(body) <= SMALL
    front, variables = _parted(body) if is_small and version == 3 else (body, b"")
    values = _values(front)
    tool, cwd = _single(values, b"tool"), _single(values, b"cwd")
    if not _TOOL.fullmatch(tool):
        raise answers.bad(f"tool: '{answers.shown(tool[:80])}' is no tool's name")
    if not cwd.startswith(b"/") or b".." in cwd.split(b"/"):
        raise answers.bad(f"cwd: '{answers.shown(cwd[:200])}' is no absolute path without '..'")
    terminal = values.get(b"tty") if version == 3 else None
    environment = _environment(values.get(b"env", ())) if version == 3 else ()
    return ExecRequest(
        tool=tool.decode("ascii"),
        cwd=cwd,
        arguments=tuple(values.get(b"arg", ())),
        environment=environment + _known_environment(variables) if variables else environment,
        terminal=_terminal(terminal[0]) if terminal else None,
        is_small=is_small,
    )


def signal_request(body: bytes) -> SignalRequest:
    """The signal in a form; RefusalError for one that cannot be sent."""
    values = _values(body)
    number = SIGNALS["TERM"]
    if b"signal" in values:
        word = _single(values, b"signal").decode("ascii", "replace")
        name = word.upper().removeprefix("SIG")
        if name not in SIGNALS:
            raise answers.bad(f"signal: '{word[:40]}' cannot be sent")
        number = SIGNALS[name]
    exec_id = _exec_id(_single(values, b"exec_id"), "exec_id")
    return SignalRequest(exec_id=exec_id, signal=number)


def notify_request(body: bytes) -> NotifyRequest:
    """The notification in a form; RefusalError without a command."""
    values = _values(body)
    command = _single(values, b"cmd")
    if not command:
        raise answers.bad("cmd is empty")
    return NotifyRequest(command=command, arguments=tuple(values.get(b"arg", ())))


def _field(part: bytes) -> tuple[bytes, bytes]:
    name, _, value = part.partition(b"=")
    if b"%" in part or b"+" in part:
        name, value = _decoded(name), _decoded(value)
    return name, value


def _decoded(text: bytes) -> bytes:
    first, *others = text.replace(b"+", b" ").split(b"%")
    try:
        return first + b"".join([_BYTES[each[:2]] + each[2:] for each in others])
    except KeyError:
        raise answers.bad("a percent sign without two hexadecimal digits") from None


def _values(body: bytes) -> Values:
    """The values of a form's fields by their names, in order; RefusalError for a NUL."""
    values: Values = {}
    suspect = b"%00" in body or b"\0" in body
    for name, value in form(body):
        if suspect and b"\0" in value:
            raise answers.bad(f"{answers.shown(name[:40])}: contains a NUL byte")
        values.setdefault(name, []).append(value)
    return values


def _single(values: Values, name: bytes) -> bytes:
    found = values.get(name, [])
    if len(found) != 1:
        how = "is missing" if not found else f"is given {len(found)} times"
        raise answers.bad(f"{name.decode('ascii')} {how}")
    return found[0]


def _exec_id(value: bytes | None, where: str) -> str:
    if value is None:
        return ""
    if not _EXEC_ID.fullmatch(value):
        raise answers.bad(f"{where}: '{answers.shown(value[:80])}' is no exec id")
    return value.decode("ascii")


def _parted(body: bytes) -> tuple[bytes, bytes]:
    """A form without the variables at its end, and those: as our own clients send them."""
    start = body.find(_VARIABLE)
    if start < 0 or body.count(b"&", start) != body.count(_VARIABLE, start):
        return body, b""
    return body[:start], body[start:]


def _environment(values: Iterable[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = []
    for each in values:
        name, equals, value = each.partition(b"=")
        if not name or not equals:
            raise answers.bad(f"env: '{answers.shown(name[:80])}' is not NAME=VALUE")
        pairs.append((name, value))
    return tuple(pairs)


@functools.lru_cache(KNOWN_ENVIRONMENTS)
def _known_environment(variables: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return _environment(_values(variables)[b"env"])


def _terminal(value: bytes) -> Terminal:
    match = _TERMINAL.fullmatch(value)
    if match is None or max(int(match[1]), int(match[2])) > 0xFFFF:
        raise answers.bad(f"tty: '{answers.shown(value[:40])}' is not ROWS,COLUMNS,MASK")
    streams = int(match[3])
    return Terminal(rows=int(match[1]), columns=int(match[2]), streams=streams)
