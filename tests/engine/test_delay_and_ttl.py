"""Section 2: delay_s, deliver_at, ttl_s, expires_at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

BOTH = pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
DELAYS: dict[str, dict[str, Any]] = {
    "delay_s": {"delay_s": 60},
    "deliver_at": {"deliver_at": "2027-01-15T08:01:00Z"},
    "deliver_at elsewhere": {"deliver_at": "2027-01-15T10:01:00.000+02:00"},
}


async def counts(desk: Desk, address: str = "box") -> Reply:
    """The counts of a mailbox."""
    found: Reply = (await desk.call("mailbox_get", address=address))["mailbox"]["counts"]
    return found


@BOTH
@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS)
def test_delayed_mail_is_invisible_to_fetch_until_then(
    tmp_path: Path, delay: dict[str, Any], restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="later", **delay)
        if restart:
            await desk.restart()
        await desk.pass_time(59.999)
        assert await desk.fetch() == []
        await desk.pass_time(0.001)
        [message] = await desk.fetch()
        assert message["deliver_at"] == "2027-01-15T08:01:00.000Z"
        assert message["created_at"] == "2027-01-15T08:00:00.000Z"

    run(body, tmp_path, "box")


def test_queryable_meanwhile(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        receipt = await desk.send(text="later", delay_s=60)
        [message] = await desk.query()
        assert message["id"] == receipt["id"]
        assert message["deliveries"] == [{"group": "default", "state": "delayed", "attempt": 1}]
        assert texts(await desk.query(state="delayed")) == ["later"]
        assert (await counts(desk))["delayed"] == 1
        await desk.pass_time(60)
        assert texts(await desk.query(state="waiting")) == ["later"]
        assert (await counts(desk))["delayed"] == 0

    run(body, tmp_path, "box")


@BOTH
def test_deletable_meanwhile_which_cancels(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send(text="later", delay_s=60)
        if restart:
            await desk.restart()
        assert await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]]) == {"deleted": 1}
        if restart:
            await desk.restart()
        await desk.pass_time(60)
        assert await desk.fetch() == []
        assert await desk.query() == []
        assert (await counts(desk))["unsettled"] == 0

    run(body, tmp_path, "box")


@BOTH
def test_all_attributes_are_kept(tmp_path: Path, restart: bool) -> None:
    attributes: dict[str, Any] = {
        "priority": "urgent",
        "tags": ["t"],
        "dedup_key": "k",
        "state_key": "s",
        "session": "talk",
        "metadata": {"a": 1},
        "reply_to": "other",
    }

    async def body(desk: Desk) -> None:
        receipt = await desk.send(delay_s=60, ttl_s=30, **attributes)
        if restart:
            await desk.restart()
        await desk.pass_time(60)
        [message] = await desk.fetch(tags_all=["t"], session="talk", priority_min="urgent")
        assert {name: message[name] for name in attributes} == attributes
        assert message["id"] == receipt["id"]
        assert message["expires_at"] == "2027-01-15T08:01:30.000Z"

    run(body, tmp_path, "box")


def test_a_time_that_has_passed_means_now(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="a")
        await desk.send(text="b", deliver_at="2020-01-01T00:00:00Z")
        await desk.send(text="c", delay_s=0)
        await desk.send(text="d")
        messages = await desk.fetch()
        assert texts(messages) == ["a", "b", "c", "d"]
        assert all("deliver_at" not in message for message in messages)

    run(body, tmp_path, "box")


def test_due_mail_stands_before_what_is_stored_later_even_if_nobody_looked(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="due", delay_s=10)
        desk.time.now += 25_000
        await desk.send(text="later")
        assert texts(await desk.fetch()) == ["due", "later"]

    run(body, tmp_path, "box")


def test_two_ways_to_say_one_time_exclude_each_other(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        at = "2027-01-15T09:00:00Z"
        for pair in ({"delay_s": 1, "deliver_at": at}, {"ttl_s": 1, "expires_at": at}):
            arguments: dict[str, Any] = {"to": "box", "text": "x", **pair}
            error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", **arguments)
            assert all(name in error.message for name in pair)
        assert await desk.query() == []

    run(body, tmp_path, "box")


@BOTH
def test_expired_mail_is_never_delivered(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        await desk.send(text="a", ttl_s=10)
        await desk.send(text="b", expires_at="2027-01-15T08:00:20Z")
        await desk.send(text="c")
        if restart:
            await desk.restart()
        await desk.pass_time(10)
        assert texts(await desk.query(state="expired")) == ["a"]
        assert texts(await desk.fetch(max=1, lease_s=1)) == ["b"]
        await desk.pass_time(10)
        assert texts(await desk.fetch()) == ["c"]
        assert texts(await desk.fetch(group="new")) == ["c"]

    run(body, tmp_path, "box")


def test_expired_mail_is_not_delivered_even_before_the_broker_noticed(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=10)
        desk.time.now += 10_000
        assert await desk.fetch() == []
        assert await desk.fetch(group="new") == []

    run(body, tmp_path, "box")


@BOTH
def test_ttl_is_counted_from_visibility(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="delayed", delay_s=100, ttl_s=10)
        if restart:
            await desk.restart()
        await desk.pass_time(109.999)
        assert texts(await desk.fetch(lease_s=1)) == ["delayed"]
        await desk.pass_time(1)
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_mail_that_is_due_and_past_its_time_at_once_is_expired(tmp_path: Path) -> None:
    """Nobody looked while it could be seen."""

    async def body(desk: Desk) -> None:
        await desk.fetch()
        await desk.send(delay_s=10, ttl_s=5)
        await desk.pass_time(100)
        assert await desk.fetch() == []
        [message] = await desk.query()
        assert message["deliveries"][0]["state"] == "expired"
        await desk.restart()
        assert (await counts(desk))["unsettled"] == 0

    run(body, tmp_path, "box")


def test_no_ttl_means_never(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="patient")
        await desk.restart()
        await desk.pass_time(3 * 365 * 86_400)
        await desk.restart()
        assert texts(await desk.fetch()) == ["patient"]

    run(body, tmp_path, "box")


@BOTH
@pytest.mark.parametrize("outcome", ["ack", "reject"])
def test_a_holder_may_still_settle_past_it(tmp_path: Path, outcome: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=10)
        [held] = await desk.fetch(lease_s=100)
        await desk.pass_time(50)
        if restart:
            await desk.restart()
        assert (await desk.settle(held, outcome))["ok"]
        [message] = await desk.query()
        assert message["deliveries"][0]["state"] == ("acked" if outcome == "ack" else "dead")
        assert (await counts(desk))["unsettled"] == 0

    run(body, tmp_path, "box")


@BOTH
def test_a_holder_may_extend_past_it(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=10)
        [held] = await desk.fetch(lease_s=40)
        for _ in range(3):
            await desk.pass_time(35)
            if restart:
                await desk.restart()
            assert (await desk.settle(held, "extend", lease_s=40))["ok"]
        assert (await desk.settle(held))["ok"]

    run(body, tmp_path, "box")


@BOTH
@pytest.mark.parametrize("end", ["nack", "release", "lapse"])
def test_once_the_lease_is_lost_it_is_expired_not_redelivered(
    tmp_path: Path, end: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=10)
        [held] = await desk.fetch(lease_s=100)
        await desk.pass_time(50)
        if restart:
            await desk.restart()
        if end == "lapse":
            await desk.pass_time(50)
        else:
            assert (await desk.settle(held, end))["ok"]
        await desk.pass_time(1000)
        assert await desk.fetch() == []
        [message] = await desk.query()
        assert message["deliveries"][0]["state"] == "expired"
        assert (await counts(desk))["unsettled"] == 0

    run(body, tmp_path, "box")


@pytest.mark.parametrize("outcome", ["ack", "extend", "nack"])
def test_a_lease_that_ran_out_together_with_the_ttl_is_over(tmp_path: Path, outcome: str) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=10)
        [held] = await desk.fetch(lease_s=10)
        await desk.pass_time(10)
        result = await desk.settle(held, outcome)
        assert result["ok"] is False
        assert result["error"]["code"] == "LEASE_LOST"
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


@BOTH
def test_expiry_in_backoff_or_after_some_groups_settled(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=100)
        [one] = await desk.fetch()
        [other] = await desk.fetch(group="audit")
        await desk.settle(one)
        await desk.settle(other, "nack", delay_s=500)
        if restart:
            await desk.restart()
        await desk.pass_time(100)
        [message] = await desk.query()
        assert {x["group"]: x["state"] for x in message["deliveries"]} == {
            "default": "acked",
            "audit": "expired",
        }
        await desk.pass_time(500)
        assert await desk.fetch(group="audit") == []
        assert (await counts(desk))["unsettled"] == 0

    run(body, tmp_path, "box")


@BOTH
def test_settled_mail_past_its_time_is_not_read_again_by_a_new_group(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="short", ttl_s=10)
        await desk.send(text="long")
        for message in await desk.fetch():
            await desk.settle(message)
        await desk.pass_time(10)
        if restart:
            await desk.restart()
        assert texts(await desk.fetch(group="new")) == ["long"]

    run(body, tmp_path, "box")


@BOTH
def test_a_group_made_while_expired_mail_is_held_owes_nothing(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(ttl_s=10)
        [held] = await desk.fetch(lease_s=100)
        await desk.pass_time(20)
        if restart:
            await desk.restart()
        assert await desk.fetch(group="new") == []
        assert (await desk.settle(held))["ok"]
        assert (await counts(desk))["unsettled"] == 0

    run(body, tmp_path, "box")
