"""mailbox_ack with ``send``: one commit, all or none, and a retry stores nothing again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.engine.embedded.disk import Disk
from tests.support import Desk, Reply, run, texts


async def leased(desk: Desk, count: int = 1, mailbox: str = "box") -> list[Reply]:
    """So many messages, sent by alice and leased by bob."""
    for number in range(count):
        await desk.send(mailbox, f"work {number}")
    return await desk.fetch(mailbox, lease_s=100, max=count)


async def settle_and_send(desk: Desk, items: list[Reply], send: Any) -> Reply:
    """The call under test, by bob."""
    return await desk.call("mailbox_ack", "bob", items=items, send=send)


def item(message: Reply, outcome: str = "ack", **fields: Any) -> Reply:
    """One item of the call."""
    return {"lease": message["lease"], "outcome": outcome, **fields}


def test_the_answer_is_stored_with_the_ack(tmp_path: Path) -> None:
    """The send inherits what a reply inherits: the asker's mailbox and the session."""

    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        send = {"in_reply_to": message["id"], "text": "done"}
        reply = await settle_and_send(desk, [item(message)], send)
        assert reply["results"] == [{"id": message["id"], "outcome": "ack", "ok": True}]
        [receipt] = reply["receipts"]
        assert (receipt["mailbox"], receipt["session"]) == ("alice", message["session"])
        await desk.restart()
        [answer] = await desk.fetch("alice", "alice")
        assert (texts([answer]), answer["in_reply_to"], answer["from"]) == (["done"], message["id"], "bob")

    run(body, tmp_path, "box")


def test_several_messages_may_go_along(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        send = [{"to": ["queue", "box"], "text": "both"}, {"to": "queue", "text": "one"}]
        reply = await settle_and_send(desk, [item(message)], send)
        assert [receipt["mailbox"] for receipt in reply["receipts"]] == ["queue", "box", "queue"]
        assert texts(await desk.fetch("queue")) == ["both", "one"]

    run(body, tmp_path, "box", "queue")


@pytest.mark.parametrize("outcome", ["ack", "nack", "release", "extend", "reject"])
def test_every_outcome_may_carry_a_send(tmp_path: Path, outcome: str) -> None:
    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        reply = await settle_and_send(desk, [item(message, outcome)], {"to": "queue", "text": "note"})
        assert reply["results"][0]["ok"]
        assert texts(await desk.query("queue")) == ["note"]

    run(body, tmp_path, "box", "queue")


def bad_items(good: Reply) -> dict[str, Reply]:
    """Items that must refuse the whole call, by the code that they refuse with."""
    group, message, _ = good["lease"].split(".")
    return {"nonsense": {"lease": "nonsense"}, "forged": {"lease": f"{group}.{message}.{'0' * 32}"}}


@pytest.mark.parametrize("kind", ["nonsense", "forged", "replaced", "settled otherwise"])
@pytest.mark.parametrize("first", [False, True])
def test_one_bad_item_refuses_the_call_and_nothing_is_sent(tmp_path: Path, kind: str, first: bool) -> None:
    async def body(desk: Desk) -> None:
        good, other = await leased(desk, 2)
        bad = bad_items(other).get(kind) or item(other)
        if kind == "replaced":
            await desk.settle(other, "release")
            await desk.fetch(agent="carol")
        elif kind == "settled otherwise":
            await desk.settle(other, "reject")
        items = [bad, item(good)] if first else [item(good), bad]
        send = {"to": "queue", "text": "never"}
        error = await desk.refused("LEASE_LOST", "mailbox_ack", "bob", items=items, send=send)
        assert error.details["index"] == (0 if first else 1)
        await desk.restart()
        assert await desk.query("queue") == []
        [found] = await desk.query(ids=[good["id"]])
        assert found["deliveries"][0]["state"] == "leased"
        assert (await desk.settle(good))["ok"]

    run(body, tmp_path, "box", "queue")


@pytest.mark.parametrize(
    ("send", "code"),
    [
        ({"to": "nowhere", "text": "x"}, "MAILBOX_NOT_FOUND"),
        ({"to": "full", "text": "x"}, "MAILBOX_FULL"),
        ([{"to": "queue", "text": "x"}, {"to": "full", "text": "x"}], "MAILBOX_FULL"),
        ({"to": "queue", "parts": []}, "INVALID_ARGUMENT"),
        ({"to": "queue", "text": "x" * 1_100_000}, "MESSAGE_TOO_LARGE"),
        ({"in_reply_to": 10**9, "text": "x"}, "MESSAGE_NOT_FOUND"),
    ],
)
def test_a_bad_send_refuses_the_call_and_nothing_is_settled(tmp_path: Path, send: Any, code: str) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="full", settings={"messages_max": 1})
        await desk.send("full")
        [message] = await leased(desk)
        await desk.refused(code, "mailbox_ack", "bob", items=[item(message)], send=send)
        assert await desk.query("queue") == []
        assert (await desk.query())[0]["deliveries"][0]["state"] == "leased"

    run(body, tmp_path, "box", "queue")


