"""Ranking by keywords: BM25 over whole cards, as a share of what a perfect card could reach.

The same cards and the same text give the same ranking, whatever the order in which cards came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import log

from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.cards import Card, Skill, spoken
from mq9_mcp.routing.learnt import Placed
from mq9_mcp.routing.words import words

SATURATION = 1.2  # how soon a word said again adds little
LENGTH_SHARE = 0.75  # how much a long card is held back
NAME, TAG, TEXT = 3, 2, 1  # how much a word counts by where it stands
ENOUGH = 0.3  # the least score that counts as fitting where keywords alone rank
SAID_MOST = 3  # how much a word counts at most in one skill, however often it is said there
SHOWN_MAX = 5  # words that a reason names
NOTHING: Placed = {}


class _Entry:
    """A card as counted words, and those of requests that the agent served."""

    def __init__(self, card: Card, learnt: Placed) -> None:
        self.head = _count((_name(card.name), NAME), (card.description, TEXT))
        self.counts = Counter(self.head)
        self.skills: list[tuple[Skill, frozenset[str]]] = []
        own = set(self.head)
        for number, skill in enumerate(card.skills):
            said = [(" ".join(skill.examples), TEXT)]
            if skill.id:  # else it is the card as a whole
                named = (
                    f"{_name(skill.name)} {_name(skill.id)}" if skill.id != skill.name else _name(skill.name)
                )
                said += [(named, NAME), (" ".join(skill.tags), TAG), (skill.description, TEXT)]
                self.skills.append((skill, frozenset(_count(*said))))
            own.update(_count(*said))
            self.counts += _count(*said, (" ".join(learnt.get(number, ())), TEXT))
        self.shown = frozenset(own)  # words of what others asked are for nobody to see
        self.length = sum(self.counts.values())


def _name(name: str) -> str:
    """A name as it is written, and as words where that is something else."""
    said = spoken(name)
    return name if said == name or words(said) == words(name) else f"{name} {said}"


def _count(*texts: tuple[str, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text, weight in texts:
        for word in words(text):
            counts[word] += weight
    return Counter({word: min(count, SAID_MOST) for word, count in counts.items()})


class Keywords:
    """The words of all cards, and where each stands."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._places: dict[str, set[str]] = {}  # word: agents
        self._length = 0

    def learn(self, agent: str, card: Card, learnt: Placed = NOTHING) -> None:
        """Take in the card of an agent and requests that it served, in place of those before."""
        self.forget(agent)
        entry = self._entries[agent] = _Entry(card, learnt)
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

    def rank(self, text: str) -> dict[str, Match]:
        """Every agent that has a word of ``text``, with its score above 0 and up to 1."""
        worth = self._asked(text)
        found = set().union(*(self._places.get(word, ()) for word in worth))
        ranking = {}
        for agent, score in self._shares(worth, found).items():
            if score > 0:
                ranking[agent] = _match(self._entries[agent], worth, score)
        return ranking

    def shares(self, text: str, agents: Iterable[str]) -> dict[str, float]:
        """How much of ``text`` stands in the cards of these agents, 0 to 1."""
        return self._shares(self._asked(text), agents)

    def rare(self, text: str, most: int) -> list[str]:
        """The agents that have a word of ``text`` which at most ``most`` have."""
        places = (self._places.get(word, set()) for word in self._asked(text))
        return sorted(set().union(*(agents for agents in places if len(agents) <= most)))

    def common(self, text: str, agent: str) -> list[str]:
        """The words of ``text`` that the agent's card has, the rarest first, as many as a reason names."""
        return _hits(self._entries[agent], self._asked(text))[:SHOWN_MAX]

    def _asked(self, text: str) -> dict[str, float]:
        return {word: self._worth(word) for word in dict.fromkeys(words(text))}

    def _shares(self, worth: dict[str, float], agents: Iterable[str]) -> dict[str, float]:
        perfect = (1 + SATURATION) * sum(worth.values()) or 1.0
        return {
            agent: round(
                sum(much * self._weight(self._entries[agent], word) for word, much in worth.items())
                / perfect,
                4,
            )
            for agent in agents
        }

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


def _hits(entry: _Entry, worth: dict[str, float]) -> list[str]:
    return sorted((word for word in worth if word in entry.shown), key=lambda word: (-worth[word], word))


def _match(entry: _Entry, worth: dict[str, float], score: float) -> Match:
    """The skill that has the most of it, and the words that count, the rarest first."""
    best, most = None, 0.0
    for skill, known in entry.skills:
        sum_ = sum(worth[word] for word in worth if word in known)
        if sum_ > most:
            best, most = skill, sum_
    hits = _hits(entry, worth)
    shown = ", ".join(repr(word) for word in hits[:SHOWN_MAX])
    where = f"in skill {best.name!r}" if best is not None else "in its name and description"
    if best is not None and any(word in entry.head for word in hits):
        where += ", its name or description"
    said = f"has {shown} {where}" if hits else "has words of requests that it served"
    skill_id = best.id if best is not None else None
    return Match(score, said, skill_id, fits=score >= ENOUGH, keywords=score, needed=ENOUGH)
