"""mq9-mcp as its users meet it: over REST with the Python client, and within the program itself."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.peers.peer import EMPTY_S, LEASE_S, TEXT, WAIT_S, Peer
from mq9_mcp import __version__
from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.client import Mq9Client
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import EmbeddedEngine, open_engine

BATCH = 500
LAG = re.compile(r"^mq9_fold_lag_records (\d+)", re.MULTILINE)


class Ours(Peer):
    """What both ways in have in common."""

    def __init__(self) -> None:
        self._queues = 0
        self._box = ""

    @abstractmethod
    async def call(self, command: str, **arguments: Any) -> Any:
        """One command."""

    async def version(self) -> str:
        """The package's."""
        return f"mq9-mcp {__version__}"

    async def fresh(self) -> None:
        """Another mailbox; the last one is dropped with what is left in it."""
        if self._box:
            await self.call("mailbox_drop", address=self._box)
        self._queues += 1
        self._box = f"queue-{self._queues}"
        await self.call("mailbox_create", address=self._box)
        await self.settled()

    async def send(self) -> None:
        """The receipt comes when the message is on disk."""
        await self.call("mailbox_send", to=self._box, text=TEXT)

    async def fill(self, count: int) -> None:
        """In batches."""
        for begin in range(0, count, BATCH):
            batch = [{"to": self._box, "text": TEXT}] * min(BATCH, count - begin)
            await self.call("mailbox_send", messages=batch)
        await self.settled()

    async def work(self, worker: int, most: int) -> int:  # noqa: ARG002 - any worker is like another
        """Leases and acks are on disk before they are told."""
        return await self._settle(await self._fetch(most, EMPTY_S))

    async def receive(self) -> float:
        """A long poll."""
        messages = await self._fetch(1, WAIT_S)
        at = time.perf_counter()
        assert await self._settle(messages) == 1
        return at

    async def _fetch(self, most: int, wait_s: float) -> list[Any]:
        reply = await self.call("mailbox_fetch", mailbox=self._box, max=most, wait_s=wait_s, lease_s=LEASE_S)
        messages: list[Any] = reply["messages"]
        return messages

    async def _settle(self, messages: list[Any]) -> int:
        if messages:
            await self.call("mailbox_ack", items=[{"lease": message["lease"]} for message in messages])
        return len(messages)


class OverRest(Ours):
    """A server process, and the Python client."""

    name = "mq9-mcp over REST"

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
        self._process: asyncio.subprocess.Process
        self._url = ""
        self._client: Mq9Client
        self._http: aiohttp.ClientSession

    async def open(self) -> None:
        """Start the server; its address is the last word of its first line."""
        options = ("--data", str(self._folder / "data"), "--port", "0", "--log-level", "warning")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mq9_mcp.serve", *options, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._url = (await self._process.stdout.readline()).decode().split()[-1]
        self._client = await Mq9Client(self._url, agent="bench").__aenter__()
        self._http = aiohttp.ClientSession()

    async def close(self) -> None:
        """End the server by its own id."""
        await self._http.close()
        await self._client.__aexit__(None, None, None)
        self._process.terminate()
        await self._process.wait()
        shutil.rmtree(self._folder)

    async def call(self, command: str, **arguments: Any) -> Any:
        """One command over HTTP."""
        return await getattr(self._client, command)(**arguments)

    async def settled(self) -> None:
        """Until all is in the tables too."""
        while True:
            async with self._http.get(f"{self._url}/metrics") as reply:
                found = LAG.search(await reply.text())
            assert found is not None, "no fold lag in /metrics"
            if found[1] == "0":
                return
            await asyncio.sleep(0.002)


class InProcess(Ours):
    """The same broker without a server, in the program itself."""

    name = "mq9-mcp in the process"
    in_process = True
    caller = Caller("local", "bench")

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
        self._engine: EmbeddedEngine
        self._broker: Broker

    async def open(self) -> None:
        """Open the data directory."""
        self._engine = await open_engine(self._folder)
        self._broker = await start_broker(self._engine)

    async def close(self) -> None:
        """Close it in order."""
        await self._broker.close()
        shutil.rmtree(self._folder)

    async def call(self, command: str, **arguments: Any) -> Any:
        """One command."""
        return await self._broker.call(self.caller, command, arguments)

    async def settled(self) -> None:
        """Until all is in the tables too."""
        await self._engine.folder.reach(self._engine.journal.durable_seq)
