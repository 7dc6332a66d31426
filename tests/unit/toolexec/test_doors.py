"""Where a proxy listens."""

from __future__ import annotations

import asyncio

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec.doors import Doors

NOBODYS = "192.0.2.1"
"""An address for documentation (RFC 5737), which no machine has."""


def test_an_address_may_be_listened_on_before_it_is_there() -> None:
    async def test() -> None:
        doors = Doors(lambda client: client.close())
        with pytest.raises(AifoError, match="cannot listen: cannot assign requested address"):
            doors.listen_tcp(NOBODYS)
        assert doors.listen_tcp(NOBODYS, early=True) > 0
        doors.close()

    asyncio.run(test())
