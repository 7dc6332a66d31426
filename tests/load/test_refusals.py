"""Thousands of requests over a limit: each is answered, and never reset instead."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.project import eventually
from tests.integration.proxied import Answer, Proxy, receive
from tests.load.counting import Count
from tests.load.way import Report, Way

pytestmark = pytest.mark.parametrize("way", ["descriptors", "tcp"], indirect=True)

MANY = 24 * 1024 * 1024
BLOCK = b"x" * 65536

Pieces = Iterator[bytes]


def head(proxy: Proxy, version: int, *fields: str) -> bytes:
    lines = [
        "POST /exec HTTP/1.1", "Host: x", f"Authorization: Bearer {proxy.token}",
        f"X-Aifo-Proto: {version}", *fields,
    ]  # fmt: skip
    if version == 3:
        lines += ["Connection: Upgrade", "Upgrade: aifo-exec"]
    return "\r\n".join(lines).encode() + b"\r\n"


def long_fields(proxy: Proxy, version: int) -> Pieces:
    """A header block a little over its limit."""
    yield head(proxy, version, *(f"X-{n}: {'x' * 1000}" for n in range(66)))
    yield b"\r\n"


def many_fields(proxy: Proxy, version: int) -> Pieces:
    """One line too many."""
    yield head(proxy, version, *(f"X-{n}: x" for n in range(1024)))
    yield b"\r\n"


def endless_fields(proxy: Proxy, version: int) -> Pieces:
    """A header block that goes on when it has been refused."""
    yield head(proxy, version)
    yield b"X: "
    yield from itertools.repeat(BLOCK, 64)


def announced(proxy: Proxy, version: int) -> Pieces:
    """A body that is too large by one byte, of which a little comes."""
    yield head(proxy, version, f"Content-Length: {MANY + 1}") + b"\r\n"
    yield from itertools.repeat(BLOCK, 4)


def whole(proxy: Proxy, version: int) -> Pieces:
    """The same, and all of it comes."""
    yield head(proxy, version, f"Content-Length: {MANY + 1}") + b"\r\n"
    yield from itertools.repeat(BLOCK, MANY // len(BLOCK))
    yield b"x"


def chunked(proxy: Proxy, version: int) -> Pieces:
    """A body that nobody knows to be too large before it is."""
    yield head(proxy, version, "Transfer-Encoding: chunked") + b"\r\n"
    yield from itertools.repeat(b"10000\r\n" + BLOCK + b"\r\n", MANY // len(BLOCK) + 64)
    yield b"0\r\n\r\n"


KINDS: list[tuple[Callable[[Proxy, int], Pieces], int, str]] = [
    (long_fields, 431, "request headers too large\n"),
    (many_fields, 431, "request headers too large\n"),
    (endless_fields, 431, "request headers too large\n"),
    (announced, 413, "request body too large\n"),
    (whole, 413, "request body too large\n"),
    (chunked, 413, "request body too large\n"),
]


def ask(proxy: Proxy, pieces: Pieces) -> Answer:
    """Send until that fails, and read the answer then."""
    with proxy.connect() as client:
        try:
            for piece in pieces:
                client.sendall(piece)
        except ConnectionError:
            pass
        return receive(client)


def test_each_is_answered(way: Way, full: bool, report: Report) -> None:
    before = way.proxy.descriptors()
    cases = itertools.cycle(itertools.product(KINDS, (1, 2, 3)))

    def one(case: tuple[tuple[Callable[[Proxy, int], Pieces], int, str], int]) -> str:
        (pieces, status, text), version = case
        found = ask(way.proxy, pieces(way.proxy, version))
        right = (found.status, found.body.decode(), found.exit_code) == (status, text, 86)
        return "" if right else f"{pieces.__name__}, version {version}: {found}"

    with ThreadPoolExecutor(16) as pool:
        wrong = list(filter(None, pool.map(one, itertools.islice(cases, 1500 if full else 54))))
    assert wrong == []
    eventually(lambda: way.proxy.descriptors() <= before)
    report(f"the proxy holds {Count.of(way.proxy.process.pid).resident >> 20} MiB then")
    assert way.run("echo on") == (0, b"on\n", b"")
