"""Cards as texts to be compared: one for the agent, one for each skill, and the examples."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_JOINTS = re.compile(r"[_\-\s]+")
WISH = "I need {}"  # a skill as somebody asks for it


class Skill(msgspec.Struct):
    """A skill as a card has it."""

    id: str
    name: str
    description: str = ""
    tags: list[str] = []
    examples: list[str] = []


class Card(msgspec.Struct):
    """What a ranking reads of a card."""

    name: str
    description: str = ""
    skills: list[Skill] = []

    def skill_names(self) -> set[str]:
        """By what an intent may name its skills; capitals do not count."""
        return {name.casefold() for skill in self.skills for name in (skill.id, skill.name)}


class SkillTexts(NamedTuple):
    """A skill to be embedded: the texts that say what it is, and requests that it serves."""

    id: str | None  # None for the agent as a whole, where the card names no skills
    name: str
    texts: tuple[str, ...]
    examples: tuple[str, ...]


class CardTexts(NamedTuple):
    """A card to be embedded."""

    head: str
    skills: tuple[SkillTexts, ...]

    def all(self) -> list[str]:
        """Every text once."""
        texts = [self.head]
        for skill in self.skills:
            texts += [*skill.texts, *skill.examples]
        return list(dict.fromkeys(texts))


_decode = msgspec.json.Decoder(Card).decode


def read_card(text: str) -> Card:
    """A card as ranking sees it: with at least one skill.

    A card that names no skills is one skill as a whole, whose id is empty.
    """
    card = _decode(text)
    if not card.skills:
        card.skills = [Skill("", card.name, card.description)]
    for skill in card.skills:
        skill.examples = list(dict.fromkeys(skill.examples))
    return card


def spoken(name: str) -> str:
    """A name as words: ``getWeather`` and ``get_weather`` are ``get weather``."""
    return _JOINTS.sub(" ", _HUMPS.sub(" ", name)).strip()


def texts_of(card: Card) -> CardTexts:
    """The texts of a card that are embedded."""
    agent = spoken(card.name)
    head = f"{agent}: {card.description}"
    skills = []
    for skill in card.skills:
        name = spoken(skill.name)
        said = (f"{agent}: {name}: {skill.description}", WISH.format(name)) if skill.id else (head,)
        skills.append(SkillTexts(skill.id or None, skill.name, said, tuple(skill.examples)))
    return CardTexts(head, tuple(skills))
