"""The client's methods without a wire: a worker in the server's own process calls the broker.

What goes in and out is what a wire would carry, so a hosted worker gets and may no more than any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from mq9_mcp.broker.broker import Broker
from mq9_mcp.client.commands.agent import AgentCommands
from mq9_mcp.client.commands.mailbox import MailboxCommands
from mq9_mcp.client.commands.task import TaskCommands
from mq9_mcp.client.following import Following
from mq9_mcp.domain.state import Caller

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Inside(MailboxCommands, TaskCommands, AgentCommands, Following):
    """Calls as ``caller``."""

    def __init__(self, broker: Broker, caller: Caller) -> None:
        super().__init__()
        self.agent = caller.agent
        self._broker = broker
        self._caller = caller

    async def call(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call any command; what a fetch that is cancelled had taken is given back."""
        given = _decode(_encode(arguments))
        call = asyncio.create_task(self._broker.call(self._caller, command, given))
        try:
            await asyncio.wait({call})
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait({call})
            if command == "mailbox_fetch" and not call.cancelled() and call.exception() is None:
                self._broker.give_back(call.result())
            raise
        return _decode(_encode(call.result()))

    async def task_follow(self, task: str, after: int | None = None) -> AsyncGenerator[dict[str, Any]]:
        """As the client's."""
        async with aclosing(self._broker.follow_task(self._caller, task, after)) as told:
            async for one in told:
                yield _decode(_encode(one))
