"""The proxy's way to an init: a connection that waits, what ends it, and who comes instead."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from aifo_tasks import files
from aifo_tasks.config import load
from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import frames, launcher
from aifo_tasks.toolexec.direct import Direct
from aifo_tasks.toolexec.frames import Exit
from aifo_tasks.toolexec.launcher import UnreachableError
from aifo_tasks.toolexec.sidecars import Running, Sidecar
from aifo_tasks.toolexec.upstream import NotStartedError, Upstream
from tests.native.running import GENEROUS, Init, descendants, wait_for, waits


def run(work: Coroutine[None, None, None]) -> None:
    """Run a test's coroutine; it has an end."""
    asyncio.run(asyncio.wait_for(work, GENEROUS))


async def status(way: Upstream | Sidecar, *argv: bytes, output: int = -1) -> int:
    """The status of a call, its output thrown away or written to a descriptor."""
    null = os.open(os.devnull, os.O_RDWR)
    call = frames.Call(argv=argv, cwd=b"/")
    try:
        tool = await way.start(call, [null, null if output < 0 else output, null])
        await tool.ended.wait()
        tool.close()
    finally:
        os.close(null)
    assert tool.end is not None
    return tool.end.status


async def greeted(init: Init) -> Direct:
    """A way on which a connection waits."""
    way = Direct(init.peer(), init.greeted())
    assert await status(way, b"true") == 0
    await asyncio.sleep(0)
    return way


def serving(init: Init) -> list[int]:
    """The processes that serve a connection which waits."""
    return [pid for pid in descendants(init.pid) if not waits(pid)]


def test_calls_one_after_the_other_and_at_once(init: Init) -> None:
    async def test() -> None:
        way = Direct(init.peer(), init.greeted())
        assert [await status(way, b"sh", b"-c", b"exit %d" % n) for n in range(5)] == [*range(5)]
        together = (status(way, b"sh", b"-c", b"exit %d" % n) for n in range(20))
        assert await asyncio.gather(*together) == [*range(20)]
        assert await status(way, b"sh", b"-c", b"kill -9 $$") == 128 + signal.SIGKILL
        way.close()

    run(test())
    wait_for("no connection", lambda: not serving(init))


async def parent(way: Direct, script: bytes) -> bytes:
    """The parent of the shell that runs a script, by its own word."""
    read, write = os.pipe()
    assert await status(way, b"sh", b"-c", b"echo $PPID; " + script, output=write) == 0
    os.close(write)
    with os.fdopen(read, "rb") as said:
        return said.readline()


def test_calls_that_leave_nobody_behind_have_one_parent_after_the_other(init: Init) -> None:
    async def test() -> None:
        way = Direct(init.peer(), init.greeted())
        first = await parent(way, b"true")
        assert {await parent(way, b"true") for _ in range(9)} == {first}
        leaving = await parent(way, b"(trap '' INT; sleep 99 > /dev/null 2>&1 &) ; true")
        assert leaving == first
        assert first not in {await parent(way, b"true") for _ in range(9)}
        way.close()

    run(test())
    wait_for("what was left behind, alone", lambda: len(serving(init)) == 1)


def test_a_signal_that_comes_too_late_is_lost_and_nothing_else(init: Init) -> None:
    async def test() -> None:
        way = Direct(init.peer(), init.greeted())
        null = os.open(os.devnull, os.O_RDWR)
        for _ in range(20):
            tool = await way.start(frames.Call(argv=(b"true",), cwd=b"/"), [null] * 3)
            while not tool.ended.is_set():
                tool.signal(signal.SIGWINCH)
                tool.resize(1, 2)
                await asyncio.sleep(0)
            assert tool.end == Exit(signalled=False, value=0)
            tool.close()
        os.close(null)
        way.close()

    run(test())


def test_a_call_of_a_mebibyte(init: Init) -> None:
    words = [b"x" * 1000] * 1000

    async def test() -> None:
        way = await greeted(init)
        read, write = os.pipe()
        script = (b"sh", b"-c", b'printf %s "$#"', b"sh", *words)
        assert await status(way, *script, output=write) == 0
        assert os.read(read, 100) == b"1000"
        os.close(read)
        os.close(write)
        way.close()

    run(test())


