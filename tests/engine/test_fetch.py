"""mailbox_fetch: arguments, defaults, filters, limits, lists of mailboxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, run, texts


def test_mailbox_defaults_to_the_agents_own_and_is_made_by_the_fetch(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert (await desk.call("mailbox_fetch", "carol"))["messages"] == []
        await desk.send("carol", "for carol")
        [message] = (await desk.call("mailbox_fetch", "carol"))["messages"]
        assert (message["mailbox"], texts([message])) == ("carol", ["for carol"])

    run(body, tmp_path)


def test_without_agent_or_mailbox_the_fetch_is_refused(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.refused("INVALID_ARGUMENT", "mailbox_fetch", None)

    run(body, tmp_path)


def test_the_reply_has_messages_remaining_and_cancel_requested(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one", tags=["a"], metadata={"k": [1]})
        reply = await desk.call("mailbox_fetch", "bob", mailbox="box")
        assert (reply["remaining"], reply["cancel_requested"]) == (0, [])
        [message] = reply["messages"]
        assert message.keys() == {
            *("id", "mailbox", "from", "verified", "created_at", "priority", "parts", "tags", "session"),
            *("metadata", "attempt", "fence", "lease", "leased_until"),
        }
        assert (message["from"], message["verified"], message["attempt"]) == ("alice", False, 1)

    run(body, tmp_path, "box")


def test_max_is_ten_by_default_and_never_exceeded(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_send", messages=[{"to": "box", "text": str(n)} for n in range(25)])
        reply = await desk.call("mailbox_fetch", "bob", mailbox="box")
        assert (len(reply["messages"]), reply["remaining"]) == (10, 15)
        assert texts(await desk.fetch(max=3)) == ["10", "11", "12"]
        assert len(await desk.fetch(max=1000)) == 12

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max", 0),
        ("max", 1001),
        ("wait_s", -1),
        ("wait_s", 50.5),
        ("lease_s", 0),
        ("lease_s", 43_201),
        ("mailbox", [f"box{n}" for n in range(17)]),
        ("mailbox", []),
        ("mailbox", ["box", "box"]),
        ("tags_any", ["a"] * 17),
        ("tags_all", [""]),
        ("priority_min", "high"),
        ("deliver", "sometime"),
        ("deliver", 0),
        ("group", ""),
        ("colour", "blue"),
    ],
)
def test_an_argument_out_of_its_bounds_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        arguments = {"mailbox": "box", name: value}
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_fetch", **arguments)
        assert name in error.message
        assert (await desk.query())[0]["deliveries"] == []  # not even a group was made

    run(body, tmp_path, "box")


def test_the_edges_of_every_bound_are_accepted(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        edges: list[dict[str, Any]] = [{"max": 1000}, {"lease_s": 43_200}, {"lease_s": 1}, {"wait_s": 0}]
        for edge in edges:
            await desk.fetch(**edge)

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"tags_any": ["a", "b"]}, ["a", "b", "ab", "abc"]),
        ({"tags_all": ["a", "b"]}, ["ab", "abc"]),
        ({"tags_none": ["b"]}, ["none", "a", "session"]),
        ({"tags_any": ["a", "c"], "tags_none": ["c"]}, ["a", "ab"]),
        ({"tags_all": ["a"], "tags_any": ["b", "x"], "tags_none": ["c"]}, ["ab"]),
        ({"session": "s"}, ["b", "session"]),
        ({"session": "s", "tags_all": ["b"]}, ["b"]),
        ({"tags_any": ["x"]}, []),
    ],
)
def test_filters_combine(tmp_path: Path, wish: dict[str, Any], expected: list[str]) -> None:
    async def body(desk: Desk) -> None:
        for text in ("none", "a", "b", "ab", "abc", "session"):
            tags = list(text) if len(text) < 4 else []
            session = {"session": "s"} if text in ("b", "session") else {}
            await desk.send(text=text, tags=tags, **session)
        assert texts(await desk.fetch(**wish)) == expected
        rest = [text for text in ("none", "a", "b", "ab", "abc", "session") if text not in expected]
        assert texts(await desk.fetch()) == rest  # what did not fit is still there, in order

    run(body, tmp_path, "box")


def test_priority_min_takes_that_tier_and_above(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for priority in ("normal", "critical", "urgent"):
            await desk.send(text=priority, priority=priority, tags=["t"])
        assert texts(await desk.fetch(priority_min="critical")) == ["critical"]
        assert texts(await desk.fetch(priority_min="urgent", tags_any=["t"])) == ["urgent"]
        assert texts(await desk.fetch(priority_min="normal")) == ["normal"]

    run(body, tmp_path, "box")


def test_a_message_without_session_is_found_by_its_own(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="other")
        receipt = await desk.send(text="mine")
        assert texts(await desk.fetch(session=receipt["session"])) == ["mine"]
        await desk.send(text="joins", session=receipt["session"])
        assert texts(await desk.fetch(session=receipt["session"])) == ["joins"]

    run(body, tmp_path, "box")


def test_a_list_of_mailboxes_is_one_line_by_priority_then_age(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("box", "1 normal")
        await desk.send("queue", "2 normal")
        await desk.send("box", "3 critical", priority="critical")
        await desk.send("queue", "4 urgent", priority="urgent")
        await desk.send("box", "5 normal")
        both = ["queue", "box"]
        reply = await desk.call("mailbox_fetch", "bob", mailbox=both, max=4)
        assert texts(reply["messages"]) == ["3 critical", "4 urgent", "1 normal", "2 normal"]
        assert reply["remaining"] == 1
        assert [message["mailbox"] for message in reply["messages"]] == ["box", "queue", "box", "queue"]
        for message in reply["messages"]:  # each token names its mailbox
            assert (await desk.settle(message))["ok"]

    run(body, tmp_path, "box", "queue")


def test_a_list_with_a_mailbox_that_is_none_takes_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", mailbox=["box", "nowhere"])
        assert (await desk.query())[0]["deliveries"] == []
        sixteen = [f"box{n}" for n in range(16)]
        for address in sixteen:
            await desk.call("mailbox_create", address=address)
        await desk.send("box15", "far")
        reply = await desk.call("mailbox_fetch", mailbox=sixteen)
        assert texts(reply["messages"]) == ["far"]

    run(body, tmp_path, "box")


def test_a_reply_stays_below_its_bytes_and_says_how_many_remain(tmp_path: Path) -> None:
    """Fewer messages rather than more than 4 MiB."""

    async def body(desk: Desk) -> None:
        for number in range(9):
            await desk.send(text=str(number) * 900_000)
        reply = await desk.call("mailbox_fetch", "bob", mailbox="box", max=100)
        assert len(reply["messages"]) == 4
        assert reply["remaining"] == 5
        assert len(json.dumps(reply)) <= 4 * 1024 * 1024

    run(body, tmp_path, "box")


def test_remaining_is_counted_to_a_thousand(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(2):
            many = [{"to": "box", "text": "x", "tags": ["t"]} for _ in range(1000)]
            await desk.call("mailbox_send", messages=many)
        assert (await desk.call("mailbox_fetch", mailbox="box", max=1))["remaining"] == 1000
        assert (await desk.call("mailbox_fetch", mailbox="box", max=1, tags_any=["t"]))["remaining"] == 1000
        assert (await desk.call("mailbox_fetch", mailbox="box", max=1000))["remaining"] == 998

    run(body, tmp_path, "box")


@pytest.mark.parametrize("wish", [{}, {"tags_any": ["t"]}])
def test_remaining_counts_ordered_sessions_too(tmp_path: Path, wish: dict[str, Any]) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="ordered", settings={"ordered_by": "session"})
        for number in range(5):
            await desk.send("ordered", str(number), session=f"s{number}", tags=["t"])
        reply = await desk.call("mailbox_fetch", mailbox="ordered", max=2, **wish)
        assert (texts(reply["messages"]), reply["remaining"]) == (["0", "1"], 3)

    run(body, tmp_path)


def test_integers_and_bytes_come_back_exactly(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        parts = [{"data": {"big": 123456789012345678901234567890}}, {"raw": "AAEC/w==", "mediaType": "a/b"}]
        await desk.call("mailbox_send", to="box", parts=parts)
        await desk.restart()
        assert (await desk.fetch())[0]["parts"] == parts

    run(body, tmp_path, "box")


def test_mail_that_is_delayed_or_expired_is_not_fetched(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="delayed", delay_s=10)
        await desk.send(text="short", ttl_s=5)
        await desk.pass_time(5)
        assert await desk.fetch() == []
        await desk.restart()
        await desk.pass_time(5)
        assert texts(await desk.fetch()) == ["delayed"]

    run(body, tmp_path, "box")


def test_only_the_owner_fetches(tmp_path: Path) -> None:
    """Another principal may know of an agent's mailbox; of any other it learns nothing."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "carol")
        await desk.refused("FORBIDDEN", "mailbox_fetch", "eve", principal="eve", mailbox="carol")
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", "eve", principal="eve", mailbox="box")

    run(body, tmp_path, "box")
