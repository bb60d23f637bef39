"""Section 2: state_key - latest wins, in every group, and never under the hands of who holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

BOTH = pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])


async def put(desk: Desk, text: str, **arguments: Any) -> Reply:
    """One more version of the state."""
    return await desk.send(text=text, state_key="s", **arguments)


async def states(desk: Desk, id: int) -> dict[str, str]:
    """Where a message stands in each group."""
    [message] = await desk.query(ids=[id])
    return {one["group"]: one["state"] for one in message["deliveries"]}


@BOTH
def test_older_unleased_copies_are_withdrawn_from_every_group(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        assert await desk.fetch() == []
        assert await desk.fetch(group="audit") == []
        first = await put(desk, "1")
        await put(desk, "2")
        await put(desk, "3")
        if restart:
            await desk.restart()
        assert texts(await desk.fetch()) == ["3"]
        assert texts(await desk.fetch(group="audit")) == ["3"]
        assert await states(desk, first["id"]) == {"default": "withdrawn", "audit": "withdrawn"}

    run(body, tmp_path, "box")


def test_before_any_group_reads_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "1")
        await put(desk, "2")
        assert texts(await desk.fetch()) == ["2"]
        assert texts(await desk.fetch(group="later")) == ["2"]

    run(body, tmp_path, "box")


def test_within_one_batch_the_last_wins(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "0")
        messages = [{"to": "box", "text": text, "state_key": "s"} for text in ("1", "2", "3")]
        reply = await desk.call("mailbox_send", messages=messages)
        assert len(reply["receipts"]) == 3
        await desk.restart()
        assert texts(await desk.fetch()) == ["3"]

    run(body, tmp_path, "box")


def test_other_keys_other_mailboxes_and_mail_without_a_key_stay(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="plain")
        await desk.send(text="other key", state_key="t")
        await desk.send("other", text="other box", state_key="s")
        await put(desk, "1")
        await put(desk, "2")
        assert texts(await desk.fetch()) == ["plain", "other key", "2"]
        assert texts(await desk.fetch("other")) == ["other box"]

    run(body, tmp_path, "box", "other")


@BOTH
def test_a_leased_one_may_be_settled(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        first = await put(desk, "1")
        [held] = await desk.fetch()
        await put(desk, "2")
        if restart:
            await desk.restart()
        assert (await desk.settle(held, "extend", lease_s=60))["ok"]
        assert texts(await desk.fetch()) == ["2"]
        assert (await desk.settle(held))["ok"]
        assert await states(desk, first["id"]) == {"default": "acked"}

    run(body, tmp_path, "box")


@BOTH
@pytest.mark.parametrize("end", ["nack", "release", "lapse"])
def test_else_it_is_withdrawn_instead_of_redelivered(tmp_path: Path, end: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        first = await put(desk, "1")
        [held] = await desk.fetch(lease_s=40)
        await put(desk, "2")
        if restart:
            await desk.restart()
        if end == "lapse":
            await desk.pass_time(40)
        else:
            assert (await desk.settle(held, end))["ok"]
        await desk.pass_time(600)
        assert texts(await desk.fetch(lease_s=3600)) == ["2"]
        assert await states(desk, first["id"]) == {"default": "withdrawn"}
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (1, 1)

    run(body, tmp_path, "box")


def test_a_reject_of_a_replaced_one_is_still_a_dead_letter(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "1")
        [held] = await desk.fetch()
        await put(desk, "2")
        assert (await desk.settle(held, "reject", reason="broken"))["ok"]
        assert texts(await desk.query("box.dead")) == ["1"]

    run(body, tmp_path, "box")


@BOTH
def test_leased_in_one_group_it_is_withdrawn_from_the_others(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch(group="audit")
        await put(desk, "1")
        [held] = await desk.fetch()
        await put(desk, "2")
        if restart:
            await desk.restart()
        assert texts(await desk.fetch(group="audit")) == ["2"]
        assert (await desk.settle(held))["ok"]
        assert texts(await desk.fetch()) == ["2"]

    run(body, tmp_path, "box")


@BOTH
def test_a_copy_in_backoff_is_withdrawn(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "1")
        [held] = await desk.fetch()
        await desk.settle(held, "nack", delay_s=5)
        await put(desk, "2")
        if restart:
            await desk.restart()
        await desk.pass_time(10)
        assert texts(await desk.fetch()) == ["2"]

    run(body, tmp_path, "box")


@BOTH
def test_when_it_becomes_visible_a_delayed_copy_replaces_at_its_time(tmp_path: Path, restart: bool) -> None:
    """Not earlier: until then the older copy is the latest that can be seen."""

    async def body(desk: Desk) -> None:
        await put(desk, "delayed", delay_s=10)
        await put(desk, "1")
        if restart:
            await desk.restart()
        await desk.pass_time(9)
        await put(desk, "2")
        assert texts(await desk.fetch(max=5, lease_s=1)) == ["2"]
        await desk.pass_time(1)
        await desk.pass_time(1)
        assert texts(await desk.fetch()) == ["delayed"]

    run(body, tmp_path, "box")


@BOTH
def test_of_several_that_become_due_together_the_latest_due_stays(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        for text, delay in (("due last", 30.0), ("due first", 10.0), ("due second", 20.0)):
            await put(desk, text, delay_s=delay)
        if restart:
            await desk.restart()
        await desk.pass_time(60)
        assert texts(await desk.fetch()) == ["due last"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("attempts", [1, 5])
def test_a_lease_that_ends_as_the_newer_copy_becomes_due_gives_nothing_back(
    tmp_path: Path, attempts: int
) -> None:
    """Lapse, last attempt, expiry and the newer copy all fall on one moment."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="box", settings={"max_attempts": attempts})
        await put(desk, "held", ttl_s=10)
        await put(desk, "new", delay_s=10)
        assert texts(await desk.fetch(lease_s=10)) == ["held"]
        await desk.pass_time(10)
        assert texts(await desk.fetch()) == ["new"]
        await desk.restart()
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert counts["unsettled"] == 1

    run(body, tmp_path)


