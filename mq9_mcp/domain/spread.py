"""A histogram: how many values were at most each bound, and their sum."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate


class Spread:
    """Values counted by bounds; the last count is of those beyond all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_all(self, values: list[float]) -> None:
        """Count many values, at less cost than one by one."""
        values.sort()
        before = 0
        for place, bound in enumerate(self.bounds):
            until = bisect_right(values, bound)
            self.counts[place] += until - before
            before = until
        self.counts[-1] += len(values) - before
        self.total += sum(values)

    def buckets(self) -> list[tuple[str, float]]:
        """How many were at most each bound, ``+Inf`` at last, as Prometheus has it."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))
