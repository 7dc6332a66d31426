"""The descriptors a proxy needs, and that nobody else gets them."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable

import pytest

from aifo_tasks import process
from aifo_tasks.errors import AifoError, ProcessError
from aifo_tasks.toolexec import limits
from aifo_tasks.toolexec.limits import Limits

SCRIPT = 'test "$(ulimit -Sn)" = "$1" && test "$2" = "a b" && test -z "$3" && exit 3'


def run(argv: list[str]) -> int:
    return process.run(argv, check=False, environment={"A": "b"}).status


def run_apart(argv: list[str]) -> int:
    return process.run_apart(argv, environment=dict(os.environ), timeout=30)


def stream(argv: list[str]) -> int:
    with pytest.raises(ProcessError) as caught:
        process.stream(argv, print)
    return caught.value.status


@pytest.mark.parametrize("start", [run, run_apart, stream])
def test_a_child_has_the_limit_that_was_there_before(start: Callable[[list[str]], int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(300, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        with limits.carried(Limits(connections=100)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > low
            assert start(["sh", "-c", SCRIPT, "sh", str(low), "a b", ""]) == 3
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_program_that_is_not_there_is_still_none() -> None:
    with limits.carried(Limits(connections=100)), pytest.raises(AifoError, match="no such program"):
        process.run(["nonesuch-1"])
