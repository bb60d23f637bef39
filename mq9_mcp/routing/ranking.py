"""The ranking: how near in meaning, how many words in common, whether that is enough, and why.

Pure: equal skills and an equal request give equal scores, whoever came first and whoever was here before.
"""

from __future__ import annotations

from collections.abc import Sequence

from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.keywords import Keywords
from mq9_mcp.routing.seam import Vectors
from mq9_mcp.routing.skills import Near, SkillIndex

NEAREST = 64  # agents that are looked at closely: by meaning so many, by their words some more
KEYWORD_SHARE = 0.4  # what a request whose words all stand in a card adds to its nearness
ENOUGH, ENOUGH_MORE, HALF_AT = 0.30, 0.14, 4  # least cosine: without examples, what many add, half of it
DIGITS = 4


def enough(examples: int) -> float:
    """The least cosine that counts as fitting: examples bring all requests nearer, the strange ones too."""
    return ENOUGH + ENOUGH_MORE * examples / (examples + HALF_AT)


class Ranking:
    """Ranks the agents of an index by meaning and by keywords."""

    def __init__(self, width: int) -> None:
        self.skills = SkillIndex(width)

    def rank(self, text: str, query: Vectors, keywords: Keywords) -> dict[str, Match]:
        """The agents that come into question for ``text``, the likeliest ``NEAREST`` and some more."""
        chosen = dict.fromkeys([*self.skills.nearest(query, NEAREST), *keywords.rare(text, NEAREST)])
        known = [agent for agent in chosen if agent in self.skills]
        shares = keywords.shares(text, known)
        return {
            agent: self._match(self.skills.near(agent, query), shares[agent], keywords, agent, text)
            for agent in known
        }

    def may_fit(self, queries: Sequence[Vectors], agents: Sequence[str]) -> list[bool]:
        """For each query whether one of ``agents`` may be near enough; never False where it is."""
        return self.skills.any_near(queries, agents, enough)

    def _match(self, near: Near, share: float, keywords: Keywords, agent: str, text: str) -> Match:
        score = (near.nearness + KEYWORD_SHARE * share) / (1 + KEYWORD_SHARE)
        needed = enough(near.skill.examples)
        return Match(
            score=round(min(max(score, 0.0), 1.0), DIGITS),
            reason=_reason(near, needed, keywords.common(text, agent)),
            skill=near.skill.id,
            fits=near.cosine >= needed,
            meaning=round(near.cosine, DIGITS),
            keywords=round(share, DIGITS),
            needed=round(needed, DIGITS),
            examples=near.skill.examples,
        )


def _reason(near: Near, needed: float, words: Sequence[str]) -> str:
    """What speaks for the agent, and whether it is enough."""
    what = f"skill {near.skill.name!r}" if near.skill.id is not None else "its name and description"
    count = near.skill.examples
    stand = f" ({count} example{'s' if count > 1 else ''})" if count else ""
    said = f"means nearly the same as {what}" if near.cosine >= 0.7 else f"is near to {what}"
    if near.cosine < needed:
        said = f"is far from {what}"
    shown = ", ".join(repr(word) for word in words)
    return f"{said}{stand}: {near.cosine:.2f} of {needed:.2f}" + (f"; has {shown}" if shown else "")
