"""The server is killed and started again while consumers work: every message is handled, none is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mq9_mcp.client import Mq9Client, Mq9Message
from tests.client.serving import Server, serving

MESSAGES = 120
KILLS_AT = (20, 60)  # messages handled
PLACES = 3  # of each of two consumers


class Worker:
    """A handler whose first attempt at every seventh message fails; it can be held up."""

    def __init__(self) -> None:
        self.handled = 0
        self.held = 0
        self.succeeded: set[int] = set()
        self.failed: set[int] = set()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.steps = asyncio.Condition()

    async def handle(self, message: Mq9Message) -> str:
        """Handle a message; what it returns is the reply."""
        id = message.msg_id
        await self._step(handled=1, held=1)
        await self.go_on.wait()
        await self._step(held=-1)
        if id % 7 == 0 and id not in self.failed:
            self.failed.add(id)
            raise OSError
        self.succeeded.add(id)
        await self._step()
        return f"done {id}"

    async def _step(self, handled: int = 0, held: int = 0) -> None:
        async with self.steps:
            self.handled += handled
            self.held += held
            self.steps.notify_all()

    async def until_handled(self, number: int) -> None:
        """So many messages have come."""
        async with self.steps:
            while self.handled < number:
                await self.steps.wait()

    async def until_full(self) -> None:
        """Every place is taken, so no fetch is under way."""
        async with self.steps:
            while self.held < 2 * PLACES:
                await self.steps.wait()

    async def until_done(self, ids: set[int]) -> None:
        """Every message is handled with success."""
        async with self.steps:
            while self.succeeded != ids:
                await self.steps.wait()


@pytest.mark.parametrize(
    "any_moment",
    [
        False,
        # A fetch whose reply was lost holds leases, and after a restart they last half a minute.
        pytest.param(
            True, marks=pytest.mark.skipif("MQ9_CRASH_ROUNDS" not in os.environ, reason="make crash")
        ),
    ],
)
def test_consumers_outlive_a_broker_that_is_killed(tmp_path: Path, any_moment: bool) -> None:
    with serving(tmp_path / "data") as server:
        asyncio.run(_killed(server, any_moment))


async def _killed(server: Server, any_moment: bool) -> None:
    worker = Worker()
    answers: list[str] = []
    async with asyncio.timeout(180), Mq9Client(server.url, agent="boss") as client:
        settings = {"max_attempts": 0, "backoff_first_s": 0}
        await client.call("mailbox_create", {"address": "jobs", "settings": settings})
        batch = await client.mailbox_send(
            messages=[{"to": "jobs", "text": str(number)} for number in range(MESSAGES)]
        )
        ids = {receipt["id"] for receipt in batch["receipts"]}
        async with (
            Mq9Client(server.url, agent="anna") as anna,
            Mq9Client(server.url, agent="ben") as ben,
            anna.consume("jobs", worker.handle, concurrency=PLACES, lease_s=1, reply=True) as first,
            ben.consume("jobs", worker.handle, concurrency=PLACES, lease_s=1, reply=True) as second,
        ):
            for at in KILLS_AT:
                await worker.until_handled(at)
                if not any_moment:
                    worker.go_on.clear()
                    await worker.until_full()
                server.kill()
                worker.go_on.set()
                await asyncio.to_thread(server.start)
            await worker.until_done(ids)
        async with client.consume(None, lambda reply: answers.append(reply["parts"][0]["text"])) as third:
            while third.processed_count < MESSAGES:
                await asyncio.sleep(0)
        assert sorted(answers) == sorted(f"done {id}" for id in ids)  # none twice
        assert worker.failed
        assert first.processed_count + second.processed_count == MESSAGES
        [group] = (await client.group_list(mailbox="jobs"))["groups"]
        assert (group["waiting"], group["leased"], group["backoff"]) == (0, 0, 0)
