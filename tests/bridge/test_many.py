"""Ten stdio and ten HTTP hosts of both eras exchange 1,000 messages, with a kill -9 in the middle of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from mq9_mcp.daemon import Running, find, join, stop
from mq9_mcp.settings import load_settings
from tests.serve.process import ENVIRONMENT

WORKERS, BATCHES, BATCH = 20, 10, 5  # each sends to the five after it
ALL = WORKERS * BATCHES * BATCH
LEASE_S = 2  # what a lost answer held comes back so soon; after a restart it takes half a minute

Call = Callable[..., Awaitable[Any]]


class Everybody:
    """What they did together."""

    def __init__(self, data: Path, port: int) -> None:
        self.settings = load_settings({"data": str(data), "port": str(port)}, {})
        self.environment = {**ENVIRONMENT, "MQ9_PORT": str(port)}
        self.all_there = asyncio.Barrier(WORKERS)
        self.settled: Counter[str] = Counter()
        self.killed = False

    def settle(self, text: str) -> None:
        """A message is done with; in the middle of it all the daemon dies."""
        self.settled[text] += 1
        if len(self.settled) >= ALL // 3 and not self.killed:
            self.killed = True
            running = find(self.settings.data)
            assert running is not None
            os.kill(running.pid, signal.SIGKILL)

    async def running(self) -> Running:
        """The daemon; started if it must be."""
        return await asyncio.to_thread(join, self.settings)


class Worker:
    """One host's work. It knows how far it is, so it can go on over another connection."""

    def __init__(self, at: int, everybody: Everybody) -> None:
        self.name = f"w{at}"
        self._at = at
        self._everybody = everybody
        self._sent = 0
        self._settled = 0
        self._held: list[dict[str, Any]] = []
        self._begun = False

    @property
    def done(self) -> bool:
        """It has sent all, and got all."""
        return self._sent == BATCHES and self._settled == BATCHES * BATCH

    async def work(self, call: Call) -> None:
        """Send, take and settle in turns."""
        if not self._begun:
            await call("mailbox_fetch")  # so that there is a mailbox
            self._begun = True
            await self._everybody.all_there.wait()
        while not self.done:
            await self._settle(call)
            if self._sent < BATCHES:
                await call("mailbox_send", messages=[self._message(after) for after in range(1, BATCH + 1)])
                self._sent += 1
            if self._settled < BATCHES * BATCH:
                fetch = {"max": 10, "lease_s": LEASE_S, "wait_s": 1 if self._sent == BATCHES else 0}
                self._held = (await call("mailbox_fetch", **fetch))["messages"]
                await self._settle(call)

    def _message(self, after: int) -> dict[str, str]:
        text = f"{self._at}.{self._sent}.{after}"
        return {"to": f"w{(self._at + after) % WORKERS}", "text": text, "dedup_key": text}

    async def _settle(self, call: Call) -> None:
        if not self._held:
            return
        results = (await call("mailbox_ack", items=[{"lease": one["lease"]} for one in self._held]))[
            "results"
        ]
        for message, result in zip(self._held, results, strict=True):
            if result["ok"]:
                self._settled += 1
                self._everybody.settle(message["parts"][0]["text"])
        self._held = []


def over(client: Client) -> Call:
    """Calls of a client; what is refused fails the test."""

    async def call(tool: str, **arguments: Any) -> Any:
        result = await client.call_tool(tool, arguments)
        if result.is_error:
            raise RuntimeError(result.content)
        return result.structured_content

    return call


async def over_stdio(worker: Worker, everybody: Everybody, mode: str) -> None:
    """A host behind the bridge: it hears nothing of the kill."""
    words = ["-m", "mq9_mcp.bridge", "--data", str(everybody.settings.data), "--agent", worker.name]
    server = StdioServerParameters(command=sys.executable, args=words, env=everybody.environment)
    async with Client(server, mode=mode) as client:
        await worker.work(over(client))


async def over_http(worker: Worker, everybody: Everybody, mode: str) -> None:
    """A host without a bridge: it connects again, and goes on where it was."""

    async def once(url: str) -> None:
        async with httpx2.AsyncClient(headers={"mq9-agent": worker.name}, timeout=60) as http:
            transport = streamable_http_client(f"{url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                await worker.work(over(client))

    failures = 0
    while not worker.done:
        try:
            await asyncio.create_task(once((await everybody.running()).url))
        except Exception:
            failures += 1
            if failures > 5:
                raise


def test_none_of_a_thousand_messages_is_lost_and_each_is_settled_once(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        everybody = Everybody(data, port)
        first = await everybody.running()
        hosts = (over_stdio, over_http)
        modes = ("legacy", "auto")
        async with asyncio.TaskGroup() as group:
            for at in range(WORKERS):
                worker = Worker(at, everybody)
                group.create_task(hosts[at % 2](worker, everybody, modes[at // 2 % 2]))
        assert find(data) not in (None, first), "it was killed, and another one runs"
        assert len(everybody.settled) == ALL
        assert set(everybody.settled.values()) == {1}

    try:
        asyncio.run(body())
    finally:
        assert stop(data)
