"""Leases: durable, exclusive, unguessable, counted; they run out, and survive a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mq9_mcp.engine.embedded.disk import Disk
from tests.support import START_MS, Desk, opened, run, texts


def test_attempt_is_failed_attempts_plus_one(tmp_path: Path) -> None:
    """Lapse and nack count, release does not."""

    async def body(desk: Desk) -> None:
        await desk.send()
        attempts = []
        for how in ("lapse", "release", "nack", "release", "lapse"):
            [message] = await desk.fetch(lease_s=10)
            attempts.append(message["attempt"])
            if how == "lapse":
                await desk.pass_time(10)
            else:
                await desk.settle(message, how)
                await desk.pass_time(400)
            await desk.restart()
        [message] = await desk.fetch()
        assert [*attempts, message["attempt"]] == [1, 2, 2, 3, 3, 4]

    run(body, tmp_path, "box")


def test_fence_rises_with_every_lease_and_never_repeats(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        fences = []
        for number in range(6):
            [message] = await desk.fetch(lease_s=10)
            fences.append(message["fence"])
            if number % 2:
                await desk.settle(message, "release")
            else:
                await desk.pass_time(10)
            if number % 3 == 0:
                await desk.restart()
            await desk.pass_time(30)
        assert fences == sorted(set(fences))

    run(body, tmp_path, "box")


def test_a_redelivered_letter_keeps_no_old_fence(tmp_path: Path) -> None:
    """A group that was reset leases the same message again with a higher fence than before."""

    async def body(desk: Desk) -> None:
        await desk.send()
        [before] = await desk.fetch()
        await desk.settle(before)
        await desk.call("group_reset", mailbox="box", group="default", to="earliest")
        [after] = await desk.fetch()
        assert after["id"] == before["id"]
        assert after["fence"] > before["fence"]

    run(body, tmp_path, "box")


def test_leased_until_says_when_the_lease_ends(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.send()
        [short] = await desk.fetch(lease_s=90, max=1)
        [usual] = await desk.fetch()
        assert short["leased_until"] == "2027-01-15T08:01:30.000Z"
        assert usual["leased_until"] == "2027-01-15T08:05:00.000Z"  # 300 s by default

    run(body, tmp_path, "box")


def test_a_lease_is_exclusive_in_its_group_and_no_longer_than_asked(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.fetch(lease_s=60)
        await desk.pass_time(59.999)
        assert await desk.fetch(agent="carol") == []
        await desk.pass_time(0.001)
        assert len(await desk.fetch(agent="carol")) == 1

    run(body, tmp_path, "box")


def test_tokens_differ_and_cannot_be_guessed(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(3):
            await desk.send()
        tokens = {message["lease"] for message in await desk.fetch()}
        assert len(tokens) == 3
        assert all(len(token) >= 32 for token in tokens)
        group, message, secret = tokens.pop().split(".")
        for forged in (
            f"{group}.{message}.{'0' * len(secret)}",
            f"{group}.{message}.",
            "x",
            "1.2.3",
            "-1.-1.x",
        ):
            result = await desk.settle({"lease": forged})
            assert result["error"]["code"] == "LEASE_LOST"
        assert len(await desk.query(state="leased")) == 3

    run(body, tmp_path, "box")


class Fickle(Disk):
    """A disk whose next commits fail, if told so."""

    broken = False

    def sync(self, fd: int) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().sync(fd)


def test_a_lease_is_durable_before_it_is_handed_out(tmp_path: Path) -> None:
    """A lease that could not be written is none: the caller gets an error, the message no attempt."""
    disk = Fickle()

    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.fetch(tags_any=["none"])
        disk.broken = True
        await desk.refused("STORAGE_UNAVAILABLE", "mailbox_fetch", mailbox="box")
        disk.broken = False
        await desk.restart()
        [message] = await desk.fetch()
        assert message["attempt"] == 1

    run(body, tmp_path, "box", disk=disk)


def test_a_lease_survives_a_restart(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        [held] = await desk.fetch(lease_s=600)
        for _ in range(2):
            await desk.restart()
            assert await desk.fetch() == []
        await desk.pass_time(599)
        assert await desk.fetch() == []
        extended = await desk.settle(held, "extend", lease_s=100)
        assert extended["ok"]
        await desk.restart()
        await desk.pass_time(99)
        assert (await desk.settle(held))["ok"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("away_s", [0, 5, 3600])
def test_after_a_restart_every_open_lease_lasts_at_least_30_s_from_ready(
    tmp_path: Path, away_s: float
) -> None:
    """Whatever it had left, and however long the broker was away."""

    async def body(desk: Desk) -> None:
        await desk.send(text="short")
        await desk.send(text="long")
        [short] = await desk.fetch(lease_s=10, max=1)
        [long] = await desk.fetch(lease_s=43_200)
        await desk.broker.close()
        desk.time.now += round(away_s * 1000)
        await desk.open()
        await desk.pass_time(29.999)
        assert await desk.fetch() == []
        await desk.pass_time(0.001)
        [again] = await desk.fetch()
        assert (texts([again]), again["attempt"]) == (["short"], 2)
        assert (await desk.settle(short))["error"]["code"] == "LEASE_LOST"
        assert (await desk.settle(long))["ok"]

    run(body, tmp_path, "box")


def test_a_restart_does_not_shorten_a_lease(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.fetch(lease_s=100)
        await desk.restart()
        await desk.pass_time(99)
        await desk.restart()
        await desk.pass_time(29)
        assert await desk.fetch() == []
        await desk.pass_time(1)
        assert len(await desk.fetch()) == 1

    run(body, tmp_path, "box")


def test_a_clock_that_steps_back_does_not_free_a_lease_early(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.fetch(lease_s=60)
        desk.time.now = START_MS - 7_200_000
        await desk.engine.tick(desk.broker.ask())
        assert await desk.fetch() == []
        await desk.restart()
        desk.time.now += 59_000
        assert await desk.fetch() == []
        desk.time.now += 10_000  # broker time runs up to a tenth slower while it is ahead of the clock
        assert len(await desk.fetch()) == 1

    run(body, tmp_path, "box")


def test_a_lease_that_ran_out_is_seen_by_any_call_without_a_tick(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.fetch(lease_s=10)
        desk.time.now += 10_000
        assert (await desk.query())[0]["deliveries"][0]["state"] == "waiting"
        assert len(await desk.fetch()) == 1

    run(body, tmp_path, "box")


def test_a_second_broker_on_the_same_data_never_leases_twice(tmp_path: Path) -> None:
    """What one life of the broker leased, the next one knows."""

    async def lives() -> None:
        async with opened(tmp_path, "box") as desk:
            await desk.send()
            assert len(await desk.fetch(lease_s=3600)) == 1
        async with opened(tmp_path) as desk:
            assert await desk.fetch() == []

    asyncio.run(lives())
