"""Streams: the task first, then every change in order, the same for all, resumable by number."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from mq9_a2a.follow import Follows
from mq9_a2a.words import NUMBERS

from mq9_mcp.domain.state import Caller
from tests.a2a_door.site import HTTP, Peer, both, run_peer, update, words_of
from tests.support import Desk, Reply

MESSAGE = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
LIFE = [
    "task:submitted",
    "status:working",
    "status:working",
    "artifact",
    "artifact",
    "status:input-required",
    "status:submitted",
    "status:working",
    "status:completed",
]


async def live(desk: Desk, peer: Peer) -> None:
    """A task's life as ``LIFE`` tells it, after its first message."""
    [message] = await desk.fetch()
    await update(desk, message, progress={"done": 1, "total": 2}, checkpoint={"at": 1})
    await update(desk, message, artifacts=[{"artifact_id": "a", "text": "x"}])
    piece = {"artifact_id": "a", "text": "y", "append": True, "last_chunk": True}
    await update(desk, message, artifacts=[piece])
    await update(desk, message, "input-required", message="more?")
    await peer.send("yes", "m2", taskId=message["task"])
    [message] = await desk.fetch()
    await update(desk, message, "completed", message="done")


def short(events: list[Reply]) -> list[str]:
    return [words_of(event).replace("_", "-") for event in events]


async def all_of(stream: AsyncIterator[Reply]) -> list[Reply]:
    return [event async for event in stream]


@both
def test_a_stream_tells_a_whole_life(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        async with peer.stream("SendStreamingMessage", message=MESSAGE) as stream:
            first = await anext(stream)
            task = first["event"]["task"]
            assert task["history"][0]["messageId"] == "m1"
            async with peer.stream("SubscribeToTask", id=task["id"]) as second:
                looked = await anext(second)
                assert looked == first, "who comes later begins with the same"
                await live(peer.desk, peer)
                events, others = await all_of(stream), await all_of(second)
        assert short([first, *events]) == LIFE
        assert others == events
        numbers = [event["id"] for event in events]
        assert numbers == sorted(set(numbers))
        appended = events[3]["event"]["artifactUpdate"]
        assert (appended["append"], appended["lastChunk"]) == (True, True)
        over = await peer.failure("SubscribeToTask", id=task["id"])
        assert over.info["reason"] == "UNSUPPORTED_OPERATION"

    run_peer(test, tmp_path, binding)


@both
def test_a_client_that_knows_the_extension_goes_on_where_it_was(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        await live(peer.desk, peer)
        peer.headers["a2a-extensions"] = NUMBERS
        seen: list[Reply] = []
        async with peer.stream("SubscribeToTask", id=task["id"], headers={"last-event-id": "1"}) as stream:
            seen = await all_of(stream)
        assert short(seen) == LIFE[1:]
        for event in seen:
            [value] = event["event"].values()
            assert value["metadata"][NUMBERS] == {"number": event["id"]}
        after = str(seen[4]["id"])
        async with peer.stream("SubscribeToTask", id=task["id"], headers={"last-event-id": after}) as stream:
            assert await all_of(stream) == seen[5:]
        failed = await peer.failure_with({"last-event-id": "9999"}, "SubscribeToTask", id=task["id"])
        assert failed.info["reason"] == "INVALID_PARAMS"

    run_peer(test, tmp_path, binding)


@both
def test_a_plain_client_hears_nothing_of_numbers(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        headers = {"last-event-id": "1"}
        async with peer.stream("SubscribeToTask", id=task["id"], headers=headers) as stream:
            first = await anext(stream)
            assert "task" in first["event"], "a snapshot, as for every plain client"
            await peer.call("CancelTask", id=task["id"])
            [last] = await all_of(stream)
        assert "metadata" not in last["event"]["statusUpdate"]

    run_peer(test, tmp_path, binding)


def test_many_followers_share_one_reader(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        begun = asyncio.Semaphore(0)

        async def follow() -> list[Reply]:
            async with peer.stream("SubscribeToTask", id=task["id"]) as stream:
                first = await anext(stream)
                begun.release()
                return [first, *(await all_of(stream))]

        following = [asyncio.create_task(follow()) for _ in range(20)]
        for _ in following:
            await begun.acquire()
        readers = [one for one in asyncio.all_tasks() if one.get_name() == "mq9-a2a-follow"]
        assert len(readers) == 1
        await live(peer.desk, peer)
        told = await asyncio.gather(*following)
        assert short(told[0]) == LIFE
        assert all(one == told[0] for one in told)

    run_peer(test, tmp_path, HTTP)


def test_an_event_is_encoded_once_for_all(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        task = (await peer.send())["id"]
        follows, caller = Follows(peer.desk.broker), Caller("local", None)
        async with (
            aclosing(follows.follow(caller, task)) as first,
            aclosing(follows.follow(caller, task)) as second,
        ):
            snapshot = await anext(first)
            assert await anext(second) is snapshot
            await peer.desk.fetch()
            event = await anext(first)
            assert await anext(second) is event
            for numbered in (False, True):
                assert event.encoded(numbered) is event.encoded(numbered)

    run_peer(test, tmp_path, HTTP)


def test_what_all_have_heard_is_let_go(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        task = (await peer.send())["id"]
        follows, caller = Follows(peer.desk.broker), Caller("local", None)
        async with (
            aclosing(follows.follow(caller, task)) as quick,
            aclosing(follows.follow(caller, task)) as slow,
        ):
            known = weakref.ref(await anext(quick))
            await anext(slow)
            [message] = await peer.desk.fetch()
            leased = weakref.ref(await anext(quick))
            await update(peer.desk, message, progress={"done": 1})
            await anext(quick)
            assert leased() is not None, "one has still to hear of it"
            await anext(slow)
            await anext(slow)
            assert leased() is None
            assert known() is not None, "it is kept for who comes next"

    run_peer(test, tmp_path, HTTP)


def test_a_follower_that_hangs_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        async with peer.stream("SubscribeToTask", id=task["id"]) as stream:
            await anext(stream)
        [message] = await peer.desk.fetch()
        async with asyncio.timeout(30):
            while peer.desk.engine.followed:
                await update(peer.desk, message, progress={"done": 1})
        await update(peer.desk, message, "completed")

    run_peer(test, tmp_path, HTTP)
