"""Section 2: dedup_key - stored once in its window, per mailbox, whatever became of the message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain import apply_mail
from mq9_mcp.engine.embedded import load
from tests.support import Desk, Reply, run, texts


async def first_send(desk: Desk) -> Reply:
    """The first message under the key."""
    return await desk.send(text="pay 7", dedup_key="k")


async def assert_known(desk: Desk, first: Reply, agent: str = "alice") -> None:
    """A second send stores nothing and returns the first receipt with ``duplicate``."""
    before = desk.engine.state.next_message
    again = await desk.send(text="pay 7", dedup_key="k", agent=agent)
    assert again == {**first, "duplicate": True}
    assert desk.engine.state.next_message == before


def test_a_second_send_stores_nothing_and_returns_the_first_receipt(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        assert first["duplicate"] is False
        await desk.pass_time(5)
        await assert_known(desk, first)
        assert texts(await desk.fetch()) == ["pay 7"]
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_the_first_receipt_keeps_its_session(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send(dedup_key="k", session="talk")
        again = await desk.send(dedup_key="k", session="other")
        assert again == {**first, "duplicate": True}
        await desk.restart()
        assert await desk.send(dedup_key="k") == {**first, "duplicate": True}

    run(body, tmp_path, "box")


def test_the_window_is_600_s_in_broker_time(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        await desk.pass_time(599.999)
        await assert_known(desk, first)
        await desk.pass_time(0.001)
        later = await desk.send(text="pay 7", dedup_key="k")
        assert (later["duplicate"], later["id"] > first["id"]) == (False, True)

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
def test_a_duplicate_does_not_prolong_the_window_and_a_new_message_begins_one(
    tmp_path: Path, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        await desk.pass_time(400)
        await assert_known(desk, first)
        await desk.pass_time(300)
        second = await desk.send(text="pay 7", dedup_key="k")
        assert second["duplicate"] is False
        if restart:
            await desk.restart()
        await desk.pass_time(590)
        assert (await desk.send(text="pay 7", dedup_key="k"))["id"] == second["id"]
        await desk.pass_time(10)
        assert (await desk.send(text="pay 7", dedup_key="k"))["duplicate"] is False

    run(body, tmp_path, "box")


def test_dedup_window_s_is_a_setting_of_the_mailbox(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="short", settings={"dedup_window_s": 5})
        await desk.call("mailbox_create", address="none", settings={"dedup_window_s": 0})
        await desk.send("short", dedup_key="k")
        await desk.restart()
        await desk.pass_time(4.999)
        assert (await desk.send("short", dedup_key="k"))["duplicate"] is True
        await desk.pass_time(0.001)
        assert (await desk.send("short", dedup_key="k"))["duplicate"] is False
        assert [(await desk.send("none", dedup_key="k"))["duplicate"] for _ in range(2)] == [False, False]

    run(body, tmp_path)


def test_other_parts_under_the_same_key_are_a_dedup_conflict(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        for _ in range(2):
            error = await desk.refused(
                "DEDUP_CONFLICT", "mailbox_send", to="box", text="pay 8", dedup_key="k"
            )
            assert "'k'" in error.message
            assert error.details["message"] == first["id"]
            await desk.restart()
        assert len(await desk.query()) == 1

    run(body, tmp_path, "box")


def test_equal_parts_are_equal_whatever_the_order_of_their_names(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = {"data": {"a": 1, "b": {"c": 2, "d": 3}}, "mediaType": "application/json"}
        second = {"mediaType": "application/json", "data": {"b": {"d": 3, "c": 2}, "a": 1}}
        for part, duplicate in ((first, False), (second, True)):
            reply = await desk.call("mailbox_send", to="box", parts=[part], dedup_key="k")
            assert reply["receipts"][0]["duplicate"] is duplicate
        other = {"data": {"a": "1", "b": {"c": 2, "d": 3}}, "mediaType": "application/json"}
        await desk.refused("DEDUP_CONFLICT", "mailbox_send", to="box", parts=[other], dedup_key="k")

    run(body, tmp_path, "box")


def test_only_parts_decide_other_attributes_may_differ(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        again = await desk.send(text="pay 7", dedup_key="k", priority="critical", tags=["t"], delay_s=5)
        assert again == {**first, "duplicate": True}

    run(body, tmp_path, "box")


def test_counted_per_mailbox_and_across_senders(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        await assert_known(desk, first, agent="carol")
        other = await desk.send("other", text="pay 7", dedup_key="k")
        assert other["duplicate"] is False

    run(body, tmp_path, "box", "other")


def test_in_a_fan_out_each_mailbox_counts_for_itself(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await first_send(desk)
        reply = await desk.call("mailbox_send", to=["other", "box"], text="pay 7", dedup_key="k")
        new, known = reply["receipts"]
        assert (new["mailbox"], new["duplicate"]) == ("other", False)
        assert known == {**first, "duplicate": True}
        again = await desk.call("mailbox_send", to=["other", "box"], text="pay 7", dedup_key="k")
        assert [one["id"] for one in again["receipts"]] == [new["id"], known["id"]]

    run(body, tmp_path, "box", "other")


def test_within_one_batch_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        same = {"to": "box", "text": "a", "dedup_key": "k"}
        reply = await desk.call("mailbox_send", messages=[same, {**same}, {**same, "dedup_key": "l"}])
        assert [one["duplicate"] for one in reply["receipts"]] == [False, True, False]
        assert reply["receipts"][0]["id"] == reply["receipts"][1]["id"]
        conflict = [{**same, "dedup_key": "m"}, {**same, "dedup_key": "m", "text": "b"}]
        error = await desk.refused("DEDUP_CONFLICT", "mailbox_send", messages=conflict)
        assert error.details["index"] == 1
        assert len(await desk.query()) == 2

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("fate", ["settled", "expired", "deleted", "delayed", "dead", "replaced", "pruned"])
def test_survives_restart_settlement_expiry_and_deletion(tmp_path: Path, fate: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        retention = {"retention": {"age_s": 0}} if fate == "pruned" else {}
        await desk.call("mailbox_create", address="box", settings=retention)
        extras: dict[str, dict[str, Any]] = {
            "expired": {"ttl_s": 1},
            "delayed": {"delay_s": 500},
            "replaced": {"state_key": "s"},
        }
        first = await desk.send(text="pay 7", dedup_key="k", **extras.get(fate, {}))
        if fate in ("settled", "dead", "pruned"):
            [message] = await desk.fetch()
            await desk.settle(message, "reject" if fate == "dead" else "ack")
        elif fate == "replaced":
            await desk.send(text="newer", state_key="s")
        elif fate == "deleted":
            await desk.call("mailbox_delete", mailbox="box", ids=[first["id"]])
        await desk.pass_time(100)
        if fate == "pruned":
            assert await desk.query() == []
        if restart:
            await desk.restart()
        await assert_known(desk, first)

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
def test_a_retry_of_a_send_with_times_that_have_passed_is_still_the_duplicate(
    tmp_path: Path, restart: bool
) -> None:
    """The very same call again, word for word, after its ``expires_at``."""

    async def body(desk: Desk) -> None:
        times = {"deliver_at": "2027-01-15T08:00:10Z", "expires_at": "2027-01-15T08:00:20Z"}
        first = await desk.send(dedup_key="k", **times)
        await desk.pass_time(60)
        if restart:
            await desk.restart()
        assert await desk.send(dedup_key="k", **times) == {**first, "duplicate": True}

    run(body, tmp_path, "box")


def test_a_retry_of_a_reply_whose_question_is_gone_is_still_the_duplicate(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(agent="alice")
        [question] = await desk.fetch()
        again = {"in_reply_to": question["id"], "text": "!", "dedup_key": "k", "to": "alice"}
        await desk.fetch("alice", "alice")
        first = await desk.call("mailbox_send", "bob", **again)
        await desk.settle(question)
        await desk.call("mailbox_delete", mailbox="box", ids=[question["id"]])
        second = await desk.call("mailbox_send", "bob", **again)
        assert second["receipts"] == [{**first["receipts"][0], "duplicate": True}]

    run(body, tmp_path, "box")


def test_a_full_mailbox_still_knows_its_keys(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="box", settings={"messages_max": 1})
        first = await first_send(desk)
        await assert_known(desk, first)
        await desk.refused("MAILBOX_FULL", "mailbox_send", to="box", text="x")

    run(body, tmp_path)


def test_a_refused_send_leaves_no_key_behind(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", to=["box", "no"], text="a", dedup_key="k")
        assert (await desk.send(text="b", dedup_key="k"))["duplicate"] is False

    run(body, tmp_path, "box")


def test_a_later_mailbox_of_the_name_knows_no_key_of_the_former(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await first_send(desk)
        await desk.call("mailbox_drop", address="box")
        await desk.call("mailbox_create", address="box")
        await desk.restart()
        assert (await desk.send(text="pay 8", dedup_key="k"))["duplicate"] is False

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
def test_an_exactly_once_mailbox_remembers_for_ever_and_needs_a_key(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="box", settings={"exactly_once": True})
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", text="x")
        assert "dedup_key" in error.message
        first = await first_send(desk)
        [message] = await desk.fetch()
        await desk.settle(message)
        await desk.pass_time(40 * 86_400)
        if restart:
            await desk.restart()
        await assert_known(desk, first)

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
def test_keys_beyond_what_memory_holds_still_count(
    tmp_path: Path, restart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Older keys are looked up in DuckDB": the limit is set low here, all else is as it is."""
    monkeypatch.setattr(apply_mail, "DEDUP_KEYS_MAX", 3)
    monkeypatch.setattr(load, "KEYS_MAX", 3)

    async def body(desk: Desk) -> None:
        firsts = [await desk.send(text=str(n), dedup_key=f"k{n}") for n in range(10)]
        if restart:
            await desk.restart()
        assert desk.engine.state.dedup_keys == 3
        for number, first in enumerate(firsts):
            again = await desk.send(text=str(number), dedup_key=f"k{number}")
            assert again == {**first, "duplicate": True}
        await desk.refused("DEDUP_CONFLICT", "mailbox_send", to="box", text="x", dedup_key="k0")
        await desk.pass_time(600)
        assert (await desk.send(text="0", dedup_key="k0"))["duplicate"] is False

    run(body, tmp_path, "box")


def test_a_key_has_1_to_256_characters_of_any_script(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for key in ("k", "ü" * 256, "a b/c?d"):
            assert (await desk.send(dedup_key=key))["duplicate"] is False
            assert (await desk.send(dedup_key=key))["duplicate"] is True
        for key in ("", "k" * 257, "a\nb", "\x00"):
            await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", text="x", dedup_key=key)

    run(body, tmp_path, "box")
