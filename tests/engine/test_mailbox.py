"""Section 3: mailbox lifetime; section 12: mailbox_create, update, get, list, drop, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support import Desk, Reply, run, texts

BOTH = pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
ENDS = pytest.mark.parametrize("end", ["expiry", "drop"])
DEFAULTS = {
    "max_attempts": 5,
    "dead_letter": "box.dead",
    "dead_letter_expired": False,
    "backoff_first_s": 1,
    "backoff_max_s": 300,
    "exactly_once": False,
    "retention": {"age_s": 604_800, "bytes": 1024**3},
    "messages_max": 1_000_000,
    "bytes_max": 1024**3,
    "dedup_window_s": 600,
}
OTHERS: dict[str, Any] = {
    "ttl_s": 60,
    "max_attempts": 2,
    "dead_letter": "graves",
    "dead_letter_expired": True,
    "backoff_first_s": 7,
    "backoff_max_s": 8,
    "ordered_by": "session",
    "exactly_once": True,
    "retention": {"age_s": 5, "bytes": 6},
    "messages_max": 9,
    "bytes_max": 10_000,
    "dedup_window_s": 11,
}


async def create(desk: Desk, **settings: Any) -> Reply:
    """Make ``box`` with settings."""
    return await desk.call("mailbox_create", address="box", settings=settings)


async def get(desk: Desk, address: str = "box") -> Reply:
    """A mailbox as ``mailbox_get`` shows it."""
    found: Reply = (await desk.call("mailbox_get", address=address))["mailbox"]
    return found


async def tables(desk: Desk, statements: list[str]) -> list[list[Any]]:
    """What a stopped broker left in its tables."""
    await desk.broker.close()
    with duckdb.connect(str(desk.folder / "mq9.duckdb"), read_only=True) as con:
        found = [con.execute(statement).fetchall() for statement in statements]
    await desk.open()
    return found


async def finish(desk: Desk, end: str) -> None:
    """End ``box``, whose ttl is 60 s."""
    if end == "drop":
        assert await desk.call("mailbox_drop", address="box") == {"dropped": "box"}
    else:
        await desk.pass_time(60)


def test_a_new_mailbox_has_the_defaults_and_no_end(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        reply = await desk.call("mailbox_create", address="box")
        assert reply["created"] is True
        mailbox = reply["mailbox"]
        assert mailbox["settings"] == DEFAULTS
        assert (mailbox["address"], mailbox["owner"]) == ("box", "local")
        assert mailbox["created_at"] == "2027-01-15T08:00:00.000Z"
        assert "expires_at" not in mailbox
        assert set(mailbox["counts"].values()) == {0}

    run(body, tmp_path)


@BOTH
def test_every_setting_is_shown_as_it_was_given(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        reply = await create(desk, **OTHERS)
        assert reply["mailbox"]["settings"] == OTHERS
        if restart:
            await desk.restart()
        mailbox = await get(desk)
        assert mailbox["settings"] == OTHERS
        assert mailbox["expires_at"] == "2027-01-15T08:01:00.000Z"

    run(body, tmp_path)


def test_create_with_equal_settings_is_idempotent(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, max_attempts=3)
        await desk.send(text="stays")
        reply = await create(desk, max_attempts=3)
        assert reply["created"] is False
        assert reply["mailbox"] == await get(desk)
        assert texts(await desk.fetch()) == ["stays"]

    run(body, tmp_path)


def test_the_settings_that_a_reply_shows_are_equal_settings(tmp_path: Path) -> None:
    """What is left out and what is given as its default is the same."""

    async def body(desk: Desk) -> None:
        shown = (await create(desk))["mailbox"]["settings"]
        assert (await create(desk, **shown))["created"] is False
        assert (await create(desk, ttl_s=0))["created"] is False

    run(body, tmp_path)


@pytest.mark.parametrize("name", OTHERS)
def test_with_others_it_is_mailbox_exists(tmp_path: Path, name: str) -> None:
    async def body(desk: Desk) -> None:
        await create(desk)
        settings = {name: OTHERS[name]}
        error = await desk.refused("MAILBOX_EXISTS", "mailbox_create", address="box", settings=settings)
        assert "'box'" in error.message
        assert "mailbox_update" in error.hint
        assert (await get(desk))["settings"] == DEFAULTS

    run(body, tmp_path)


def test_another_owners_mailbox_is_mailbox_exists_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk)
        stranger = {"agent": "eve", "principal": "stranger"}
        await desk.refused("MAILBOX_EXISTS", "mailbox_create", **stranger, address="box")
        for command in ("mailbox_get", "mailbox_drop", "mailbox_update"):
            await desk.refused("MAILBOX_NOT_FOUND", command, **stranger, address="box")
        for command in ("mailbox_fetch", "mailbox_query", "group_list"):
            await desk.refused("MAILBOX_NOT_FOUND", command, **stranger, mailbox="box")

    run(body, tmp_path)


@BOTH
def test_ttl_counts_from_the_last_create_or_renew(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, ttl_s=60)
        await desk.pass_time(50)
        renewed = await create(desk, ttl_s=60)
        assert renewed["mailbox"]["expires_at"] == "2027-01-15T08:01:50.000Z"
        if restart:
            await desk.restart()
        await desk.pass_time(59.999)
        assert (await get(desk))["created_at"] == "2027-01-15T08:00:00.000Z"
        await desk.pass_time(0.001)
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", address="box")
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", to="box", text="x")

    run(body, tmp_path)


def test_no_use_of_it_prolongs_a_lifetime(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, ttl_s=60)
        await desk.pass_time(59)
        await desk.send()
        await desk.fetch()
        await desk.call("mailbox_update", address="box", settings={"max_attempts": 9})
        await desk.pass_time(1)
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", mailbox="box")

    run(body, tmp_path)


def test_a_mailbox_without_ttl_never_ends_and_loses_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk)
        await desk.send(text="waits")
        await desk.pass_time(20 * 365 * 86_400)
        await desk.restart()
        assert texts(await desk.fetch()) == ["waits"]

    run(body, tmp_path)


@ENDS
@BOTH
def test_its_end_removes_mailbox_messages_and_groups_in_one_commit(
    tmp_path: Path, restart: bool, end: str
) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, ttl_s=60)
        for arguments in ({}, {"delay_s": 5}, {"delay_s": 500}, {"ttl_s": 10}, {"state_key": "s"}):
            await desk.send(**arguments)
        [held, settled] = await desk.fetch(max=2, lease_s=400)
        await desk.settle(settled)
        await desk.fetch(group="audit", max=1)
        before = desk.engine.journal.last_seq
        await finish(desk, end)
        assert desk.engine.journal.last_seq == before + 1
        if restart:
            await desk.restart()
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_query", mailbox="box")
        result = await desk.settle(held)
        assert result["error"]["code"] == "LEASE_LOST"
        assert not desk.engine.state.mails
        assert not desk.engine.state.groups
        statements = [f"from {table}" for table in ("messages", "groups", "open_deliveries", "deliveries")]
        left = await tables(desk, [*statements, "from mailboxes where address = 'box'"])
        assert left == [[]] * 5

    run(body, tmp_path)


@ENDS
@BOTH
def test_a_later_mailbox_of_that_name_is_a_new_one_and_sees_none_of_it(
    tmp_path: Path, restart: bool, end: str
) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, ttl_s=60)
        old = await desk.send(text="old", session="talk")
        await desk.send(text="later", delay_s=100, state_key="s")
        [held] = await desk.fetch(lease_s=3600)
        await finish(desk, end)
        assert (await create(desk))["created"] is True
        if restart:
            await desk.restart()
        assert await desk.query() == []
        assert await desk.query(session="talk") == []
        assert await desk.call("group_list", mailbox="box") == {"groups": []}
        assert set((await get(desk))["counts"].values()) == {0}
        new = await desk.send(text="new", state_key="s")
        await desk.pass_time(200)
        assert texts(await desk.fetch()) == ["new"]
        assert texts(await desk.fetch(group="audit")) == ["new"]
        assert (await desk.settle(held))["error"]["code"] == "LEASE_LOST"
        assert new["id"] > old["id"]
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[old["id"]])

    run(body, tmp_path)


@ENDS
def test_dead_letters_stay(tmp_path: Path, end: str) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, ttl_s=60)
        await desk.send(text="bad")
        [message] = await desk.fetch()
        await desk.settle(message, "reject")
        await finish(desk, end)
        await desk.restart()
        await desk.pass_time(86_400)
        [letter] = await desk.fetch("box.dead")
        assert (texts([letter]), letter["dead_letter"]["source"]) == (["bad"], "box")

    run(body, tmp_path)


def test_unsettled_mail_in_others_is_untouched_by_an_end(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk)
        await desk.call("mailbox_send", to=["box", "other"], text="shared")
        await desk.call("mailbox_drop", address="box")
        await desk.restart()
        assert texts(await desk.fetch("other")) == ["shared"]

    run(body, tmp_path, "other")


@BOTH
def test_update_changes_only_what_is_given(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, max_attempts=2)
        reply = await desk.call("mailbox_update", address="box", settings={"bytes_max": 77}, description="d")
        if restart:
            await desk.restart()
        mailbox = await get(desk)
        assert reply["mailbox"] == mailbox
        assert mailbox["settings"] == {**DEFAULTS, "max_attempts": 2, "bytes_max": 77}
        assert mailbox["description"] == "d"
        updated = await desk.call("mailbox_update", address="box", settings={"ttl_s": 30})
        assert updated["mailbox"]["expires_at"] == "2027-01-15T08:00:30.000Z"
        updated = await desk.call("mailbox_update", address="box", settings={"ttl_s": 0})
        assert "expires_at" not in updated["mailbox"]

    run(body, tmp_path)


def test_list_pages_by_address_and_shows_only_ones_own(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", "eve", "stranger", address="a9")
        for address in ("b", "a2", "a1", "a3"):
            await desk.call("mailbox_create", address=address)
        first = await desk.call("mailbox_list", prefix="a", limit=2)
        assert [one["address"] for one in first["mailboxes"]] == ["a1", "a2"]
        assert first["remaining"] == 1
        rest = await desk.call("mailbox_list", prefix="a", limit=2, cursor=first["next_cursor"])
        assert [one["address"] for one in rest["mailboxes"]] == ["a3"]
        assert rest["remaining"] == 0
        assert "next_cursor" not in rest

    run(body, tmp_path)


def test_an_agents_mailbox_is_made_at_its_first_send_or_fetch(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert await desk.fetch("carol", "carol") == []
        await desk.send("carol", agent="dave")
        assert {one["address"] for one in (await desk.call("mailbox_list"))["mailboxes"]} == {"carol", "dave"}

    run(body, tmp_path)


@BOTH
def test_delete_is_all_or_none(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        ids = [(await desk.send(text=str(n)))["id"] for n in range(3)]
        other = (await desk.send("other"))["id"]
        [first] = await desk.fetch(max=1)
        await desk.settle(first)
        if restart:
            await desk.restart()
        for missing in (999, other):
            error = await desk.refused(
                "MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[*ids, missing]
            )
            assert str(missing) in error.message
            assert len(await desk.query()) == 3
        assert await desk.call("mailbox_delete", mailbox="box", ids=[*ids[:2], ids[0]]) == {"deleted": 2}
        if restart:
            await desk.restart()
        assert texts(await desk.query()) == ["2"]
        assert texts(await desk.fetch()) == ["2"]
        counts = (await get(desk))["counts"]
        assert (counts["unsettled"], counts["settled"], counts["settled_bytes"]) == (1, 0, 0)

    run(body, tmp_path, "box", "other")


def test_the_holder_of_a_lease_on_a_deleted_message_gets_lease_lost(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send()
        [held] = await desk.fetch()
        await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        for outcome in ("ack", "nack", "extend", "release", "reject"):
            assert (await desk.settle(held, outcome))["error"]["code"] == "LEASE_LOST"
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[receipt["id"]])

    run(body, tmp_path, "box")
