"""Section 4: who waits for a task wakes at once, and who follows it misses nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mq9_mcp.domain.state import Caller
from tests.engine.test_tasks import begin, get, update
from tests.support import Desk, Reply, run, texts

ALICE = Caller("local", "alice")
ENTRY = ("number", "kind", "state")


async def followed(desk: Desk, task: str) -> None:
    """Return once somebody waits for the task."""
    async with asyncio.timeout(10):
        while task not in desk.engine.followed:
            await asyncio.sleep(0)


async def waiting(desk: Desk, address: str) -> None:
    """Return once somebody waits for mail."""
    async with asyncio.timeout(10):
        while address not in desk.broker.bell.waits:
            await asyncio.sleep(0)


def test_task_get_waits_until_the_task_is_newer(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        version = (await get(desk, task))["version"]
        assert (await get(desk, task, after_version=version - 1, wait_s=50))["version"] == version
        look = asyncio.ensure_future(get(desk, task, after_version=version, wait_s=50, history=1))
        await followed(desk, task)
        await update(desk, message, progress={"note": "half"})
        seen = await look
        assert (seen["version"], seen["progress"]) == (version + 1, {"note": "half"})
        assert seen["history"][0]["progress"] == {"note": "half"}
        look = asyncio.ensure_future(get(desk, task, after_version=version + 1, wait_s=50))
        await followed(desk, task)
        await update(desk, message, state="completed")
        assert (await look)["state"] == "completed"
        assert (await get(desk, task, after_version=99, wait_s=50))["state"] == "completed"
        assert not desk.engine.followed

    run(body, tmp_path, "jobs")


def test_a_wait_that_nothing_ends_returns_in_time(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, _ = await begin(desk)
        assert (await get(desk, task, wait_s=0.01))["state"] == "working"

    run(body, tmp_path, "jobs")


def test_cancel_reaches_a_worker_that_waits_for_mail_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, _ = await begin(desk)
        for expected in ([task], []):
            wait = 50 if expected else 0.01
            fetch = asyncio.ensure_future(desk.call("mailbox_fetch", "bob", mailbox="more", wait_s=wait))
            if expected:
                await waiting(desk, "more")
                await desk.call("task_cancel", task=task)
            reply = await fetch
            assert reply["messages"] == []
            assert reply["cancel_requested"] == [task]  # the second wait, told before, lasts its time
        mine: dict[str, Any] = {"mailbox": "more", "wait_s": 0.01}
        assert (await desk.call("mailbox_fetch", "carol", **mine))["cancel_requested"] == []

    run(body, tmp_path, "jobs", "more")


def test_a_follow_up_reaches_a_worker_that_waits_for_mail_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, _ = await begin(desk)
        fetch = asyncio.ensure_future(desk.call("mailbox_fetch", "bob", mailbox="more", wait_s=50))
        await waiting(desk, "more")
        await desk.call("mailbox_send", task=task, text="quickly")
        assert texts((await fetch)["follow_ups"]) == ["quickly"]

    run(body, tmp_path, "jobs", "more")


def test_follow_tells_a_snapshot_then_every_later_entry_in_order(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        seen: list[Reply] = []

        async def follow(after: int | None) -> None:
            seen.clear()
            async for told in desk.broker.follow_task(ALICE, task, after):
                seen.append(told)

        follower = asyncio.ensure_future(follow(None))
        await followed(desk, task)
        await update(desk, message, progress={"done": 1}, artifacts=[{"text": "one"}])
        await desk.call("mailbox_send", task=task, text="quickly")
        await update(desk, message, state="completed", message="done")
        await follower
        snapshot = seen[0]["task"]["version"]
        entries = [one["entry"] for one in seen[1:]]
        whole = (await get(desk, task, history=50))["history"]
        assert entries == whole[snapshot:]
        kinds = ["submitted", "leased", "progress", "artifact", "follow_up", "status"]
        assert [one["kind"] for one in whole] == kinds
        for after in range(len(whole) + 1):  # resumed behind any entry
            await follow(after)
            assert [one["entry"] for one in seen] == whole[after:]
        assert not desk.engine.followed

    run(body, tmp_path, "jobs")


def test_a_stopping_broker_ends_waits_for_tasks(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, _ = await begin(desk)
        look = asyncio.ensure_future(get(desk, task, wait_s=50))
        await followed(desk, task)
        await desk.broker.close()
        assert (await look)["state"] == "working"

    run(body, tmp_path, "jobs")
