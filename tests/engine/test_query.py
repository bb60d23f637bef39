"""mailbox_query: filters, order, pages, delivery states; it never leases and never consumes."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.support import START_MS, Desk, Reply, run, texts


def wire(seconds: float) -> str:
    """A time so long after the start of the test."""
    minute, second = divmod(seconds, 60)
    assert START_MS == 1_800_000_000_000
    return f"2027-01-15T08:{int(minute):02}:{second:06.3f}Z"


async def standing(desk: Desk, group: str = "default", mailbox: str = "box") -> dict[str, Reply]:
    """Each message's delivery in a group, by text."""
    found = {}
    for message in await desk.query(mailbox, limit=100):
        [text] = texts([message])
        for one in message["deliveries"]:
            if one["group"] == group:
                found[text] = one
    return found


def test_a_query_never_leases_and_never_consumes(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        await desk.fetch(tags_any=["none"])
        for _ in range(5):
            [message] = await desk.query(state="waiting")
            assert "lease" not in message
        before = desk.engine.journal.last_seq
        await desk.query()
        assert desk.engine.journal.last_seq == before
        [message] = await desk.fetch()
        assert message["attempt"] == 1

    run(body, tmp_path, "box")


def test_mailbox_defaults_to_the_agents_own(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("alice", "mine", agent="alice")
        reply = await desk.call("mailbox_query", "alice")
        assert texts(reply["messages"]) == ["mine"]
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_query", "nobody")
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_query", "eve", principal="eve", mailbox="box")

    run(body, tmp_path, "alice", "box")


@pytest.mark.parametrize("restart", [False, True])
def test_every_delivery_state_is_shown_and_found(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch(tags_any=["none"])
        for text in ("acked", "dead", "backoff", "leased", "waiting again", "expired in backoff"):
            fields: dict[str, Any] = {"ttl_s": 50} if text == "expired in backoff" else {}
            await desk.send(text=text, **fields)
        outcomes = {"acked": "ack", "dead": "reject", "waiting again": "release"}
        for message in await desk.fetch(lease_s=3600):
            [text] = texts([message])
            if text in outcomes:
                await desk.settle(message, outcomes[text])
            elif text != "leased":
                await desk.settle(message, "nack", delay_s=600)
        await desk.send(text="expired", ttl_s=50)
        await desk.send(text="withdrawn", state_key="k")
        await desk.send(text="waiting", state_key="k")
        await desk.send(text="delayed", delay_s=3600)
        await desk.pass_time(50)
        if restart:
            await desk.restart()
        expected = {text: text.split()[0] for text in await standing(desk)}
        assert {text: one["state"] for text, one in (await standing(desk)).items()} == expected
        for state in sorted(set(expected.values())):
            found = await desk.query(state=state, group="default")
            assert texts(found) == [text for text, one in expected.items() if one == state]
        assert set(expected.values()) == {
            *("delayed", "waiting", "leased", "backoff", "acked", "dead", "expired", "withdrawn")
        }

    run(body, tmp_path, "box")


def test_deliveries_name_group_state_attempt_and_worker(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        assert (await desk.query())[0]["deliveries"] == []  # nobody reads this mailbox yet
        await desk.fetch(group="audit", tags_any=["none"])
        [message] = await desk.fetch()
        await desk.settle(message, "nack", delay_s=0)
        await desk.pass_time(0)
        await desk.fetch(agent="carol")
        await desk.restart()
        assert (await desk.query())[0]["deliveries"] == [
            {"group": "audit", "state": "waiting", "attempt": 1},
            {"group": "default", "state": "leased", "attempt": 2, "worker": "carol"},
        ]

    run(body, tmp_path, "box")


def test_state_is_that_of_the_group_asked_for(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        await desk.send(text="two")
        [one] = await desk.fetch(max=1)
        await desk.settle(one)
        assert texts(await desk.fetch(group="audit", deliver="earliest")) == ["one", "two"]
        assert texts(await desk.query(state="acked")) == ["one"]
        assert texts(await desk.query(state="waiting")) == ["two"]
        assert texts(await desk.query(state="leased", group="audit")) == ["one", "two"]
        await desk.fetch(group="late", deliver="latest")
        for state in ("waiting", "leased", "acked"):
            assert await desk.query(state=state, group="late") == []

    run(body, tmp_path, "box")


def test_delayed_mail_is_queryable_until_it_is_due(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="later", delay_s=60, tags=["t"], priority="urgent", session="s")
        await desk.fetch()
        [message] = await desk.query(state="delayed")
        assert (message["deliver_at"], message["tags"], message["session"]) == (wire(60), ["t"], "s")
        await desk.pass_time(60)
        assert await desk.query(state="delayed") == []
        assert texts(await desk.query(state="waiting")) == ["later"]

    run(body, tmp_path, "box")


def test_a_backoff_that_is_over_is_waiting(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        [message] = await desk.fetch()
        await desk.settle(message, "nack", delay_s=60)
        await desk.pass_time(59.999)
        assert texts(await desk.query(state="backoff")) == ["one"]
        await desk.pass_time(0.001)
        assert await desk.query(state="backoff") == []
        [found] = await desk.query(state="waiting")
        assert found["deliveries"][0]["state"] == "waiting"

    run(body, tmp_path, "box")


def oracle(wish: dict[str, Any], message: Reply) -> bool:
    """What the filters mean, written down a second time."""
    tags, created = set(message["tags"]), message["created_at"]
    return (
        ("tags_any" not in wish or not tags.isdisjoint(wish["tags_any"]))
        and tags.issuperset(wish.get("tags_all", ()))
        and tags.isdisjoint(wish.get("tags_none", ()))
        and wish.get("priority", message["priority"]) == message["priority"]
        and wish.get("from", message["from"]) == message["from"]
        and wish.get("session", message["session"]) == message["session"]
        and wish.get("since", created) <= created
        and ("until" not in wish or created < wish["until"])
        and ("ids" not in wish or message["id"] in wish["ids"])
        and ("state" not in wish or wish["state"] in {one["state"] for one in message["deliveries"]})
    )


def test_all_filters_combine(tmp_path: Path) -> None:
    """Any three of them, and all, each against an oracle, over settled and unsettled mail."""

    async def body(desk: Desk) -> None:
        await desk.fetch(tags_any=["none"])
        for number in range(48):
            tags = [tag for tag, every in (("a", 2), ("b", 3), ("c", 5)) if number % every == 0]
            await desk.send(
                text=str(number),
                agent="alice" if number % 4 else "carol",
                tags=tags,
                priority=("normal", "urgent")[number % 3 == 0],
                session=f"s{number % 2}",
            )
            await desk.pass_time(1)
        for message in await desk.fetch(max=30):
            await desk.settle(message)
        everything = await desk.query(limit=100)
        ids = [message["id"] for message in everything if message["id"] % 5]
        wishes: dict[str, Any] = {"tags_any": ["a", "b"], "tags_all": ["a"], "tags_none": ["c"]}
        wishes |= {"priority": "urgent", "from": "alice", "session": "s0", "since": wire(5)}
        wishes |= {"until": wire(40), "ids": ids, "state": "acked"}
        seen = set()
        for names in (*combinations(wishes, 1), *combinations(wishes, 2), *combinations(wishes, 3), wishes):
            wish = {name: wishes[name] for name in names}
            expected = [message["id"] for message in everything if oracle(wish, message)]
            seen.add(len(expected))
            reply = await desk.call("mailbox_query", mailbox="box", limit=100, **wish)
            assert [message["id"] for message in reply["messages"]] == expected, wish
        assert len(seen) > 5

    run(body, tmp_path, "box")


def test_a_session_of_its_own_is_found_by_name(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send(text="one")
        await desk.send(text="other")
        await desk.send(text="joins", session=first["session"])
        assert texts(await desk.query(session=first["session"])) == ["one", "joins"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_follow_each_other_without_gap_or_overlap(tmp_path: Path, order: str) -> None:
    """Oldest first unless asked otherwise; ``remaining`` counts down; new mail does not shift a page."""

    async def body(desk: Desk) -> None:
        batch = [{"to": "box", "text": str(n), "tags": ["odd"] * (n % 2)} for n in range(45)]
        await desk.call("mailbox_send", messages=batch)
        seen: list[str] = []
        left = []
        cursor: dict[str, Any] = {}
        while True:
            reply = await desk.call("mailbox_query", mailbox="box", order=order, limit=10, **cursor)
            seen += texts(reply["messages"])
            left.append(reply["remaining"])
            if "next_cursor" not in reply:
                break
            cursor = {"cursor": reply["next_cursor"]}
            if order == "desc":
                await desk.send(text="new")
            await desk.restart()
        numbers = [str(n) for n in range(45)]
        assert seen == (numbers if order == "asc" else numbers[::-1])
        assert left == [35, 25, 15, 5, 0]

    run(body, tmp_path, "box")


def test_order_is_asc_and_limit_20_by_default(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_send", messages=[{"to": "box", "text": str(n)} for n in range(30)])
        reply = await desk.call("mailbox_query", mailbox="box")
        assert texts(reply["messages"]) == [str(n) for n in range(20)]
        assert reply["remaining"] == 10

    run(body, tmp_path, "box")


def test_remaining_is_counted_to_a_thousand_and_filtered(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(2):
            batch = [{"to": "box", "text": str(n), "tags": ["t"] if n % 10 == 0 else []} for n in range(1000)]
            await desk.call("mailbox_send", messages=batch)
        assert (await desk.call("mailbox_query", mailbox="box", limit=1))["remaining"] == 1000
        assert (await desk.call("mailbox_query", mailbox="box", limit=1, tags_any=["t"]))["remaining"] == 199

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", 0), ("limit", 101), ("order", "up"), ("state", "open"), ("priority", "low")),
        *(("cursor", "x"), ("since", "yesterday"), ("until", "2027-01-15T08:00:00"), ("ids", [])),
        *(("ids", [0]), ("from_", "alice"), ("colour", 1)),
    ],
)
def test_a_bad_argument_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_query", mailbox="box", **{name: value})
        assert name in error.message

    run(body, tmp_path, "box")


def test_a_query_sees_everything_acknowledged_before_it(tmp_path: Path) -> None:
    """The tables follow the journal a little behind; a query never shows it."""

    async def body(desk: Desk) -> None:
        for number in range(30):
            receipt = await desk.send(text=str(number))
            [found] = await desk.query(ids=[receipt["id"]])
            [message] = await desk.fetch()
            assert (await standing(desk))[str(number)]["state"] == "leased"
            await desk.settle(message)
            assert (await desk.query(ids=[found["id"]], state="acked"))[0]["id"] == receipt["id"]

    run(body, tmp_path, "box")
