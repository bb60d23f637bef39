"""Section 2: a receipt comes when the message is on disk and never claims more than is true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts


async def watched(desk: Desk, wait_for: str, wait_s: float = 50, **arguments: Any) -> asyncio.Task[Reply]:
    """A send that waits, under way: its message is stored and nobody has it yet."""
    before = desk.engine.state.next_message
    task = asyncio.ensure_future(desk.send(wait_for=wait_for, wait_s=wait_s, **arguments))
    while desk.engine.state.next_message == before and not task.done():
        await asyncio.sleep(0)
    return task


async def settle_one(desk: Desk, outcome: str = "ack", group: str = "default", **fields: Any) -> Reply:
    """Fetch one message and settle it."""
    [message] = await desk.fetch(group=group, max=1)
    assert (await desk.settle(message, outcome, **fields))["ok"]
    return message


def test_a_receipt_comes_only_when_the_message_is_on_disk(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        assert desk.engine.journal.durable_seq == desk.engine.journal.last_seq

    run(body, tmp_path, "box")


def test_without_wait_for_nothing_is_said_about_a_rung(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send()
        assert "reached" not in receipt
        assert "reply" not in receipt

    run(body, tmp_path, "box")


@pytest.mark.parametrize("rung", ["leased", "acked", "replied"])
def test_when_time_is_over_it_says_which_rung_was_reached(tmp_path: Path, rung: str) -> None:
    async def body(desk: Desk) -> None:
        assert (await desk.send(wait_for=rung))["reached"] == "stored"
        task = await watched(desk, rung, wait_s=0.05)
        assert (await task)["reached"] == "stored"

    run(body, tmp_path, "box")


def test_a_lower_rung_is_told_when_time_is_over(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "replied", wait_s=0.3)
        await settle_one(desk)
        receipt = await task
        assert receipt["reached"] == "acked"
        assert "reply" not in receipt

    run(body, tmp_path, "box")


def test_leased_returns_when_a_worker_has_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "leased")
        [message] = await desk.fetch()
        receipt = await task
        assert (receipt["reached"], receipt["id"]) == ("leased", message["id"])

    run(body, tmp_path, "box")


def test_acked_waits_for_the_ack_not_for_the_lease(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "acked")
        [message] = await desk.fetch()
        await desk.settle(message, "nack", delay_s=1)
        await asyncio.sleep(0)
        assert not task.done()
        await desk.pass_time(1)
        await settle_one(desk)
        assert (await task)["reached"] == "acked"

    run(body, tmp_path, "box")


def test_only_the_group_default_counts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        task = await watched(desk, "leased", wait_s=0.3)
        await settle_one(desk, group="audit")
        assert (await task)["reached"] == "stored"
        task = await watched(desk, "acked")
        await settle_one(desk, outcome="reject", group="audit")
        await asyncio.sleep(0)
        assert not task.done()
        await settle_one(desk)
        await settle_one(desk)
        assert (await task)["reached"] == "acked"

    run(body, tmp_path, "box")


def test_replied_returns_a_copy_and_the_original_reply_still_waits(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "replied")
        [question] = await desk.fetch()
        await desk.call("mailbox_send", "bob", in_reply_to=question["id"], text="42")
        receipt = await task
        assert receipt["reached"] == "replied"
        copy = receipt["reply"]
        assert (texts([copy]), copy["from"], copy["in_reply_to"]) == (["42"], "bob", question["id"])
        assert "lease" not in copy
        assert "deliveries" not in copy
        [original] = await desk.fetch("alice", "alice")
        assert original["id"] == copy["id"]

    run(body, tmp_path, "box")


def test_a_reply_in_the_same_commit_as_the_ack_counts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "replied")
        [question] = await desk.fetch()
        await desk.call(
            "mailbox_ack",
            "bob",
            items=[{"lease": question["lease"]}],
            send={"in_reply_to": question["id"], "text": "42"},
        )
        receipt = await task
        assert (receipt["reached"], texts([receipt["reply"]])) == ("replied", ["42"])

    run(body, tmp_path, "box")


Fate = Callable[[Desk], Awaitable[Any]]


async def _expire(desk: Desk) -> None:
    await desk.pass_time(100)


async def _delete(desk: Desk) -> None:
    await desk.call("mailbox_delete", mailbox="box", ids=[desk.engine.state.next_message - 1])


async def _drop(desk: Desk) -> None:
    await desk.call("mailbox_drop", address="box")


async def _reject(desk: Desk) -> None:
    await settle_one(desk, "reject")


async def _exhaust(desk: Desk) -> None:
    for _ in range(5):
        await desk.fetch(lease_s=1)
        await desk.pass_time(1)


async def _replace(desk: Desk) -> None:
    await desk.send(state_key="s", text="newer")


async def _replace_leased(desk: Desk) -> None:
    [message] = await desk.fetch()
    await desk.send(state_key="s", text="newer")
    await desk.settle(message, "nack")


async def _expire_leased(desk: Desk) -> None:
    [message] = await desk.fetch(lease_s=300)
    await desk.pass_time(100)
    await desk.settle(message, "release")


FATES: dict[str, tuple[Fate, str]] = {
    "expired": (_expire, "expired"),
    "expired while leased": (_expire_leased, "expired"),
    "deleted": (_delete, "canceled"),
    "its mailbox dropped": (_drop, "canceled"),
    "rejected": (_reject, "dead"),
    "out of attempts": (_exhaust, "dead"),
    "replaced": (_replace, "withdrawn"),
    "replaced while leased": (_replace_leased, "withdrawn"),
}


@pytest.mark.parametrize("rung", ["acked", "replied"])
@pytest.mark.parametrize("fate", FATES)
def test_it_ends_when_it_cannot_any_more(tmp_path: Path, fate: str, rung: str) -> None:
    """ "dead, expired, canceled": at once, not when time is over."""
    happens, reached = FATES[fate]

    async def body(desk: Desk) -> None:
        task = await watched(desk, rung, ttl_s=50, state_key="s")
        await happens(desk)
        async with asyncio.timeout(5):
            assert (await task)["reached"] == reached

    run(body, tmp_path, "box")


def test_a_reply_before_the_end_is_still_a_reply(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "replied")
        [question] = await desk.fetch()
        await desk.call("mailbox_send", "bob", in_reply_to=question["id"], text="sorry")
        await desk.settle(question, "reject")
        assert (await task)["reached"] == "replied"

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("stand", ["stored", "leased", "acked", "replied", "dead", "expired", "canceled"])
def test_a_duplicate_tells_how_far_the_first_one_came(tmp_path: Path, stand: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send(dedup_key="k", ttl_s=50)
        if stand in ("leased", "acked", "replied", "dead"):
            [message] = await desk.fetch(lease_s=400)
            if stand == "replied":
                await desk.call("mailbox_send", "bob", in_reply_to=message["id"], text="42")
            if stand in ("acked", "dead"):
                await desk.settle(message, "ack" if stand == "acked" else "reject")
        elif stand == "expired":
            await desk.pass_time(60)
        elif stand == "canceled":
            await desk.call("mailbox_delete", mailbox="box", ids=[first["id"]])
        if restart:
            await desk.restart()
        again = await desk.send(dedup_key="k", wait_for="replied", wait_s=0.05)
        assert (again["id"], again["duplicate"], again["reached"]) == (first["id"], True, stand)
        assert ("reply" in again) == (stand == "replied")

    run(body, tmp_path, "box")


def test_a_duplicate_waits_on_with_the_first(tmp_path: Path) -> None:
    """Two calls under one key wait for one message; both hear of it."""

    async def body(desk: Desk) -> None:
        first = await watched(desk, "acked", dedup_key="k")
        second = asyncio.ensure_future(desk.send(wait_for="acked", wait_s=50, dedup_key="k"))
        for _ in range(20):
            await asyncio.sleep(0)
        await settle_one(desk)
        receipts = [await first, await second]
        assert [one["reached"] for one in receipts] == ["acked", "acked"]
        assert [one["duplicate"] for one in receipts] == [False, True]

    run(body, tmp_path, "box")


def test_in_a_fan_out_every_receipt_has_its_own_rung(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        before = desk.engine.state.next_message
        task = asyncio.ensure_future(
            desk.call("mailbox_send", to=["box", "other"], text="x", wait_for="acked", wait_s=0.5)
        )
        while desk.engine.state.next_message == before:
            await asyncio.sleep(0)
        await settle_one(desk)
        await desk.fetch("other")
        reply = await task
        assert [one["reached"] for one in reply["receipts"]] == ["acked", "leased"]

    run(body, tmp_path, "box", "other")


def test_a_stopping_broker_says_what_was_reached(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "acked")
        await desk.fetch()
        await desk.restart()
        assert (await task)["reached"] == "leased"

    run(body, tmp_path, "box")


def test_who_waits_no_longer_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await watched(desk, "acked")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not desk.engine.watched
        await desk.send(wait_for="leased")
        assert not desk.engine.watched
        assert texts(await desk.fetch()) == ["hello", "hello"]

    run(body, tmp_path, "box")


def test_wait_s_is_at_most_50(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for bad in ({"wait_s": 50.001}, {"wait_s": -1}, {"wait_for": "stored"}, {"wait_for": "read"}):
            arguments: dict[str, Any] = {"to": "box", "text": "x", "wait_for": "acked", **bad}
            error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", **arguments)
            assert next(iter(bad)) in error.message
        assert await desk.query() == []

    run(body, tmp_path, "box")
