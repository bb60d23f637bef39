"""Section 1: addresses and message ids. Section 2: what a message carries, and how a send stores it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, run, texts

GOOD_ADDRESSES = ("a", "7", "box", "a.b_c-d", "mq9x", "a" * 96, "1.2")
BAD_ADDRESSES = ("", "A", "a b", "a..b", ".a", "a.", "-a", "a_", "ä", "a/b", "a" * 97, "a\n")


@pytest.mark.parametrize("address", GOOD_ADDRESSES, ids=lambda text: text[:8])
def test_an_address_is_1_to_96_characters_of_letters_digits_dot_underscore_dash(
    tmp_path: Path, address: str
) -> None:
    async def body(desk: Desk) -> None:
        reply = await desk.call("mailbox_create", address=address)
        assert (reply["created"], reply["mailbox"]["address"]) == (True, address)
        await desk.send(to=address)
        assert texts(await desk.fetch(address)) == ["hello"]

    run(body, tmp_path)


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=ascii)
def test_any_other_address_is_refused(tmp_path: Path, address: str) -> None:
    """ "first and last alphanumeric, no .." - and the refusal says what is accepted."""

    async def body(desk: Desk) -> None:
        for command, argument in (("mailbox_create", "address"), ("mailbox_fetch", "mailbox")):
            error = await desk.refused("INVALID_ARGUMENT", command, **{argument: address})
            assert argument in error.message
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to=address, text="x")
        assert "to" in error.message
        assert not desk.engine.state.mailboxes

    run(body, tmp_path)


def test_mq9_dot_is_the_brokers_own_prefix(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for arguments in ({"address": "mq9.parked"}, {"address": "x", "settings": {"dead_letter": "mq9.x"}}):
            error = await desk.refused("INVALID_ARGUMENT", "mailbox_create", **arguments)
            assert "mq9." in error.message

    run(body, tmp_path)


def test_name_at_node_is_an_invalid_argument_until_federation_exists(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box@berlin", text="x")
        assert "node" in error.message
        await desk.refused("INVALID_ARGUMENT", "mailbox_create", address="box@berlin")

    run(body, tmp_path, "box")


def test_a_mailbox_without_an_address_gets_an_unguessable_one(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        addresses = {(await desk.call("mailbox_create"))["mailbox"]["address"] for _ in range(20)}
        assert len(addresses) == 20
        assert all(len(address) >= 20 for address in addresses)

    run(body, tmp_path)


def test_ids_are_positive_unique_and_increasing_in_store_order_given_at_once(tmp_path: Path) -> None:
    """ "given at once, also to delayed messages"; a restart, a deletion or a refusal gives none again."""

    async def body(desk: Desk) -> None:
        ids = [
            (await desk.send())["id"],
            (await desk.send(delay_s=60))["id"],
            (await desk.send("other"))["id"],
        ]
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", to="nobody", text="x")
        await desk.call("mailbox_delete", mailbox="other", ids=[ids[2]])
        await desk.restart()
        ids.append((await desk.send())["id"])
        await desk.call("mailbox_drop", address="other")
        await desk.restart()
        ids.append((await desk.send())["id"])
        assert ids == sorted(set(ids))
        assert all(0 < id < 2**53 for id in ids)

    run(body, tmp_path, "box", "other")


def test_a_batch_has_consecutive_ids_in_list_order(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = (await desk.send())["id"]
        messages = [
            {"to": "box", "text": "a", "priority": "normal"},
            {"to": "other", "text": "b", "delay_s": 9},
            {"to": "box", "text": "c", "priority": "critical"},
        ]
        reply = await desk.call("mailbox_send", messages=messages)
        assert [one["id"] for one in reply["receipts"]] == [first + 1, first + 2, first + 3]
        assert [one["mailbox"] for one in reply["receipts"]] == ["box", "other", "box"]

    run(body, tmp_path, "box", "other")


def test_a_fan_out_gives_each_copy_its_own_id_in_to_order(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        reply = await desk.call("mailbox_send", to=["c", "a", "b"], text="all")
        receipts = reply["receipts"]
        assert [one["mailbox"] for one in receipts] == ["c", "a", "b"]
        assert [one["id"] for one in receipts] == list(range(receipts[0]["id"], receipts[0]["id"] + 3))
        for one in receipts:
            [message] = await desk.fetch(one["mailbox"])
            assert (message["id"], texts([message])) == (one["id"], ["all"])

    run(body, tmp_path, "a", "b", "c")


def test_a_fan_out_is_all_or_none(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", to=["box", "nobody"], text="x")
        assert "nobody" in error.message
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_a_batch_is_all_or_none_and_says_which_message_was_bad(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        messages = [{"to": "box", "text": "a"}, {"to": "box", "text": "b"}, {"to": "nobody", "text": "c"}]
        error = await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", messages=messages)
        assert error.details["index"] == 2
        assert await desk.query() == []
        await desk.restart()
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_a_receipt_has_id_mailbox_stored_at_duplicate_and_session(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send()
        assert receipt == {
            "id": receipt["id"],
            "mailbox": "box",
            "stored_at": "2027-01-15T08:00:00.000Z",
            "duplicate": False,
            "session": f"mq9.{receipt['id']}",
        }

    run(body, tmp_path, "box")


def test_every_attribute_comes_back_as_it_was_sent_also_after_a_restart(tmp_path: Path) -> None:
    """ "immutable once stored": fetch and query show the same message, before and after."""
    sent: dict[str, Any] = {
        "parts": [{"text": "hi"}, {"data": {"n": 1}}],
        "priority": "urgent",
        "dedup_key": "k1",
        "state_key": "s1",
        "tags": ["red", "blue"],
        "session": "talk",
        "reply_to": "other",
        "metadata": {"a": [1, 2.5, None, True, {"b": "ü"}]},
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    }

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_send", to="box", ttl_s=60, **sent)
        shown = await desk.query()
        await desk.restart()
        [message] = await desk.fetch(lease_s=10)
        assert {name: message[name] for name in sent} == sent
        assert (message["from"], message["verified"], message["mailbox"]) == ("alice", False, "box")
        assert message["created_at"] == "2027-01-15T08:00:00.000Z"
        assert message["expires_at"] == "2027-01-15T08:01:00.000Z"
        for name in ("attempt", "fence", "lease", "leased_until"):
            del message[name]
        deliveries = shown[0].pop("deliveries")
        assert deliveries == []
        assert shown == [message]

    run(body, tmp_path, "box")


def test_absent_values_are_left_out_never_null_and_lists_are_always_lists(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        [message] = await desk.fetch()
        assert None not in message.values()
        assert message["tags"] == []
        for name in (
            "dedup_key",
            "state_key",
            "in_reply_to",
            "reply_to",
            "metadata",
            "deliver_at",
            "expires_at",
        ):
            assert name not in message

    run(body, tmp_path, "box")


def test_priority_is_critical_urgent_or_normal_by_default(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        [message] = await desk.fetch()
        assert message["priority"] == "normal"
        for wrong in ("high", "CRITICAL", "", 0):
            error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", text="x", priority=wrong)
            assert "priority" in error.message
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", text="x", priority="high")
        assert all(word in error.message for word in ("critical", "urgent", "normal"))

    run(body, tmp_path, "box")


def test_who_sent_it_comes_from_the_caller_never_from_an_argument(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(agent=None)
        await desk.send(agent="carol")
        assert [message["from"] for message in await desk.query()] == ["principal:local", "carol"]
        await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", text="x", **{"from": "eve"})

    run(body, tmp_path, "box")


def test_messages_stand_alone_not_beside_arguments_of_one_message(tmp_path: Path) -> None:
    """Arguments that would mean nothing are refused, not ignored (section 8)."""

    async def body(desk: Desk) -> None:
        batch = [{"to": "box", "text": "a"}]
        for extra in (
            {"to": "box"},
            {"text": "b"},
            {"tags": ["t"]},
            {"priority": "urgent"},
            {"wait_for": "acked"},
        ):
            error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", messages=batch, **extra)
            assert next(iter(extra)) in error.message
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_a_message_needs_an_address_and_a_content(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert "to" in (await desk.refused("INVALID_ARGUMENT", "mailbox_send", text="x")).message
        assert "text" in (await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box")).message
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to=["box", "box"], text="x")
        assert "twice" in error.message

    run(body, tmp_path, "box")
