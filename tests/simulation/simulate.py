"""The simulation: ``python -m tests.simulation.simulate --seed 7 --steps 10000``.

A seed drives random commands of many callers, crashes, failing disks, broken folds and clocks that are
set through a real engine, and the same commands through the model. They must agree at every step. On a
difference it prints ``seed= step=`` with what led to it and exits with 1; the same seed does it again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.simulation.world import Difference, World

HOUR_S = 3600
PARKS_IN = 6  # one seed in so many sends by intent and parks what fits nobody


async def simulate(seed: int, steps: int, folder: Path, until: float, done: Counter[str]) -> bool:
    """One seed; False after a difference, which is printed."""
    world = World(Random(seed), folder, done, parks=seed % PARKS_IN == PARKS_IN - 1)
    step = 0
    try:
        await world.begin()
        while step < steps and time.monotonic() < until:
            step += 1
            await world.step()
        await world.end()
    except Exception as error:
        print(f"seed={seed} step={step}", *world.log, f"{type(error).__name__}: {error}", sep="\n")
        if not isinstance(error, Difference):
            traceback.print_exception(error, file=sys.stdout)
        return False
    finally:
        await world.abandon()
    return True


def memory() -> Path | None:
    """A disk in memory, if there is one: nothing is synced here, so it is as good and quicker."""
    folder = Path("/dev/shm")
    usable = folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2**30
    return folder if usable else None


def run(seeds: Sequence[int], steps: int, minutes: float) -> int:
    """All seeds in turn until one fails or time is over; the exit code."""
    done: Counter[str] = Counter()
    began = time.monotonic()
    until = began + minutes * 60
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="mq9-simulation-", dir=memory()) as path:
            if not asyncio.run(simulate(seed, steps, Path(path), until, done)):
                return 1
        done["seeds"] += 1
        if time.monotonic() > until:
            break
    print(summary(done, time.monotonic() - began))
    return 0


def summary(done: Counter[str], took_s: float) -> str:
    """What was done, and how fast that goes."""
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(done.items()))
    rate = {what: done[what] / took_s * HOUR_S for what in ("commands", "events")}
    return (
        f"agreed at every step: {counts} in {took_s:.1f} s; an hour does "
        f"{rate['commands'] / 1e6:.2f} million commands, {rate['events'] / 1e6:.2f} million journal events"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, as a failed run named it")
    parser.add_argument("--seeds", default="1-1000000", metavar="A-B", help="the first and the last seed")
    parser.add_argument("--steps", type=int, default=2_000, help="steps for each seed")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after so long")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    return run(seeds if options.seed is None else (options.seed,), options.steps, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
