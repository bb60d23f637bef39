"""The vectors of all skills in memory, and how near each agent's best skill is to a request.

A skill is one vector: the mean of its text and its examples; the text is what the card says, and half as
much the wish for it. Its nearness is the cosine, brought to what the spread of its examples says: a
request lies nearer to the middle of a narrow skill than of a wide one. How wide is estimated, with a wide
guess that gives way as examples come, so that no card gains much by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mq9_mcp.routing.cards import CardTexts
from mq9_mcp.routing.contest import Served, served
from mq9_mcp.routing.rows import Rows
from mq9_mcp.routing.seam import Vectors

GUESS = 0.45  # how alike two requests of one skill are, before examples tell
GUESS_WEIGHT = 5.0  # examples that the guess counts as
ALIKE_LEAST, ALIKE_MOST = 0.3, 0.8
WISH_SHARE = 0.5  # how much the wish for a skill counts beside what the card says of it
HEAD_SHARE = 0.15  # how much the agent as a whole counts beside the skill
ROWS_FIRST = 64
HAIR = 1e-3  # rows in steps differ by less
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
    shaped: list[float]  # the nearness of each of its skills
    skills: list[Place]
    examples: int  # of all of them


class Place(NamedTuple):
    """A skill in the index."""

    place: int
    id: str | None
    name: str
    examples: int
    served: Served | None


class Cosines(NamedTuple):
    """How near everything in the index is to a request, by places."""

    version: int  # of the index that was compared
    skills: Array  # as the model has it
    shaped: Array  # as the spread of examples says; those of places that are free are below all
    heads: Array


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


class _Agent(NamedTuple):
    head: int  # its place among the heads
    skills: list[Place]
    places: Array  # of its skills
    examples: int


class SkillIndex:
    """Rows of all agents; those of one that is gone are used again."""

    def __init__(self, width: int) -> None:
        self._rows, self._heads = Rows(width), Rows(width)
        self._scale, self._shift = np.zeros(ROWS_FIRST), np.full(ROWS_FIRST, -np.inf)
        self._owners = np.zeros(ROWS_FIRST, np.intp)  # the head's place for each skill's
        self._names: list[str | None] = []
        self._agents: dict[str, _Agent] = {}
        self.version = 0  # another one after each change

    def __contains__(self, agent: str) -> bool:
        return agent in self._agents

    def __len__(self) -> int:
        return len(self._agents)

    @property
    def size(self) -> int:
        """How many rows are compared."""
        return self._rows.used

    def put(self, agent: str, head: Vectors, rows: Sequence[SkillRow]) -> None:
        """Take in an agent, in place of what was known of it."""
        self.drop(agent)
        self.version += 1
        slot = self._heads.put(head)
        self._names[slot : slot + 1] = [agent]
        taken = []
        for row in rows:
            if self._rows.used == len(self._scale):
                self._grow()
            place = self._rows.put(row.vector)
            self._owners[place] = slot
            self._scale[place], self._shift[place] = _shape(row.centre)
            taken.append(Place(place, row.id, row.name, row.examples, row.served))
        places = np.array([one.place for one in taken], np.intp)
        self._agents[agent] = _Agent(slot, taken, places, sum(one.examples for one in taken))

    def drop(self, agent: str) -> None:
        """The agent is gone."""
        known = self._agents.pop(agent, None)
        if known is None:
            return
        self.version += 1
        self._names[known.head] = None
        self._heads.drop(known.head)
        for row in known.skills:
            self._scale[row.place], self._shift[row.place] = 0, -np.inf
            self._rows.drop(row.place)

    def cosines(self, query: Vectors) -> Cosines:
        """Compare a request with everything. May be done in a thread: who changes the index meanwhile makes
        another version of it."""
        version = self.version
        skills, heads = self._rows.cosines(query), self._heads.cosines(query)
        return Cosines(
            version, skills, skills * self._scale[: len(skills)] + self._shift[: len(skills)], heads
        )

    def nearest(self, found: Cosines, most: int) -> list[str]:
        """The ``most`` nearest agents; among equals the names decide."""
        best = np.full(len(found.heads), -np.inf)
        np.maximum.at(best, self._owners[: len(found.shaped)], found.shaped)
        best += HEAD_SHARE * found.heads
        least = np.partition(best, -most)[-most] if len(best) > most else -np.inf
        order = [(-best[slot], name) for slot in np.flatnonzero(best >= least) if (name := self._names[slot])]
        return [name for _, name in sorted(order)[:most]]

    def near(self, agents: Sequence[str], found: Cosines) -> dict[str, Near]:
        """How near these agents are."""
        if not agents:
            return {}
        ones = [self._agents[agent] for agent in agents]
        places = np.concatenate([one.places for one in ones])
        ends = list(accumulate(len(one.places) for one in ones))
        best = np.maximum.reduceat(found.skills[places], [0, *ends[:-1]]).tolist()
        shaped = found.shaped[places].tolist()
        heads = found.heads[[one.head for one in ones]].tolist()
        return {
            agent: Near(head, cosine, shaped[end - len(one.places) : end], one.skills, one.examples)
            for agent, one, head, cosine, end in zip(agents, ones, heads, best, ends, strict=True)
        }

    def vector(self, one: Place) -> Vectors:
        """The vector of a skill."""
        found: Vectors = self._rows.rows([one.place])[0]
        return found

    def any_near(
        self, queries: Sequence[Vectors], agents: Sequence[str], least: Callable[[int], float]
    ) -> list[bool]:
        """For each query whether a skill of ``agents`` is as near as ``least`` says, or a hair less."""
        rows = [row for agent in agents for row in self._agents[agent].skills]
        if not rows or not queries:
            return [False] * len(queries)
        needed = min(least(row.examples) for row in rows) - HAIR
        known, found = self._rows.rows(row.place for row in rows), []
        for start in range(0, len(queries), ROWS_FIRST):
            some = np.stack(queries[start : start + ROWS_FIRST])
            best = (some @ known.T).max(axis=1)
            found += [bool(one) for one in best >= needed]
        return found

    def _grow(self) -> None:
        size = len(self._scale)
        self._scale = np.concatenate([self._scale, np.zeros(size)])
        self._shift = np.concatenate([self._shift, np.full(size, -np.inf)])
        self._owners = np.concatenate([self._owners, np.zeros(size, np.intp)])


def _direction(vectors: Sequence[Vectors]) -> Vectors:
    """The mean of what says a skill, the first in full, at length 1."""
    total = vectors[0].astype(np.float64) + WISH_SHARE * sum(one.astype(np.float64) for one in vectors[1:])
    found: Vectors = (total / max(float(total @ total) ** 0.5, 1e-9)).astype(np.float32)
    return found


def _shape(centre: float) -> tuple[float, float]:
    """Factor and summand that turn a cosine into nearness; they change nothing for the usual spread."""
    return centre / _USUAL, (_USUAL**2 - centre**2) / (2 * _USUAL)
