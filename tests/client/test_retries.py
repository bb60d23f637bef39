"""What fails on the way is mended where that is harmless: nothing is stored twice, nothing acked twice."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.client import ConnectionFailed, Mq9Client, Refused, SyncMq9Client, Unavailable
from mq9_mcp.client.arguments import MessageArguments
from mq9_mcp.client.retry import FIRST_S, MOST_S, REPEATABLE, keyed, pause_s, repeatable
from tests.client.between import CUT, LOSE, PASS, Between, answer, refusal
from tests.client.serving import Server, serving
from tests.client.test_calls import run_between

LOST = (LOSE, CUT, LOSE)


async def stored(client: Mq9Client, mailbox: str) -> list[Any]:
    """The content of every message in a mailbox."""
    reply = await client.mailbox_query(mailbox=mailbox, limit=100)
    return [one["parts"][0].get("text") for one in reply["messages"]]


def test_a_send_whose_reply_is_lost_is_stored_once(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        await client.mailbox_create(address="once")
        wire.plan[:] = LOST
        [receipt] = (await client.mailbox_send(to="once", text="a"))["receipts"]
        assert receipt["duplicate"]  # the first one was lost
        assert await stored(client, "once") == ["a"]
        wire.plan[:] = LOST
        batch: list[MessageArguments] = [
            {"to": "once", "text": "b"},
            {"to": "once", "text": "c", "dedup_key": "mine"},
        ]
        await client.mailbox_send(messages=batch)
        assert await stored(client, "once") == ["a", "b", "c"]
        assert "dedup_key" not in batch[0]
        wire.plan[:] = LOST
        await client.send("once", "d")
        assert await stored(client, "once") == ["a", "b", "c", "d"]

    run_between(server, test)


def test_an_ack_whose_reply_is_lost_counts_once_and_sends_once(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        await client.mailbox_create(address="settled")
        await client.mailbox_create(address="answers")
        await client.mailbox_send(messages=[{"to": "settled", "text": str(n)} for n in range(3)])
        first, second, third = (await client.mailbox_fetch(mailbox="settled"))["messages"]
        wire.plan[:] = LOST
        reply = await client.mailbox_ack(
            items=[{"lease": first["lease"]}], send={"to": "answers", "text": "r"}
        )
        assert reply["results"][0]["ok"]
        assert reply["receipts"][0]["mailbox"] == "answers"
        wire.plan[:] = LOST
        nacked = await client.mailbox_ack(items=[{"lease": second["lease"], "outcome": "nack"}])
        assert nacked["results"][0]["ok"]
        wire.plan[:] = LOST
        extended = await client.mailbox_ack(
            items=[{"lease": third["lease"], "outcome": "extend"}], send=[{"to": "answers", "text": "s"}]
        )
        assert extended["results"][0]["ok"]
        assert await stored(client, "answers") == ["r", "s"]

    run_between(server, test)


def test_a_lost_call_that_would_do_more_is_not_repeated(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        await client.mailbox_create(address="more")
        await client.mailbox_send(messages=[{"to": "more", "text": str(n)} for n in range(4)])
        for call, arguments in (
            ("mailbox_fetch", {"mailbox": "more", "max": 1}),
            ("mailbox_create", {}),
            ("mailbox_delete", {"mailbox": "more", "ids": [2**40]}),
            ("mailbox_drop", {"address": "never"}),
        ):
            asked = len(wire.requests)
            wire.plan[:] = [LOSE]
            with pytest.raises(ConnectionFailed, match="may have been carried out") as caught:
                await client.call(call, arguments)
            assert caught.value.unknown
            assert caught.value.details == {"url": wire.url, "unknown": True}
            assert len(wire.requests) == asked + 1
        [group] = (await client.group_list(mailbox="more"))["groups"]
        assert (group["leased"], group["waiting"]) == (1, 3)

    run_between(server, test)


def test_a_create_with_an_address_is_repeated(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        wire.plan[:] = LOST
        assert (await client.mailbox_create(address="renewed"))["mailbox"]["address"] == "renewed"
        assert len(wire.requests) == 4

    run_between(server, test)


def test_every_command_that_may_be_repeated_is_named() -> None:
    assert not repeatable("mailbox_fetch", {})
    assert not repeatable("mailbox_create", {})
    assert repeatable("mailbox_create", {"address": "a"})
    changing = {"fetch", "create", "delete", "drop", "redrive", "reset", "register", "unregister"}
    assert not {one for one in REPEATABLE if one.partition("_")[2] in changing}


def test_keys_are_given_to_messages_and_to_nothing_else() -> None:
    assert keyed("mailbox_query", {"mailbox": "a"}) == {"mailbox": "a"}
    assert keyed("mailbox_send", {"text": "a", "dedup_key": "k"}) == {"text": "a", "dedup_key": "k"}
    assert keyed("mailbox_send", {"messages": "none"}) == {"messages": "none"}
    assert keyed("mailbox_ack", {"items": []}) == {"items": []}
    keys = [keyed("mailbox_send", {"messages": [{}, {}]}), keyed("mailbox_ack", {"send": {}})]
    first, second = (one["dedup_key"] for one in keys[0]["messages"])
    assert len({first, second, keys[1]["send"]["dedup_key"]}) == 3


@pytest.mark.parametrize(
    "refused",
    [
        refusal(503, "STORAGE_UNAVAILABLE"),
        refusal(503, "SHUTTING_DOWN", "retry-after: 0.3"),
        refusal(429, "RATE_LIMITED", "Retry-After: 0.3"),
        refusal(503, "SHUTTING_DOWN", "Retry-After: Mon, 23 Nov 2026 00:00:00 GMT"),
        answer(503, b"Service Unavailable"),
    ],
)
def test_a_broker_that_is_busy_is_asked_again(server: Server, refused: bytes) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        begun = time.monotonic()
        await client.mailbox_fetch()
        assert len(wire.requests) == 2
        if b"0.3" in refused:
            assert time.monotonic() - begun >= 0.3

    run_between(server, test, refused)


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (refusal(429, "MAILBOX_FULL", "Retry-After: 0"), "MAILBOX_FULL"),
        (refusal(503, "SHUTTING_DOWN", "Retry-After: 3600"), "SHUTTING_DOWN"),
        (refusal(500, "INTERNAL"), "INTERNAL"),
        (refusal(409, "DEDUP_CONFLICT"), "DEDUP_CONFLICT"),
    ],
)
def test_what_does_not_pass_soon_is_raised_at_once(server: Server, refused: bytes, code: str) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        with pytest.raises((Refused, Unavailable)) as caught:
            await client.mailbox_list()
        assert caught.value.code == code
        assert len(wire.requests) == 1

    run_between(server, test, refused)


def test_a_gateway_that_lost_the_answer_is_asked_again_only_for_what_may_be(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        await client.mailbox_list()
        with pytest.raises(ConnectionFailed) as caught:
            await client.mailbox_fetch()
        assert caught.value.unknown
        assert len(wire.requests) == 3

    run_between(server, test, answer(502, b"Bad Gateway"), PASS, answer(504, b""))


def test_a_broker_that_does_not_answer_is_left_after_timeout_s(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        async with Mq9Client(wire.url, timeout_s=0.3) as hasty:
            with pytest.raises(ConnectionFailed, match=r"none within 0\.3 s") as caught:
                await hasty.mailbox_list()
        assert caught.value.unknown
        assert client.timeout_s == 30

    run_between(server, test, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")


def test_a_call_that_got_no_connection_was_not_carried_out() -> None:
    """Whoever waits for a connection until the end of ``timeout_s`` may repeat the call, whatever it is."""
    with socket.socket() as full, contextlib.ExitStack() as callers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(5):  # nobody accepts: more than the backlog holds wait for ever
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with (
            SyncMq9Client(url, timeout_s=0.5) as client,
            pytest.raises(ConnectionFailed, match="timeout") as caught,
        ):
            client.mailbox_fetch(mailbox="anywhere")
    assert not caught.value.unknown
    assert "mq9 daemon start" in caught.value.hint


def test_the_wait_of_a_fetch_does_not_count_as_no_answer(server: Server) -> None:
    async def body() -> None:
        async with asyncio.timeout(60), Mq9Client(server.url, agent="patient", timeout_s=0.3) as client:
            assert (await client.mailbox_fetch(wait_s=0.6))["messages"] == []

    asyncio.run(body())


def test_no_broker_at_all_is_said_soon_with_the_next_step() -> None:
    begun = time.monotonic()
    with (
        SyncMq9Client("http://127.0.0.1:1") as client,
        pytest.raises(Unavailable, match="no answer from the broker") as caught,
    ):
        client.mailbox_list()
    assert time.monotonic() - begun < 5
    error = caught.value
    assert isinstance(error, ConnectionFailed)
    assert "mq9 serve" in error.hint
    assert "mq9 daemon start" in error.hint
    assert (error.code, error.status, error.unknown) == ("CONNECTION_FAILED", 503, False)
    assert error.as_dict()["details"]["url"] == "http://127.0.0.1:1"


def test_pauses_grow_and_differ() -> None:
    pauses = [pause_s(attempt) for attempt in range(1, 200)]
    assert FIRST_S / 2 <= pauses[0] <= FIRST_S
    assert MOST_S / 2 <= min(pauses[10:]) < max(pauses[10:]) <= MOST_S
    assert len(set(pauses)) == len(pauses)


def test_a_broker_that_is_killed_and_comes_back_is_not_noticed(tmp_path: Path) -> None:
    """Senders, fetchers with acks, and readers at work while the server is killed and started again."""
    with serving(tmp_path / "data") as server:
        asyncio.run(_through_a_kill(server))


async def _through_a_kill(server: Server) -> None:
    sent: list[str] = []
    halves = asyncio.Event()

    async def sender(client: Mq9Client, number: int) -> None:
        for turn in range(20):
            text = f"{number}.{turn}"
            await client.mailbox_send(to="jobs", text=text)
            sent.append(text)
            if len(sent) >= 60:
                halves.set()

    async with asyncio.timeout(120), Mq9Client(server.url, agent="sender", timeout_s=60) as client:
        await client.mailbox_create(address="jobs")
        senders = [asyncio.create_task(sender(client, number)) for number in range(8)]
        await halves.wait()
        server.kill()
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        await asyncio.gather(*senders, starting)
        assert len(sent) == 160
        found: list[str] = []
        while len(found) < len(sent):
            messages = (await client.mailbox_fetch(mailbox="jobs", max=1000, wait_s=1))["messages"]
            assert messages, "some are missing"
            found += [one["parts"][0]["text"] for one in messages]
            await client.mailbox_ack(items=[{"lease": one["lease"]} for one in messages])
        assert sorted(found) == sorted(sent)
