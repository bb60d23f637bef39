"""Ranking by keywords: BM25 over whole cards, as a share of what a perfect card could reach.

The same cards and the same text give the same ranking, whatever the order in which cards came.
"""

from __future__ import annotations

from collections import Counter
from math import log

import msgspec

from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.words import words

SATURATION = 1.2  # how soon a word said again adds little
LENGTH_SHARE = 0.75  # how much a long card is held back
NAME, TAG, TEXT = 3, 2, 1  # how much a word counts by where it stands
SHOWN_MAX = 5  # words that a reason names


class _Skill(msgspec.Struct):
    id: str
    name: str
    description: str = ""
    tags: list[str] = []
    examples: list[str] = []


class _Card(msgspec.Struct):
    name: str
    description: str = ""
    skills: list[_Skill] = []


_decode = msgspec.json.Decoder(_Card).decode


class _Entry:
    """A card as counted words."""

    def __init__(self, card: _Card) -> None:
        self.head = _count((card.name, NAME), (card.description, TEXT))
        self.counts = Counter(self.head)
        self.skills: list[tuple[_Skill, frozenset[str]]] = []
        for skill in card.skills:
            tags, examples = " ".join(skill.tags), " ".join(skill.examples)
            counts = _count(
                (f"{skill.name} {skill.id}", NAME),
                (tags, TAG),
                (skill.description, TEXT),
                (examples, TEXT),
            )
            self.counts += counts
            self.skills.append((skill, frozenset(counts)))
        self.length = sum(self.counts.values())


def _count(*texts: tuple[str, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text, weight in texts:
        for word in words(text):
            counts[word] += weight
    return counts


class Keywords:
    """The words of all cards, and where each stands."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._places: dict[str, set[str]] = {}  # word: agents
        self._length = 0

    def learn(self, agent: str, card: str) -> None:
        """Take in the card of an agent, in place of the one before."""
        self.forget(agent)
        entry = self._entries[agent] = _Entry(_decode(card))
        self._length += entry.length
        for word in entry.counts:
            self._places.setdefault(word, set()).add(agent)

    def forget(self, agent: str) -> None:
        """The agent is gone."""
        entry = self._entries.pop(agent, None)
        if entry is None:
            return
        self._length -= entry.length
        for word in entry.counts:
            agents = self._places[word]
            agents.discard(agent)
            if not agents:
                del self._places[word]

    async def rank(self, text: str) -> dict[str, Match]:
        """Every agent that has a word of ``text``, with its score above 0 and up to 1."""
        asked = list(dict.fromkeys(words(text)))
        if not asked:
            return {}
        worth = {word: self._worth(word) for word in asked}
        perfect = (1 + SATURATION) * sum(worth.values())
        found = set().union(*(self._places.get(word, ()) for word in asked))
        ranking = {}
        for agent in found:
            entry = self._entries[agent]
            score = round(sum(worth[word] * self._weight(entry, word) for word in asked) / perfect, 4)
            if score > 0:
                ranking[agent] = _match(entry, worth, score)
        return ranking

    def _worth(self, word: str) -> float:
        """A word that few cards have says more."""
        total, having = len(self._entries), len(self._places.get(word, ()))
        return log(1 + (total - having + 0.5) / (having + 0.5))

    def _weight(self, entry: _Entry, word: str) -> float:
        count = entry.counts.get(word, 0)
        if not count:
            return 0
        share = entry.length * len(self._entries) / self._length
        return count * (1 + SATURATION) / (count + SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * share))


def _match(entry: _Entry, worth: dict[str, float], score: float) -> Match:
    """The skill that has the most of it, and the words that count, the rarest first."""
    best, most = None, 0.0
    for skill, known in entry.skills:
        sum_ = sum(worth[word] for word in worth if word in known)
        if sum_ > most:
            best, most = skill, sum_
    hits = sorted((word for word in worth if word in entry.counts), key=lambda word: (-worth[word], word))
    shown = ", ".join(repr(word) for word in hits[:SHOWN_MAX])
    where = f"in skill {best.name!r}" if best is not None else "in its name and description"
    if best is not None and any(word in entry.head for word in hits):
        where += ", its name or description"
    return Match(score, f"has {shown} {where}", best.id if best is not None else None)
