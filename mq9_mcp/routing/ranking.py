"""The ranking: how near in meaning, what was served, how many words in common, whether that is enough, why.

Pure: equal skills and an equal request give equal scores, whoever came first and whoever was here before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest
from typing import NamedTuple

from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.contest import (
    SKILLS_MAX,
    alone,
    contest,
    word_marks,
)
from mq9_mcp.routing.keywords import Keywords, Words
from mq9_mcp.routing.seam import Vectors
from mq9_mcp.routing.skills import HEAD_SHARE, Cosines, Near, SkillIndex

NEAREST = 64  # agents that are looked at closely: by meaning so many, by their words some more
KEYWORD_SHARE = 0.4  # what a request whose words all stand in a card adds to its nearness
SERVED_HALF_AT = 10  # with so many examples a skill a contest counts half as much as nearness; few say little
SERVED_LEAD = 2.0  # how much a contest counts where an agent's own skills are told apart
ENOUGH, ENOUGH_MORE, HALF_AT = 0.30, 0.14, 4  # least cosine: without examples, what many add, half of it
SERVED_SAID = 0.5  # a share of a contest that a reason tells
DIGITS = 4


def enough(examples: int) -> float:
    """The least cosine that counts as fitting: examples bring all requests nearer, the strange ones too."""
    return ENOUGH + ENOUGH_MORE * examples / (examples + HALF_AT)


class Shares(NamedTuple):
    """How much of a request is like what skills have served, and how much that counts."""

    weight: float
    of: Mapping[str, Mapping[int, float]]  # by agent and number of the skill


NO_SHARES: Mapping[int, float] = {}


class Ranking:
    """Ranks the agents of an index by meaning and by keywords."""

    def __init__(self, width: int) -> None:
        self.skills = SkillIndex(width)

    def rank(
        self, text: str, query: Vectors, keywords: Keywords, compared: Cosines | None = None
    ) -> dict[str, Match]:
        """The agents that come into question for ``text``, the likeliest ``NEAREST`` and some more.

        ``compared`` is what the index of this version says to ``query``, where it is known.
        """
        if compared is None or compared.version != self.skills.version:
            compared = self.skills.cosines(query)
        asked = keywords.asked(text)
        chosen = dict.fromkeys([*self.skills.nearest(compared, NEAREST), *keywords.rare(asked, NEAREST)])
        near = self.skills.near([agent for agent in chosen if agent in self.skills], compared)
        served = self._served(text, query, near)
        said = keywords.look(asked, near)
        return {
            agent: _match(one, said[agent], served.weight, served.of.get(agent, NO_SHARES))
            for agent, one in near.items()
        }

    def may_fit(self, queries: Sequence[Vectors], agents: Sequence[str]) -> list[bool]:
        """For each query whether one of ``agents`` may be near enough; never False where it is."""
        return self.skills.any_near(queries, agents, enough)

    def _served(self, text: str, query: Vectors, near: Mapping[str, Near]) -> Shares:
        """What of the request is like what each of the nearest skills has served."""
        if not any(one.examples for one in near.values()):
            return Shares(0.0, {})
        [*_, least] = nlargest(SKILLS_MAX, (shaped for one in near.values() for shaped in one.shaped)) or [0]
        every = [
            (-shaped, agent, number)
            for agent, one in near.items()
            for number, shaped in enumerate(one.shaped)
            if shaped >= least
        ]
        places = [(agent, number) for _, agent, number in sorted(every)[:SKILLS_MAX]]
        skills = [near[agent].skills[number] for agent, number in places]
        examples = sum(skill.examples for skill in skills)
        if not examples:
            return Shares(0.0, {})
        sides = [one.served or alone(self.skills.vector(one)) for one in skills]
        square = (examples / len(sides)) ** 2
        shares: dict[str, dict[int, float]] = {}
        found = contest(query, word_marks(text), sides)
        for (agent, number), share in zip(places, found, strict=True):
            shares.setdefault(agent, {})[number] = share
        return Shares(square / (square + SERVED_HALF_AT**2), shares)


def _match(near: Near, words: Words, weight: float, served: Mapping[int, float]) -> Match:
    best = max(near.shaped)
    number = near.shaped.index(best)
    if served:
        parts = [(one, served.get(at, 0.0)) for at, one in enumerate(near.shaped)]
        best = max(one + weight * part for one, part in parts)
        leads = [one + SERVED_LEAD * part for one, part in parts]
        number = leads.index(max(leads))
    skill = near.skills[number]
    nearness = (best + HEAD_SHARE * near.head) / (1 + HEAD_SHARE)
    score = (nearness + KEYWORD_SHARE * words.share) / (1 + KEYWORD_SHARE + weight)
    needed = enough(skill.examples)
    name = skill.name if skill.id is not None else None
    return Match(
        score=round(min(max(score, 0.0), 1.0), DIGITS),
        why=_Why(name, skill.examples, near.cosine, needed, served.get(number, 0.0), words.common),
        skill=skill.id,
        fits=near.cosine >= needed,
        meaning=near.cosine,
        keywords=words.share,
        needed=needed,
        examples=skill.examples,
    )


class _Why(NamedTuple):
    """What speaks for an agent, and whether it is enough."""

    skill: str | None  # its name; None for the card as a whole
    examples: int
    cosine: float
    needed: float
    served: float
    words: Sequence[str]

    def __str__(self) -> str:
        what = f"skill {self.skill!r}" if self.skill is not None else "its name and description"
        count = self.examples
        stand = f" ({count} example{'s' if count > 1 else ''})" if count else ""
        said = f"means nearly the same as {what}" if self.cosine >= 0.7 else f"is near to {what}"
        if self.cosine < self.needed:
            said = f"is far from {what}"
        shown = ", ".join(repr(word) for word in self.words)
        said += f"{stand}: {self.cosine:.2f} of {self.needed:.2f}"
        if self.served >= SERVED_SAID:
            said += f"; like what it serves and others do not: {self.served:.2f}"
        return said + (f"; has {shown}" if shown else "")
