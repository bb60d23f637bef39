"""The vectors of all skills in memory, and how near each agent's best skill is to a request.

A skill is one vector: the mean of its text and its examples; the text is what the card says, and half as
much the wish for it. Its nearness is the cosine, brought to what the spread of its examples says: a
request lies nearer to the middle of a narrow skill than of a wide one. How wide is estimated, with a wide
guess that gives way as examples come, so that no card gains much by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mq9_mcp.routing.cards import CardTexts
from mq9_mcp.routing.contest import Served, served
from mq9_mcp.routing.seam import Vectors

GUESS = 0.45  # how alike two requests of one skill are, before examples tell
GUESS_WEIGHT = 5.0  # examples that the guess counts as
ALIKE_LEAST, ALIKE_MOST = 0.3, 0.8
WISH_SHARE = 0.5  # how much the wish for a skill counts beside what the card says of it
HEAD_SHARE = 0.15  # how much the agent as a whole counts beside the skill
ROWS_FIRST = 64
HAIR = 1e-3  # sums in another order differ by less
Array = npt.NDArray[Any]
_USUAL = GUESS**0.5


class SkillRow(NamedTuple):
    """A skill ready to be compared."""

    id: str | None
    name: str
    vector: Vectors  # of length 1
    examples: int
    centre: float  # how far the middle of its requests is thought to lie from the origin
    served: Served | None = None  # its examples one by one


class Near(NamedTuple):
    """How near an agent is to a request."""

    head: float  # the cosine of the agent as a whole
    cosine: float  # the highest of its skills, as the model has it
    skills: list[tuple[float, Place]]  # each with its nearness


class Place(NamedTuple):
    """A skill in the index."""

    place: int
    id: str | None
    name: str
    examples: int
    centre: float
    served: Served | None


def skill_rows(texts: CardTexts, vectors: Mapping[str, Vectors]) -> list[SkillRow]:
    """The skills of a card from the vectors of its texts."""
    rows = []
    for one in texts.skills:
        first = _direction([vectors[text] for text in one.texts])
        row = skill_row(one.id, one.name, np.stack([first, *(vectors[text] for text in one.examples)]))
        if one.examples:
            row = row._replace(served=served(first, one.examples, vectors))
        rows.append(row)
    return rows


def skill_row(id: str | None, name: str, vectors: Vectors) -> SkillRow:
    """A skill from the vectors of its text (the first) and its examples."""
    total = vectors.sum(0, dtype=np.float64)
    count, square = len(vectors), float(total @ total)
    alike = GUESS
    if count > 1:
        seen = (square - count) / (count * (count - 1))
        alike = (GUESS_WEIGHT * GUESS + (count - 1) * seen) / (GUESS_WEIGHT + count - 1)
    centre = min(max(alike, ALIKE_LEAST), ALIKE_MOST) ** 0.5
    direction = (total / max(square**0.5, 1e-9)).astype(np.float32)
    return SkillRow(id, name, direction, count - 1, centre)


class SkillIndex:
    """Rows of all agents; those of one that is gone are used again."""

    def __init__(self, width: int) -> None:
        self._vectors = np.zeros((ROWS_FIRST, width), np.float32)
        self._scale = np.zeros(ROWS_FIRST, np.float32)
        self._shift = np.full(ROWS_FIRST, -np.inf, np.float32)
        self._owners = np.zeros(ROWS_FIRST, np.int32)
        self._free: list[int] = list(range(ROWS_FIRST - 1, -1, -1))
        self._heads = np.zeros((ROWS_FIRST, width), np.float32)
        self._names: list[str | None] = [None] * ROWS_FIRST
        self._free_heads: list[int] = list(range(ROWS_FIRST - 1, -1, -1))
        self._agents: dict[str, tuple[int, list[Place]]] = {}

    def __contains__(self, agent: str) -> bool:
        return agent in self._agents

    def __len__(self) -> int:
        return len(self._agents)

    def put(self, agent: str, head: Vectors, rows: Sequence[SkillRow]) -> None:
        """Take in an agent, in place of what was known of it."""
        self.drop(agent)
        if not self._free_heads:
            self._grow_heads()
        slot = self._free_heads.pop()
        self._heads[slot], self._names[slot] = head, agent
        taken = []
        for row in rows:
            if not self._free:
                self._grow()
            place = self._free.pop()
            self._vectors[place], self._owners[place] = row.vector, slot
            self._scale[place], self._shift[place] = _shape(row.centre)
            taken.append(Place(place, row.id, row.name, row.examples, row.centre, row.served))
        self._agents[agent] = (slot, taken)

    def drop(self, agent: str) -> None:
        """The agent is gone."""
        known = self._agents.pop(agent, None)
        if known is None:
            return
        slot, rows = known
        self._names[slot] = None
        self._free_heads.append(slot)
        for row in rows:
            self._shift[row.place] = -np.inf
            self._scale[row.place] = 0
            self._free.append(row.place)

    def nearest(self, query: Vectors, most: int) -> list[str]:
        """About the ``most`` nearest agents; the last places may go to others than ``near`` would say."""
        if not self._agents:
            return []
        shaped = (self._vectors @ query) * self._scale + self._shift
        best = np.full(len(self._names), -np.inf, np.float32)
        np.maximum.at(best, self._owners, shaped)
        best += HEAD_SHARE * (self._heads @ query)
        if len(self._agents) > most:
            chosen = np.argpartition(-best, most)[:most]
        else:
            chosen = np.flatnonzero(best > -np.inf)
        return [name for slot in chosen if (name := self._names[slot]) is not None]

    def near(self, agent: str, query: Vectors) -> Near:
        """How near an agent is: the same numbers wherever its rows lie, whoever else is there."""
        slot, rows = self._agents[agent]
        cosines = [_dot(self._vectors[row.place], query) for row in rows]
        shaped = []
        for cosine, row in zip(cosines, rows, strict=True):
            scale, shift = _shape(row.centre)
            shaped.append(cosine * scale + shift)
        return Near(_dot(self._heads[slot], query), max(cosines), list(zip(shaped, rows, strict=True)))

    def vector(self, one: Place) -> Vectors:
        """The vector of a skill."""
        found: Vectors = self._vectors[one.place]
        return found

    def any_near(
        self, queries: Sequence[Vectors], agents: Sequence[str], least: Callable[[int], float]
    ) -> list[bool]:
        """For each query whether a skill of ``agents`` is as near as ``least`` says, or a hair less."""
        rows = [row for agent in agents for row in self._agents[agent][1]]
        if not rows or not queries:
            return [False] * len(queries)
        needed = min(least(row.examples) for row in rows) - HAIR
        found: list[bool] = []
        for start in range(0, len(queries), ROWS_FIRST):
            some = np.stack(queries[start : start + ROWS_FIRST])
            best = (some @ self._vectors[[row.place for row in rows]].T).max(axis=1)
            found += [bool(one) for one in best >= needed]
        return found

    def alike(self, one: Place, other: Place) -> float:
        """The cosine between two skills."""
        return _dot(self._vectors[one.place], self._vectors[other.place])

    def _grow(self) -> None:
        size = len(self._scale)
        self._vectors = _wider(self._vectors, size)
        self._scale = _wider(self._scale, size)
        self._shift = np.concatenate([self._shift, np.full(size, -np.inf, np.float32)])
        self._owners = _wider(self._owners, size)
        self._free = list(range(2 * size - 1, size - 1, -1))

    def _grow_heads(self) -> None:
        size = len(self._names)
        self._heads = _wider(self._heads, size)
        self._names += [None] * size
        self._free_heads = list(range(2 * size - 1, size - 1, -1))


def _direction(vectors: Sequence[Vectors]) -> Vectors:
    """The mean of what says a skill, the first in full, at length 1."""
    total = vectors[0].astype(np.float64) + WISH_SHARE * sum(one.astype(np.float64) for one in vectors[1:])
    found: Vectors = (total / max(float(total @ total) ** 0.5, 1e-9)).astype(np.float32)
    return found


def _shape(centre: float) -> tuple[float, float]:
    """Factor and summand that turn a cosine into nearness; they change nothing for the usual spread."""
    return centre / _USUAL, (_USUAL**2 - centre**2) / (2 * _USUAL)


def _dot(one: Vectors, other: Vectors) -> float:
    """The product, summed in the same order wherever the numbers lie in memory."""
    return float(np.add.reduce(one * other, dtype=np.float64))


def _wider(array: Array, more: int) -> Array:
    return np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])
