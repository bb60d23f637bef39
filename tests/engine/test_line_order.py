"""Section 2: strict tiers and line order within one, in every group."""

from __future__ import annotations

from pathlib import Path

from tests.support import Desk, run, texts


async def tiers(desk: Desk) -> None:
    """Two of each priority, the lowest first."""
    for priority in ("normal", "urgent", "critical"):
        for number in (1, 2):
            await desk.send(text=f"{priority} {number}", priority=priority)


RANKED = ["critical 1", "critical 2", "urgent 1", "urgent 2", "normal 1", "normal 2"]


def test_priority_is_strict_between_tiers_in_line_order_within_one_in_every_group(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await tiers(desk)
        assert texts(await desk.fetch()) == RANKED
        await desk.restart()
        one_by_one = [texts(await desk.fetch(group="audit", max=1))[0] for _ in range(6)]
        assert one_by_one == RANKED

    run(body, tmp_path, "box")


def test_a_critical_message_that_comes_late_still_goes_first(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(5):
            await desk.send(text=str(number))
        assert texts(await desk.fetch(max=2)) == ["0", "1"]
        await desk.send(text="fire", priority="critical")
        assert texts(await desk.fetch(max=2)) == ["fire", "2"]

    run(body, tmp_path, "box")


def test_priority_min_takes_that_tier_and_above(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await tiers(desk)
        assert texts(await desk.fetch(priority_min="critical")) == RANKED[:2]
        assert texts(await desk.fetch(priority_min="urgent")) == RANKED[2:4]
        assert texts(await desk.fetch()) == RANKED[4:]

    run(body, tmp_path, "box")


def test_line_order_is_visible_at_then_id(tmp_path: Path) -> None:
    """ "visible_at = stored time, or deliver_at for delayed mail"."""

    async def body(desk: Desk) -> None:
        await desk.send(text="due second", delay_s=20)
        await desk.send(text="due first", delay_s=10)
        await desk.send(text="now a")
        await desk.send(text="now b")
        await desk.send(text="due first, later id", delay_s=10)
        await desk.pass_time(30)
        await desk.send(text="after")
        expected = ["now a", "now b", "due first", "due first, later id", "due second", "after"]
        assert texts(await desk.fetch()) == expected

    run(body, tmp_path, "box")


def test_delayed_mail_joins_the_end_of_its_tier_when_due(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="delayed", delay_s=10)
        await desk.send(text="early")
        await desk.send(text="lower tier stays behind", priority="normal")
        await desk.send(text="urgent delayed", delay_s=10, priority="urgent")
        await desk.pass_time(10)
        await desk.send(text="late")
        expected = ["urgent delayed", "early", "lower tier stays behind", "delayed", "late"]
        assert texts(await desk.fetch()) == expected

    run(body, tmp_path, "box")


def test_due_mail_stands_before_what_is_stored_later_even_if_nobody_looked_meanwhile(tmp_path: Path) -> None:
    """Only the next call notices that time has passed; the order is that of the clock all the same."""

    async def body(desk: Desk) -> None:
        await desk.send(text="due", delay_s=10)
        desk.time.now += 25_000
        await desk.send(text="later")
        assert texts(await desk.fetch()) == ["due", "later"]

    run(body, tmp_path, "box")


def test_nack_release_and_expired_leases_keep_the_place(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for text in ("a", "b", "c", "d"):
            await desk.send(text=text)
        a, b, c = await desk.fetch(max=3, lease_s=5)
        await desk.settle(a, "nack", delay_s=1)
        await desk.settle(b, "release")
        assert c["attempt"] == 1
        await desk.send(text="e")
        await desk.pass_time(5)
        assert texts(await desk.fetch()) == ["a", "b", "c", "d", "e"]

    run(body, tmp_path, "box")


def test_the_place_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for text in ("a", "b", "c"):
            await desk.send(text=text)
        a, _ = await desk.fetch(max=2)
        await desk.settle(a, "release")
        await desk.restart()
        assert texts(await desk.fetch()) == ["a", "c"]

    run(body, tmp_path, "box")


def test_a_message_in_backoff_blocks_nobody(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for text in ("a", "b"):
            await desk.send(text=text, session="talk")
        [a] = await desk.fetch(max=1)
        await desk.settle(a, "nack", delay_s=60)
        assert texts(await desk.fetch()) == ["b"]

    run(body, tmp_path, "box")


def test_a_message_in_backoff_blocks_its_own_ordered_session_only(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="ordered", settings={"ordered_by": "session"})
        for text, session in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            await desk.send("ordered", text, session=session)
        [a1] = await desk.fetch("ordered", max=1)
        await desk.settle(a1, "nack", delay_s=60)
        assert texts(await desk.fetch("ordered")) == ["b1"]
        await desk.pass_time(60)
        assert texts(await desk.fetch("ordered")) == ["a1", "a2"]

    run(body, tmp_path)
