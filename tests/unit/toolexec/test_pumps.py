"""How long a stream waits for its receiver."""

from __future__ import annotations

import asyncio

import pytest

from aifo_tasks.toolexec.connection import StalledError
from aifo_tasks.toolexec.pumps import WINDOW, Credit

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
