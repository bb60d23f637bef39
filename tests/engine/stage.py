"""The stage of the exercise: a broker on the engine under test, with the time in the exercise's hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.base import Engine
from tests.support import START_MS, HandTime, Reply

OpenEngine = Callable[[Path], Awaitable[Engine]]


class Stage:
    """A broker on the engine under test, with the time in the exercise's hand."""

    def __init__(self, open_engine: OpenEngine, folder: Path) -> None:
        self._open_engine = open_engine
        self._folder = folder
        self.time = HandTime(START_MS)
        self.broker: Broker

    async def open(self) -> None:
        """Open the data that is there."""
        engine = await self._open_engine(self._folder)
        self.broker = await start_broker(engine, Clock(engine.time, wall=self.time, boot=self.time))

    async def restart(self) -> None:
        """Stop in order, and start again."""
        await self.broker.close()
        await self.open()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and let the engine notice."""
        self.time.now += round(seconds * 1000)
        await self.broker.engine.tick(self.broker.ask())

    async def call(self, name: str, /, principal: str = "local", **arguments: Any) -> Reply:
        """A command by the agent ``alice``."""
        return await self.broker.call(Caller(principal, "alice"), name, arguments)

    async def refused(self, code: str, name: str, /, **arguments: Any) -> Mq9Error:
        """The refusal of a command, which must be ``code``."""
        with pytest.raises(Refused) as caught:
            await self.call(name, **arguments)
        assert caught.value.code == code, str(caught.value)
        return caught.value

    async def box(self, address: str, **settings: Any) -> str:
        """A new mailbox."""
        await self.call("mailbox_create", address=address, settings=settings)
        return address

    async def send(self, to: str, text: str, **arguments: Any) -> Reply:
        """A message's receipt."""
        receipt: Reply = (await self.call("mailbox_send", to=to, text=text, **arguments))["receipts"][0]
        return receipt

    async def fetch(self, mailbox: str, **arguments: Any) -> list[Reply]:
        """The messages of a fetch."""
        messages: list[Reply] = (await self.call("mailbox_fetch", mailbox=mailbox, **arguments))["messages"]
        return messages

    async def settle(self, message: Reply, outcome: str = "ack", **fields: Any) -> Reply:
        """The result of settling one lease."""
        items = [{"lease": message["lease"], "outcome": outcome, **fields}]
        result: Reply = (await self.call("mailbox_ack", items=items))["results"][0]
        return result

    async def states(self, mailbox: str, group: str = "default") -> dict[str, str]:
        """The state of every message in a group, by its text."""
        messages = (await self.call("mailbox_query", mailbox=mailbox, limit=100))["messages"]
        return {
            message["parts"][0]["text"]: delivery["state"]
            for message in messages
            for delivery in message["deliveries"]
            if delivery["group"] == group
        }


Promise = Callable[[Stage], Coroutine[Any, Any, None]]
