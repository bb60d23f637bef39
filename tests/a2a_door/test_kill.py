"""kill -9 of the server under streams and blocked calls: clients repeat and resume, and nothing is amiss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from mq9_a2a.words import NUMBERS

from mq9_mcp.client import Job, Mq9Client
from tests.a2a_door.site import V1, Peer, both
from tests.client.serving import Server, serving
from tests.support import Reply

JOBS = 4
PIECES = 4  # of every job; all jobs have come to a piece when a kill follows
KILLS_BEFORE = (1, 2)  # of the pieces
T = TypeVar("T")


class FarPeer(Peer):
    """A client of a server that may be away; it knows messages by their ids and events by their numbers."""

    def __init__(self, http: httpx.AsyncClient, up: asyncio.Event, binding: str, mailbox: str) -> None:
        self.client, self.binding, self.path = http, binding, f"/a2a/{mailbox}"
        self.headers = {**V1, "mq9-agent": "alice", "a2a-extensions": NUMBERS}
        self.up = up
        self.cut = 0  # how often the line was lost

    async def again(self, call: Callable[[], Awaitable[T]]) -> T:
        """The same call, however often the line is lost."""
        while True:
            await self.up.wait()
            try:
                return await call()
            except httpx.TransportError:
                self.cut += 1

    async def until_completed(self, id: str) -> Reply:
        """A blocking send, repeated with the same ``messageId`` until its task is over."""
        while True:
            task = await self.again(lambda: self.send(id, id, wait=True))
            if task["status"]["state"] == "TASK_STATE_COMPLETED":
                return task

    async def followed(self, task: str, begun: Callable[[], None]) -> list[Reply]:
        """All events of a task, over as many streams as it takes."""
        events: list[Reply] = []

        async def on() -> None:
            headers = {"last-event-id": str(events[-1]["id"])} if events else {}
            async with self.stream("SubscribeToTask", id=task, headers=headers) as stream:
                async for event in stream:
                    events.append(event)
                    begun()

        await self.again(on)
        return events


class Stage:
    """Jobs that go on step by step, and a server that is killed between steps."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.up = asyncio.Event()
        self.up.set()
        self.tasks: asyncio.Queue[str] = asyncio.Queue()
        self.at = [0] * (PIECES + 1)
        self.arrived = asyncio.Condition()
        self.gates = [asyncio.Event() for _ in range(PIECES + 1)]

    async def restart(self) -> None:
        self.up.clear()
        self.server.kill()
        await asyncio.to_thread(self.server.start)
        self.up.set()

    async def handle(self, job: Job) -> str:
        """Add pieces to an artifact, each when its gate is open."""
        self.tasks.put_nowait(job.task)
        for piece in range(PIECES):
            async with self.arrived:
                self.at[piece] += 1
                self.arrived.notify_all()
            await self.gates[piece].wait()
            await job.artifact(f"{piece} ", artifact_id="a", append=piece > 0)
        return "done"

    async def all_at(self, piece: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.at[piece] == JOBS)


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    with serving(folder) as server:
        async with asyncio.timeout(180):
            yield Stage(server)


def said(task: Reply) -> str:
    [artifact] = task["artifacts"]
    return "".join(part["text"] for part in artifact["parts"])


def heard(events: list[Reply]) -> str:
    updates = [event["event"].get("artifactUpdate") for event in events]
    return "".join(one["artifact"]["parts"][0]["text"] for one in updates if one is not None)


@both
def test_streams_and_blocked_calls_outlive_a_server_that_is_killed(tmp_path: Path, binding: str) -> None:
    async def test(stage: Stage, http: httpx.AsyncClient, client: Mq9Client) -> None:
        caller, follower = (FarPeer(http, stage.up, binding, "jobs") for _ in range(2))
        asked = [asyncio.create_task(caller.until_completed(f"job-{n}")) for n in range(JOBS)]
        async with client.work("jobs", stage.handle, concurrency=JOBS):
            await stage.all_at(0)
            listening = asyncio.Semaphore(0)
            names = [stage.tasks.get_nowait() for _ in range(JOBS)]
            streams = [asyncio.create_task(follower.followed(name, listening.release)) for name in names]
            for _ in streams:
                await listening.acquire()
            for piece in range(PIECES):
                await stage.all_at(piece)
                if piece in KILLS_BEFORE:
                    stage.gates[piece].set()  # the pieces and the kill meet
                    await stage.restart()
                stage.gates[piece].set()
            tasks = await asyncio.gather(*asked)
            told = await asyncio.gather(*streams)
        assert caller.cut >= JOBS * len(KILLS_BEFORE), "nobody was blocked"
        assert follower.cut >= JOBS * len(KILLS_BEFORE), "nobody listened"
        assert sorted(task["id"] for task in tasks) == sorted(names)
        whole = "".join(f"{piece} " for piece in range(PIECES))
        for task in tasks:
            assert said(task) == whole
        for name, events in zip(names, told, strict=True):
            first, *later = events
            numbers = [event["id"] for event in events]
            assert numbers == sorted(set(numbers))
            assert heard(events) == whole
            after = {"last-event-id": str(first["id"])}
            async with follower.stream("SubscribeToTask", id=name, headers=after) as stream:
                assert [event async for event in stream] == later, "what was told is what is known"
        listed = (await caller.call("ListTasks"))["tasks"]
        assert sorted(task["id"] for task in listed) == sorted(names)

    run_killed(tmp_path, test)


@both
def test_no_task_that_was_told_of_is_lost_and_none_is_there_twice(tmp_path: Path, binding: str) -> None:
    async def test(stage: Stage, http: httpx.AsyncClient, _client: Mq9Client) -> None:
        peer = FarPeer(http, stage.up, binding, "jobs")
        told: dict[str, str] = {}
        enough, stored = asyncio.Event(), asyncio.Semaphore(0)

        async def send(sender: int) -> None:
            number = 0
            while not enough.is_set():
                id = f"{sender}-{number}"
                task = await peer.again(lambda id=id: peer.send("x", id))  # type: ignore[misc]
                told[id] = task["id"]
                stored.release()
                number += 1

        sending = [asyncio.create_task(send(sender)) for sender in range(JOBS)]
        for _ in KILLS_BEFORE:
            for _ in range(10):
                await stored.acquire()
            await stage.restart()
        enough.set()
        await asyncio.gather(*sending)
        assert peer.cut > 0
        found, token = [], ""
        while True:
            page = await peer.call("ListTasks", pageSize=100, **({"pageToken": token} if token else {}))
            found += [task["id"] for task in page["tasks"]]
            token = page["nextPageToken"]
            if not token:
                break
        assert sorted(found) == sorted(told.values())
        assert len(set(found)) == len(told)

    run_killed(tmp_path, test)


def run_killed(folder: Path, test: Callable[[Stage, httpx.AsyncClient, Mq9Client], Any]) -> None:
    async def body() -> None:
        async with (
            staged(folder / "data") as stage,
            httpx.AsyncClient(base_url=stage.server.url, timeout=30) as http,
            Mq9Client(stage.server.url, agent="worker") as client,
        ):
            await client.call("mailbox_create", {"address": "jobs"})
            await test(stage, http, client)

    asyncio.run(body())