def test_an_expiring_copy_and_its_replacement_at_the_same_moment(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "old", ttl_s=10)
        await put(desk, "new", delay_s=10)
        await desk.pass_time(10)
        assert texts(await desk.fetch()) == ["new"]

    run(body, tmp_path, "box")


@BOTH
def test_a_group_made_while_somebody_holds_the_old_copy_does_not_get_it(
    tmp_path: Path, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "1")
        [held] = await desk.fetch()
        await put(desk, "2")
        if restart:
            await desk.restart()
        assert texts(await desk.fetch(group="audit")) == ["2"]
        assert (await desk.settle(held))["ok"]
        await desk.restart()
        assert await desk.fetch(group="audit") == []
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert counts["unsettled"] == 1

    run(body, tmp_path, "box")


@pytest.mark.parametrize("command", ["group_reset", "group_delete"])
def test_a_group_that_lets_go_of_a_replaced_copy_ends_it(tmp_path: Path, command: str) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "1")
        await desk.fetch()
        await put(desk, "2")
        extra = {"to": "earliest"} if command == "group_reset" else {}
        await desk.call(command, mailbox="box", group="default", **extra)
        assert texts(await desk.fetch()) == ["2"]
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (1, 1)
        await desk.restart()
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (1, 1)

    run(body, tmp_path, "box")


@BOTH
def test_old_mail_that_a_new_group_reads_again_is_replaced_like_any_other(
    tmp_path: Path, restart: bool
) -> None:
    """Settled by ``default``, waiting again for ``audit``: an older unleased copy all the same."""

    async def body(desk: Desk) -> None:
        await put(desk, "1")
        [message] = await desk.fetch()
        await desk.settle(message)
        assert await desk.fetch(group="audit", tags_any=["nothing fits"]) == []
        if restart:
            await desk.restart()
        await put(desk, "2")
        assert texts(await desk.fetch(group="audit")) == ["2"]

    run(body, tmp_path, "box")


def test_a_replaced_copy_makes_room_in_a_full_mailbox(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="box", settings={"messages_max": 1})
        for text in ("1", "2", "3"):
            await put(desk, text)
        assert texts(await desk.fetch()) == ["3"]

    run(body, tmp_path)


def test_a_withdrawn_copy_stays_for_query(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await put(desk, "1")
        await put(desk, "2")
        assert texts(await desk.query()) == ["1", "2"]
        assert texts(await desk.query(state="withdrawn")) == ["1"]
        assert texts(await desk.query(state="waiting")) == ["2"]

    run(body, tmp_path, "box")
