"""A hundred thousand calls, one after the other: none is lost, and nothing grows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from aifo_tasks import files
from aifo_tasks.sidecar.identity import project_session
from aifo_tasks.toolexec import answers
from tests.integration.project import docker
from tests.integration.proxied import Frames, ask, form, request
from tests.load.counting import Count, settled
from tests.load.way import Report, Way, numbered

CLIENTS = 4
WARM = 300
GROWTH = 4 * 1024 * 1024
"""Bytes that a process may grow by: a hundred bytes a call are more, in the full form."""


def asked(way: Way, n: int) -> None:
    """A call by a client that is no shim, of each version in turn."""
    body = form(tool="sh", cwd="/workspace", arg=["-c", f"echo {n}; exit {n % 100}"])
    version = n % 3 + 1
    if version == 3:
        call = Frames(way.proxy, body)
        output, errors, end = call.rest()
        call.close()
        assert end is not None
        assert (output, errors, end.status) == (b"%d\n" % n, b"", n % 100)
        return
    answer = ask(way.proxy, request(way.proxy, "/exec", body, version=version))
    found = (answer.status, answer.body, answer.exit_code, answer.whole)
    assert found == (200, b"%d\n" % n, n % 100, True)


def refused(way: Way, n: int) -> None:
    """One that the sidecar cannot start, and brings much for it."""
    body = form(tool="sh", cwd="/workspace/nowhere", arg=["-c", "true", "x" * 100_000])
    answer = ask(way.proxy, request(way.proxy, "/exec", body, version=n % 2 + 1))
    assert (answer.status, answer.exit_code) == (500, 126)


def one(way: Way, n: int) -> None:
    if n % 10 == 0:
        asked(way, n)
    elif n % 100 == 1:
        refused(way, n)
    else:
        numbered(way, n)


def recorded(way: Way) -> list[int]:
    """How those calls ended that the proxy has led to an end."""
    session = project_session(way.project.path)
    with (files.state_dir() / "audit" / f"{session}.jsonl").open("rb") as lines:
        return [json.loads(line)["exit"] for line in lines]


@pytest.mark.timeout(3600)
def test_nothing_grows(way: Way, full: bool, report: Report) -> None:
    (name,) = way.project.sidecars()
    init = int(docker("inspect", "--format", "{{.State.Pid}}", name))
    parties = {"proxy": way.proxy.process.pid, "init": init}
    count = 33_334 if full else 500

    def call(count: int) -> dict[str, Count]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda n: one(way, n), range(count)))
        return {who: settled(pid) for who, pid in parties.items()}

    before = call(WARM)
    calls = len(recorded(way))
    after = call(count)
    ends = recorded(way)
    assert len(ends) == calls + count
    assert answers.LOST not in ends
    assert way.project.processes() == []
    for who in parties:
        first, last = before[who], after[who]
        report(f"{who}: {first} before, {last} after")
        assert last.resident - first.resident < GROWTH
        assert replace(last, resident=0) == replace(first, resident=0)
