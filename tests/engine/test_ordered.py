"""Mailboxes ordered by session: one session's mail goes out in store order, by one holder at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts


async def ordered(desk: Desk, **settings: Any) -> None:
    """The mailbox under test."""
    await desk.call("mailbox_create", address="o", settings={"ordered_by": "session", **settings})


async def send(desk: Desk, *names: str, **fields: Any) -> list[int]:
    """Send messages named ``<session><number>``."""
    return [(await desk.send("o", name, session=name[0], **fields))["id"] for name in names]


async def fetch(desk: Desk, **arguments: Any) -> list[str]:
    """The texts of one fetch."""
    return texts(await desk.fetch("o", **arguments))


@pytest.mark.parametrize("restart", [False, True])
def test_one_fetch_may_take_several_messages_of_a_session_in_store_order(
    tmp_path: Path, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "b1", "a2", "a3", "b2")
        if restart:
            await desk.restart()
        assert await fetch(desk) == ["a1", "a2", "a3", "b1", "b2"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("last", ["ack", "release", "lapse", "reject"])
def test_while_one_of_a_session_is_leased_no_fetch_gets_another(
    tmp_path: Path, last: str, restart: bool
) -> None:
    """Also new mail of that session, and a worker who holds part of it already; other sessions go on."""

    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "a2", "a3", "b1")
        first, second = await desk.fetch("o", max=2, lease_s=100)
        await send(desk, "a4")
        assert await fetch(desk) == ["b1"]
        await desk.settle(first)
        if restart:
            await desk.restart()
        assert await fetch(desk) == []
        if last == "lapse":
            await desk.pass_time(100)
        else:
            await desk.settle(second, last)
        again = ["a2"] if last in ("release", "lapse") else []
        assert await fetch(desk) == [*again, "a3", "a4"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
def test_while_one_of_a_session_is_in_backoff_no_fetch_gets_another(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "a2", "b1")
        [first] = await desk.fetch("o", max=1)
        await desk.settle(first, "nack", delay_s=60)
        assert await fetch(desk, lease_s=1) == ["b1"]
        if restart:
            await desk.restart()
        await desk.pass_time(59)
        assert "a2" not in await fetch(desk, session="a")
        await desk.pass_time(1)
        assert await fetch(desk, session="a") == ["a1", "a2"]

    run(body, tmp_path)


def test_a_session_is_busy_in_its_group_only(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "a2")
        assert await fetch(desk, max=1) == ["a1"]
        assert await fetch(desk, group="other") == ["a1", "a2"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
def test_priority_ranks_sessions_by_their_oldest_unsettled_message(tmp_path: Path, restart: bool) -> None:
    """Inside a session store order wins: an urgent message does not overtake its own session."""

    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1")
        await send(desk, "a2", priority="critical")
        await send(desk, "b1", priority="urgent")
        await send(desk, "b2")
        await send(desk, "c1")
        if restart:
            await desk.restart()
        [b1] = await desk.fetch("o", max=1)
        assert texts([b1]) == ["b1"]
        assert await fetch(desk, max=1) == ["a1"]
        await desk.settle(b1)
        assert await fetch(desk, max=1) == ["b2"]  # older than c1 in the same tier

    run(body, tmp_path)


def test_when_the_oldest_is_settled_the_next_one_ranks_its_session(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "b1")
        await send(desk, "a2", priority="critical")
        [a1] = await desk.fetch("o", max=1)
        await desk.settle(a1)
        assert await fetch(desk, max=1) == ["a2"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", ["reject", "attempts"])
def test_dead_lettering_unblocks_the_session(tmp_path: Path, how: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk, max_attempts=1)
        await send(desk, "a1", "a2")
        [first] = await desk.fetch("o", max=1, lease_s=10)
        if how == "reject":
            await desk.settle(first, "reject")
        else:
            await desk.pass_time(10)
        if restart:
            await desk.restart()
        assert await fetch(desk) == ["a2"]
        assert texts(await desk.query("o.dead")) == ["a1"]

    run(body, tmp_path)


@pytest.mark.parametrize("how", ["delete", "expire"])
def test_what_goes_otherwise_unblocks_the_session_too(tmp_path: Path, how: str) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        [first] = await send(desk, "a1", ttl_s=30)
        await send(desk, "a2")
        [held] = await desk.fetch("o", max=1)
        await desk.settle(held, "nack", delay_s=600)
        assert await fetch(desk) == []
        if how == "delete":
            await desk.call("mailbox_delete", mailbox="o", ids=[first])
        else:
            await desk.pass_time(30)
        assert await fetch(desk) == ["a2"]

    run(body, tmp_path)


def test_a_late_ack_after_the_lease_ran_out_keeps_the_order(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "a2", "a3")
        first, _ = await desk.fetch("o", max=2, lease_s=10)
        await desk.pass_time(10)
        assert (await desk.settle(first))["ok"]
        await desk.restart()
        assert await fetch(desk) == ["a2", "a3"]

    run(body, tmp_path)


def test_a_delayed_message_does_not_hold_its_session_until_it_is_due(tmp_path: Path) -> None:
    """Once due it has its place in store order, before what was stored after it."""

    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", delay_s=60)
        await send(desk, "a2", "a3")
        [a2] = await desk.fetch("o", max=1)
        assert texts([a2]) == ["a2"]
        await desk.pass_time(60)
        await desk.settle(a2)
        assert await fetch(desk) == ["a1", "a3"]

    run(body, tmp_path)


def test_a_message_that_does_not_fit_a_filter_ends_its_sessions_run(tmp_path: Path) -> None:
    """What follows it must not overtake it."""

    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1", "a2", tags=["t"])
        await send(desk, "a3")
        await send(desk, "a4", tags=["t"])
        await send(desk, "b1")
        await send(desk, "b2", tags=["t"])
        held = await desk.fetch("o", tags_any=["t"])
        assert texts(held) == ["a1", "a2"]
        for message in held:
            await desk.settle(message)
        assert await fetch(desk, tags_any=["t"]) == []
        assert await fetch(desk, priority_min="urgent") == []
        assert await fetch(desk) == ["a3", "a4", "b1", "b2"]

    run(body, tmp_path)


def test_messages_without_a_session_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each has one of its own, which a reply may join."""

    async def body(desk: Desk) -> None:
        await ordered(desk)
        first = await desk.send("o", "1")
        await desk.send("o", "2")
        await desk.send("o", "1, joined", session=first["session"])
        assert await fetch(desk, max=1) == ["1"]
        assert await fetch(desk) == ["2"]

    run(body, tmp_path)


