"""What the simulation found, each mistake in its shortest form."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support import Desk, run, texts


def test_a_message_that_settles_at_this_moment_can_be_deleted(tmp_path: Path) -> None:
    """Time passed inside the call, after what it needs had been looked up: the message was not found."""

    async def body(desk: Desk) -> None:
        await desk.fetch()
        receipt = await desk.send(ttl_s=5)
        desk.time.now += 5_000
        reply = await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        assert reply["deleted"] == 1

    run(body, tmp_path, "box")


def test_an_ack_is_repeated_while_it_is_being_done(tmp_path: Path) -> None:
    """The first ack settles the message while the second still looks for another one in the tables."""

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        await desk.send(text="two")
        one, two = await desk.fetch()
        await desk.settle(one)
        items = [{"lease": two["lease"]}]
        both = [{"lease": one["lease"]}, *items]
        slow, quick = await asyncio.gather(
            desk.call("mailbox_ack", "bob", items=both), desk.call("mailbox_ack", "bob", items=items)
        )
        assert [result["ok"] for result in slow["results"] + quick["results"]] == [True, True, True]

    run(body, tmp_path, "box")


def test_a_conversation_goes_on_in_the_session_of_its_first_message(tmp_path: Path) -> None:
    """From the third message on, a reply in a session that nobody had named was SESSION_NOT_FOUND."""

    async def body(desk: Desk) -> None:
        receipt = await desk.send("bob", agent="alice")
        for number in range(4):
            agent = ("bob", "alice")[number % 2]
            reply = await desk.call("mailbox_send", agent, in_reply_to=receipt["id"], text="and so on")
            assert reply["receipts"][0]["session"] == receipt["session"]
            receipt = reply["receipts"][0]

    run(body, tmp_path, "alice", "bob")


def test_a_redriven_message_comes_when_its_first_segment_is_gone(tmp_path: Path) -> None:
    """Its body was looked for in tables that did not know the new copy yet: leased, and not handed out."""

    async def body(desk: Desk) -> None:
        await desk.send(text="old")
        [message] = await desk.fetch()
        await desk.settle(message, "reject")
        for _ in range(40):
            await desk.send("other", "x" * 1000)
            await desk.settle((await desk.fetch("other"))[0])
            await desk.query("other")
        await desk.restart()
        assert desk.engine.journal.segments[0].number > 1
        await desk.call("mailbox_redrive", mailbox="box.dead")
        assert texts(await desk.fetch()) == ["old"]

    run(body, tmp_path, "box", "other", segment_bytes=8 * 1024, journal_bytes=0)


def test_old_mail_of_one_mailbox_is_not_passed_over_for_another(tmp_path: Path) -> None:
    """A full reply was taken from the other mailbox before settled mail was read again."""

    async def body(desk: Desk) -> None:
        await desk.send("box", "settled and urgent", priority="urgent")
        [message] = await desk.fetch()
        await desk.settle(message)
        await desk.send("other", "normal")
        await desk.send("other", "one more")
        [first] = await desk.fetch(["other", "box"], group="new", max=1)  # type: ignore[arg-type]
        assert texts([first]) == ["settled and urgent"]

    run(body, tmp_path, "box", "other")


def test_expired_mail_that_is_rejected_into_full_dead_letters_does_not_come_back(tmp_path: Path) -> None:
    """It went into backoff and was delivered again, long expired."""

    async def body(desk: Desk) -> None:
        settings = {"dead_letter": "letters", "backoff_max_s": 1}
        await desk.call("mailbox_create", address="work", settings=settings)
        await desk.call("mailbox_create", address="letters", settings={"messages_max": 1})
        await desk.send("letters", "full")
        await desk.send("work", "short", ttl_s=5)
        [message] = await desk.fetch("work")
        await desk.pass_time(6)
        assert (await desk.settle(message, "reject"))["ok"]
        await desk.pass_time(60)
        assert await desk.fetch("work") == []
        [seen] = await desk.query("work")
        assert seen["deliveries"][0]["state"] == "expired"

    run(body, tmp_path)


def test_a_query_by_state_has_pages_also_for_a_group_that_is_none(tmp_path: Path) -> None:
    """DuckDB dropped the limit: it knew that a joined table has no row for that group."""

    async def body(desk: Desk) -> None:
        for number in range(5):
            await desk.send(text=str(number))
        await desk.settle((await desk.fetch(max=1))[0])
        await desk.query()
        reply = await desk.call("mailbox_query", mailbox="box", state="waiting", group="none", limit=2)
        assert (texts(reply["messages"]), reply["remaining"]) == (["0", "1"], 3)
        assert reply["next_cursor"] == str(reply["messages"][-1]["id"])

    run(body, tmp_path, "box")


def test_a_state_is_looked_for_among_what_the_group_has(tmp_path: Path) -> None:
    """Mail that had expired before the group began was found as expired in that group."""

    async def body(desk: Desk) -> None:
        await desk.fetch()
        await desk.send(text="before", ttl_s=1)
        await desk.pass_time(1)
        await desk.fetch(group="new", deliver="latest")
        assert texts(await desk.query(state="expired")) == ["before"]
        assert await desk.query(state="expired", group="new") == []

    run(body, tmp_path, "box")
