"""NATS JetStream through nats-py: a stream on disk, a durable pull consumer, explicit acks."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig

from benchmarks.peers.peer import EMPTY_S, LEASE_S, PAYLOAD, WAIT_S, WORKERS, Peer
from benchmarks.peers.server import data_folder, free_port, process, ready, script

FILLING = 256  # publishes under way while a queue is filled


class JetStream(Peer):
    """``sync_interval: always`` with confirmed acks, or all as it comes."""

    def __init__(self, always: bool) -> None:
        self.always = always
        self.name = f"NATS JetStream, {'sync_interval: always' if always else 'default'}"
        self._stack = ExitStack()
        self._queues = 0
        self._client: Any
        self._stream: Any
        self._consumers: list[Any] = []

    async def open(self) -> None:
        """Start the server with its store in a folder of its own."""
        folder = self._stack.enter_context(data_folder())
        port = free_port()
        config = folder / "nats.conf"
        config.write_text(_config(port, folder, self.always), encoding="utf-8")
        self._stack.enter_context(process([script("nats-server"), "--config", str(config)], folder))
        url = f"nats://127.0.0.1:{port}"
        errors = (OSError, nats.errors.Error)
        self._client = await ready(
            lambda: nats.connect(url, allow_reconnect=False, connect_timeout=1, error_cb=_untold),
            errors,
            folder / "said",
        )
        self._stream = self._client.jetstream(timeout=30)

    async def close(self) -> None:
        """End the server."""
        await self._client.close()
        self._stack.close()

    async def version(self) -> str:
        """The server's and the client's."""
        return f"nats-server {self._client._server_info['version']}, nats-py {nats.aio.client.__version__}"

    async def fresh(self) -> None:
        """Another stream with a durable consumer."""
        if self._queues:
            for one in self._consumers:
                await one.unsubscribe()
            await self._stream.delete_stream(f"queue-{self._queues}")
        self._queues += 1
        name = f"queue-{self._queues}"
        await self._stream.add_stream(
            StreamConfig(name=name, subjects=[self._subject], storage=StorageType.FILE, num_replicas=1)
        )
        consumer = ConsumerConfig(
            durable_name="default", ack_policy=AckPolicy.EXPLICIT, ack_wait=LEASE_S, max_ack_pending=10_000
        )
        await self._stream.add_consumer(name, consumer)
        self._consumers = [await self._stream.pull_subscribe_bind("default", name) for _ in range(WORKERS)]

    @property
    def _subject(self) -> str:
        return f"subject-{self._queues}"

    async def send(self) -> None:
        """Publish, and wait for the server's PubAck."""
        await self._stream.publish(self._subject, PAYLOAD)

    async def fill(self, count: int) -> None:
        """Many publishes under way."""
        for begin in range(0, count, FILLING):
            await asyncio.gather(*(self.send() for _ in range(min(FILLING, count - begin))))

    async def work(self, worker: int, most: int) -> int:
        """Fetch and ack."""
        try:
            messages = await self._consumers[worker].fetch(most, timeout=EMPTY_S)
        except nats.errors.TimeoutError:
            return 0
        await self._ack(messages)
        return len(messages)

    async def receive(self) -> float:
        """A pull request that waits."""
        messages = await self._consumers[0].fetch(1, timeout=WAIT_S)
        at = time.perf_counter()
        await self._ack(messages)
        return at

    async def _ack(self, messages: list[Any]) -> None:
        if self.always:
            await asyncio.gather(*(message.ack_sync(timeout=30) for message in messages))
        else:
            for message in messages:
                await message.ack()

    async def settled(self) -> None:
        """Acks that nobody waited for have reached the server."""
        await self._client.flush(30)


async def _untold(_: Exception) -> None:
    """What goes wrong is raised too."""


def _config(port: int, folder: Path, always: bool) -> str:
    interval = "sync_interval: always" if always else ""
    text = f'host: "127.0.0.1"\nport: {port}\njetstream {{ store_dir: "{folder}/store"\n{interval} }}\n'
    return re.sub("\n+", "\n", text)
