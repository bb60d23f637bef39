"""Following a task from Python: to its end, over a cut line and a killed broker, and without asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.client import ConnectionFailed, Mq9Client, Refused, SyncMq9Client
from tests.client.serving import Server, serving


async def opened(client: Mq9Client, mailbox: str) -> tuple[str, dict[str, Any]]:
    """A task that is worked on, and the arguments of an update."""
    await client.mailbox_create(address=mailbox)
    receipt = (await client.mailbox_send(to=mailbox, text="weigh", task=True))["receipts"][0]
    [message] = (await client.mailbox_fetch(mailbox=mailbox))["messages"]
    return receipt["task"], {"task": receipt["task"], "lease": message["lease"]}


def test_a_task_is_followed_to_its_end(server: Server) -> None:
    async def test() -> None:
        async with asyncio.timeout(60), Mq9Client(server.url, agent="boss") as client:
            task, update = await opened(client, "end")
            follow = client.task_follow(task)
            assert await anext(follow) == await client.task_get(task=task)
            large = "x" * 300_000  # more than one line of a stream usually is
            await client.task_update(**update, artifacts=[{"text": large}])
            await client.task_update(**update, state="completed")
            rest = [told["entry"] async for told in follow]
            assert [one["kind"] for one in rest] == ["artifact", "status"]
            assert rest[0]["artifact"]["parts"] == [{"text": large}]
            whole = [told["entry"]["number"] async for told in client.task_follow(task, after=0)]
            assert whole == [1, 2, 3, 4]
            assert [told async for told in client.task_follow(task, after=4)] == []

    asyncio.run(test())


def test_a_task_that_is_not_there_is_refused(server: Server) -> None:
    async def test() -> None:
        async with asyncio.timeout(60), Mq9Client(server.url, agent="boss") as client:
            task, _ = await opened(client, "refused")
            for name, after, code in (
                ("task-none", None, "TASK_NOT_FOUND"),
                ("../x", None, "TASK_NOT_FOUND"),
                (task, 9, "INVALID_ARGUMENT"),
            ):
                with pytest.raises(Refused) as caught:
                    await anext(client.task_follow(name, after))
                assert caught.value.code == code

    asyncio.run(test())


def test_no_broker_is_no_endless_wait() -> None:
    async def test() -> None:
        async with Mq9Client("http://127.0.0.1:1", agent="boss", timeout_s=0.2) as client:
            with pytest.raises(ConnectionFailed):
                await anext(client.task_follow("task-1"))

    asyncio.run(test())


def test_the_sync_client_follows_and_may_stop_early(server: Server) -> None:
    with SyncMq9Client(server.url, agent="boss") as client:
        client.mailbox_create(address="sync")
        task = client.mailbox_send(to="sync", text="weigh", task=True)["receipts"][0]["task"]
        for told in client.task_follow(task):
            assert told["task"]["state"] == "submitted"
            break
        client.task_cancel(task=task, reason="rain")
        entries = [told["entry"] for told in client.task_follow(task, after=0)]
        assert [one["state"] for one in entries] == ["submitted", "canceled"]


def test_a_follower_outlives_a_broker_that_is_killed(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        async with asyncio.timeout(120), Mq9Client(server.url, agent="boss") as client:
            task, update = await opened(client, "jobs")
            numbers: list[int] = []
            seen = asyncio.Event()

            async def follow() -> None:
                async for told in client.task_follow(task, after=0):
                    numbers.append(told["entry"]["number"])
                    seen.set()

            follower = asyncio.create_task(follow())
            for done in range(2):
                await client.task_update(**update, progress={"done": done})
                while len(numbers) < 3 + done:
                    seen.clear()
                    await seen.wait()
                server.kill() if done == 0 else server.stop()
                await asyncio.to_thread(server.start)
            await client.task_update(**update, state="completed")
            await follower
            assert numbers == [1, 2, 3, 4, 5]

    with serving(tmp_path / "data") as server:
        asyncio.run(test(server))
