"""State, journal and tables tell the same story: after any commands, all ways of rebuilding agree.

``MQ9_EQUIVALENCE_STEPS`` and ``MQ9_EQUIVALENCE_SEEDS`` (a first and a last seed, "100-199") make it longer.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from mq9_mcp.domain import apply_delivery, line, log, session, session_memory
from mq9_mcp.engine.embedded import fold_events, prepare
from tests.engine.bench import Bench
from tests.engine.driver import Driver
from tests.engine.picture import check

STEPS = int(os.environ.get("MQ9_EQUIVALENCE_STEPS", "250"))
FIRST, _, LAST = os.environ.get("MQ9_EQUIVALENCE_SEEDS", "1-4").partition("-")
SEEDS = range(int(FIRST), int(LAST or FIRST) + 1)


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are reached within a short run: pages, packing, earlier leases."""
    monkeypatch.setattr(prepare, "HISTORY_PAGE", 4)
    monkeypatch.setattr(log, "_CUT_FROM", 4)
    monkeypatch.setattr(log, "_PACK_FROM", 3)
    monkeypatch.setattr(line, "_MARK_REACH", 2)
    monkeypatch.setattr(line, "_MARKS_MAX", 2)
    monkeypatch.setattr(apply_delivery, "PAST_MAX", 3)
    monkeypatch.setattr(fold_events, "PAST_MAX", 3)
    for room in (session, session_memory):
        monkeypatch.setattr(room, "TURNS_MAX", 20)


async def drive(bench: Bench, driver: Driver, steps: int) -> None:
    """So many random acts, with comparisons and restarts at random moments."""
    rng = bench.rng
    await bench.open()
    try:
        await bench.engine.begin(bench.ask())
        await driver.start()
        for _ in range(steps):
            await driver.step()
            check(bench.engine.state)
            dice = rng.random()
            if dice < 0.04:
                await bench.compare()
            elif dice < 0.05:
                await bench.restart()
        await bench.compare()
        await bench.restart()
    finally:
        await bench.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_all_ways_lead_to_the_same_state(seed: int, tmp_path: Path) -> None:
    bench = Bench(tmp_path, random.Random(seed))
    driver = Driver(bench)
    try:
        asyncio.run(drive(bench, driver, STEPS))
    except BaseException:
        print(f"seed={seed} step={len(driver.log)}", *driver.log[-25:], sep="\n")
        raise
    assert driver.done > STEPS // 2, "most commands are to succeed"
