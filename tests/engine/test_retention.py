"""Section 3: retention removes settled mail only; quotas count unsettled mail and refuse, never drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

BOTH = pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
SWEEP_S = 61  # retention looks at every mailbox at least so often
KIB = 1024


async def create(desk: Desk, **settings: Any) -> None:
    """Make ``box`` with settings."""
    await desk.call("mailbox_create", address="box", settings=settings)


async def counts(desk: Desk) -> Reply:
    """The counts of ``box``."""
    found: Reply = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
    return found


async def settle_all(desk: Desk, group: str = "default") -> list[str]:
    """Fetch and ack everything; returns the texts."""
    messages = await desk.fetch(group=group, max=1000)
    for message in messages:
        await desk.settle(message)
    return texts(messages)


@BOTH
def test_unsettled_mail_is_never_removed_by_retention(tmp_path: Path, restart: bool) -> None:
    """Waiting, leased, delayed, in backoff: neither age nor size takes it."""

    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 0, "bytes": 0})
        for text in ("waiting", "leased", "backoff"):
            await desk.send(text=text)
        await desk.send(text="delayed", delay_s=30 * 86_400)
        messages = await desk.fetch(lease_s=43_200)
        await desk.settle(messages[0], "release")
        await desk.settle(messages[2], "nack", delay_s=43_200)
        await desk.pass_time(SWEEP_S)
        if restart:
            await desk.restart()
        await desk.pass_time(20 * 86_400)
        await desk.pass_time(SWEEP_S)
        assert texts(await desk.query()) == ["waiting", "leased", "backoff", "delayed"]
        await desk.pass_time(30 * 86_400)
        assert texts(await desk.fetch()) == ["waiting", "leased", "backoff", "delayed"]

    run(body, tmp_path)


@BOTH
def test_mail_that_no_group_ever_read_is_unsettled(tmp_path: Path, restart: bool) -> None:
    """ "settled when at least one group exists and every group has settled it"."""

    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 1})
        await desk.send()
        if restart:
            await desk.restart()
        await desk.pass_time(86_400)
        assert (await counts(desk))["unsettled"] == 1
        assert len(await desk.query()) == 1

    run(body, tmp_path)


@BOTH
def test_mail_is_settled_when_every_group_has_settled_it(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 1})
        await desk.fetch(group="audit")
        await desk.send()
        assert await settle_all(desk) == ["hello"]
        if restart:
            await desk.restart()
        await desk.pass_time(SWEEP_S)
        assert (await counts(desk))["unsettled"] == 1
        assert await settle_all(desk, "audit") == ["hello"]
        assert ((await counts(desk))["unsettled"], (await counts(desk))["settled"]) == (0, 1)
        if restart:
            await desk.restart()
        await desk.pass_time(SWEEP_S)
        assert await desk.query() == []

    run(body, tmp_path)


@BOTH
def test_a_group_that_ends_no_longer_holds_mail(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch(group="typo")
        await desk.send()
        await settle_all(desk)
        assert (await counts(desk))["unsettled"] == 1
        if restart:
            await desk.restart()
        await desk.call("group_delete", mailbox="box", group="typo")
        assert ((await counts(desk))["unsettled"], (await counts(desk))["settled"]) == (0, 1)

    run(body, tmp_path, "box")


@BOTH
def test_settled_mail_stays_for_query_sessions_and_new_groups(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        for text in ("a", "b"):
            await desk.send(text=text, session="talk")
        await settle_all(desk)
        if restart:
            await desk.restart()
        await desk.pass_time(604_799)
        assert texts(await desk.query()) == ["a", "b"]
        assert texts(await desk.query(session="talk", state="acked")) == ["a", "b"]
        assert texts(await desk.fetch(group="new")) == ["a", "b"]
        assert await desk.fetch(group="newer", deliver="latest") == []

    run(body, tmp_path, "box")


@BOTH
def test_settled_mail_goes_after_age_s_counted_from_its_settlement(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 1000})
        await desk.send(text="a")
        await desk.send(text="b")
        await desk.pass_time(5000)
        [a] = await desk.fetch(max=1)
        await desk.settle(a)
        await desk.pass_time(500)
        [b] = await desk.fetch(max=1)
        await desk.settle(b)
        await desk.pass_time(499)
        assert texts(await desk.query()) == ["a", "b"]
        if restart:
            await desk.restart()
        await desk.pass_time(SWEEP_S)
        assert texts(await desk.query()) == ["b"]
        assert (await counts(desk))["settled"] == 1
        await desk.pass_time(500)
        assert await desk.query() == []
        assert ((await counts(desk))["settled"], (await counts(desk))["settled_bytes"]) == (0, 0)
        await desk.restart()
        assert await desk.query() == []

    run(body, tmp_path)


@BOTH
def test_above_bytes_the_oldest_settled_goes_first(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, retention={"bytes": 300 * KIB})
        for text in ("first sent", "second sent"):
            await desk.send(text=text + "x" * 200 * KIB)
        late = (await desk.fetch(max=1))[0]
        early = (await desk.fetch(max=1))[0]
        await desk.settle(early)
        await desk.pass_time(1)
        await desk.settle(late)
        if restart:
            await desk.restart()
        await desk.pass_time(SWEEP_S)
        [left] = await desk.query()
        assert left["id"] == late["id"]
        assert (await counts(desk))["settled_bytes"] <= 300 * KIB

    run(body, tmp_path)


def test_zero_bytes_keep_nothing_that_is_settled(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, retention={"bytes": 0})
        await desk.send()
        await settle_all(desk)
        await desk.pass_time(SWEEP_S)
        assert await desk.query() == []

    run(body, tmp_path)


def test_an_updated_retention_counts_for_what_is_settled_already(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await settle_all(desk)
        await desk.pass_time(100)
        await desk.call("mailbox_update", address="box", settings={"retention": {"age_s": 50}})
        await desk.pass_time(SWEEP_S)
        assert await desk.query() == []

    run(body, tmp_path, "box")


@pytest.mark.parametrize("how", ["expired", "withdrawn", "dead"])
def test_mail_that_ended_otherwise_is_retained_alike(tmp_path: Path, how: str) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 1000})
        await desk.fetch()
        await desk.send(ttl_s=5 if how == "expired" else 9999, state_key="s")
        if how == "withdrawn":
            await desk.send(text="newer", state_key="s")
        elif how == "dead":
            [message] = await desk.fetch()
            await desk.settle(message, "reject")
        await desk.pass_time(500)
        assert texts(await desk.query(state=how)) == ["hello"]
        await desk.pass_time(1000)
        await desk.restart()
        await desk.pass_time(SWEEP_S)
        assert "hello" not in texts(await desk.query())
        assert len(await desk.query("box.dead")) == 1 if how == "dead" else True

    run(body, tmp_path)


def test_what_retention_removed_is_gone_for_new_groups_and_sessions(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 10})
        receipt = await desk.send(session="talk")
        await settle_all(desk)
        await desk.pass_time(SWEEP_S)
        assert await desk.fetch(group="new") == []
        assert await desk.query(session="talk") == []
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[receipt["id"]])

    run(body, tmp_path)


def test_mail_that_a_new_group_reads_again_is_not_removed_meanwhile(tmp_path: Path) -> None:
    """It is unsettled once more: a group exists that has not settled it."""

    async def body(desk: Desk) -> None:
        await create(desk, retention={"age_s": 1000})
        for number in range(600):
            await desk.send(text=str(number))
        await settle_all(desk)
        assert texts(await desk.fetch(group="new", max=1)) == ["0"]
        assert (await counts(desk))["unsettled"] == 600
        await desk.pass_time(86_400)
        await desk.restart()
        await desk.pass_time(86_400)
        assert len(await desk.query(limit=100)) == 100
        assert (await desk.call("mailbox_query", mailbox="box", limit=100))["remaining"] == 500
        assert len(await settle_all(desk, "new")) == 600
        await desk.pass_time(86_400)
        assert await desk.query() == []

    run(body, tmp_path)


# -- quotas


async def refused_full(desk: Desk, limit: str, **arguments: Any) -> None:
    """``MAILBOX_FULL`` that names the limit; nothing is stored."""
    before = desk.engine.journal.last_seq
    sending: dict[str, Any] = {"to": "box", "text": "hello", **arguments}
    error = await desk.refused("MAILBOX_FULL", "mailbox_send", **sending)
    assert limit in error.message
    assert error.details["limit"] == limit
    assert desk.engine.journal.last_seq == before


@BOTH
def test_messages_max_counts_unsettled_mail_delayed_and_leased_included(
    tmp_path: Path, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, messages_max=3)
        await desk.send()
        await desk.send(delay_s=60)
        await desk.send()
        [one, _] = await desk.fetch()
        if restart:
            await desk.restart()
        await refused_full(desk, "messages_max")
        await refused_full(desk, "messages_max", delay_s=5)
        await desk.settle(one)
        await desk.send()
        await refused_full(desk, "messages_max")

    run(body, tmp_path)


@BOTH
def test_a_full_mailbox_refuses_and_never_drops(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, messages_max=2)
        for text in ("1", "2"):
            await desk.send(text=text)
        for _ in range(3):
            await refused_full(desk, "messages_max", priority="critical")
        if restart:
            await desk.restart()
        assert texts(await desk.fetch()) == ["1", "2"]

    run(body, tmp_path)


@BOTH
def test_settled_expired_and_deleted_mail_makes_room(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, messages_max=3)
        receipt = await desk.send()
        await desk.send(ttl_s=10)
        await desk.send()
        await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        await desk.pass_time(10)
        await settle_all(desk)
        if restart:
            await desk.restart()
        for _ in range(3):
            await desk.send()
        await refused_full(desk, "messages_max")

    run(body, tmp_path)


def test_mail_that_another_group_still_owes_counts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, messages_max=1)
        await desk.fetch(group="audit")
        await desk.send()
        await settle_all(desk)
        await refused_full(desk, "messages_max")
        await settle_all(desk, "audit")
        await desk.send()

    run(body, tmp_path)


@BOTH
def test_bytes_max_counts_unsettled_bytes(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        size = (await counts(desk))["unsettled_bytes"]
        await desk.call("mailbox_update", address="box", settings={"bytes_max": 3 * size})
        await desk.send()
        if restart:
            await desk.restart()
        await refused_full(desk, "bytes_max", text="hello!")
        await desk.send()
        assert (await counts(desk))["unsettled_bytes"] == 3 * size
        await refused_full(desk, "bytes_max", text="")

    run(body, tmp_path, "box")


def test_a_batch_or_fan_out_that_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await create(desk, messages_max=2)
        batch = [{"to": "box", "text": str(number)} for number in range(3)]
        error = await desk.refused("MAILBOX_FULL", "mailbox_send", messages=batch)
        assert error.details["index"] == 2
        await desk.call("mailbox_send", messages=batch[:2])
        await desk.refused("MAILBOX_FULL", "mailbox_send", to=["other", "box"], text="x")
        assert await desk.query("other") == []

    run(body, tmp_path, "other")
