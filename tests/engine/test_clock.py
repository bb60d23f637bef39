"""Broker time: whatever the wall clock does, mail keeps its order and leases their length."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.engine.embedded.engine import open_engine
from tests.support import START_MS, Desk, HandTime, texts

HOUR = 3_600_000
steps = st.lists(st.tuples(st.integers(0, 100_000), st.integers(-10 * HOUR, 10 * HOUR)), max_size=30)


class TwoClocks(Desk):
    """A desk whose wall clock is adjusted while the boot clock runs on."""

    async def open(self) -> None:
        """As a start of the broker; ``time`` is the wall clock."""
        self.boot = getattr(self, "boot", HandTime(1_000_000))
        self.engine = await open_engine(self.folder, **self.options)
        self.broker = await start_broker(self.engine, Clock(self.engine.time, wall=self.time, boot=self.boot))

    async def run_on(self, seconds: float) -> None:
        """Both clocks go on, and the broker notices."""
        self.boot.now += round(seconds * 1000)
        await self.pass_time(seconds)


def on_two_clocks(folder: Path) -> TwoClocks:
    """A desk on ``folder``, not open yet."""
    return TwoClocks(folder)


@given(steps)
def test_it_never_goes_back_and_never_jumps(moves: list[tuple[int, int]]) -> None:
    wall, boot = HandTime(START_MS), HandTime(5_000)
    clock = Clock(START_MS - HOUR, wall, boot)
    now = begin = clock.now()
    passed = 0
    for ticks, step in moves:
        boot.now += ticks
        wall.now += ticks + step
        passed += ticks
        before, now = now, clock.now()
        assert now >= before
        assert passed * 0.9 - 20 <= now - begin <= passed * 1.1 + 20


@given(st.integers(-600_000, 600_000))
def test_it_leans_towards_the_wall_clock_until_it_agrees(step: int) -> None:
    wall, boot = HandTime(START_MS), HandTime(0)
    clock = Clock(0, wall, boot)
    clock.now()
    wall.now += step
    for _ in range(80):
        wall.now += 100_000
        boot.now += 100_000
        clock.now()
    assert abs(clock.now() - wall.now) <= 10


def test_it_begins_no_earlier_than_the_journal_ends() -> None:
    assert Clock(START_MS + HOUR, HandTime(START_MS), HandTime(0)).now() == START_MS + HOUR
    assert Clock(START_MS - HOUR, HandTime(START_MS), HandTime(0)).now() == START_MS


def test_a_boot_clock_that_stands_or_goes_back_stops_nothing() -> None:
    wall, boot = HandTime(START_MS), HandTime(9_000)
    clock = Clock(0, wall, boot)
    first = clock.now()
    boot.now = 1_000
    assert clock.now() == first
    boot.now = 10_000
    assert first < clock.now() <= first + 1_100


@pytest.mark.parametrize("step", [-HOUR, -1, 1, HOUR, 24 * 365 * HOUR])
def test_a_step_of_the_wall_clock_moves_no_lease_delay_or_expiry(step: int, tmp_path: Path) -> None:
    async def body() -> None:
        desk = on_two_clocks(tmp_path)
        await desk.open()
        try:
            await desk.call("mailbox_create", address="box")
            await desk.send(text="first")
            await desk.fetch(lease_s=100)
            await desk.send(text="delayed", delay_s=100)
            await desk.send(text="short", ttl_s=100)
            desk.time.now += step
            await desk.run_on(85)
            await desk.send(text="later")
            assert texts(await desk.query(order="asc")) == ["first", "delayed", "short", "later"]
            assert texts(await desk.fetch(group="look")) == ["first", "short", "later"]
            assert texts(await desk.fetch(lease_s=1)) == ["short", "later"]
            await desk.run_on(35)
            assert texts(await desk.fetch()) == ["first", "later", "delayed"]
        finally:
            await desk.broker.close()

    asyncio.run(body())


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_step_while_the_broker_is_down_reorders_nothing_and_frees_no_lease_early(
    step: int, tmp_path: Path
) -> None:
    async def body() -> None:
        desk = on_two_clocks(tmp_path)
        await desk.open()
        await desk.call("mailbox_create", address="box")
        before = await desk.send(text="before")
        [held] = await desk.fetch(lease_s=100)
        await desk.broker.close()
        desk.time.now += step
        desk.boot = HandTime(7)
        await desk.open()
        try:
            after = await desk.send(text="after")
            assert after["stored_at"] >= before["stored_at"]
            await desk.run_on(26)
            assert texts(await desk.fetch(max=10)) == ["after"], "a lease lasts 30 s from ready at least"
            assert (await desk.settle(held))["ok"]
            assert texts(await desk.query()) == ["before", "after"]
        finally:
            await desk.broker.close()

    asyncio.run(body())
