"""Vectors as rows of small whole numbers, and their products with a request: exact, so the same in any order.

A direction is kept in steps of 1/``STEPS`` (it moves a cosine by 0.0001 or so) as 16-bit numbers. The
product of two is a sum of whole numbers that 32-bit floats add without rounding, as no part of it reaches
2**24: neither where a row lies nor how many threads add changes it. It is half as large as in floats, and as
memory is what makes it slow, faster too: each piece is made floats in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mq9_mcp.routing.seam import Vectors

STEPS = 4_000
BLOCK = 4_096  # rows that memory is taken for at once: nothing is moved when there are more
PIECE = 512  # rows that are made floats at once: 0.8 MB
Array = npt.NDArray[Any]


def stepped(vector: Vectors) -> Vectors:
    """A direction as whole numbers, in floats."""
    found: Vectors = np.rint(vector * np.float32(STEPS))
    return found


class Rows:
    """Rows by their places; a place is free or taken."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._blocks: list[Array] = []
        self._free: list[int] = []
        self.used = 0  # places from here on were never taken

    def put(self, vector: Vectors) -> int:
        """The place that the vector took."""
        if self._free:
            place = self._free.pop()
        else:
            place, self.used = self.used, self.used + 1
            if place == len(self._blocks) * BLOCK:
                self._blocks.append(np.zeros((BLOCK, self._width), np.int16))
        self._blocks[place // BLOCK][place % BLOCK] = stepped(vector)
        return place

    def drop(self, place: int) -> None:
        """The place is free."""
        self._free.append(place)

    def rows(self, places: Iterable[int]) -> Vectors:
        """The vectors at these places."""
        found = [self._blocks[place // BLOCK][place % BLOCK] for place in places]
        return np.stack(found).astype(np.float32) / np.float32(STEPS)

    def cosines(self, query: Vectors) -> Array:
        """The products of every place with a request; those of free places mean nothing."""
        used = self.used  # it may grow meanwhile
        found = np.empty(used, np.float32)
        asked, floats = stepped(query), np.empty((min(PIECE, used), self._width), np.float32)
        for begin in range(0, used, PIECE):
            count = min(PIECE, used - begin)
            first = begin % BLOCK
            floats[:count] = self._blocks[begin // BLOCK][first : first + count]
            np.dot(floats[:count], asked, out=found[begin : begin + count])
        return found / np.float64(STEPS * STEPS)
