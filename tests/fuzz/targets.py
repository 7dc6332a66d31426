"""One function a decoder: it takes any bytes and fails when something of them is taken wrong."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from aifo_tasks.config import locks
from aifo_tasks.config.load import load
from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import requests
from aifo_tasks.toolexec.answers import RefusalError
from aifo_tasks.toolexec.frames import Call, Decoder, Exit, Failed, Frame, FrameError, Welcome
from aifo_tasks.toolexec.http import Reader

T = TypeVar("T")
BODY_LIMIT = 100
REFUSED = {400, 401, 404, 405, 413, 426, 431}


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The bytes behind the first one, whole, and in pieces as large as that one says."""
    size, rest = data[0] + 1 if data else 1, data[1:]
    return rest, [rest[at : at + size] for at in range(0, len(rest), size)]


def request(data: bytes) -> None:
    """A request is the same however it is cut; it is carried out, refused or unfinished.

    A body that is both malformed and over the limit is refused for what shows first.
    """
    rest, pieces = cut(data)
    whole, parts = asked([rest] if rest else []), asked(pieces)
    assert whole == parts or (whole in (400, 413) and parts in (400, 413))


def asked(pieces: Sequence[bytes]) -> object:
    """What a request comes to, as the proxy reads it."""
    reader = Reader(body_limit=BODY_LIMIT)
    try:
        for piece in pieces:
            before = reader.head
            reader.feed(piece)
            if before is None and reader.head is not None:
                requests.endpoint(reader.head, ("secret",))
                reader.check_length()
                reader.feed(b"")
        if reader.head is None or not reader.complete:
            return None
        assert len(reader.body) <= BODY_LIMIT
        endpoint = requests.endpoint(reader.head, ("secret",))
        return endpoint, requests.wants_frames(reader.head), decoded(endpoint, reader), reader.rest
    except RefusalError as error:
        return refused(error)


def decoded(endpoint: requests.Endpoint, reader: Reader) -> object:
    """The body by its endpoint."""
    if endpoint.path == "/exec":
        return requests.exec_request(reader.body, endpoint.version)
    if endpoint.path == "/notify":
        return requests.notify_request(reader.body)
    return requests.signal_request(reader.body)


def refused(error: RefusalError) -> int:
    """The status of a refusal whose text a terminal can show."""
    assert error.answer.status in REFUSED
    text = error.answer.body.decode().removesuffix("\n")
    assert text.isprintable(), text
    return error.answer.status


def form(data: bytes) -> None:
    """A form's fields are those that the library decodes, and they come back."""
    fields = accepted(requests.form, data)
    assert fields == expected_fields(data)
    if fields is not None:
        encoded = b"&".join(b"=".join(map(quoted, field)) for field in fields)
        assert requests.form(encoded) == fields
    accepted(requests.signal_request, data)
    accepted(requests.notify_request, data)
    call = accepted(lambda body: requests.exec_request(body, 3), data)
    if call is not None:
        assert not any(b"\0" in value for value in (call.cwd, *call.arguments))
        assert all(name and b"=" not in name for name, _ in call.environment)


def accepted(decode: Callable[[bytes], T], data: bytes) -> T | None:
    """What a decoder makes of a body; None when that is refused as a bad request."""
    try:
        return decode(data)
    except RefusalError as error:
        status = refused(error)
    assert status == 400
    return None


def expected_fields(data: bytes) -> requests.Fields | None:
    """The same, by the library; None for a percent sign that stands alone."""
    if re.search(rb"%(?![0-9A-Fa-f]{2})", data):
        return None
    pairs = (part.replace(b"+", b" ").partition(b"=") for part in data.split(b"&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def quoted(data: bytes) -> bytes:
    return quote_from_bytes(data, safe="").encode()


def frame(data: bytes) -> None:
    """Frames are the same however they are cut; payloads that mean something come back."""
    rest, pieces = cut(data)
    whole, error = decode([rest])
    assert (whole, error) == decode(pieces)
    assert rest.startswith(b"".join(each.encode() for each in whole))
    for kind in (Call, Welcome, Exit, Failed):
        for payload in (rest, *(each.payload for each in whole)):
            check_payload(kind, payload)


def decode(pieces: Sequence[bytes]) -> tuple[list[Frame], str]:
    decoder, found = Decoder(), list[Frame]()
    try:
        for piece in pieces:
            for each in decoder.feed(piece):
                found.append(each)  # what came before an error counts
    except FrameError as error:
        return found, error.problem
    return found, ""


def check_payload(
    kind: type[Call] | type[Welcome] | type[Exit] | type[Failed], data: bytes
) -> None:
    try:
        value = kind.decode(data)
    except FrameError:
        return
    assert value.encode() == data


def toolchains(data: bytes) -> None:
    """Any file gives a model or an error that names its place."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        (root / "toolchains.yaml").write_bytes(data)
        try:
            hash(load(root))
        except AifoError as error:
            for line in str(error).splitlines():
                assert line.startswith(("toolchains.yaml:", "builtin:")), line
                line.encode()


def lock(data: bytes) -> None:
    """Any bytes give a lock, which is read again as it is written, or errors with their places."""
    found, problems = locks.checked(data)
    for line in problems:
        assert line.startswith("toolchains.lock:"), line
        line.encode()
    assert (found is None) == bool(problems)
    if found is not None:
        model = locks.lock(found)
        again, problems = locks.checked(locks.text(model).encode())
        assert again is not None, problems
        assert locks.lock(again) == model


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "form": form,
    "frame": frame,
    "toolchains": toolchains,
    "lock": lock,
}