def test_a_reject_that_finds_the_dead_letters_full_refuses_the_call(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="box.dead", settings={"messages_max": 1})
        await desk.send("box.dead")
        [message] = await leased(desk)
        send = {"to": "queue", "text": "never"}
        items = [item(message, "reject")]
        await desk.refused("MAILBOX_FULL", "mailbox_ack", "bob", items=items, send=send)
        assert await desk.query("queue") == []
        assert (await desk.query())[0]["deliveries"][0]["state"] == "leased"

    run(body, tmp_path, "box", "queue")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["ack", "nack", "release", "reject"])
def test_a_retry_returns_the_first_receipts_and_stores_nothing_again(
    tmp_path: Path, outcome: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        messages = await leased(desk, 2)
        items = [item(message, outcome) for message in messages]
        send = [{"to": "queue", "text": "once"}, {"to": "queue", "text": "only"}]
        first = await settle_and_send(desk, items, send)
        if restart:
            await desk.restart()
        assert await settle_and_send(desk, items, send) == first
        await desk.pass_time(3)
        assert texts(await desk.fetch("queue")) == ["once", "only"]

    run(body, tmp_path, "box", "queue")


@pytest.mark.parametrize("outcome", ["ack", "nack"])
def test_a_retry_with_a_heartbeat_beside_it_stores_nothing_again(tmp_path: Path, outcome: str) -> None:
    """The extend is done anew, the send is not."""

    async def body(desk: Desk) -> None:
        done, goes_on = await leased(desk, 2)
        items = [item(done, outcome), item(goes_on, "extend", lease_s=50)]
        first = await settle_and_send(desk, items, {"to": "queue", "text": "once"})
        again = await settle_and_send(desk, items, {"to": "queue", "text": "once"})
        assert again["receipts"] == first["receipts"]
        assert all(result["ok"] for result in again["results"])
        assert len(await desk.query("queue")) == 1

    run(body, tmp_path, "box", "queue")


def test_a_send_that_comes_after_the_settlement_is_refused(tmp_path: Path) -> None:
    """The ack was done without it: to pretend that both were one commit would be a lie."""

    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        await desk.settle(message)
        send = {"to": "queue", "text": "late"}
        await desk.refused("LEASE_LOST", "mailbox_ack", "bob", items=[item(message)], send=send)
        assert await desk.query("queue") == []

    run(body, tmp_path, "box", "queue")


def test_a_repeat_without_the_send_stores_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        await settle_and_send(desk, [item(message)], {"to": "queue", "text": "once"})
        assert (await desk.settle(message))["ok"]
        assert len(await desk.query("queue")) == 1

    run(body, tmp_path, "box", "queue")


class Failing(Disk):
    """A disk whose commits fail while it is told so."""

    def __init__(self) -> None:
        self.broken = threading.Event()

    def sync(self, fd: int) -> None:
        if self.broken.is_set():
            raise OSError(28, "No space left on device")
        super().sync(fd)


def test_a_failed_write_leaves_neither_the_ack_nor_the_send(tmp_path: Path) -> None:
    disk = Failing()

    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        disk.broken.set()
        send = {"to": "queue", "text": "never"}
        await desk.refused("STORAGE_UNAVAILABLE", "mailbox_ack", "bob", items=[item(message)], send=send)
        disk.broken.clear()
        await desk.restart()
        assert await desk.query("queue") == []
        assert (await desk.query())[0]["deliveries"][0]["state"] == "leased"
        assert (await settle_and_send(desk, [item(message)], send))["results"][0]["ok"]

    run(body, tmp_path, "box", "queue", disk=disk)


def test_tasks_are_refused_by_name_in_this_version(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        [message] = await leased(desk)
        items = [item(message)]
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_ack", "bob", items=items, tasks=[{}])
        assert "tasks" in error.message
        assert (await desk.query())[0]["deliveries"][0]["state"] == "leased"

    run(body, tmp_path, "box")
