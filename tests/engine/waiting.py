"""Fetches that wait: started, woken, given up."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support import Desk, Reply

Fetching = asyncio.Task[list[Reply]]


async def waiting(desk: Desk, mailbox: Any = "box", **arguments: Any) -> Fetching:
    """A fetch that has looked once, found nothing and waits."""
    task = asyncio.create_task(desk.fetch(mailbox, wait_s=50, **arguments))
    await turns()
    assert not task.done()
    return task


async def turns(count: int = 20) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def soon(task: Fetching) -> list[Reply]:
    """What a woken fetch returns; far below the time that it was ready to wait."""
    async with asyncio.timeout(10):
        return await task


async def give_up(*tasks: Fetching) -> None:
    """The callers hang up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
