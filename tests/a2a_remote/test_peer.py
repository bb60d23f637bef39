"""An agent elsewhere that answers nonsense is given up, and harms nobody."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from a2a.types import SendMessageRequest
from mq9_a2a.remote import peer as module
from mq9_a2a.remote.peer import UNCLEAR_MAX, Down, Peer, Refusal, Unclear

from mq9_mcp.peers import transport
from mq9_mcp.peers.reach import Reach, read_networks
from tests.a2a_remote.elsewhere import card

LOOPBACK = Reach(read_networks(["127.0.0.1"]))
TASK = {"id": "there", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}


class Nonsense:
    """What the agent answers to everything, and how often it was asked."""

    def __init__(self, result: Any, more: int) -> None:
        self.result = result
        self.more = more  # bytes that it promises and never sends
        self.asked = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        assert found is not None
        asked = json.loads(await reader.readexactly(int(found[1])))
        self.asked += 1
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": self.result}).encode()
        headers = f"content-type: application/json\r\ncontent-length: {len(body) + self.more}"
        writer.write(f"HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n\r\n".encode() + body)
        if self.more:
            await reader.read()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def nonsense(result: Any, more: int = 0) -> AsyncIterator[tuple[Peer, Nonsense]]:
    """A peer that answers so."""
    agent = Nonsense(result, more)
    server = await asyncio.start_server(agent.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    async def is_up(why: str) -> None:
        assert "there" not in why, "nothing that it wrote is told"

    peer = Peer(card(url, streaming=False), LOOPBACK, lambda: None, is_up)
    try:
        async with asyncio.timeout(30):
            yield peer, agent
    finally:
        await peer.close()
        server.close()
        await asyncio.gather(*agent.serving)


@pytest.mark.parametrize(
    "result",
    [
        {"task": {**TASK, "id": ""}},
        {"task": {"id": "there", "contextId": "c"}},
        {"statusUpdate": {"taskId": "there", "contextId": "c", "status": TASK["status"]}},
    ],
)
def test_an_answer_that_opens_no_task_is_none(result: Any) -> None:
    async def body() -> None:
        async with nonsense(result) as (peer, _):
            with pytest.raises(Unclear):
                await peer.send(SendMessageRequest())

    asyncio.run(body())


@pytest.mark.parametrize("result", [{**TASK, "id": "another"}, {"id": "there"}, TASK])
def test_an_agent_that_keeps_answering_nonsense_is_given_up(
    result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one would be right, were it not larger than what is read."""
    monkeypatch.setattr(module, "PAUSE_S", (0.0, 0.0))
    if result is TASK:
        monkeypatch.setattr(transport, "BYTES_MAX", 50)

    async def body() -> None:
        async with nonsense(result) as (peer, agent):
            with pytest.raises(Refusal):
                await peer.task("there")
            assert agent.asked == UNCLEAR_MAX

    asyncio.run(body())


def test_an_answer_that_never_ends_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.1)

    async def body() -> None:
        async with nonsense({"task": TASK}, more=1) as (peer, _):
            with pytest.raises(Down, match="no whole answer") as caught:
                await peer.send(SendMessageRequest())
            assert caught.value.sent, "it may have taken it"

    asyncio.run(body())
