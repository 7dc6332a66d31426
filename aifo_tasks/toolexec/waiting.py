"""Waiting for a descriptor in the event loop."""

from __future__ import annotations

import asyncio


async def readable(descriptor: int) -> None:
    """Until a read would not block."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Until a write would not block."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def wake(ready: asyncio.Future[None]) -> None:
    """Let the one who waits go on; more than once does nothing."""
    if not ready.done():
        ready.set_result(None)
