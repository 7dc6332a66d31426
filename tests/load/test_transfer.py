"""Gibibytes in both directions, in each version and over each way, to readers of any pace."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.integration.project import Project
from tests.integration.proxied import form, request
from tests.load.downloads import MIB, Download, Pace
from tests.load.way import LONG, Report, Way

LIMITS = {"AIFO_TOOLEXEC_WRITE": "15"}
"""Less than the slow readers take at full size: who keeps reading is never dropped."""

Drink = Callable[[Pace], tuple[str, int]]
"""Reads all of a call's output at a pace; its digest and the call's exit status."""


@pytest.fixture(scope="module")
def big(project: Project, full: bool) -> Iterator[str]:
    """The digest of a large file in the workspace."""
    path, digest = project.path / "big", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(2048 if full else 32):
            block = os.urandom(MIB)
            digest.update(block)
            file.write(block)
    yield digest.hexdigest()
    path.unlink()


@pytest.fixture(scope="module")
def paces(full: bool) -> list[Pace]:
    """One that reads as it comes, one that pauses, one that is slow."""
    return [Pace(), Pace(pause=10 if full else 1), Pace(slow=20 if full else 1)]


def check(drink: Drink, paces: list[Pace], big: str) -> str:
    """A reader of each pace, all at once; how long each took."""
    began = time.monotonic()
    took = []

    def one(pace: Pace) -> tuple[str, int]:
        found = drink(pace)
        took.append(f"{time.monotonic() - began:.1f} s")
        return found

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(one, paces))
    assert found == [(big, 0)] * len(paces)
    return ", ".join(took)


def test_output_through_a_shim(way: Way, paces: list[Pace], big: str, report: Report) -> None:
    def drink(pace: Pace) -> tuple[str, int]:
        with way.popen("cat big", stderr=None) as child:
            assert child.stdout is not None
            digest = pace.drink(partial(os.read, child.stdout.fileno()))
            return digest, child.wait(LONG)

    report(check(drink, paces, big))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("way", ["descriptors", "tcp", "relay"], indirect=True)
def test_output_in_an_answer(
    way: Way, version: int, paces: list[Pace], big: str, report: Report
) -> None:
    def drink(pace: Pace) -> tuple[str, int]:
        body = form(tool="sh", cwd="/workspace", arg=["-c", "cat big"])
        with way.proxy.connect() as client:
            client.settimeout(LONG)
            client.sendall(request(way.proxy, "/exec", body, version=version))
            answer = Download(client)
            digest = pace.drink(answer.read)
            answer.close()
            return digest, answer.exit_code

    report(check(drink, paces, big))


def test_input_through_a_shim(way: Way, paces: list[Pace], big: str, report: Report) -> None:
    def drink(pace: Pace) -> tuple[str, int]:
        sender = subprocess.Popen(["cat", way.project.path / "big"], stdout=subprocess.PIPE)
        with sender, way.popen(pace.script, stdin=sender.stdout, stderr=None) as child:
            output, _ = child.communicate(timeout=LONG)
        return output.decode().removesuffix("  -\n"), child.returncode

    report(check(drink, paces, big))
