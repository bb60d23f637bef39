"""The index of agents: cards go in, a text comes out as a ranking. Whoever ranks stands behind one seam.

Keywords rank today; what understands meaning comes to stand here beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.keywords import Keywords


class Ranker(Protocol):
    """Knows cards, and says how well each fits a text."""

    def learn(self, agent: str, card: str) -> None:
        """Take in the card of an agent (JSON), in place of the one before."""

    def forget(self, agent: str) -> None:
        """The agent is gone."""

    async def rank(self, text: str) -> dict[str, Match]:
        """The agents that fit ``text`` at all; equal cards and texts give equal rankings."""


class AgentIndex:
    """What a broker asks: follows the registry, ranks by its ``ranker``."""

    def __init__(self, ranker: Ranker | None = None) -> None:
        self.mark: object = None  # of the registry that is known
        self._ranker: Ranker = ranker or Keywords()
        self._cards: dict[str, str] = {}

    def follow(self, mark: object, cards: Mapping[str, str]) -> None:
        """Bring the index up to date: only cards that are others than before are read."""
        for agent in self._cards.keys() - cards.keys():
            self._ranker.forget(agent)
        for agent, card in cards.items():
            if self._cards.get(agent) != card:
                self._ranker.learn(agent, card)
        self._cards = dict(cards)
        self.mark = mark

    async def rank(self, text: str) -> dict[str, Match]:
        """Which agents fit ``text``, and how well."""
        return await self._ranker.rank(text)
