"""What the tests share: a broker on a real data directory, with time in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.broker import Broker, CheckUrl, start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.push_target import Place
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import EmbeddedEngine, open_engine

START_MS = 1_800_000_000_000  # 2027-01-15T08:00:00Z
Reply = dict[str, Any]


async def anywhere(_: Place) -> None:
    """No name is looked up in tests."""


class HandTime:
    """A clock that stands until the test moves it."""

    def __init__(self, now: int = START_MS) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Desk:
    """A broker and the calls that tests make on it. ``agent`` is who calls unless said otherwise."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.time = HandTime()
        self.options: dict[str, Any] = {"segment_bytes": 256 * 1024, "fold_apart": False, **options}
        self.broker: Broker
        self.engine: EmbeddedEngine
        self.check_url: CheckUrl = anywhere

    async def open(self) -> None:
        """Open the data directory, as a start of the broker does."""
        self.engine = await open_engine(self.folder, **self.options)
        clock = Clock(self.engine.time, wall=self.time, boot=self.time)
        self.broker = await start_broker(self.engine, clock, check_url=self.check_url)

    async def restart(self) -> None:
        """Stop the broker in order and start it again."""
        await self.broker.close()
        await self.open()

    async def call(
        self, name: str, /, agent: str | None = "alice", principal: str = "local", **arguments: Any
    ) -> Reply:
        """One command with arguments as the wire has them."""
        return await self.broker.call(Caller(principal, agent), name, arguments)

    async def refused(
        self, code: str, name: str, /, agent: str | None = "alice", **arguments: Any
    ) -> Mq9Error:
        """The refusal of a command, which must be ``code``."""
        with pytest.raises(Mq9Error) as caught:
            await self.call(name, agent, **arguments)
        assert caught.value.code == code, str(caught.value)
        return caught.value

    async def send(
        self, to: str = "box", text: str = "hello", agent: str | None = "alice", **arguments: Any
    ) -> Reply:
        """Send one message; returns its receipt."""
        reply = await self.call("mailbox_send", agent, to=to, text=text, **arguments)
        receipt: Reply = reply["receipts"][0]
        return receipt

    async def fetch(self, mailbox: str = "box", agent: str | None = "bob", **arguments: Any) -> list[Reply]:
        """Fetch; returns the messages."""
        reply = await self.call("mailbox_fetch", agent, mailbox=mailbox, **arguments)
        messages: list[Reply] = reply["messages"]
        return messages

    async def settle(
        self, message: Reply, outcome: str = "ack", agent: str | None = "bob", **fields: Any
    ) -> Reply:
        """Settle one leased message; returns its result."""
        item = {"lease": message["lease"], "outcome": outcome, **fields}
        reply = await self.call("mailbox_ack", agent, items=[item])
        result: Reply = reply["results"][0]
        return result

    async def query(self, mailbox: str = "box", **arguments: Any) -> list[Reply]:
        """Query; returns the messages."""
        reply = await self.call("mailbox_query", mailbox=mailbox, **arguments)
        messages: list[Reply] = reply["messages"]
        return messages

    async def pass_time(self, seconds: float) -> None:
        """Let time pass and let the broker notice."""
        self.time.now += round(seconds * 1000)
        await self.engine.tick(self.broker.ask())


def texts(messages: list[Reply]) -> list[str]:
    """The first text part of each message."""
    return [message["parts"][0]["text"] for message in messages]


@asynccontextmanager
async def opened(folder: Path, *mailboxes: str, **options: Any) -> AsyncIterator[Desk]:
    """A desk on ``folder`` with plain mailboxes made; closed in order at the end."""
    desk = Desk(folder, **options)
    await desk.open()
    try:
        for address in mailboxes:
            await desk.call("mailbox_create", address=address)
        yield desk
    finally:
        await desk.broker.close()


def run(
    test: Callable[[Desk], Coroutine[Any, Any, None]], folder: Path, *mailboxes: str, **options: Any
) -> None:
    """Run an async test body on a desk; a test that hangs fails after 60 s."""

    async def body() -> None:
        async with asyncio.timeout(60), opened(folder, *mailboxes, **options) as desk:
            await test(desk)

    asyncio.run(body())