def test_a_program_that_is_not_there(init: Init) -> None:
    async def test() -> None:
        way = await greeted(init)
        with pytest.raises(NotStartedError):
            await status(way, b"/nowhere")
        assert await status(way, b"true") == 0
        way.close()

    run(test())


def test_a_connection_that_died_while_it_waited_is_no_loss(init: Init) -> None:
    async def test() -> None:
        way = await greeted(init)
        for pid in wait_for("the connections", lambda: serving(init)):
            os.kill(pid, signal.SIGKILL)
        wait_for("its end", lambda: not serving(init))
        assert await status(way, b"sh", b"-c", b"exit 3") == 3
        way.close()

    run(test())


def test_an_init_that_leaves_takes_no_call_by_the_connection_that_waits(init: Init) -> None:
    async def test() -> None:
        way = await greeted(init)
        launcher.retire(init.peer())
        wait_for("the socket's end", lambda: not init.socket.exists())
        with pytest.raises(UnreachableError):
            await status(way, b"true")
        way.close()

    run(test())
    assert init.process.wait(GENEROUS) == 0


def test_the_terminal_goes_with_the_call(init: Init) -> None:
    async def test() -> None:
        way = await greeted(init)
        call = frames.Call(argv=(b"sleep", b"99"), cwd=b"/", terminal=7, rows=3, columns=4)
        tool = await way.start(call, [])
        master = tool.master
        assert os.get_terminal_size(master) == (4, 3)
        tool.resize(5, 6)
        wait_for("the new size", lambda: os.get_terminal_size(master) == (6, 5))
        tool.signal(signal.SIGTERM)
        await tool.ended.wait()
        assert tool.end == Exit(signalled=True, value=signal.SIGTERM)
        tool.close()
        assert tool.master == -1
        way.close()

    run(test())


def test_a_stop_ends_the_tool(init: Init) -> None:
    async def test() -> None:
        way = await greeted(init)
        null = os.open(os.devnull, os.O_RDWR)
        tool = await way.start(frames.Call(argv=(b"sleep", b"99"), cwd=b"/"), [null] * 3)
        os.close(null)
        tool.stop()
        await tool.ended.wait()
        tool.close()
        way.close()

    run(test())
    wait_for("no process", lambda: not serving(init))


def sidecar(first: Init, renew: Callable[[], Running]) -> Sidecar:
    toolchain = load.load(files.resource("toolchains.yaml").parent).toolchain("node")
    assert toolchain is not None
    running = Running(name="first", upstream=Direct(first.peer(), first.greeted()))
    return Sidecar(toolchain, running, own=frozenset(), renew=renew)


@pytest.fixture
def other(start: Callable[..., Init], short_path: Path) -> Init:
    """A second init."""
    (short_path / "other").mkdir()
    return start(directory=short_path / "other")


def test_all_who_find_a_sidecar_gone_wait_for_the_same_one(init: Init, other: Init) -> None:
    asked = []

    def renew() -> Running:
        asked.append(1)
        return Running(name="second", upstream=Direct(other.peer(), other.greeted()))

    async def test() -> None:
        found = sidecar(init, renew)
        assert (await status(found, b"true"), found.name) == (0, "first")
        init.process.terminate()
        init.process.wait()
        assert await asyncio.gather(*(status(found, b"true") for _ in range(5))) == [0] * 5
        assert (asked, found.name) == ([1], "second")
        found.close()

    run(test())


def test_a_sidecar_that_cannot_be_had_is_asked_for_again(init: Init, other: Init) -> None:
    asked = []

    def renew() -> Running:
        asked.append(1)
        if len(asked) == 1:
            raise AifoError("engine", "is away")
        return Running(name="second", upstream=Direct(other.peer(), other.greeted()))

    async def test() -> None:
        found = sidecar(init, renew)
        init.process.terminate()
        init.process.wait()
        answers = await asyncio.gather(
            *(status(found, b"true") for _ in range(3)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {UnreachableError}
        assert await status(found, b"true") == 0
        found.close()

    run(test())