class Books:
    """What the test knows: who holds or waits for what until when, and what is not settled yet."""

    def __init__(self) -> None:
        self.open: dict[str, list[int]] = {}
        self.busy: dict[int, int] = {}  # message: until
        self.held: list[Reply] = []

    def take(self, messages: list[Reply], now: int) -> None:
        """A fetch at ``now``: nothing of a busy session, and each session from its oldest on."""
        mine: dict[str, list[int]] = {}
        for message in messages:
            mine.setdefault(message["session"], []).append(message["id"])
        for session, ids in mine.items():
            assert not any(self.busy.get(id, 0) > now for id in self.open[session])
            assert ids == self.open[session][: len(ids)]
        self.busy.update((message["id"], now + 20_000) for message in messages)
        self.held += messages

    def settle(self, message: Reply, how: str, now: int) -> None:
        """A settlement that succeeded."""
        id = message["id"]
        self.busy[id] = now + 9_000 if how == "nack" else 0
        if how == "ack":
            self.open[message["session"]].remove(id)


def test_many_workers_never_break_the_order_of_a_session(tmp_path: Path) -> None:
    """Workers that ack, nack, release, lose leases and see restarts: each session is done in store order."""

    async def body(desk: Desk) -> None:
        await ordered(desk, max_attempts=0)
        books = Books()
        for number in range(30):
            for name in "abcde":
                books.open.setdefault(name, []).extend(await send(desk, f"{name}{number}"))
        step = 0
        while any(books.open.values()):
            step += 1
            now = desk.time.now
            books.take(await desk.fetch("o", max=1 + step % 4, lease_s=20, agent=f"w{step % 3}"), now)
            for message in books.held[: step % 7]:
                how = ("ack", "ack", "nack", "ack", "release")[(step + message["id"]) % 5]
                delay: dict[str, Any] = {"delay_s": 9} if how == "nack" else {}
                if (await desk.settle(message, how, **delay))["ok"]:
                    books.settle(message, how, now)
            books.held = books.held[step % 7 :]
            await desk.pass_time(7)
            if step % 25 == 0:  # leases last at least 30 s from ready
                await desk.restart()
                leased = {id for id, until in books.busy.items() if until > desk.time.now}
                still = {one["id"] for one in await desk.query("o", state="leased", limit=100)}
                books.busy.update((id, desk.time.now + 30_000) for id in leased & still)
        assert await desk.fetch("o") == []

    run(body, tmp_path)


def test_the_order_of_a_mailbox_cannot_change_while_mail_is_in_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await ordered(desk)
        await send(desk, "a1")
        await desk.call("mailbox_create", address="plain")
        await desk.send("plain")
        settings = {"ordered_by": "session"}
        await desk.refused("INVALID_ARGUMENT", "mailbox_update", address="plain", settings=settings)
        for message in await desk.fetch("plain"):
            await desk.settle(message)
        await desk.call("mailbox_update", address="plain", settings=settings)
        for number in range(3):
            await desk.send("plain", str(number), session="s")
        assert texts(await desk.fetch("plain", max=1)) == ["0"]
        assert await desk.fetch("plain") == []

    run(body, tmp_path)


def test_the_order_cannot_change_while_a_group_has_old_mail_to_read_again(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(600):
            await desk.send("plain", str(number))
        while messages := await desk.fetch("plain", max=1000):
            await desk.call("mailbox_ack", "bob", items=[{"lease": one["lease"]} for one in messages])
        await desk.call("group_reset", mailbox="plain", group="default", to="earliest")
        settings = {"ordered_by": "session"}
        await desk.refused("INVALID_ARGUMENT", "mailbox_update", address="plain", settings=settings)

    run(body, tmp_path, "plain")
