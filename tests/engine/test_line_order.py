"""Line order: strict between tiers, (visible_at, id) within one, in every group and after every return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts


async def drain(desk: Desk, group: str = "default", most: int = 1) -> list[str]:
    """The texts of everything that can be fetched, in order; each message is acked."""
    seen: list[str] = []
    while messages := await desk.fetch(group=group, max=most):
        for message in messages:
            await desk.settle(message)
        seen += texts(messages)
    return seen


@pytest.mark.parametrize("most", [1, 2, 100])
def test_tiers_are_strict_and_each_is_in_line_order(tmp_path: Path, most: int) -> None:
    async def body(desk: Desk) -> None:
        for number in range(9):
            tier = ("normal", "critical", "urgent")[number % 3]
            await desk.send(text=f"{tier} {number}", priority=tier)
        await desk.restart()
        for group in ("default", "second"):
            assert await drain(desk, group, most) == [
                *("critical 1", "critical 4", "critical 7"),
                *("urgent 2", "urgent 5", "urgent 8"),
                *("normal 0", "normal 3", "normal 6"),
            ]

    run(body, tmp_path, "box")


def test_a_higher_tier_overtakes_what_waits_but_never_what_is_leased(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="first")
        await desk.send(text="second")
        [held] = await desk.fetch(max=1)
        await desk.send(text="critical", priority="critical")
        assert texts(await desk.fetch()) == ["critical", "second"]
        assert (await desk.settle(held))["ok"]

    run(body, tmp_path, "box")


def test_delayed_mail_joins_the_end_of_its_tier_when_due(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        early = await desk.send(text="delayed", delay_s=10)
        late = await desk.send(text="at once")
        assert early["id"] < late["id"]
        await desk.send(text="delayed more", delay_s=20)
        await desk.send(text="delayed urgent", delay_s=15, priority="urgent")
        await desk.pass_time(30)
        await desk.send(text="last")
        assert await drain(desk) == ["delayed urgent", "at once", "delayed", "delayed more", "last"]

    run(body, tmp_path, "box")


def test_mail_due_at_the_same_time_goes_by_id(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one", delay_s=10)
        await desk.pass_time(5)
        await desk.send(text="two", delay_s=5)
        await desk.pass_time(5)
        await desk.send(text="three")
        await desk.restart()
        assert await drain(desk) == ["one", "two", "three"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("how", ["release", "nack", "lapse"])
@pytest.mark.parametrize("restart", [False, True])
def test_what_comes_back_keeps_its_place(tmp_path: Path, how: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        for number in range(4):
            await desk.send(text=str(number))
        first, second = await desk.fetch(max=2, lease_s=40)
        if how == "lapse":
            await desk.pass_time(40)
        else:
            for message in (second, first):
                delay: dict[str, Any] = {"delay_s": 1} if how == "nack" else {}
                await desk.settle(message, how, **delay)
            await desk.pass_time(1)
        if restart:
            await desk.restart()
        assert await drain(desk) == ["0", "1", "2", "3"]

    run(body, tmp_path, "box")


def test_a_message_in_backoff_blocks_nobody(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for text in ("one", "two", "three"):
            await desk.send(text=text)
        [one] = await desk.fetch(max=1)
        await desk.settle(one, "nack", delay_s=60)
        assert texts(await desk.fetch(max=1)) == ["two"]
        await desk.pass_time(60)
        assert texts(await desk.fetch()) == ["one", "three"]

    run(body, tmp_path, "box")


def test_filtered_fetches_leave_the_order_of_the_rest(tmp_path: Path) -> None:
    """Taking from the middle by tag and giving back again never shuffles anything."""

    async def body(desk: Desk) -> None:
        for number in range(300):
            await desk.send(text=str(number), tags=[f"t{number % 7}"], session=f"s{number % 3}")
        held: list[Reply] = []
        wishes: list[dict[str, Any]] = [{"tags_any": ["t3", "t5"]}, {"session": "s1"}, {"tags_all": ["t6"]}]
        for wish in wishes:
            held += await desk.fetch(max=20, **wish)
        for message in reversed(held):
            await desk.settle(message, "release")
        await desk.restart()
        assert await drain(desk, most=7) == [str(number) for number in range(300)]

    run(body, tmp_path, "box")


def test_an_ack_never_moves_anything_else(tmp_path: Path) -> None:
    """In any tier, in any group."""

    async def body(desk: Desk) -> None:
        for number in range(6):
            await desk.send(text=str(number), priority="urgent" if number % 2 else "normal")
        await desk.fetch(group="other", tags_any=["none"])
        leased = {message["parts"][0]["text"]: message for message in await desk.fetch()}
        await desk.settle(leased["4"])
        await desk.settle(leased["3"])
        states = {}
        for message in await desk.query():
            deliveries = {one["group"]: one["state"] for one in message["deliveries"]}
            states[message["parts"][0]["text"]] = deliveries
        acked = {"default": "acked", "other": "waiting"}
        leased_there = {"default": "leased", "other": "waiting"}
        assert states == {str(n): acked if n in (3, 4) else leased_there for n in range(6)}
        assert await drain(desk, "other") == ["1", "3", "5", "0", "2", "4"]
        for text in ("0", "1", "2", "5"):
            await desk.settle(leased[text], "release")
        assert await drain(desk) == ["1", "5", "0", "2"]

    run(body, tmp_path, "box")


def test_a_clock_that_steps_back_does_not_reorder(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        desk.time.now -= 3_600_000
        await desk.send(text="two")
        await desk.restart()
        await desk.send(text="three")
        assert await drain(desk) == ["one", "two", "three"]

    run(body, tmp_path, "box")
