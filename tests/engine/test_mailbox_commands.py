"""mailbox_delete, mailbox_get, mailbox_list, mailbox_update, mailbox_drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts


async def view(desk: Desk, address: str = "box") -> Reply:
    """The mailbox as mailbox_get shows it."""
    mailbox: Reply = (await desk.call("mailbox_get", address=address))["mailbox"]
    return mailbox


@pytest.mark.parametrize("restart", [False, True])
def test_delete_removes_messages_in_every_state(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        ids = [(await desk.send(text=str(n)))["id"] for n in range(5)]
        ids.append((await desk.send(text="delayed", delay_s=60))["id"])
        kept = await desk.send(text="kept")
        messages = await desk.fetch(max=4)
        for message, outcome in zip(messages, ("ack", "nack", "reject", "extend"), strict=True):
            await desk.settle(message, outcome)
        reply = await desk.call("mailbox_delete", mailbox="box", ids=[*ids, ids[0]])
        assert reply == {"deleted": 6}
        if restart:
            await desk.restart()
        assert [message["id"] for message in await desk.query()] == [kept["id"]]
        await desk.pass_time(600)
        assert texts(await desk.fetch()) == ["kept"]
        counts = (await view(desk))["counts"]
        assert (counts["unsettled"], counts["settled"], counts["delayed"]) == (1, 0, 0)
        assert texts(await desk.query("box.dead")) == ["2"]  # its letter is another message

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["ack", "nack", "release", "extend", "reject"])
def test_the_holder_of_a_lease_on_deleted_mail_gets_lease_lost(
    tmp_path: Path, outcome: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send()
        [message] = await desk.fetch()
        await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        if restart:
            await desk.restart()
        assert (await desk.settle(message, outcome))["error"]["code"] == "LEASE_LOST"

    run(body, tmp_path, "box")


def test_delete_is_all_or_none(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        mine = await desk.send()
        theirs = await desk.send("queue")
        for wrong in (theirs["id"], 10**9):
            ids = [mine["id"], wrong]
            error = await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=ids)
            assert error.details["id"] == wrong
        assert len(await desk.query()) == len(await desk.query("queue")) == 1
        await desk.refused("INVALID_ARGUMENT", "mailbox_delete", mailbox="box", ids=[])
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_delete", mailbox="nowhere", ids=[mine["id"]])
        await desk.call("mailbox_delete", mailbox="box", ids=[mine["id"]])
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[mine["id"]])

    run(body, tmp_path, "box", "queue")


def test_delete_cancels_delayed_mail(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send(delay_s=60)
        await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        await desk.pass_time(61)
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_get_shows_address_owner_times_settings_and_counts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        settings: dict[str, Any] = {
            **{"ttl_s": 3600, "max_attempts": 3, "dead_letter": "morgue", "dead_letter_expired": True},
            **{"backoff_first_s": 2, "backoff_max_s": 9, "ordered_by": "session", "exactly_once": True},
            **{"retention": {"age_s": 5, "bytes": 6}, "messages_max": 7, "bytes_max": 800},
            "dedup_window_s": 9,
        }
        await desk.call("mailbox_create", address="m", description="for tests", settings=settings)
        await desk.restart()
        found = await view(desk, "m")
        assert found["settings"] == settings
        assert (found["address"], found["owner"]) == ("m", "local")
        assert found["description"] == "for tests"
        assert found["created_at"] == "2027-01-15T08:00:00.000Z"
        assert found["expires_at"] == "2027-01-15T09:00:00.000Z"

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
def test_counts_are_right(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        for number in range(4):
            await desk.send(text=str(number))
        await desk.send(text="later", delay_s=60)
        size = (await view(desk))["counts"]["unsettled_bytes"]
        assert size > 0
        first, *_ = await desk.fetch()
        await desk.settle(first)
        if restart:
            await desk.restart()
        counts = (await view(desk))["counts"]
        assert counts.pop("unsettled_bytes") + counts.pop("settled_bytes") == size
        assert counts == {"unsettled": 4, "delayed": 1, "settled": 1, "groups": 1}

    run(body, tmp_path, "box")


def test_get_defaults_to_the_agents_own_and_hides_what_is_not_the_callers(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert (await desk.call("mailbox_get", "alice"))["mailbox"]["address"] == "alice"
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", "eve", principal="eve", address="alice")
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", address="nowhere")

    run(body, tmp_path, "alice")


def test_list_pages_the_callers_mailboxes_by_address(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(25):
            await desk.call("mailbox_create", address=f"jobs-{number:02}")
        await desk.call("mailbox_create", "eve", principal="eve", address="jobs-eve")
        first = await desk.call("mailbox_list", prefix="jobs")
        assert [one["address"] for one in first["mailboxes"]] == [f"jobs-{n:02}" for n in range(20)]
        assert first["remaining"] == 5
        rest = await desk.call("mailbox_list", prefix="jobs", cursor=first["next_cursor"])
        assert [one["address"] for one in rest["mailboxes"]] == [f"jobs-{n}" for n in range(20, 25)]
        assert (rest["remaining"], "next_cursor" in rest) == (0, False)
        everything = await desk.call("mailbox_list", limit=100)
        assert {one["address"] for one in everything["mailboxes"]} > {"box", "jobs-00"}

    run(body, tmp_path, "box")


def test_update_changes_only_what_it_names(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        before = (await view(desk))["settings"]
        changed = await desk.call("mailbox_update", address="box", settings={"max_attempts": 9})
        assert changed["mailbox"]["settings"] == before | {"max_attempts": 9}
        await desk.call("mailbox_update", address="box", description="new words")
        await desk.call("mailbox_update", address="box", settings={"ttl_s": 100})
        await desk.restart()
        after = await view(desk)
        assert after["settings"] == before | {"max_attempts": 9, "ttl_s": 100}
        assert (after["description"], after["expires_at"]) == ("new words", "2027-01-15T08:01:40.000Z")
        await desk.call("mailbox_update", address="box", settings={"ttl_s": 0})
        assert "expires_at" not in await view(desk)

    run(body, tmp_path, "box")


def test_updated_settings_hold_for_mail_that_is_there(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        [message] = await desk.fetch()
        await desk.call("mailbox_update", address="box", settings={"max_attempts": 1})
        await desk.settle(message, "nack", delay_s=0)
        assert len(await desk.query("box.dead")) == 1

    run(body, tmp_path, "box")


def test_a_bad_update_changes_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        before = await view(desk)
        for settings in ({"max_attempts": -1}, {"dead_letter": "box"}, {"colour": 1}, {"messages_max": 0}):
            await desk.refused("INVALID_ARGUMENT", "mailbox_update", address="box", settings=settings)
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_update", address="nowhere")
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_update", "eve", principal="eve", address="box")
        assert await view(desk) == before

    run(body, tmp_path, "box")


def test_drop_removes_mailbox_messages_and_groups_in_one_commit(tmp_path: Path) -> None:
    """A later mailbox of that name is a new one and sees none of it."""

    async def body(desk: Desk) -> None:
        await desk.send(text="old", dedup_key="k")
        await desk.send(text="later", delay_s=60)
        [held] = await desk.fetch()
        await desk.fetch(group="g", tags_any=["none"])
        assert await desk.call("mailbox_drop", address="box") == {"dropped": "box"}
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", address="box")
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", to="box", text="x")
        assert (await desk.settle(held))["error"]["code"] == "LEASE_LOST"
        await desk.restart()
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", mailbox="box")
        await desk.call("mailbox_create", address="box")
        assert not (await desk.send(text="new", dedup_key="k"))["duplicate"]
        await desk.pass_time(61)
        assert texts(await desk.fetch()) == ["new"]
        assert texts(await desk.query()) == ["new"]
        assert (await desk.call("group_list", mailbox="box"))["groups"][0]["name"] == "default"
        assert (await desk.settle(held))["error"]["code"] == "LEASE_LOST"

    run(body, tmp_path, "box")
