"""What a peer can do, and the works that all do alike: durable sends, fetch and ack, waking a consumer.

A peer gives the steps; the loops over them are written once, so no peer is measured by other rules.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import NamedTuple

TEXT = "x" * 1024
PAYLOAD = TEXT.encode()
LEASE_S = 300
EMPTY_S = 0.2  # how long a fetch waits before the queue counts as empty
WAIT_S = 5.0  # how long a consumer waits for the next message
DRAIN_MAX_S = 8.0
WORKERS = 16


class Done(NamedTuple):
    """So many messages in so many seconds."""

    messages: int
    seconds: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


class Peer(ABC):
    """One queue under measurement. All its calls are made by one process with one event loop."""

    name: str  # as the table calls it
    in_process = False

    @abstractmethod
    async def open(self) -> None:
        """Start what it needs and connect."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect; the process, if there is one, is ended by who started it."""

    @abstractmethod
    async def fresh(self) -> None:
        """An empty queue with one group of consumers takes the place of the last one."""

    @abstractmethod
    async def send(self) -> None:
        """One message, and its acknowledgement."""

    @abstractmethod
    async def fill(self, count: int) -> None:
        """So many messages, in the quickest way there is; not measured."""

    @abstractmethod
    async def work(self, worker: int, most: int) -> int:
        """Fetch up to ``most`` messages under a lease and acknowledge them; how many there were."""

    @abstractmethod
    async def receive(self) -> float:
        """Wait for a message; the time at which it was there. It is acknowledged afterwards."""

    async def send_and_wake(self) -> None:
        """One message to a consumer that waits."""
        await self.send()

    @abstractmethod
    async def version(self) -> str:
        """Of what answers, and of its client."""

    async def settled(self) -> None:
        """Return when nothing is left that would be done in the turn of another; not measured."""
        return

    # -- the works

    async def sending(self, callers: int, seconds: float) -> Done:
        """Durable sends of ``callers`` that each wait for their acknowledgement."""
        begun = time.perf_counter()
        over, count = begun + seconds, 0

        async def caller() -> None:
            nonlocal count
            while time.perf_counter() < over:
                await self.send()
                count += 1

        await asyncio.gather(*(caller() for _ in range(callers)))
        return Done(count, time.perf_counter() - begun)

    async def draining(self, workers: int, most: int, count: int) -> Done:
        """Fetch and ack of ``count`` waiting messages, from the first fetch to the last ack."""
        begun = ended = time.perf_counter()
        done = 0

        async def worker(index: int) -> None:
            nonlocal done, ended
            while done < count and ended - begun < DRAIN_MAX_S:
                got = await self.work(index, most)
                if not got:
                    return
                done, ended = done + got, time.perf_counter()

        await asyncio.gather(*(worker(index) for index in range(workers)))
        return Done(done, ended - begun)

    async def waking(self, count: int, pause_s: float) -> list[float]:
        """Seconds from the start of a send to the moment the waiting consumer has the message."""
        times = []
        for _ in range(count):
            waiting = asyncio.ensure_future(self.receive())
            await asyncio.sleep(pause_s)
            begun = time.perf_counter()
            await self.send_and_wake()
            times.append(await waiting - begun)
        return times
