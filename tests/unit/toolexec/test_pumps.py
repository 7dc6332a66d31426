"""How long a stream waits for its receiver, and where it ends."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from aifo_tasks.toolexec.connection import StalledError
from aifo_tasks.toolexec.pumps import BLOCK, WINDOW, Credit, Output

DEADLINE = 0.2


async def use_up(credit: Credit) -> asyncio.Task[int]:
    """Somebody who waits for more than there is."""
    assert await credit.take(WINDOW + 1) == WINDOW
    taking = asyncio.create_task(credit.take(7))
    await asyncio.sleep(0)
    return taking


def test_a_receiver_that_says_nothing_is_stalled() -> None:
    async def check() -> None:
        with pytest.raises(StalledError):
            await (await use_up(Credit(DEADLINE)))

    asyncio.run(check())


def test_a_receiver_that_says_it_lives_has_time() -> None:
    async def check() -> None:
        credit = Credit(DEADLINE)
        taking = await use_up(credit)
        for _ in range(30):
            await asyncio.sleep(DEADLINE / 10)
            credit.add(0)
        assert not taking.done()
        credit.add(5)
        assert await taking == 5

    asyncio.run(check())


def test_one_that_has_stopped_with_its_tool_has_time_until_both_go_on() -> None:
    async def check() -> None:
        credit = Credit(DEADLINE)
        taking = await use_up(credit)
        credit.stop(stopped=True)
        await asyncio.sleep(3 * DEADLINE)
        assert not taking.done()
        credit.stop(stopped=False)
        with pytest.raises(StalledError):
            await taking

    asyncio.run(check())


def write_for_ever(target: int) -> None:
    try:
        while True:
            os.write(target, b"y\n" * 1000)
    except BrokenPipeError:
        os.close(target)


def test_somebody_whom_the_tool_left_behind_may_write_for_ever() -> None:
    """To a client that is slower than he is: there is always something to read."""

    async def check() -> None:
        source, target = os.pipe()
        writer = threading.Thread(target=write_for_ever, args=(target,))
        writer.start()
        taken: list[int] = []
        begun = asyncio.Event()

        async def take(data: memoryview) -> None:
            taken.append(len(data))
            begun.set()
            await asyncio.sleep(0.01)

        output = Output(source, take)
        moving = asyncio.create_task(output.run())
        await begun.wait()
        output.end()
        before = len(taken)
        async with asyncio.timeout(30):
            await moving
        assert sum(taken[before:]) <= 3 * BLOCK
        os.close(source)
        writer.join()

    asyncio.run(check())
