"""Dead letters: when mail dies, what the letter says, and that nothing is lost when there is no room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts


async def make(desk: Desk, **settings: Any) -> None:
    """The mailbox under test."""
    await desk.call("mailbox_create", address="m", settings=settings)


async def fail(desk: Desk, how: str, mailbox: str = "m", **fetch: Any) -> Reply:
    """One failed attempt of the first message."""
    [message] = await desk.fetch(mailbox, lease_s=10, max=1, **fetch)
    if how == "nack":
        await desk.settle(message, "nack", delay_s=0, reason="broken")
    else:
        await desk.pass_time(10)
    return message


async def states(desk: Desk, mailbox: str = "m") -> dict[str, str]:
    """Where the first message stands, by group."""
    [message, *_] = await desk.query(mailbox)
    return {one["group"]: one["state"] for one in message["deliveries"]}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", ["nack", "lapse"])
def test_a_message_dies_after_five_failed_attempts_by_default(
    tmp_path: Path, how: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await make(desk)
        await desk.send("m", "bad")
        for attempt in range(1, 6):
            assert (await fail(desk, how))["attempt"] == attempt
            if restart:
                await desk.restart()
        assert await desk.fetch("m") == []
        assert texts(await desk.fetch("m.dead")) == ["bad"]

    run(body, tmp_path)


@pytest.mark.parametrize("most", [1, 3, 0])
def test_max_attempts_is_the_mailboxs_own_and_0_means_no_end(tmp_path: Path, most: int) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=most)
        await desk.send("m")
        for _ in range(most or 20):
            await fail(desk, "nack")
        assert await states(desk) == {"default": "waiting" if most == 0 else "dead"}

    run(body, tmp_path)


def test_the_letter_says_where_it_came_from_and_why(tmp_path: Path) -> None:
    """A copy with its own id; sender, parts, tags, session and priority are those of the message."""

    async def body(desk: Desk) -> None:
        await make(desk)
        sent = await desk.send(
            "m", "bad", tags=["t"], session="s", priority="urgent", dedup_key="k", ttl_s=60
        )
        await desk.pass_time(1)
        await fail(desk, "lapse")
        [message] = await desk.fetch("m")
        await desk.settle(message, "reject", reason="malformed", description="The total is missing.")
        await desk.restart()
        [letter] = await desk.fetch("m.dead")
        assert letter["dead_letter"] == {
            **{"id": sent["id"], "source": "m", "group": "default", "attempts": 2},
            **{"reason": "malformed", "description": "The total is missing."},
            "first_attempt_at": "2027-01-15T08:00:01.000Z",
            "last_attempt_at": "2027-01-15T08:00:11.000Z",
        }
        assert letter["id"] > sent["id"]
        assert (letter["from"], letter["tags"], letter["session"]) == ("alice", ["t"], "s")
        assert (letter["priority"], letter["dedup_key"], texts([letter])) == ("urgent", "k", ["bad"])
        assert (letter["attempt"], "expires_at" in letter) == (1, False)

    run(body, tmp_path)


@pytest.mark.parametrize(("how", "reason", "attempts"), [("nack", "broken", 1), ("lapse", "max_attempts", 1)])
def test_the_reason_is_the_workers_or_says_that_attempts_are_used_up(
    tmp_path: Path, how: str, reason: str, attempts: int
) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1)
        await desk.send("m")
        await fail(desk, how)
        [letter] = await desk.query("m.dead")
        assert (letter["dead_letter"]["reason"], letter["dead_letter"]["attempts"]) == (reason, attempts)

    run(body, tmp_path)


def test_dead_mail_ends_one_groups_delivery_only(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1)
        await desk.send("m")
        await desk.fetch("m", group="other", tags_any=["none"])
        await desk.fetch("m", group="third", tags_any=["none"])
        await fail(desk, "nack")
        assert await states(desk) == {"default": "dead", "other": "waiting", "third": "waiting"}
        await fail(desk, "lapse", group="other")
        await desk.restart()
        assert await states(desk) == {"default": "dead", "other": "dead", "third": "waiting"}
        [message] = await desk.fetch("m", group="third")
        assert message["attempt"] == 1
        assert (await desk.settle(message))["ok"]
        letters = await desk.query("m.dead")
        assert [letter["dead_letter"]["group"] for letter in letters] == ["default", "other"]
        counts = (await desk.call("mailbox_get", address="m"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (0, 1)

    run(body, tmp_path)


def test_expired_mail_dies_only_where_that_is_on(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, dead_letter_expired=True)
        for mailbox in ("m", "box"):
            await desk.send(mailbox, "tried", ttl_s=10)
            [tried] = await desk.fetch(mailbox)
            await desk.settle(tried, "nack", delay_s=60)
        await desk.pass_time(10)
        await desk.restart()
        assert await states(desk, "box") == {"default": "expired"}
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", address="box.dead")
        assert await states(desk) == {"default": "dead"}
        [letter] = await desk.fetch("m.dead")
        assert (letter["dead_letter"]["reason"], letter["dead_letter"]["attempts"]) == ("expired", 1)

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("end", ["ack", "nack", "release", "lapse"])
def test_who_holds_expired_mail_may_still_settle_it_and_else_it_dies(
    tmp_path: Path, end: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, dead_letter_expired=True)
        await desk.send("m", "short", ttl_s=10)
        [held] = await desk.fetch("m", lease_s=60)
        await desk.pass_time(10)
        if restart:
            await desk.restart()
        assert await states(desk) == {"default": "leased"}
        assert (await desk.settle(held, "extend", lease_s=60))["ok"]
        if end == "lapse":
            await desk.pass_time(60)
        else:
            assert (await desk.settle(held, end))["ok"]
        assert await states(desk) == {"default": "acked" if end == "ack" else "dead"}
        assert await desk.fetch("m") == []
        if end != "ack":
            [letter] = await desk.query("m.dead")
            assert letter["dead_letter"]["attempts"] == (end != "release")

    run(body, tmp_path)


def test_mail_that_expires_before_any_group_exists_dies_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, dead_letter_expired=True)
        await desk.send("m", "short", ttl_s=10)
        await desk.pass_time(10)
        [letter] = await desk.query("m.dead")
        assert (letter["dead_letter"]["reason"], letter["dead_letter"]["attempts"]) == ("expired", 0)
        assert await desk.fetch("m") == []

    run(body, tmp_path)


def test_expired_mail_waits_for_full_dead_letters_only_while_they_are_wanted(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, dead_letter_expired=True, backoff_max_s=60)
        await desk.call("mailbox_create", address="m.dead", settings={"messages_max": 1})
        await desk.send("m.dead", "in the way")
        assert await desk.fetch("m") == []
        await desk.send("m", "short", ttl_s=10)
        await desk.pass_time(10)
        assert await states(desk) == {"default": "waiting"}
        await desk.call("mailbox_update", address="m", settings={"dead_letter_expired": False})
        reply = await desk.call("mailbox_fetch", mailbox="m")
        assert (reply["messages"], reply["remaining"]) == ([], 0)
        assert await states(desk) == {"default": "expired"}

    run(body, tmp_path)


def test_the_dead_letter_mailbox_is_a_normal_one_of_the_same_owner(tmp_path: Path) -> None:
    """Made at need, without max_attempts and ttl of its own; it may be fetched, nacked, acked, sent to."""

    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1, ttl_s=3600)
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", address="m.dead")
        await desk.send("m", "bad")
        await fail(desk, "nack")
        view = (await desk.call("mailbox_get", address="m.dead"))["mailbox"]
        source = (await desk.call("mailbox_get", address="m"))["mailbox"]
        assert (view["owner"], view["settings"]["max_attempts"]) == (source["owner"], 0)
        assert "ttl_s" not in view["settings"]
        assert "expires_at" not in view
        for _ in range(20):
            await fail(desk, "nack", "m.dead")
        await desk.send("m.dead", "a note beside it")
        assert texts(await desk.fetch("m.dead")) == ["bad", "a note beside it"]

    run(body, tmp_path)


def test_dead_letters_stay_when_the_mailbox_goes(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1)
        await desk.send("m", "bad")
        await fail(desk, "nack")
        await desk.call("mailbox_drop", address="m")
        await desk.restart()
        assert texts(await desk.fetch("m.dead")) == ["bad"]

    run(body, tmp_path)


def test_the_address_may_be_named_and_shared(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1, dead_letter="morgue")
        settings = {"max_attempts": 1, "dead_letter": "morgue"}
        await desk.call("mailbox_create", address="n", settings=settings)
        for mailbox in ("m", "n"):
            await desk.send(mailbox)
            await fail(desk, "nack", mailbox)
        sources = [letter["dead_letter"]["source"] for letter in await desk.fetch("morgue")]
        assert sources == ["m", "n"]

    run(body, tmp_path)


def test_letter_and_end_are_one_commit(tmp_path: Path) -> None:
    """At no point of the journal is a message both or neither."""

    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1)
        await desk.send("m")
        await fail(desk, "lapse")
        records = desk.engine.follow(0)
        both = []
        async for record in records:
            kinds = [type(event).__name__ for event in record.events]
            if "Died" in kinds:
                both.append(kinds)
                break
        assert both == [["MailboxCreated", "Died"]]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", ["nack", "lapse", "reject"])
def test_when_the_dead_letters_are_full_the_message_stays_in_backoff(
    tmp_path: Path, how: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1, backoff_max_s=60)
        await desk.call("mailbox_create", address="m.dead", settings={"messages_max": 1})
        await desk.send("m.dead", "in the way")
        await desk.send("m", "bad")
        if how == "reject":
            [message] = await desk.fetch("m")
            result = await desk.settle(message, "reject")
            assert (result["ok"], result["error"]["code"]) == (False, "MAILBOX_FULL")
        else:
            await fail(desk, how)
        if restart:
            await desk.restart()
        assert await states(desk) == {"default": "backoff"}
        assert texts(await desk.query("m.dead")) == ["in the way"]
        await desk.pass_time(60)
        assert await states(desk) == {"default": "waiting"}
        [way] = await desk.fetch("m.dead")
        await desk.settle(way)
        assert (await fail(desk, "nack"))["attempt"] == 2
        assert texts(await desk.fetch("m.dead")) == ["bad"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("late", ["ack", "nack", "release", "extend", "reject"])
def test_a_lease_that_ran_out_before_full_dead_letters_may_settle_late(
    tmp_path: Path, late: str, restart: bool
) -> None:
    """An expired token that nobody replaced still settles, also from backoff."""

    async def body(desk: Desk) -> None:
        await make(desk, max_attempts=1, backoff_max_s=60)
        await desk.call("mailbox_create", address="m.dead", settings={"messages_max": 1})
        await desk.send("m.dead", "in the way")
        await desk.send("m", "slow")
        message = await fail(desk, "lapse")
        if restart:
            await desk.restart()
        assert await states(desk) == {"default": "backoff"}
        [way] = await desk.fetch("m.dead")
        await desk.settle(way)
        assert (await desk.settle(message, late))["ok"]
        after = {
            "ack": "acked",
            "nack": "backoff",
            "release": "waiting",
            "extend": "leased",
            "reject": "dead",
        }
        assert await states(desk) == {"default": after[late]}
        await desk.restart()
        assert await states(desk) == {"default": after[late]}
        assert len(await desk.fetch("m")) == (late == "release")

    run(body, tmp_path)


def test_letters_of_another_owners_address_stay_at_the_source(tmp_path: Path) -> None:
    """Nobody can put mail into a stranger's mailbox by naming it as his dead letters."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", "eve", principal="eve", address="eves")
        await make(desk, max_attempts=1, dead_letter="eves")
        await desk.send("m")
        await fail(desk, "nack")
        assert await states(desk) == {"default": "backoff"}
        reply = await desk.call("mailbox_query", "eve", principal="eve", mailbox="eves")
        assert reply["messages"] == []

    run(body, tmp_path)
