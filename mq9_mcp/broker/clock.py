"""Broker time: milliseconds that never go back, whatever happens to the machine's clock.

It runs with the boot clock, which no adjustment touches and which counts suspended time, and leans
towards the wall clock by at most a tenth of the time that passes. A step of the wall clock in either
direction so never reorders mail, and never frees a lease or expires mail by a jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAN = 10  # one millisecond of correction in so many
_LEAN_EVERY_MS = 100  # corrections are gathered until they are worth some milliseconds
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boot_ms() -> int:
    return time.clock_gettime_ns(_BOOT) // 1_000_000


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Clock:
    """The time of one broker; ``floor`` is the last time that its journal knows."""

    def __init__(
        self,
        floor: int = 0,
        wall: Callable[[], int] = _wall_ms,
        boot: Callable[[], int] = _boot_ms,
    ) -> None:
        self._wall = wall
        self._boot = boot
        self._seen = self._leaned = boot()
        self._now = max(floor, wall())

    def now(self) -> int:
        """Milliseconds since 1970; never less than before."""
        boot = self._boot()
        if boot > self._seen:
            passed = boot - self._seen
            self._seen = boot
            if boot - self._leaned >= _LEAN_EVERY_MS:
                passed = max(0, passed - self._lean(boot, self._now + passed))
            self._now += passed
        return self._now

    def _lean(self, boot: int, now: int) -> int:
        """How far to hold back (or, negative, to hurry) towards the wall clock."""
        most = (boot - self._leaned) // _LEAN
        self._leaned = boot
        return max(-most, min(most, now - self._wall()))
