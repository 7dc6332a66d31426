"""Which version a source gives, and telling a silent registry from one that answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.image import base
from aifo_tasks.model import BaseSource, Bootstrap

DEBIAN = Bootstrap(suite="bookworm", variant="minbase")


@pytest.mark.parametrize(
    ("has", "asked"),
    [("20.19.5", "20"), ("20.19.5", "20.19"), ("20.19.5", "20.19.5"), ("20", "20")],
)
def test_a_source_gives_the_version_it_has(has: str, asked: str) -> None:
    assert base.given(BaseSource(version=has, bootstrap=DEBIAN), asked) == has


@pytest.mark.parametrize("asked", ["2", "20.1", "22", "20.19.50"])
def test_a_version_it_does_not_have_is_refused_with_what_can_be_had(asked: str) -> None:
    with pytest.raises(AifoError) as caught:
        base.given(BaseSource(version="20.19.5", reference="a:1"), asked)
    assert str(caught.value) == (
        f"version: it gives version 20.19.5, not {asked} (hint: version: 20.19.5)"
    )
    with pytest.raises(AifoError) as caught:
        base.given(BaseSource(version="20.19.5", bootstrap=DEBIAN), asked)
    assert caught.value.problem == f"it gives version 20.19.5, not {asked}"


def test_where_a_template_can_install_any_other_version_it_is_exact() -> None:
    source = BaseSource(version="20.19.5", bootstrap=DEBIAN, exact=True)
    assert base.given(source, "22.12.0") == "22.12.0"
    with pytest.raises(AifoError) as caught:
        base.given(source, "22.12")
    assert caught.value.problem == (
        "it gives version 20.19.5 and any other that is exact to the last number, not 22.12"
    )


@pytest.fixture
def full() -> Iterator[str]:
    """An address whose queue of connections is full, so that no further one is answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


def test_a_registry_that_swallows_packets_is_silent(full: str) -> None:
    assert base.is_silent(full, {})


def test_behind_a_proxy_the_engine_is_left_to_try(full: str) -> None:
    assert not base.is_silent(full, {"https_proxy": "http://proxy.example:3128"})


def test_a_refusal_is_an_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert not base.is_silent(f"127.0.0.1:{free.getsockname()[1]}", {})


def test_a_name_that_does_not_resolve_is_the_engines_to_tell() -> None:
    assert not base.is_silent("registry.invalid", {})


@pytest.mark.parametrize(
    ("chain", "end"),
    [
        ("not found", "not found"),
        ('failed: Head "https://h": dial tcp: lookup h: no such host', "lookup h: no such host"),
        ("first line\nthe build: a: b", "a: b"),
    ],
)
def test_of_a_long_chain_of_causes_the_end_is_told(chain: str, end: str) -> None:
    assert base.short(chain) == end
