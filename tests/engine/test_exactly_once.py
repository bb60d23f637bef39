"""Exactly-once mailboxes: keys that count for ever, leases that never settle late, effects with the ack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

YEAR_S = 365 * 86_400


async def once(desk: Desk, **settings: Any) -> None:
    """The mailbox under test."""
    await desk.call("mailbox_create", address="e", settings={"exactly_once": True, **settings})


async def leased(desk: Desk, key: str = "k") -> Reply:
    """A message of it, leased by bob for 100 s."""
    await desk.send("e", "work", dedup_key=key)
    [message] = await desk.fetch("e", lease_s=100)
    return message


def test_every_send_needs_a_dedup_key(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await once(desk)
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="e", text="x")
        assert "dedup_key" in error.message
        await desk.refused("INVALID_ARGUMENT", "mailbox_send", to=["box", "e"], text="x")
        assert await desk.query("box") == []
        assert not (await desk.send("e", "x", dedup_key="k"))["duplicate"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("after", ["waiting", "acked", "deleted", "expired"])
def test_a_key_is_remembered_as_long_as_the_mailbox_lives(tmp_path: Path, after: str) -> None:
    """Past any window, settlement, deletion, expiry and restart."""

    async def body(desk: Desk) -> None:
        await once(desk, dedup_window_s=1)
        ttl: dict[str, Any] = {"ttl_s": 10} if after == "expired" else {}
        first = await desk.send("e", "x", dedup_key="k", **ttl)
        if after == "acked":
            [message] = await desk.fetch("e")
            await desk.settle(message)
        elif after == "deleted":
            await desk.call("mailbox_delete", mailbox="e", ids=[first["id"]])
        await desk.pass_time(YEAR_S)
        await desk.restart()
        again = await desk.send("e", "x", dedup_key="k")
        assert again == first | {"duplicate": True}
        await desk.refused("DEDUP_CONFLICT", "mailbox_send", to="e", text="y", dedup_key="k")
        assert len(await desk.fetch("e")) == (after == "waiting")

    run(body, tmp_path)


def test_a_later_mailbox_of_the_name_remembers_none_of_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await once(desk)
        await desk.send("e", "x", dedup_key="k")
        await desk.call("mailbox_drop", address="e")
        await once(desk)
        assert not (await desk.send("e", "y", dedup_key="k"))["duplicate"]

    run(body, tmp_path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["ack", "nack", "release", "extend", "reject"])
def test_an_expired_lease_is_refused_even_if_nobody_took_the_message(
    tmp_path: Path, outcome: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        await once(desk)
        message = await leased(desk)
        await desk.pass_time(99.999)
        assert (await desk.settle(message, "extend", lease_s=1))["ok"]
        await desk.pass_time(1)
        if restart:
            await desk.restart()
        result = await desk.settle(message, outcome)
        assert result["error"]["code"] == "LEASE_LOST"
        [again] = await desk.fetch("e")
        assert (again["attempt"], again["fence"] > message["fence"]) == (2, True)

    run(body, tmp_path)


def test_effects_commit_with_the_ack_or_not_at_all(tmp_path: Path) -> None:
    """A worker that was too slow leaves no trace; the one that took over leaves one."""

    async def body(desk: Desk) -> None:
        await once(desk)
        slow = await leased(desk)
        await desk.pass_time(100)
        effect = {"to": "box", "text": "effect"}
        items = [{"lease": slow["lease"]}]
        await desk.refused("LEASE_LOST", "mailbox_ack", "bob", items=items, send=effect)
        [fast] = await desk.fetch("e", agent="carol")
        await desk.refused("LEASE_LOST", "mailbox_ack", "bob", items=items, send=effect)
        for _ in range(3):  # and its retries leave no other
            items = [{"lease": fast["lease"]}]
            assert (await desk.call("mailbox_ack", "carol", items=items, send=effect))["results"][0]["ok"]
            await desk.restart()
        assert texts(await desk.query("box")) == ["effect"]
        await desk.refused("LEASE_LOST", "mailbox_ack", "bob", items=[{"lease": slow["lease"]}], send=effect)

    run(body, tmp_path, "box")


def test_a_chain_of_exactly_once_mailboxes_passes_each_message_on_once(tmp_path: Path) -> None:
    """Retried sends, lost leases, retried acks and restarts at every step."""

    async def body(desk: Desk) -> None:
        await once(desk)
        await desk.call("mailbox_create", address="next", settings={"exactly_once": True})
        for number in range(20):
            for _ in range(1 + number % 3):
                await desk.send("e", str(number), dedup_key=f"in-{number}")
        step = 0
        while messages := await desk.fetch("e", max=3, lease_s=30):
            step += 1
            if step % 3 == 0:
                await desk.pass_time(30)  # too slow: all three are given to somebody else
            for message in messages:
                items = [{"lease": message["lease"]}]
                send = {"to": "next", "parts": message["parts"], "dedup_key": f"out-{message['id']}"}
                for _ in range(2):
                    if step % 3:
                        await desk.call("mailbox_ack", "bob", items=items, send=send)
                    else:
                        await desk.refused("LEASE_LOST", "mailbox_ack", "bob", items=items, send=send)
            if step % 4 == 0:
                await desk.restart()
        got = texts(await desk.fetch("next", max=100))
        assert sorted(got, key=int) == [str(number) for number in range(20)]

    run(body, tmp_path)


def test_the_setting_cannot_change_while_mail_is_in_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await once(desk)
        await desk.send("e", dedup_key="k")
        settings = {"exactly_once": False}
        await desk.refused("INVALID_ARGUMENT", "mailbox_update", address="e", settings=settings)

    run(body, tmp_path)
