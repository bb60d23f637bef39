"""Groups: made by a first fetch, where they begin, when they end; list, reset, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

IDLE_S = 604_800


async def groups(desk: Desk, mailbox: str = "box") -> dict[str, Reply]:
    """What group_list says, by name."""
    reply = await desk.call("group_list", mailbox=mailbox)
    return {group["name"]: group for group in reply["groups"]}


async def send_all(desk: Desk, *words: str) -> list[int]:
    """Send so many messages a second apart; returns their ids."""
    ids = []
    for text in words:
        ids.append((await desk.send(text=text))["id"])
        await desk.pass_time(1)
    return ids


def test_a_group_is_made_by_its_first_fetch_default_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert await groups(desk) == {}
        await desk.fetch()
        assert set(await groups(desk)) == {"default"}
        await desk.fetch(group="audit")
        await desk.restart()
        assert set(await groups(desk)) == {"default", "audit"}

    run(body, tmp_path, "box")


def test_two_groups_are_a_broadcast_two_workers_of_one_compete(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await send_all(desk, "1", "2")
        assert texts(await desk.fetch(group="a", max=1, agent="w1")) == ["1"]
        assert texts(await desk.fetch(group="a", max=9, agent="w2")) == ["2"]
        assert texts(await desk.fetch(group="b")) == ["1", "2"]

    run(body, tmp_path, "box")


def test_a_group_belongs_to_its_mailbox(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("box", group="g")
        assert await groups(desk, "queue") == {}
        await desk.call("group_delete", mailbox="box", group="g")
        assert await groups(desk) == {}

    run(body, tmp_path, "box", "queue")


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(
    ("deliver", "expected"),
    [
        ("earliest", ["1", "2", "3", "late", "4"]),
        ("latest", ["late", "4"]),
        ("id", ["2", "3", "late", "4"]),
        ("time", ["3", "late", "4"]),
        (None, ["1", "2", "3", "late", "4"]),
    ],
)
def test_deliver_says_where_a_new_group_begins(
    tmp_path: Path, deliver: str | None, expected: list[str], settled: bool
) -> None:
    """Earliest by default. ``latest`` means after now; mail that becomes due later comes after every place.

    It makes no difference whether another group has settled that mail.
    """

    async def body(desk: Desk) -> None:
        await desk.send(text="late", delay_s=100)
        ids = await send_all(desk, "1", "2", "3")
        if settled:
            for message in await desk.fetch():
                await desk.settle(message)
        places: dict[str, Any] = {"id": ids[1], "time": "2027-01-15T08:00:02.000Z"}
        chosen = {} if deliver is None else {"deliver": places.get(deliver, deliver)}
        got = await desk.fetch(group="new", max=1, **chosen)
        await desk.restart()
        await desk.pass_time(100)
        await send_all(desk, "4")
        got += await desk.fetch(group="new", deliver="latest")  # counts only when the group is new
        assert texts(got) == expected

    run(body, tmp_path, "box")


def test_a_bad_place_makes_no_group(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for deliver in ("yesterday", "2027-01-15", "2027-13-01T00:00:00Z", -1, 2**53, 1.5):
            await desk.refused("INVALID_ARGUMENT", "mailbox_fetch", mailbox="box", deliver=deliver)
        assert await groups(desk) == {}

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
def test_a_group_ends_after_a_week_without_a_fetch(tmp_path: Path, restart: bool) -> None:
    """So a typo cannot hold mail: what only it had not settled is settled. ``default`` never ends."""

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        await desk.fetch(group="typo", tags_any=["none"])
        [message] = await desk.fetch()
        await desk.settle(message)
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["groups"]) == (1, 2)
        await desk.pass_time(IDLE_S - 1)
        assert set(await groups(desk)) == {"default", "typo"}
        if restart:  # when exactly the last fetch was is known to a hundredth
            await desk.restart()
            await desk.pass_time(IDLE_S / 100)
        await desk.pass_time(1)
        assert set(await groups(desk)) == {"default"}
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (0, 1)

    run(body, tmp_path, "box")


def test_a_fetch_keeps_a_group_alive(tmp_path: Path) -> None:
    """Also one that finds nothing; and a restart does not shorten its life."""

    async def body(desk: Desk) -> None:
        await desk.fetch(group="g")
        for _ in range(4):
            await desk.pass_time(IDLE_S * 0.6)
            await desk.restart()
            assert set(await groups(desk)) == {"g"}
            await desk.fetch(group="g")

    run(body, tmp_path, "box")


def test_group_list_shows_what_waits_and_who_fetched_when(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await send_all(desk, "1", "2", "3", "4")
        leased = await desk.fetch(max=2)
        await desk.settle(leased[0], "nack", delay_s=60)
        await desk.restart()
        assert (await groups(desk))["default"] == {
            **{"name": "default", "mailbox": "box", "fetched_at": "2027-01-15T08:00:04.000Z"},
            **{"waiting": 2, "leased": 1, "backoff": 1},
        }
        own = await desk.call("group_list", "carol", mailbox="box")
        assert len(own["groups"]) == 1

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("to", "expected"),
    [("earliest", ["1", "2", "3"]), ("latest", []), ("id", ["2", "3"]), ("time", ["3"])],
)
def test_group_reset_begins_again_at_a_place_and_its_leases_are_lost(
    tmp_path: Path, to: str, expected: list[str]
) -> None:
    async def body(desk: Desk) -> None:
        ids = await send_all(desk, "1", "2", "3")
        first, second = await desk.fetch(max=2)
        await desk.settle(first)
        places: dict[str, Any] = {"id": ids[1], "time": "2027-01-15T08:00:02.000Z"}
        place = places.get(to, to)
        reply = await desk.call("group_reset", mailbox="box", group="default", to=place)
        assert reply["group"]["name"] == "default"
        assert reply["group"]["waiting"] == len(expected)
        assert reply["group"]["leased"] == 0
        result = await desk.settle(second)
        assert result["error"]["code"] == "LEASE_LOST"
        await desk.restart()
        assert texts(await desk.fetch()) == expected
        await desk.send(text="new")
        assert texts(await desk.fetch()) == ["new"]

    run(body, tmp_path, "box")


def test_a_reset_touches_no_other_group(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await send_all(desk, "1", "2")
        [held] = await desk.fetch(group="other", max=1)
        for message in await desk.fetch():
            await desk.settle(message)
        await desk.call("group_reset", mailbox="box", group="default", to="earliest")
        assert texts(await desk.fetch(group="other")) == ["2"]
        assert (await desk.settle(held))["ok"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("how", ["reset", "delete"])
def test_what_was_replaced_does_not_come_back_with_its_group(tmp_path: Path, how: str) -> None:
    """A leased copy that a newer one replaced is withdrawn when its group ends."""

    async def body(desk: Desk) -> None:
        await desk.send(text="old", state_key="k")
        await desk.fetch()
        await desk.send(text="new", state_key="k")
        if how == "reset":
            await desk.call("group_reset", mailbox="box", group="default", to="earliest")
        else:
            await desk.call("group_delete", mailbox="box", group="default")
        assert texts(await desk.fetch()) == ["new"]
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (1, 1)
        await desk.restart()
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_a_reset_to_latest_settles_what_was_replaced_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="old", state_key="k")
        await desk.fetch()
        await desk.send(text="new", state_key="k")
        await desk.call("group_reset", mailbox="box", group="default", to="latest")
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (0, 2)
        await desk.restart()
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_group_delete_ends_a_group_and_its_leases(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await send_all(desk, "1")
        [held] = await desk.fetch(group="g")
        await desk.fetch(tags_any=["none"])
        assert await desk.call("group_delete", mailbox="box", group="g") == {"deleted": "g"}
        assert (await desk.settle(held))["error"]["code"] == "LEASE_LOST"
        await desk.restart()
        assert set(await groups(desk)) == {"default"}
        assert texts(await desk.fetch()) == ["1"]

    run(body, tmp_path, "box")


def test_the_last_group_may_go_and_its_mail_waits_for_the_next(tmp_path: Path) -> None:
    """Mail is settled when at least one group exists and every group has settled it."""

    async def body(desk: Desk) -> None:
        await send_all(desk, "1", "2")
        first, _ = await desk.fetch()
        await desk.settle(first)
        await desk.call("group_delete", mailbox="box", group="default")
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["unsettled"], counts["settled"]) == (1, 1)
        assert texts(await desk.fetch(group="next", deliver="earliest")) == ["1", "2"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("command", ["group_reset", "group_delete"])
def test_a_group_that_is_none_is_refused_with_those_there_are(tmp_path: Path, command: str) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch(group="real")
        to = {"to": "earliest"} if command == "group_reset" else {}
        error = await desk.refused("INVALID_ARGUMENT", command, mailbox="box", group="wrong", **to)
        assert "real" in error.message
        await desk.refused("MAILBOX_NOT_FOUND", command, mailbox="nowhere", group="g", **to)

    run(body, tmp_path, "box")


def test_a_message_is_settled_when_every_group_has_settled_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await send_all(desk, "1")
        held = [(await desk.fetch(group=name))[0] for name in ("a", "b", "c")]
        for left, message in zip((1, 1, 0), held, strict=True):
            await desk.settle(message)
            await desk.restart()
            counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
            assert counts["unsettled"] == left

    run(body, tmp_path, "box")


def test_a_group_too_many_is_refused_by_its_limit(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(256):
            await desk.fetch(group=f"g{number}")
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_fetch", mailbox="box", group="one more")
        assert "256" in error.message

    run(body, tmp_path, "box")


def test_a_group_that_fetched_after_a_restart_ends_on_time(tmp_path: Path) -> None:
    """The grace that a restart gives it is over with its next fetch."""

    async def body(desk: Desk) -> None:
        await desk.fetch("jobs", group="audit")
        await desk.restart()
        await desk.pass_time(1)
        await desk.fetch("jobs", group="audit")
        await desk.pass_time(604_800 - 0.001)
        assert len((await desk.call("group_list", mailbox="jobs"))["groups"]) == 1
        await desk.pass_time(0.001)
        assert (await desk.call("group_list", mailbox="jobs"))["groups"] == []

    run(body, tmp_path, "jobs")
