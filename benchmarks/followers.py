"""Many who follow one task over A2A: how soon all have heard of an update, and what each costs in memory.

Every follower is a connection of its own that listens with ``SubscribeToTask``. A worker says how far it
is, again and again; an update has arrived when the last follower has it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import msgspec

from benchmarks.doors import once
from benchmarks.engine import quantile
from benchmarks.mcp import Place
from benchmarks.table import Row, memory_bytes

WARM = 50  # followers before memory is looked at: what the first ones cost is not theirs
MOST_MS = 500
BOX = "followed"


class Follower(asyncio.Protocol):
    """One connection that listens, and tells of every event once."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.crowd.request)

    def data_received(self, data: bytes) -> None:
        """Count the events that are whole now; the rest of a cut one is kept."""
        data = self._rest + data
        self._rest = data[data.rfind(b"\n") + 1 :]
        for _ in range(data.count(b"\ndata: ", 0, len(data) - len(self._rest))):
            self.crowd.told()


class Crowd:
    """The followers of one task, and how many of them have heard."""

    def __init__(self, place: Place, task: str) -> None:
        self.place = place
        body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task}}
        self.request = rpc_bytes(BOX, body)
        self.members: list[Follower] = []
        self._heard = 0
        self._all = asyncio.Event()

    def told(self) -> None:
        """A follower got an event."""
        self._heard += 1
        if self._heard == len(self.members):
            self._all.set()

    async def grow(self, count: int) -> None:
        """So many more; returns when each has the task as it is."""
        loop = asyncio.get_running_loop()
        self.members, known = [], self.members
        self.expect()
        for _ in range(count):
            member = Follower(self)
            self.members.append(member)
            await loop.create_connection(lambda member=member: member, *self.place.address)  # type: ignore[misc]
        while self._heard < count:
            self._all.clear()
            await self._all.wait()
        self.members += known

    def expect(self) -> None:
        """From now on the next event counts."""
        self._heard = 0
        self._all.clear()

    async def heard(self) -> None:
        """Everybody got it."""
        await self._all.wait()

    def leave(self) -> None:
        """Everybody hangs up."""
        for member in self.members:
            member.transport.close()


def rpc_bytes(mailbox: str, request: dict[str, Any]) -> bytes:
    """One JSON-RPC request as bytes."""
    body = msgspec.json.encode(request)
    head = (
        f"POST /a2a/{mailbox} HTTP/1.1\r\nHost: 127.0.0.1\r\nMq9-Agent: bench\r\nA2A-Version: 1.0\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def follow(place: Place, followers: int, updates: int) -> list[Row]:
    """What so many followers of one task hear, and when."""
    await once(place.address, "mailbox_create", {"address": BOX})
    sent = await once(place.address, "mailbox_send", {"to": BOX, "text": "work", "task": True})
    [receipt] = sent["receipts"]
    [leased] = (await once(place.address, "mailbox_fetch", {"mailbox": BOX}))["messages"]
    crowd = Crowd(place, receipt["task"])
    await crowd.grow(WARM)
    before = memory_bytes(place.pid)
    await crowd.grow(followers - WARM)
    each = (memory_bytes(place.pid) - before) / (followers - WARM) / 1024
    times = []
    for done in range(updates):
        crowd.expect()
        update = {"task": receipt["task"], "lease": leased["lease"], "progress": {"done": done}}
        begun = time.perf_counter()
        telling = asyncio.ensure_future(once(place.address, "task_update", update))
        await crowd.heard()
        times.append(time.perf_counter() - begun)
        await telling
    crowd.leave()
    p50, p99 = quantile(times, 0.5), quantile(times, 0.99)
    return [
        Row(
            f"task_update until {followers:,} followers have it",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms",
            f"p99 {MOST_MS} ms",
            p99 < MOST_MS,
        ),
        Row("memory of the server for each follower", f"{each:.1f} KiB"),
    ]
