"""Ranking by keywords: BM25 over whole cards, as a share of what a perfect card could reach.

The same cards and the same text give the same ranking, whatever the order in which cards came.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from itertools import accumulate
from math import log
from typing import NamedTuple

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
MANY = 1_024  # cards that have a word: where more do, it is quicker to look into a card than into their list
SHOWN, HEAD = 1, 2  # marks of words that stand in the card, in its name or description
NOTHING: Placed = {}


class Asked(NamedTuple):
    """The words of a text and what each says, the rarest first; and the sum that a perfect card reaches."""

    worth: dict[str, float]
    perfect: float


class Words(NamedTuple):
    """How much of a text stands in a card, 0 to 1, and the rarest of the words in common."""

    share: float
    common: list[str]


class _Entry:
    """A card as counted words in order, and those of requests that the agent served; small, as many are."""

    __slots__ = ("counts", "ends", "length", "marks", "of_skills", "skills", "words")

    def __init__(self, card: Card, learnt: Placed, known: dict[str, str]) -> None:
        head = _count((_name(card.name), NAME), (card.description, TEXT))
        total, own, said_by = Counter(head), set(head), []
        self.skills: list[tuple[str, str]] = []  # id and name
        for number, skill in enumerate(card.skills):
            said = _said(skill)
            counted = _count(*said)
            if skill.id:  # else it is the card as a whole
                self.skills.append((skill.id, skill.name))
                said_by.append(counted.keys())
            own.update(counted)
            asked = learnt.get(number)
            total.update(_count(*said, (" ".join(asked), TEXT)) if asked else counted)
        self.words = tuple(known.setdefault(word, word) for word in sorted(total))
        self.counts = array("I", (total[word] for word in self.words))
        self.marks = bytes(SHOWN * (word in own) + HEAD * (word in head) for word in self.words)
        places = {word: place for place, word in enumerate(self.words)}
        self.of_skills = array("I", (places[word] for some in said_by for word in sorted(some)))
        self.ends = array("I", accumulate(map(len, said_by)))
        self.length = sum(self.counts)

    def places(self, asked: Iterable[str]) -> dict[str, int]:
        """Where those of the words stand that are here."""
        found = {}
        for word in asked:
            place = bisect_left(self.words, word)
            if place < len(self.words) and self.words[place] == word:
                found[word] = place
        return found


def _said(skill: Skill) -> list[tuple[str, int]]:
    """The texts of a skill, with what a word in each counts."""
    said = [(" ".join(skill.examples), TEXT)]
    if skill.id:
        named = f"{_name(skill.name)} {_name(skill.id)}" if skill.id != skill.name else _name(skill.name)
        said += [(named, NAME), (" ".join(skill.tags), TAG), (skill.description, TEXT)]
    return said


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
        self._slots: dict[str, int] = {}  # of agents
        self._agents: list[str] = []  # by slot
        self._free: list[int] = []
        self._places: dict[str, array[int]] = {}  # word: slots
        self._known: dict[str, str] = {}  # words, each kept once
        self._length = 0

    def learn(self, agent: str, card: Card, learnt: Placed = NOTHING) -> None:
        """Take in the card of an agent and requests that it served, in place of those before."""
        self.forget(agent)
        entry = self._entries[agent] = _Entry(card, learnt, self._known)
        slot = self._slots[agent] = self._free.pop() if self._free else len(self._agents)
        self._agents[slot : slot + 1] = [agent]
        self._length += entry.length
        for word in entry.words:
            self._places.setdefault(word, array("I")).append(slot)

    def forget(self, agent: str) -> None:
        """The agent is gone."""
        entry = self._entries.pop(agent, None)
        if entry is None:
            return
        slot = self._slots.pop(agent)
        self._free.append(slot)
        self._length -= entry.length
        for word in entry.words:
            slots = self._places[word]
            slots.remove(slot)
            if not slots:
                del self._places[word], self._known[word]

    def rank(self, text: str) -> dict[str, Match]:
        """Every agent that has a word of ``text``, with its score above 0 and up to 1."""
        asked = self.asked(text)
        worth = asked.worth
        slots = set().union(*(self._places.get(word, ()) for word in worth))
        ranking = {}
        for agent in sorted(self._agents[slot] for slot in slots):
            entry = self._entries[agent]
            places = entry.places(worth)
            score = self._share(asked, entry, places)
            if score > 0:
                ranking[agent] = _match(entry, worth, places, score)
        return ranking

    def look(self, asked: Asked, agents: Collection[str]) -> dict[str, Words]:
        """How much of a text stands in the cards of these agents, and the words that a reason names."""
        found = {}
        for agent, may_have in zip(agents, self._may_have(asked, agents), strict=True):
            entry = self._entries[agent]
            places = entry.places(may_have)
            shown = [word for word, place in places.items() if entry.marks[place]]
            found[agent] = Words(self._share(asked, entry, places), shown[:SHOWN_MAX])
        return found

    def _may_have(self, asked: Asked, agents: Iterable[str]) -> Iterable[list[str]]:
        """Which words may stand in each card: what many have is looked for in each that is asked about."""
        found: dict[int, list[str]] = {self._slots[agent]: [] for agent in agents}
        for word in asked.worth:
            slots = self._places.get(word, ())
            for slot in slots if len(slots) <= MANY else found:
                if slot in found:
                    found[slot].append(word)
        return found.values()

    def rare(self, asked: Asked, most: int) -> list[str]:
        """The agents that have the most of what few have: of the words which at most ``most`` agents have."""
        sums: dict[int, float] = defaultdict(float)
        for word, much in asked.worth.items():
            slots = self._places.get(word, ())
            if len(slots) <= most:
                for slot in slots:
                    sums[slot] += much
        order = sorted((-much, self._agents[slot]) for slot, much in sums.items())
        return [agent for _, agent in order[:most]]

    def asked(self, text: str) -> Asked:
        """What is asked for: it holds until a card comes or goes."""
        worth = {word: self._worth(word) for word in words(text)}
        perfect = (1 + SATURATION) * sum(worth.values()) or 1.0
        return Asked(dict(sorted(worth.items(), key=lambda one: (-one[1], one[0]))), perfect)

    def _worth(self, word: str) -> float:
        """A word that few cards have says more."""
        total, having = len(self._entries), len(self._places.get(word, ()))
        return log(1 + (total - having + 0.5) / (having + 0.5))

    def _share(self, asked: Asked, entry: _Entry, places: dict[str, int]) -> float:
        long = 1 - LENGTH_SHARE + LENGTH_SHARE * (entry.length * len(self._entries) / (self._length or 1))
        sum_ = 0.0
        for word, place in places.items():
            count = entry.counts[place]
            sum_ += asked.worth[word] * (count * (1 + SATURATION) / (count + SATURATION * long))
        return round(sum_ / asked.perfect, 4)


def _match(entry: _Entry, worth: dict[str, float], places: dict[str, int], score: float) -> Match:
    """The skill that has the most of it, and the words that count, the rarest first."""
    best, most, begin = None, 0.0, 0
    for skill, end in zip(entry.skills, entry.ends, strict=True):
        known, begin = set(entry.of_skills[begin:end]), end
        sum_ = sum(worth[word] for word, place in places.items() if place in known)
        if sum_ > most:
            best, most = skill, sum_
    hits = [word for word, place in places.items() if entry.marks[place]]
    shown = ", ".join(repr(word) for word in hits[:SHOWN_MAX])
    where = f"in skill {best[1]!r}" if best is not None else "in its name and description"
    if best is not None and any(entry.marks[places[word]] & HEAD for word in hits):
        where += ", its name or description"
    said = f"has {shown} {where}" if hits else "has words of requests that it served"
    skill_id = best[0] if best is not None else None
    return Match(score, said, skill_id, fits=score >= ENOUGH, keywords=score, needed=ENOUGH)
