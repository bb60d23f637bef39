"""Settled mail read again: a group that begins early gets all of it, once, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

MANY = 2_000
TIERS = ("normal", "critical", "urgent")


async def settled_mail(desk: Desk, count: int = MANY, mailbox: str = "box", **fields: Any) -> list[str]:
    """Send and settle ``count`` messages of all tiers; returns their texts in line order."""
    by_tier: dict[str, list[str]] = {tier: [] for tier in TIERS}
    for start in range(0, count, 1000):
        batch = []
        for number in range(start, min(count, start + 1000)):
            tier = TIERS[number % 7 % 3]
            by_tier[tier].append(str(number))
            batch.append({"to": mailbox, "text": str(number), "priority": tier} | fields)
        await desk.call("mailbox_send", messages=batch)
        await desk.pass_time(1)
    while messages := await desk.fetch(mailbox, max=1000):
        await ack(desk, messages)
    return [*by_tier["critical"], *by_tier["urgent"], *by_tier["normal"]]


async def ack(desk: Desk, messages: list[Reply]) -> None:
    """Settle them all in one call."""
    await desk.call("mailbox_ack", "bob", items=[{"lease": message["lease"]} for message in messages])


async def read(desk: Desk, group: str, most: int, mailbox: str = "box", **arguments: Any) -> list[str]:
    """One fetch by a group, settled."""
    messages = await desk.fetch(mailbox, group=group, max=most, **arguments)
    if messages:
        await ack(desk, messages)
    return texts(messages)


async def read_all(desk: Desk, group: str, most: int = 300, **arguments: Any) -> list[str]:
    """Everything that a group gets until nothing is left."""
    seen: list[str] = []
    while found := await read(desk, group, most, **arguments):
        seen += found
    return seen


@pytest.mark.parametrize("how", ["new", "reset"])
def test_earliest_reads_all_settled_mail_again_once_in_strict_order(tmp_path: Path, how: str) -> None:
    async def body(desk: Desk) -> None:
        order = await settled_mail(desk)
        group = "again" if how == "new" else "default"
        if how == "reset":
            reply = await desk.call("group_reset", mailbox="box", group="default", to="earliest")
            assert reply["group"]["waiting"] == MANY
        assert await read_all(desk, group) == order
        assert await desk.fetch(group="again" if how == "reset" else "default", deliver="latest") == []

    run(body, tmp_path, "box")


def test_across_restarts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        order = await settled_mail(desk)
        seen: list[str] = []
        while found := await read(desk, "again", 171):
            seen += found
            await desk.restart()
        assert seen == order

    run(body, tmp_path, "box")


def test_from_a_deleted_journal(tmp_path: Path) -> None:
    """The bodies are read from the tables once their journal segments are gone."""

    async def body(desk: Desk) -> None:
        order = await settled_mail(desk)
        await desk.restart()
        assert await read_all(desk, "again") == order

    run(body, tmp_path, "box", segment_bytes=64 * 1024, journal_bytes=0)


def test_two_groups_at_once_and_a_third_later(tmp_path: Path) -> None:
    """Each has its own place: what one has read again and settled is still there for the others."""

    async def body(desk: Desk) -> None:
        order = await settled_mail(desk)
        seen: dict[str, list[str]] = {"one": [], "two": [], "three": []}
        step = 0
        while True:
            step += 1
            found = []
            for name, most in (("one", 130), ("two", 77), ("three", 400)):
                if name != "three" or step > 3:
                    found.append(await read(desk, name, most))
                    seen[name] += found[-1]
            if step % 6 == 0:
                await desk.restart()
            if not any(found):
                break
        assert seen == dict.fromkeys(seen, order)
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (0, MANY)

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
def test_from_an_id_and_from_a_time(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        order = await settled_mail(desk)
        first = (await desk.query(limit=1))[0]["id"]
        since_id = [text for text in order if int(text) >= 1500]
        since_time = [text for text in order if int(text) >= 1000]
        got = await read(desk, "id", 100, deliver=first + 1500)
        time = await read(desk, "time", 100, deliver="2027-01-15T08:00:01Z")
        if restart:
            await desk.restart()
        assert got + await read_all(desk, "id") == since_id
        assert time + await read_all(desk, "time") == since_time

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
def test_deletes_meanwhile_take_out_exactly_what_they_name(tmp_path: Path, restart: bool) -> None:
    """Deleted before the group came to them, after it has read them, and while it holds them."""

    async def body(desk: Desk) -> None:
        order = await settled_mail(desk)
        first = (await desk.query(limit=1))[0]["id"]
        seen = await read(desk, "again", 100)
        held = await desk.fetch(group="again", max=10)
        gone = [*seen[:50], *texts(held)[:5], *order[300:400], *order[-5:]]
        await desk.call("mailbox_delete", mailbox="box", ids=[first + int(text) for text in gone])
        if restart:
            await desk.restart()
        seen += texts(held)
        reply = await desk.call("mailbox_fetch", "bob", mailbox="box", group="again", max=1)
        seen += texts(reply["messages"])
        assert reply["remaining"] == 1000
        seen += await read_all(desk, "again")
        assert seen == order[:300] + order[400:-5]
        results = [await desk.settle(message) for message in held]
        assert [result["ok"] for result in results] == [False] * 5 + [True] * 5

    run(body, tmp_path, "box")


def test_remaining_is_exact_after_deletes_that_concern_the_group_or_not(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await settled_mail(desk, 900)
        first = (await desk.query(limit=1))[0]["id"]
        assert len(await desk.fetch(group="late", deliver=first + 600, max=10)) == 10
        ids = [first + number for number in range(0, 900, 3)]
        await desk.call("mailbox_delete", mailbox="box", ids=ids)
        reply = await desk.call("mailbox_fetch", mailbox="box", group="late", max=1)
        remaining = reply["remaining"]
        await desk.restart()
        rest = await desk.call("mailbox_fetch", mailbox="box", group="late", max=1000)
        assert (remaining, rest["remaining"]) == (len(rest["messages"]), 0)

    run(body, tmp_path, "box")


def test_new_mail_takes_its_place_among_the_old(tmp_path: Path) -> None:
    """What arrives while a group reads old mail comes after it in its tier, before it in a higher one."""

    async def body(desk: Desk) -> None:
        order = await settled_mail(desk, 1200)
        critical = sum(1 for text in order if TIERS[int(text) % 7 % 3] == "critical")
        seen = await read(desk, "again", critical + 50)
        await desk.send(text="new critical", priority="critical")
        await desk.send(text="new normal")
        await desk.send(text="new urgent", priority="urgent")
        urgent = critical + sum(1 for text in order if TIERS[int(text) % 7 % 3] == "urgent")
        seen += await read_all(desk, "again")
        here = critical + 50
        assert seen == [
            *order[:here],
            "new critical",
            *order[here:urgent],
            "new urgent",
            *order[urgent:],
            "new normal",
        ]

    run(body, tmp_path, "box")


def test_a_filter_reads_only_what_fits_and_leaves_the_rest(tmp_path: Path) -> None:
    """And says that more remains while more of it lies further back."""

    async def body(desk: Desk) -> None:
        for number in range(3):
            await desk.send(text=f"tagged {number}", tags=["t"])
            await settled_mail(desk, 400, priority="normal")
        for number in range(3):
            reply = await desk.call("mailbox_fetch", mailbox="box", group="g", max=1, tags_any=["t"])
            assert texts(reply["messages"]) == [f"tagged {number}"]
            assert bool(reply["remaining"]) == (number < 2)
        assert len(await read_all(desk, "g")) == 1200

    run(body, tmp_path, "box")


def test_large_old_mail_is_brought_in_no_faster_than_it_is_read(tmp_path: Path) -> None:
    """A reply full of bytes does not bring the whole history back into memory."""

    async def body(desk: Desk) -> None:
        for _ in range(3):
            many = [{"to": "box", "text": "x" * 30_000} for _ in range(256)]
            await desk.call("mailbox_send", messages=many)
        while messages := await desk.fetch(max=1000):
            await ack(desk, messages)
        reply = await desk.call("mailbox_fetch", mailbox="box", group="again", max=1000)
        assert 0 < len(reply["messages"]) < 256
        assert reply["remaining"] == 768 - len(reply["messages"])
        assert len(desk.engine.state.mails) == 256

    run(body, tmp_path, "box")


def test_what_expired_or_was_withdrawn_is_not_read_again(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        await desk.send(text="expired", ttl_s=10)
        await desk.send(text="old", state_key="k")
        await desk.send(text="new", state_key="k")
        await desk.send(text="short life, settled", ttl_s=60)
        await desk.pass_time(10)
        await ack(desk, await desk.fetch())
        assert texts(await desk.fetch(group="in time", max=1)) == ["new"]
        await desk.pass_time(50)
        await desk.restart()
        assert texts(await desk.fetch(group="too late")) == ["new"]
        assert await desk.fetch(group="in time") == []

    run(body, tmp_path, "box")


def test_attempts_and_dead_letters_begin_anew(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="twice", settings={"max_attempts": 2})
        await desk.send("twice", "bad")
        for group in ("default", "again"):
            for attempt in (1, 2):
                [message] = await desk.fetch("twice", group=group)
                assert message["attempt"] == attempt
                await desk.settle(message, "nack", delay_s=0)
            assert await desk.fetch("twice", group=group) == []
        assert [one["dead_letter"]["group"] for one in await desk.query("twice.dead")] == ["default", "again"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
def test_ordered_mailboxes_read_again_in_store_order_within_sessions(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="ordered", settings={"ordered_by": "session"})
        batch = [{"to": "ordered", "text": str(n), "session": f"s{n % 5}"} for n in range(1000)]
        await desk.call("mailbox_send", messages=batch)
        while messages := await desk.fetch("ordered", max=1000):
            await ack(desk, messages)
        seen: dict[int, list[int]] = {number: [] for number in range(5)}
        while found := await read(desk, "again", 90, "ordered"):
            for text in found:
                seen[int(text) % 5].append(int(text))
            if restart:
                await desk.restart()
        assert seen == {number: list(range(number, 1000, 5)) for number in range(5)}

    run(body, tmp_path)
